// Products of one layer over a tile of samples: z = W a + b, da = W^T dz, g += dz a^T.
//
// Rows (units) of samples lie `ld` entries apart; `tile` samples are a power of two of 16-byte
// packs. ld is one pack more than the tile, so that threads on neighbouring rows hit other banks.
// A thread owns R rows by one pack of samples (forward, backward: R weights broadcast against one
// wide load a row; R = 8 where the number of rows is a multiple of 8), or a 4 x 4 piece of a
// gradient over a slice of the samples (8 x 8 of large layers in float32); slices of one piece are
// neighbouring lanes and are added by shuffles, in an order that depends on nothing.
//
// Per fused multiply-add of a dense layer: forward and backward 1/32 wide loads of samples and 1/16
// of weights (float, R = 8), gradient 1/8, of large layers 1/16. Sparse layers load every operand:
// 1/4 and 1/2.
#pragma once
#include "cuda/plan.h"
#include "cuda/platform.h"

namespace edt::cuda {

template <class T>
struct alignas(16) Pack {
  static constexpr int N = kPack<T>;
  T v[N];
};
template <class T>
EDT_DEVICE Pack<T> load(const T* p) {
  return *reinterpret_cast<const Pack<T>*>(p);
}
template <class T>
EDT_DEVICE void store(T* p, const Pack<T>& x) {
  *reinterpret_cast<Pack<T>*>(p) = x;
}
template <class T>
EDT_DEVICE Pack<T> splat(T x) {
  Pack<T> out;
  EDT_UNROLL
  for (int e = 0; e < Pack<T>::N; ++e) out.v[e] = x;
  return out;
}
template <class T>
EDT_DEVICE void add_scaled(Pack<T>& acc, T w, const Pack<T>& x) {
  EDT_UNROLL
  for (int e = 0; e < Pack<T>::N; ++e) acc.v[e] = fma(w, x.v[e], acc.v[e]);
}

// Rows of samples: base, distance of rows.
template <class T>
struct Rows {
  T* p;
  int ld;
  EDT_DEVICE T* at(int row, int sample) const { return p + row * ld + sample; }
  EDT_DEVICE Rows row(int r) const { return {p + r * ld, ld}; }
};

// The tile's samples as packs: 2^shift of them.
struct Tile {
  int samples, shift;
};
template <class T>
EDT_DEVICE Tile tile_of(int samples) {
  int shift = 0;
  while ((kPack<T> << shift) < samples) ++shift;
  return {samples, shift};
}

EDT_DEVICE int smaller(int a, int b) { return a < b ? a : b; }

// body(first row, first sample) for every piece of `height` rows by one pack, over the block.
template <class T, int R, class Body>
EDT_DEVICE void for_pieces(int rows, Tile tile, const Body& body) {
  const int pieces = ((rows + R - 1) / R) << tile.shift;
  for (int t = int(threadIdx.x); t < pieces; t += int(blockDim.x))
    body((t >> tile.shift) * R, (t & ((1 << tile.shift) - 1)) * kPack<T>);
}

// Tall pieces are worth it where they leave every scheduler of a multiprocessor a warp.
EDT_DEVICE int enough_threads() { return smaller(int(blockDim.x), 4 * kWarp); }

struct Terms {
  bool accumulate = false;  // add to what is there
  bool bias = true;
};

template <class T, int R>
EDT_DEVICE void dense_forward(const LayerRecord& ly, const T* p, Rows<const T> a, Rows<T> z,
                              Tile tile, Terms terms) {
  constexpr int K = kPack<T>;
  const T* w = p + ly.w;
  for_pieces<T, R>(ly.n_out, tile, [&](int j0, int s) {
    Pack<T> acc[R];
    int row[R];
    EDT_UNROLL
    for (int r = 0; r < R; ++r) {
      // Rows past the end repeat the last one; tall pieces have none.
      const int j = R == 8 ? j0 + r : smaller(j0 + r, ly.n_out - 1);
      row[r] = j * ly.ld_w;
      acc[r] = terms.accumulate ? load(z.at(j, s)) : splat(T(0));
      if (terms.bias && ly.bias >= 0) {
        const T b = p[ly.bias + j];
        EDT_UNROLL
        for (int e = 0; e < K; ++e) acc[r].v[e] += b;
      }
    }
    int i = 0;
    EDT_NO_UNROLL
    for (; i + K <= ly.n_in; i += K) {
      Pack<T> in[K];
      EDT_UNROLL
      for (int q = 0; q < K; ++q) in[q] = load(a.at(i + q, s));
      EDT_UNROLL
      for (int r = 0; r < R; ++r) {
        const Pack<T> wr = load(w + row[r] + i);
        EDT_UNROLL
        for (int q = 0; q < K; ++q) add_scaled(acc[r], wr.v[q], in[q]);
      }
    }
    EDT_NO_UNROLL
    for (; i < ly.n_in; ++i) {
      const Pack<T> in = load(a.at(i, s));
      EDT_UNROLL
      for (int r = 0; r < R; ++r) add_scaled(acc[r], w[row[r] + i], in);
    }
    EDT_UNROLL
    for (int r = 0; r < R; ++r)
      if (R == 8 || j0 + r < ly.n_out) store(z.at(j0 + r, s), acc[r]);
  });
}

// acc += weight(k) times the row of samples place(k) points to, over edges [k, end). U at a time:
// their loads do not wait for one another. Pays where rows are in global memory.
template <class T, int U, class Weight, class Place>
EDT_DEVICE void add_edges(Pack<T>& acc, int k, int end, const Weight& weight, const Place& place) {
  if constexpr (U > 1) {
    EDT_NO_UNROLL
    for (; k + U <= end; k += U) {
      T w[U];
      Pack<T> in[U];
      EDT_UNROLL
      for (int u = 0; u < U; ++u) {
        w[u] = weight(k + u);
        in[u] = load(place(k + u));
      }
      EDT_UNROLL
      for (int u = 0; u < U; ++u) add_scaled(acc, w[u], in[u]);
    }
  }
  EDT_NO_UNROLL
  for (; k < end; ++k) add_scaled(acc, weight(k), load(place(k)));
}

template <class T, int U = 1>
EDT_DEVICE void sparse_forward(const LayerRecord& ly, const int* ints, const T* p, Rows<const T> a,
                               Rows<T> z, Tile tile, Terms terms) {
  for_pieces<T, 1>(ly.n_out, tile, [&](int j, int s) {
    Pack<T> acc = terms.accumulate ? load(z.at(j, s)) : splat(T(0));
    if (terms.bias && ly.bias >= 0) {
      EDT_UNROLL
      for (int e = 0; e < Pack<T>::N; ++e) acc.v[e] += p[ly.bias + j];
    }
    add_edges<T, U>(
        acc, ints[ly.row_ptr + j], ints[ly.row_ptr + j + 1], [&](int k) { return p[ly.w + k]; },
        [&](int k) { return a.at(ints[ly.col + k], s); });
    store(z.at(j, s), acc);
  });
}

// z = W a + b (or without b, or added to z).
template <class T>
EDT_DEVICE void affine_forward(const LayerRecord& ly, const int* ints, const T* p, Rows<const T> a,
                               Rows<T> z, Tile tile, Terms terms = {}) {
  if (!ly.dense) sparse_forward(ly, ints, p, a, z, tile, terms);
  else if (ly.n_out % 8 == 0 && ((ly.n_out / 8) << tile.shift) >= enough_threads())
    dense_forward<T, 8>(ly, p, a, z, tile, terms);
  else if (ly.n_out > 2) dense_forward<T, 4>(ly, p, a, z, tile, terms);
  else dense_forward<T, 1>(ly, p, a, z, tile, terms);
}

// x, or with Times x times what is there.
template <bool Times, class T>
EDT_DEVICE void store_scaled(Rows<T> da, int row, int s, Pack<T> x) {
  if constexpr (Times) {
    const Pack<T> by = load<T>(da.at(row, s));
    EDT_UNROLL
    for (int e = 0; e < Pack<T>::N; ++e) x.v[e] *= by.v[e];
  }
  store(da.at(row, s), x);
}

template <bool Times, class T, int R>
EDT_DEVICE void dense_backward(const LayerRecord& ly, const T* p, Rows<const T> dz, Rows<T> da,
                               Tile tile, bool accumulate) {
  constexpr int K = kPack<T>, Q = R < K ? 1 : R / K;
  const T* w = p + ly.w;
  for_pieces<T, R>(ly.n_in, tile, [&](int i0, int s) {
    Pack<T> acc[R];
    EDT_UNROLL
    for (int r = 0; r < R; ++r)
      acc[r] = accumulate ? load<T>(da.at(R == 8 ? i0 + r : smaller(i0 + r, ly.n_in - 1), s))
                          : splat(T(0));
    const int n_out = ly.n_out, ld_w = ly.ld_w;
    const T *from = dz.at(0, s), *row = w;
    EDT_NO_UNROLL
    for (int j = 0; j < n_out; ++j, from += dz.ld, row += ld_w) {
      const Pack<T> in = load(from);
      if constexpr (R < K) {
        EDT_UNROLL
        for (int r = 0; r < R; ++r) add_scaled(acc[r], row[smaller(i0 + r, ly.n_in - 1)], in);
      } else {
        EDT_UNROLL
        for (int q = 0; q < Q; ++q) {
          const Pack<T> wr = load(row + (R == 8 ? i0 + q * K : smaller(i0 + q * K, ld_w - K)));
          EDT_UNROLL
          for (int e = 0; e < K; ++e) add_scaled(acc[q * K + e], wr.v[e], in);
        }
      }
    }
    EDT_UNROLL
    for (int r = 0; r < R; ++r)
      if (R == 8 || i0 + r < ly.n_in) store_scaled<Times>(da, i0 + r, s, acc[r]);
  });
}

template <bool Times, class T, int U = 1>
EDT_DEVICE void sparse_backward(const LayerRecord& ly, const int* ints, const T* p,
                                Rows<const T> dz, Rows<T> da, Tile tile, bool accumulate) {
  for_pieces<T, 1>(ly.n_in, tile, [&](int i, int s) {
    Pack<T> acc = accumulate ? load(da.at(i, s)) : splat(T(0));
    add_edges<T, U>(
        acc, ints[ly.t_ptr + i], ints[ly.t_ptr + i + 1],
        [&](int k) { return p[ints[ly.t_edge + k]]; },
        [&](int k) { return dz.at(ints[ly.t_row + k], s); });
    store_scaled<Times>(da, i, s, acc);
  });
}

// da = W^T dz, or that added to da, or with Times that times what is in da.
template <bool Times, class T>
EDT_DEVICE void affine_backward(const LayerRecord& ly, const int* ints, const T* p,
                                Rows<const T> dz, Rows<T> da, Tile tile, bool accumulate) {
  if (!ly.dense) sparse_backward<Times>(ly, ints, p, dz, da, tile, accumulate);
  else if (ly.n_in % 8 == 0 && ((ly.n_in / 8) << tile.shift) >= enough_threads())
    dense_backward<Times, T, 8>(ly, p, dz, da, tile, accumulate);
  else if (ly.n_in > 2) dense_backward<Times, T, 4>(ly, p, dz, da, tile, accumulate);
  else dense_backward<Times, T, 1>(ly, p, dz, da, tile, accumulate);
}

// How the samples of a gradient are shared out: `slices` neighbouring lanes each take every
// slices-th pack; with several groups (of whole warps) each group takes its part of the packs.
struct Share {
  int group, groups;
  EDT_DEVICE int threads() const { return int(blockDim.x) / groups; }
  EDT_DEVICE int rank() const { return int(threadIdx.x) - group * threads(); }
};

template <class T>
EDT_DEVICE T lane_sum(T x, int slices) {
  for (int d = slices / 2; d > 0; d /= 2) x += __shfl_xor_sync(kFullMask, x, d);
  return x;
}

// Sums of eight numbers a lane over the warp: lane l gets that of entry `eight_sums_entry(l)`, by
// exchanging halves: 9 shuffles instead of 40.
EDT_DEVICE int eight_sums_entry(int lane) { return (lane & 1) * 4 + (lane & 2) + (lane >> 2 & 1); }
template <class T>
EDT_DEVICE T eight_sums(T (&x)[8]) {
  const int lane = int(threadIdx.x) % kWarp;
  EDT_UNROLL
  for (int half = 4, bit = 1; half > 0; half /= 2, bit *= 2) {
    const bool upper = (lane & bit) != 0;
    EDT_UNROLL
    for (int q = 0; q < half; ++q) {
      const T mine = upper ? x[q + half] : x[q], other = upper ? x[q] : x[q + half];
      x[q] = mine + __shfl_xor_sync(kFullMask, other, bit);
    }
  }
  T sum = x[0];
  EDT_UNROLL
  for (int d = 8; d < kWarp; d *= 2) sum += __shfl_xor_sync(kFullMask, sum, d);
  return sum;
}

// body(piece, slice, slices, valid) with all lanes of a warp together, so that body may shuffle.
template <class Body>
EDT_DEVICE void for_sums(int pieces, int packs, Share share, const Body& body) {
  int slices = kWarp;
  while (slices > 1 && (slices > packs || pieces * slices / 2 >= share.threads())) slices /= 2;
  const int total = pieces * slices, rank = share.rank();
  for (int first = rank / kWarp * kWarp; first < total; first += share.threads()) {
    const int t = first + rank % kWarp;
    body(t / slices, t % slices, slices, t < total);
  }
}

// Sums of N numbers a lane over `slices` neighbouring lanes (a power of two, at most N): a lane
// gets those of the N / slices entries from the one returned on, in x[0], x[1], ... Halves are
// exchanged: N - N / slices shuffles.
template <int N, int Half = N / 2, int Bit = 1, class T>
EDT_DEVICE int shared_sums(T (&x)[N], int slices) {
  if constexpr (Bit == kWarp || Half == 0) return 0;
  else {
    const bool upper = (int(threadIdx.x) & Bit) != 0;
    if (Bit >= slices) return 0;
    EDT_UNROLL
    for (int q = 0; q < Half; ++q) {
      const T mine = upper ? x[q + Half] : x[q], other = upper ? x[q] : x[q + Half];
      x[q] = mine + __shfl_xor_sync(kFullMask, other, Bit);
    }
    return (upper ? Half : 0) + shared_sums<N, Half / 2, Bit * 2>(x, slices);
  }
}

// Layers whose gradients are cut into squares of this side: both sides multiples of it, large
// enough that few lanes share a square.
constexpr int kSquare = 8;
template <class T>
EDT_DEVICE bool in_squares(const LayerRecord& ly) {
  return sizeof(T) == 4 && ly.n_out % kSquare == 0 && ly.n_in % kSquare == 0 &&
         ly.n_out * ly.n_in >= 1024;
}

// Square (p, q) holds rows p, p + down, ... and columns q, q + across, ...: neighbouring lanes read
// neighbouring rows, which lie in other banks.
template <class T, class Sink>
EDT_DEVICE void square_gradient(const LayerRecord& ly, Rows<const T> dz, Rows<const T> a, Tile tile,
                                Share share, const Sink& sink) {
  constexpr int S = kSquare, K = kPack<T>;
  const int across = ly.n_in / S, down = ly.n_out / S, pieces = across * down;
  const int packs = 1 << tile.shift, rank = share.rank();
  const int w = ly.w, ld = ly.ld_w, row_step = down * dz.ld, column_step = across * a.ld;
  // One warp a scheduler: more slices would be more sums to exchange.
  int slices = 1;
  while (slices < kWarp && slices < packs && pieces * slices < smaller(share.threads(), 4 * kWarp))
    slices *= 2;
  // The lanes of a wide load, 8 at a time, take packs that lie in other banks than their
  // neighbours'.
  const int run = smaller(slices < 8 ? 8 / slices : 1, packs / slices);
  for (int begin = rank / kWarp * kWarp; begin < pieces * slices; begin += share.threads()) {
    const int t = begin + rank % kWarp, piece = smaller(t / slices, pieces - 1);
    const int slice = t % slices, p = piece / across, q = piece % across;
    const bool valid = t < pieces * slices;
    T acc[S * S];
    EDT_UNROLL
    for (int e = 0; e < S * S; ++e) acc[e] = T(0);
    const T *const rows = dz.at(p, 0), *const columns = a.at(q, 0);
    EDT_NO_UNROLL
    for (int m = share.group; m < packs / slices; m += share.groups) {
      const int v = ((m & -run) * slices + slice * run + (m & (run - 1))) * K;
      Pack<T> d[S];
      const T* at = rows + v;
      EDT_UNROLL
      for (int r = 0; r < S; ++r, at += row_step) d[r] = load(at);
      at = columns + v;
      EDT_UNROLL
      for (int c = 0; c < S; ++c, at += column_step) {
        const Pack<T> in = load(at);
        EDT_UNROLL
        for (int r = 0; r < S; ++r) {
          EDT_UNROLL
          for (int e = 0; e < K; ++e) acc[r * S + c] = fma(d[r].v[e], in.v[e], acc[r * S + c]);
        }
      }
    }
    const int first = shared_sums(acc, slices), count = valid ? S * S / slices : 0;
    // Whole rows of the square, or a part of one.
    int row = w + (p + first / S * down) * ld + q + first % S * across;
    EDT_UNROLL
    for (int r = 0; r < S; ++r, row += down * ld) {
      int k = row;
      EDT_UNROLL
      for (int c = 0; c < S; ++c, k += across)
        if (r * S + c < count) sink(k, acc[r * S + c]);
    }
  }
  if (!sink.bias || ly.bias < 0) return;
  for_sums(ly.n_out, packs, share, [&](int j, int slice, int lanes, bool valid) {
    T sum = T(0);
    EDT_NO_UNROLL
    for (int v = slice + lanes * share.group; valid && v < packs; v += lanes * share.groups) {
      const Pack<T> d = load(dz.at(j, v * K));
      EDT_UNROLL
      for (int e = 0; e < K; ++e) sum += d.v[e];
    }
    sum = lane_sum(sum, lanes);
    if (valid && slice == 0) sink(ly.bias + j, sum);
  });
}

template <class T, int TJ, bool Weighted, class Sink>
EDT_DEVICE void dense_gradient(const LayerRecord& ly, Rows<const T> dz, Rows<const T> a,
                               const T* weight, Tile tile, Share share, const Sink& sink) {
  constexpr int TI = 4, K = kPack<T>;
  const int across = (ly.n_in + TI - 1) / TI, pieces = (ly.n_out + TJ - 1) / TJ * across;
  const int packs = 1 << tile.shift;
  for_sums(pieces, packs, share, [&](int piece, int slice, int slices, bool valid) {
    const int j0 = piece / across * TJ, i0 = piece % across * TI;
    T acc[TJ][TI], bias[TJ];
    EDT_UNROLL
    for (int r = 0; r < TJ; ++r) {
      bias[r] = T(0);
      EDT_UNROLL
      for (int c = 0; c < TI; ++c) acc[r][c] = T(0);
    }
    if (valid) {
      EDT_NO_UNROLL
      for (int v = slice + slices * share.group; v < packs; v += slices * share.groups) {
        Pack<T> d[TJ], in[TI];
        EDT_UNROLL
        for (int r = 0; r < TJ; ++r) {
          d[r] = load(dz.at(smaller(j0 + r, ly.n_out - 1), v * K));
          if constexpr (Weighted) {
            const Pack<T> by = load(weight + v * K);
            EDT_UNROLL
            for (int e = 0; e < K; ++e) d[r].v[e] *= by.v[e];
          }
          EDT_UNROLL
          for (int e = 0; e < K; ++e) bias[r] += d[r].v[e];
        }
        EDT_UNROLL
        for (int c = 0; c < TI; ++c) in[c] = load(a.at(smaller(i0 + c, ly.n_in - 1), v * K));
        EDT_UNROLL
        for (int r = 0; r < TJ; ++r) {
          EDT_UNROLL
          for (int c = 0; c < TI; ++c) {
            EDT_UNROLL
            for (int e = 0; e < K; ++e) acc[r][c] = fma(d[r].v[e], in[c].v[e], acc[r][c]);
          }
        }
      }
    }
    EDT_UNROLL
    for (int r = 0; r < TJ; ++r) {
      EDT_UNROLL
      for (int c = 0; c < TI; ++c) {
        const T sum = lane_sum(acc[r][c], slices);
        if (valid && slice == 0 && j0 + r < ly.n_out && i0 + c < ly.n_in)
          sink(ly.w + (j0 + r) * ly.ld_w + i0 + c, sum);
      }
      if (sink.bias && ly.bias >= 0) {
        const T sum = lane_sum(bias[r], slices);
        if (valid && slice == 0 && i0 == 0 && j0 + r < ly.n_out) sink(ly.bias + j0 + r, sum);
      }
    }
  });
}

template <class T, bool Weighted, class Sink>
EDT_DEVICE void sparse_gradient(const LayerRecord& ly, const int* ints, Rows<const T> dz,
                                Rows<const T> a, const T* weight, Tile tile, Share share,
                                const Sink& sink) {
  constexpr int K = kPack<T>;
  const int packs = 1 << tile.shift;
  const int biases = sink.bias && ly.bias >= 0 ? ly.n_out : 0;
  for_sums(ly.nnz + biases, packs, share, [&](int piece, int slice, int slices, bool valid) {
    T acc = T(0);
    const bool edge = piece < ly.nnz;
    if (valid) {
      const T* d = dz.at(edge ? ints[ly.row + piece] : piece - ly.nnz, 0);
      const T* in = edge ? a.at(ints[ly.col + piece], 0) : nullptr;
      EDT_NO_UNROLL
      for (int v = slice + slices * share.group; v < packs; v += slices * share.groups) {
        Pack<T> x = load(d + v * K);
        if constexpr (Weighted) {
          const Pack<T> by = load(weight + v * K);
          EDT_UNROLL
          for (int e = 0; e < K; ++e) x.v[e] *= by.v[e];
        }
        const Pack<T> y = edge ? load(in + v * K) : splat(T(1));
        EDT_UNROLL
        for (int e = 0; e < K; ++e) acc = fma(x.v[e], y.v[e], acc);
      }
    }
    acc = lane_sum(acc, slices);
    if (valid && slice == 0) sink(edge ? ly.w + piece : ly.bias + piece - ly.nnz, acc);
  });
}

// sink(compressed index, sum over the tile of dz_j a_i), and of dz_j at the biases where the sink
// takes them. With `weight` every sample counts that much.
template <class T, bool Weighted = false, class Sink>
EDT_DEVICE void affine_gradient(const LayerRecord& ly, const int* ints, Rows<const T> dz,
                                Rows<const T> a, Tile tile, Share share, const Sink& sink,
                                const T* weight = nullptr) {
  if (!ly.dense) sparse_gradient<T, Weighted>(ly, ints, dz, a, weight, tile, share, sink);
  else if constexpr (sizeof(T) == 4 && !Weighted) {
    if (in_squares<T>(ly)) square_gradient(ly, dz, a, tile, share, sink);
    else if (ly.n_out > 2) dense_gradient<T, 4, false>(ly, dz, a, weight, tile, share, sink);
    else dense_gradient<T, 1, false>(ly, dz, a, weight, tile, share, sink);
  } else if (ly.n_out > 2) dense_gradient<T, 4, Weighted>(ly, dz, a, weight, tile, share, sink);
  else dense_gradient<T, 1, Weighted>(ly, dz, a, weight, tile, share, sink);
}

// Adds to a compressed vector.
template <class T>
struct AddTo {
  T* g;
  bool bias;
  EDT_DEVICE void operator()(int k, T sum) const { g[k] += sum; }
};

}  // namespace edt::cuda
