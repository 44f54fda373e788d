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
#include <type_traits>

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

// x, or with Times x times what is there.
template <bool Times, bool Shared = false, class T>
EDT_DEVICE void store_scaled(Rows<T> da, int row, int s, Pack<T> x) {
  if constexpr (Times) {
    const Pack<T> by = load<T>(da.at(row, s));
    EDT_UNROLL
    for (int e = 0; e < Pack<T>::N; ++e) x.v[e] *= by.v[e];
  }
  store<Shared>(da.at(row, s), x);
}

// P packs of samples a thread, `apart` entries from one another.
template <class T, int P>
struct Packs {
  Pack<T> v[P];
};

// acc += weight times row of samples over `left` edges, whole pairs: next(weights, rows) says which
// the next two are. U edges at a time: their loads do not wait for one another. Packs lie `apart`
// bytes from one another.
template <class T, int U, int P, class Next>
EDT_DEVICE void add_edges(Packs<T, P>& acc, int left, int apart, const Next& next) {
  const auto add = [&](auto edges) {
    constexpr int E = decltype(edges)::value;
    T w[E];
    const T* at[E];
    EDT_UNROLL
    for (int u = 0; u < E; u += 2) next(w + u, at + u);
    EDT_UNROLL
    for (int u = 0; u < E; ++u) {
      EDT_UNROLL
      for (int q = 0; q < P; ++q)
        add_scaled(acc.v[q], w[u], load(q == 0 ? at[u] : bytes_on(at[u], q * apart)));
    }
  };
  if constexpr (U > 2) {
    EDT_NO_UNROLL
    for (; left >= U; left -= U) add(std::integral_constant<int, U>{});
  }
  EDT_NO_UNROLL
  for (; left > 0; left -= 2) add(std::integral_constant<int, 2>{});
}

// body(row, first sample, distance of packs) for every piece of one row by P packs.
template <class T, int P, class Body>
EDT_DEVICE void for_rows_of_packs(int rows, Tile tile, const Body& body) {
  const int shift = tile.shift - (P == 2), pieces = rows << shift;
  for (int t = int(threadIdx.x); t < pieces; t += int(blockDim.x))
    body(t >> shift, (t & ((1 << shift) - 1)) * kPack<T>, kPack<T> << shift);
}

// From row to row: in shared memory by bytes, which an int can reach.
template <bool Shared, class T>
EDT_DEVICE int row_step(Rows<const T> rows) {
  return Shared ? held(rows.ld * int(sizeof(T))) : rows.ld;
}
template <bool Shared, class T>
EDT_DEVICE const T* steps_on(const T* p, int steps) {
  return Shared ? bytes_on(p, steps) : p + steps;
}

// A row's (or column's) edges. In shared memory rows are taken longest first, so that those that
// lanes of a warp have at once are of one length.
struct EdgesOf {
  int row, first, count;
};
template <bool Shared>
EDT_DEVICE EdgesOf edges_of(const int* ints, int by_length, int ptr, int row) {
  if constexpr (Shared) {
    const Pack<int> of = load(ints + by_length + 4 * row);
    return {of.v[0], of.v[1], of.v[2]};
  } else {
    const int first = ints[ptr + row];
    return {row, first, ints[ptr + row + 1] - first};
  }
}

template <class T, bool Shared, int P>
EDT_DEVICE void edges_forward(const LayerRecord& ly, const int* ints, const T* p, Rows<const T> a,
                              Rows<T> z, Tile tile, Terms terms) {
  const auto to_row = row_step<Shared>(a);
  for_rows_of_packs<T, P>(ly.n_out, tile, [&](int row, int s, int apart) {
    const auto [j, k, count] = edges_of<Shared>(ints, ly.by_length, ly.row_ptr, row);
    Packs<T, P> acc;
    const T b = terms.bias && ly.bias >= 0 ? p[ly.bias + j] : T(0);
    EDT_UNROLL
    for (int q = 0; q < P; ++q) {
      acc.v[q] = terms.accumulate ? load(z.at(j, s + q * apart)) : splat(T(0));
      EDT_UNROLL
      for (int e = 0; e < kPack<T>; ++e) acc.v[q].v[e] += b;
    }
    const int* col = ints + ly.col + k;
    const T *w = p + ly.w + k, *const in = a.at(0, s);
    add_edges<T, Shared || sizeof(T) == 8 ? 2 : 4>(
        acc, count, held(apart * int(sizeof(T))), [&](T* by, const T** at) {
          const Two<int> cols = two(col);
          const Two<T> of = two(w);
          EDT_UNROLL
          for (int u = 0; u < 2; ++u) {
            by[u] = of.v[u];
            at[u] = steps_on<Shared>(in, cols.v[u] * to_row);
          }
          col += 2;
          w += 2;
        });
    EDT_UNROLL
    for (int q = 0; q < P; ++q) store<Shared>(z.at(j, s + q * apart), acc.v[q]);
  });
}

template <bool Times, class T, bool Shared, int P>
EDT_DEVICE void edges_backward(const LayerRecord& ly, const int* ints, const T* p, Rows<const T> dz,
                               Rows<T> da, Tile tile, bool accumulate) {
  const auto to_row = row_step<Shared>(dz);
  for_rows_of_packs<T, P>(ly.n_in, tile, [&](int column, int s, int apart) {
    const auto [i, k, count] = edges_of<Shared>(ints, ly.t_by_length, ly.t_ptr, column);
    Packs<T, P> acc;
    EDT_UNROLL
    for (int q = 0; q < P; ++q)
      acc.v[q] = accumulate ? load<T>(da.at(i, s + q * apart)) : splat(T(0));
    const int* edges = ints + ly.t + 2 * k;
    const T* const in = dz.at(0, s);
    add_edges<T, Shared || sizeof(T) == 8 ? 2 : 4>(
        acc, count, held(apart * int(sizeof(T))), [&](T* by, const T** at) {
          const Pack<int> of = load(edges);
          EDT_UNROLL
          for (int u = 0; u < 2; ++u) {
            by[u] = p[of.v[2 * u + 1]];
            at[u] = steps_on<Shared>(in, of.v[2 * u] * to_row);
          }
          edges += 4;
        });
    EDT_UNROLL
    for (int q = 0; q < P; ++q) store_scaled<Times, Shared>(da, i, s + q * apart, acc.v[q]);
  });
}

// A sparse layer: from rows in shared memory two edges at a time for two packs of samples, where
// that leaves neighbouring lanes a run of packs and every scheduler a warp; from global memory,
// where loads take longer, four edges.
template <class T, bool Shared, class Body>
EDT_DEVICE void by_packs(int rows, Tile tile, const Body& body) {
  if constexpr (Shared)
    if (tile.shift >= 4 && rows << (tile.shift - 1) >= enough_threads())
      return body(std::integral_constant<int, 2>{});
  body(std::integral_constant<int, 1>{});
}
template <class T, bool Shared = true>
EDT_DEVICE void sparse_forward(const LayerRecord& ly, const int* ints, const T* p, Rows<const T> a,
                               Rows<T> z, Tile tile, Terms terms) {
  by_packs<T, Shared>(ly.n_out, tile, [&](auto packs) {
    edges_forward<T, Shared, decltype(packs)::value>(ly, ints, p, a, z, tile, terms);
  });
}
template <bool Times, class T, bool Shared = true>
EDT_DEVICE void sparse_backward(const LayerRecord& ly, const int* ints, const T* p,
                                Rows<const T> dz, Rows<T> da, Tile tile, bool accumulate) {
  by_packs<T, Shared>(ly.n_in, tile, [&](auto packs) {
    edges_backward<Times, T, Shared, decltype(packs)::value>(ly, ints, p, dz, da, tile, accumulate);
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

// A thread sums up four neighbouring edges; they mostly share a row of dz.
template <class T, bool Weighted, class Sink>
EDT_DEVICE void sparse_gradient(const LayerRecord& ly, const int* ints, Rows<const T> dz,
                                Rows<const T> a, const T* weight, Tile tile, Share share,
                                const Sink& sink) {
  constexpr int E = 4, K = kPack<T>;
  const int packs = 1 << tile.shift;
  const auto weighted = [&](const T* d, int bytes) {
    Pack<T> x = load(bytes_on(d, bytes));
    if constexpr (Weighted) {
      const Pack<T> by = load(bytes_on(weight, bytes));
      EDT_UNROLL
      for (int e = 0; e < K; ++e) x.v[e] *= by.v[e];
    }
    return x;
  };
  const int d_row = held(dz.ld * int(sizeof(T))), a_row = held(a.ld * int(sizeof(T)));
  for_sums(ly.nnz / E, packs, share, [&](int piece, int slice, int slices, bool valid) {
    T acc[E] = {};
    if (valid) {
      const Pack<int> row = load(ints + ly.row + E * piece), col = load(ints + ly.col + E * piece);
      const T *d_at[E], *a_at[E];
      EDT_UNROLL
      for (int q = 0; q < E; ++q) {
        d_at[q] = bytes_on(dz.p, held(row.v[q] * d_row));
        a_at[q] = bytes_on(a.p, held(col.v[q] * a_row));
      }
      const int on = held(slices * share.groups * 16);
      EDT_NO_UNROLL
      for (int v = (slice + slices * share.group) * 16; v < packs * 16; v += on) {
        Pack<T> d = weighted(d_at[0], v);
        EDT_UNROLL
        for (int q = 0; q < E; ++q) {
          if (q > 0 && row.v[q] != row.v[q - 1]) d = weighted(d_at[q], v);
          const Pack<T> in = load(bytes_on(a_at[q], v));
          EDT_UNROLL
          for (int e = 0; e < K; ++e) acc[q] = fma(d.v[e], in.v[e], acc[q]);
        }
      }
    }
    const int first = shared_sums(acc, slices), kept = slices < E ? E / slices : 1;
    for (int bit = E; bit < slices; bit *= 2) acc[0] += __shfl_xor_sync(kFullMask, acc[0], bit);
    EDT_UNROLL
    for (int q = 0; q < E; ++q)
      if (valid && q < kept && slice < E) sink(ly.w + E * piece + first + q, acc[q]);
  });
  if (!sink.bias || ly.bias < 0) return;
  for_sums(ly.n_out, packs, share, [&](int j, int slice, int slices, bool valid) {
    T sum = T(0);
    EDT_NO_UNROLL
    for (int v = slice + slices * share.group; valid && v < packs; v += slices * share.groups) {
      const Pack<T> d = weighted(dz.at(j, 0), v * 16);
      EDT_UNROLL
      for (int e = 0; e < K; ++e) sum += d.v[e];
    }
    sum = lane_sum(sum, slices);
    if (valid && slice == 0) sink(ly.bias + j, sum);
  });
}

// sink(compressed index, sum over the tile of dz_j a_i), and of dz_j at the biases where the sink
// takes them. With `weight` every sample counts that much. Squares: in tiles of kSquareTile in
// shared memory, by kernels with registers for squares.cuh.
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
