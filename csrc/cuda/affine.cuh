// Products of one layer over a tile of samples: z = W a + b, da = W^T dz, g += dz a^T.
//
// A thread owns R rows by one pack of samples (forward, backward: R weights broadcast against one
// wide load a row; R = 8 where the number of rows is a multiple of 8), or a 4 x 4 piece of a
// gradient over a slice of the samples; slices of one piece are neighbouring lanes and are added by
// shuffles, in an order that depends on nothing. Large layers in float32: squares.cuh.
//
// Per fused multiply-add of a dense layer: forward and backward 1/32 wide loads of samples and 1/16
// of weights (float, R = 8), gradient 1/8. Sparse layers load every operand: 1/4 and 1/2.
#pragma once
#include "cuda/plan.h"
#include "cuda/platform.h"
#include "cuda/rows.cuh"
#include "cuda/squares.cuh"

namespace edt::cuda {

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

// z = W a + b for one or two outputs: lanes 8 apart share the inputs of a pack of samples, so that
// all warps have some, and add up by exchanging halves.
template <class T>
EDT_DEVICE void thin_forward(const LayerRecord& ly, const T* p, Rows<const T> a, Rows<T> z,
                             Tile tile) {
  constexpr int K = kPack<T>, L = 8, parts = kWarp / L;
  const int shift = tile.shift - 3, part = int(threadIdx.x) / L % parts;
  const int warps = ly.n_out << shift, in_block = int(blockDim.x) / kWarp;
  for (int g = int(threadIdx.x) / kWarp; g < warps; g += in_block) {
    const int j = g >> shift, s = ((g & ((1 << shift) - 1)) * L + int(threadIdx.x) % L) * K;
    const T *w = p + ly.w + j * ly.ld_w + part, *in = a.at(part, s);
    Pack<T> acc = splat(T(0));
    EDT_NO_UNROLL
    for (int i = part; i < ly.n_in; i += parts, w += parts, in += parts * a.ld)
      add_scaled(acc, *w, load(in));
    const int e = shared_sums<K, K / 2, L>(acc.v, kWarp);
    for (int bit = L * K; bit < kWarp; bit *= 2)
      acc.v[0] += __shfl_xor_sync(kFullMask, acc.v[0], bit);
    if (part < K) *z.at(j, s + e) = acc.v[0] + (ly.bias >= 0 ? p[ly.bias + j] : T(0));
  }
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

// da = W^T dz, or that added to da, or with Times that times what is in da. Squares: in tiles of
// kSquareTile in shared memory, by kernels with registers for squares.cuh.
template <bool Times, bool Squares = false, class T>
EDT_DEVICE void affine_backward(const LayerRecord& ly, const int* ints, const T* p,
                                Rows<const T> dz, Rows<T> da, Tile tile, bool accumulate) {
  if constexpr (Squares)
    if (ly.dense && in_squares(ly)) return square_backward(ly, p, dz.p, da.p);
  if (!ly.dense) sparse_backward<Times>(ly, ints, p, dz, da, tile, accumulate);
  else if (ly.n_in % 8 == 0 && ((ly.n_in / 8) << tile.shift) >= enough_threads())
    dense_backward<Times, T, 8>(ly, p, dz, da, tile, accumulate);
  else if (ly.n_in > 2) dense_backward<Times, T, 4>(ly, p, dz, da, tile, accumulate);
  else dense_backward<Times, T, 1>(ly, p, dz, da, tile, accumulate);
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
// takes them. With `weight` every sample counts that much. Squares: as affine_backward's.
template <class T, bool Weighted = false, bool Squares = false, class Sink>
EDT_DEVICE void affine_gradient(const LayerRecord& ly, const int* ints, Rows<const T> dz,
                                Rows<const T> a, Tile tile, Share share, const Sink& sink,
                                const T* weight = nullptr) {
  if (!ly.dense) sparse_gradient<T, Weighted>(ly, ints, dz, a, weight, tile, share, sink);
  else if constexpr (sizeof(T) == 4 && !Weighted) {
    if (in_squares(ly)) {
      if constexpr (Squares) square_gradient(ly, dz, a, share, sink);
      else any_square_gradient(ly, dz, a, tile, share, sink);
    } else if (ly.n_out > 2) dense_gradient<T, 4, false>(ly, dz, a, weight, tile, share, sink);
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
