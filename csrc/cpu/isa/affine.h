// Affine layers over a block of samples, dense or sparse:
//   forward    Z_j  = b_j + sum_k w_jk A_k          (rows are neurons, lanes are samples)
//   backward   dA_i = sum_j w_ji dZ_j
//   gradient   g_jk = sum_n dZ_jn A_kn,  g_bj = sum_n dZ_jn
// Dense layers use register tiles of kTileRows neurons x kTileVecs sample vectors; sparse layers
// gather the rows named by the compressed index. Every sum runs in index order, so the tile shape
// never changes a bit, nor does which rows of the result one call forms.
#pragma once
#include "cpu/isa/block.h"
#include "cpu/isa/transpose.h"

namespace edt::EDT_ISA_NS {

struct Rows {
  int from, to;
};

template <int R, int S, bool Acc, class T>
EDT_INLINE void forward_tile(const Layer& ly, const T* p, const T* in, int64_t ldi, T* out,
                             int64_t ldo, int j0, int64_t s0, bool bias) {
  using V = Vec<T>;
  V acc[R][S];
  const T* w[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    const int j = j0 + r;
    w[r] = p + ly.row_start[j];
    const V b = V::set1(bias && ly.bias[j] >= 0 ? p[ly.bias[j]] : T(0));
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) acc[r][s] = Acc ? b + V::load(out + j * ldo + s0 + s * V::L) : b;
  }
  for (int k = 0; k < ly.n_in; ++k) {
    V x[S];
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) x[s] = V::load(in + k * ldi + s0 + s * V::L);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const V wr = V::set1(w[r][k]);
#pragma GCC unroll 8
      for (int s = 0; s < S; ++s) acc[r][s] = fma(wr, x[s], acc[r][s]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) acc[r][s].store(out + (j0 + r) * ldo + s0 + s * V::L);
}

template <int S, bool Acc, class T>
EDT_INLINE void forward_sparse(const Layer& ly, const T* p, const T* in, int64_t ldi, T* out,
                               int64_t ldo, int j, int64_t s0, bool bias) {
  using V = Vec<T>;
  const T* w = p + ly.row_start[j];
  const int* col = ly.col.data() + ly.row_ptr[j];
  const int nnz = ly.row_ptr[j + 1] - ly.row_ptr[j];
  const V b = V::set1(bias && ly.bias[j] >= 0 ? p[ly.bias[j]] : T(0));
  V acc[S];
#pragma GCC unroll 8
  for (int s = 0; s < S; ++s) acc[s] = Acc ? b + V::load(out + j * ldo + s0 + s * V::L) : b;
  for (int k = 0; k < nnz; ++k) {
    const V wk = V::set1(w[k]);
    const T* x = in + col[k] * ldi + s0;
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) acc[s] = fma(wk, V::load(x + s * V::L), acc[s]);
  }
#pragma GCC unroll 8
  for (int s = 0; s < S; ++s) acc[s].store(out + j * ldo + s0 + s * V::L);
}

// R rows over samples [s, end).
template <int R, bool Acc, class T>
EDT_INLINE void forward_rows(const Layer& ly, const T* p, const T* in, int64_t ldi, T* out,
                             int64_t ldo, int j, int64_t s, int64_t end, bool bias) {
  constexpr int64_t step = int64_t(kTileVecs) * Vec<T>::L;
  for (; s + step <= end; s += step)
    forward_tile<R, kTileVecs, Acc>(ly, p, in, ldi, out, ldo, j, s, bias);
  for (; s < end; s += Vec<T>::L) forward_tile<R, 1, Acc>(ly, p, in, ldi, out, ldo, j, s, bias);
}

template <bool Acc, class T>
void forward_chunk(const Layer& ly, Rows rows, const T* p, const T* in, int64_t ldi, T* out,
                   int64_t ldo, int64_t s, int64_t end, bool bias) {
  int j = rows.from;
  for (; j + kTileRows <= rows.to; j += kTileRows)
    forward_rows<kTileRows, Acc>(ly, p, in, ldi, out, ldo, j, s, end, bias);
  for (; j + 2 <= rows.to; j += 2) forward_rows<2, Acc>(ly, p, in, ldi, out, ldo, j, s, end, bias);
  for (; j < rows.to; ++j) forward_rows<1, Acc>(ly, p, in, ldi, out, ldo, j, s, end, bias);
}

// These rows of Z (+)= W A (+ b) over n samples.
template <bool Acc = false, class T>
void affine_forward(const Layer& ly, Rows rows, const T* p, const T* in, int64_t ldi, T* out,
                    int64_t ldo, int64_t n, bool bias = true) {
  constexpr int64_t chunk = int64_t(kChunkVecs) * Vec<T>::L, wide = kSparseVecs * Vec<T>::L;
  int64_t s = 0;
  if (ly.dense) {
    for (; s < n; s += chunk)
      forward_chunk<Acc>(ly, rows, p, in, ldi, out, ldo, s, std::min(n, s + chunk), bias);
    return;
  }
  for (; s + wide <= n; s += wide)
    for (int j = rows.from; j < rows.to; ++j)
      forward_sparse<kSparseVecs, Acc>(ly, p, in, ldi, out, ldo, j, s, bias);
  for (; s < n; s += Vec<T>::L)
    for (int j = rows.from; j < rows.to; ++j)
      forward_sparse<1, Acc>(ly, p, in, ldi, out, ldo, j, s, bias);
}
template <bool Acc = false, class T>
void affine_forward(const Layer& ly, const T* p, const T* in, int64_t ldi, T* out, int64_t ldo,
                    int64_t n, bool bias = true) {
  affine_forward<Acc>(ly, Rows{0, ly.n_out}, p, in, ldi, out, ldo, n, bias);
}

template <int R, int S, bool Acc, class T>
EDT_INLINE void backward_tile(const Layer& ly, const T* p, const T* dz, int64_t ld, T* out, int i0,
                              int64_t s0) {
  using V = Vec<T>;
  V acc[R][S];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s)
      acc[r][s] = Acc ? V::load(out + (i0 + r) * ld + s0 + s * V::L) : V::zero();
  for (int j = 0; j < ly.n_out; ++j) {
    V x[S];
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) x[s] = V::load(dz + j * ld + s0 + s * V::L);
    const T* w = p + ly.row_start[j] + i0;
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const V wr = V::set1(w[r]);
#pragma GCC unroll 8
      for (int s = 0; s < S; ++s) acc[r][s] = fma(wr, x[s], acc[r][s]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) acc[r][s].store(out + (i0 + r) * ld + s0 + s * V::L);
}

template <int S, bool Acc, class T>
EDT_INLINE void backward_sparse(const Layer& ly, const T* p, const T* dz, int64_t ld, T* out, int i,
                                int64_t s0) {
  using V = Vec<T>;
  V acc[S];
#pragma GCC unroll 8
  for (int s = 0; s < S; ++s) acc[s] = Acc ? V::load(out + i * ld + s0 + s * V::L) : V::zero();
  for (int k = ly.t_ptr[i]; k < ly.t_ptr[i + 1]; ++k) {
    const V wk = V::set1(p[ly.t_param[k]]);
    const T* x = dz + ly.t_row[k] * ld + s0;
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) acc[s] = fma(wk, V::load(x + s * V::L), acc[s]);
  }
#pragma GCC unroll 8
  for (int s = 0; s < S; ++s) acc[s].store(out + i * ld + s0 + s * V::L);
}

// R rows over samples [s, end).
template <int R, bool Acc, class T>
EDT_INLINE void backward_rows(const Layer& ly, const T* p, const T* dz, int64_t ld, T* out, int i,
                              int64_t s, int64_t end) {
  constexpr int64_t step = int64_t(kTileVecs) * Vec<T>::L;
  for (; s + step <= end; s += step) backward_tile<R, kTileVecs, Acc>(ly, p, dz, ld, out, i, s);
  for (; s < end; s += Vec<T>::L) backward_tile<R, 1, Acc>(ly, p, dz, ld, out, i, s);
}

template <bool Acc, class T>
void backward_chunk(const Layer& ly, Rows rows, const T* p, const T* dz, int64_t ld, T* out,
                    int64_t s, int64_t end) {
  int i = rows.from;
  for (; i + kTileRows <= rows.to; i += kTileRows)
    backward_rows<kTileRows, Acc>(ly, p, dz, ld, out, i, s, end);
  for (; i + 2 <= rows.to; i += 2) backward_rows<2, Acc>(ly, p, dz, ld, out, i, s, end);
  for (; i < rows.to; ++i) backward_rows<1, Acc>(ly, p, dz, ld, out, i, s, end);
}

// These rows of dA (+)= W^T dZ; rows of dz and out are ld apart.
template <bool Acc = false, class T>
void affine_backward(const Layer& ly, Rows rows, const T* p, const T* dz, int64_t ld, T* out,
                     int64_t n) {
  constexpr int64_t chunk = int64_t(kChunkVecs) * Vec<T>::L, wide = kSparseVecs * Vec<T>::L;
  int64_t s = 0;
  if (ly.dense) {
    for (; s < n; s += chunk)
      backward_chunk<Acc>(ly, rows, p, dz, ld, out, s, std::min(n, s + chunk));
    return;
  }
  for (; s + wide <= n; s += wide)
    for (int i = rows.from; i < rows.to; ++i)
      backward_sparse<kSparseVecs, Acc>(ly, p, dz, ld, out, i, s);
  for (; s < n; s += Vec<T>::L)
    for (int i = rows.from; i < rows.to; ++i) backward_sparse<1, Acc>(ly, p, dz, ld, out, i, s);
}
template <bool Acc = false, class T>
void affine_backward(const Layer& ly, const T* p, const T* dz, int64_t ld, T* out, int64_t n) {
  affine_backward<Acc>(ly, Rows{0, ly.n_in}, p, dz, ld, out, n);
}

// The gradient of a dense layer in one of two forms. Dot products: lanes are samples, and every
// entry ends in a sum over lanes. Outer products: lanes are inputs, turned panel by panel, and no
// entry needs such a sum, which is what counts when samples are few beside the rows that share a
// panel.

// g of R rows += outer products of n samples with a panel of S vectors, `cols` of its lanes in use.
template <int R, int S, class T>
EDT_INLINE void outer_tile(const Layer& ly, const T* dz, int64_t ld, const T* panel, int64_t n,
                           T* g, int j0, int i0, int cols) {
  using V = Vec<T>;
  V acc[R][S];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int q = 0; q < S; ++q) acc[r][q] = V::zero();
  const T* d = dz + j0 * ld;
  for (int64_t s = 0; s < n; ++s, panel += S * V::L) {
    V x[S];
#pragma GCC unroll 4
    for (int q = 0; q < S; ++q) x[q] = V::load(panel + q * V::L);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const V dr = V::set1(d[r * ld + s]);
#pragma GCC unroll 4
      for (int q = 0; q < S; ++q) acc[r][q] = fma(dr, x[q], acc[r][q]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    T* gr = g + ly.row_start[j0 + r] + i0;
    if (cols == S * V::L) {
#pragma GCC unroll 4
      for (int q = 0; q < S; ++q) (V::loadu(gr + q * V::L) + acc[r][q]).storeu(gr + q * V::L);
    } else {
      alignas(64) T last[S * V::L];
#pragma GCC unroll 4
      for (int q = 0; q < S; ++q) acc[r][q].store(last + q * V::L);
      for (int k = 0; k < cols; ++k) gr[k] += last[k];
    }
  }
}

// The columns [i, i + cols) of the gradient, at most S vectors.
template <int S, class T>
void outer_columns(const Layer& ly, const T* dz, int64_t ld, const T* in, int64_t ldi, int64_t n,
                   T* g, int i, int cols) {
  constexpr int W = S * Vec<T>::L;
  alignas(64) T panel[kPanelSamples * W];
  for (int64_t s = 0; s < n; s += kPanelSamples) {
    const int64_t m = std::min<int64_t>(kPanelSamples, n - s);
    if (cols < W) std::fill(panel, panel + m * W, T(0));
    transpose_rows(in + i * ldi + s, ldi, m, cols, panel, W);
    const T* d = dz + s;
    int j = 0;
    for (; j + kOuterRows <= ly.n_out; j += kOuterRows)
      outer_tile<kOuterRows, S>(ly, d, ld, panel, m, g, j, i, cols);
    for (; j + 4 <= ly.n_out; j += 4) outer_tile<4, S>(ly, d, ld, panel, m, g, j, i, cols);
    for (; j + 2 <= ly.n_out; j += 2) outer_tile<2, S>(ly, d, ld, panel, m, g, j, i, cols);
    if (j < ly.n_out) outer_tile<1, S>(ly, d, ld, panel, m, g, j, i, cols);
  }
}

// How many columns of the gradient are formed by outer products: as many as fill vectors by half.
template <class T>
int outer_columns_of(const Layer& ly, int64_t n) {
  constexpr int L = Vec<T>::L;
  if (!ly.dense || ly.n_out < 4 || n * int64_t(sizeof(T)) > kOuterBytes * ly.n_out) return 0;
  const int rest = ly.n_in % L;
  return 2 * rest >= L ? ly.n_in : ly.n_in - rest;
}

// These columns by outer products; the first is a multiple of kOuterVecs vectors.
template <class T>
void outer_gradient(const Layer& ly, Rows columns, const T* dz, int64_t ld, const T* in,
                    int64_t ldi, int64_t n, T* g) {
  constexpr int L = Vec<T>::L;
  int i = columns.from;
  for (; i + kOuterVecs * L <= columns.to; i += kOuterVecs * L)
    outer_columns<kOuterVecs>(ly, dz, ld, in, ldi, n, g, i, kOuterVecs * L);
  for (; i < columns.to; i += L)
    outer_columns<1>(ly, dz, ld, in, ldi, n, g, i, std::min(L, columns.to - i));
}

// RJ x RI entries of the gradient. One native register at a time of each virtual vector, so that
// the accumulators stay in registers; they meet again in hsum.
template <int RJ, int RI, class T>
EDT_INLINE void gradient_tile(const Layer& ly, const T* dz, int64_t ld, const T* in, int64_t ldi,
                              int64_t n, T* g, int j0, int i0) {
  using V = Vec<T>;
  using R = Vec<T, 1>;
  V sum[RJ][RI];
#pragma GCC unroll 1
  for (int p = 0; p < kParts; ++p) {
    R acc[RJ][RI];
#pragma GCC unroll 8
    for (int r = 0; r < RJ; ++r)
#pragma GCC unroll 8
      for (int q = 0; q < RI; ++q) acc[r][q] = R::zero();
    const T *d = dz + j0 * ld + p * R::L, *x = in + i0 * ldi + p * R::L;
    for (int64_t s = 0; s < n; s += V::L, d += V::L, x += V::L) {
      R xs[RI];
#pragma GCC unroll 8
      for (int q = 0; q < RI; ++q) xs[q] = R::load(x + q * ldi);
#pragma GCC unroll 8
      for (int r = 0; r < RJ; ++r) {
        const R dr = R::load(d + r * ld);
#pragma GCC unroll 8
        for (int q = 0; q < RI; ++q) acc[r][q] = fma(dr, xs[q], acc[r][q]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < RJ; ++r)
#pragma GCC unroll 8
      for (int q = 0; q < RI; ++q) sum[r][q].v[p] = acc[r][q].v[0];
  }
#pragma GCC unroll 8
  for (int r = 0; r < RJ; ++r)
#pragma GCC unroll 8
    for (int q = 0; q < RI; ++q) g[ly.row_start[j0 + r] + i0 + q] += hsum(sum[r][q]);
}

template <int RJ, class T>
void gradient_rows(const Layer& ly, const T* dz, int64_t ld, const T* in, int64_t ldi, int64_t n,
                   T* g, int j, int i) {
  // Four left over are better split evenly.
  for (; ly.n_in - i >= 3 && ly.n_in - i != 4; i += 3)
    gradient_tile<RJ, 3>(ly, dz, ld, in, ldi, n, g, j, i);
  for (; ly.n_in - i >= 2; i += 2) gradient_tile<RJ, 2>(ly, dz, ld, in, ldi, n, g, j, i);
  if (i < ly.n_in) gradient_tile<RJ, 1>(ly, dz, ld, in, ldi, n, g, j, i);
}

template <int K, class T>
EDT_INLINE void gradient_edges(const int* col, const T* dz, const T* in, int64_t ldi, int64_t n,
                               T* g) {
  using V = Vec<T>;
  using R = Vec<T, 1>;
  V sum[K];
#pragma GCC unroll 1
  for (int p = 0; p < kParts; ++p) {
    R acc[K];
    const T* x[K];
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) {
      acc[k] = R::zero();
      x[k] = in + col[k] * ldi + p * R::L;
    }
    const T* d = dz + p * R::L;
    for (int64_t s = 0; s < n; s += V::L) {
      const R ds = R::load(d + s);
#pragma GCC unroll 8
      for (int k = 0; k < K; ++k) acc[k] = fma(ds, R::load(x[k] + s), acc[k]);
    }
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) sum[k].v[p] = acc[k].v[0];
  }
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) g[k] += hsum(sum[k]);
}

template <class T>
EDT_INLINE T row_sum(const T* x, int64_t n) {
  using V = Vec<T>;
  V a = V::zero();
  for (int64_t s = 0; s < n; s += V::L) a = a + V::load(x + s);
  return hsum(a);
}

// These rows of g += dZ A^T (and of the row sums for the biases) over n samples, from a column on.
template <class T>
void gradient_of_rows(const Layer& ly, Rows rows, int from, const T* dz, int64_t ld, const T* in,
                      int64_t ldi, int64_t n, T* g, bool with_bias) {
  if (ly.dense) {
    int j = rows.from;
    for (; j + 4 <= rows.to; j += 4) gradient_rows<4>(ly, dz, ld, in, ldi, n, g, j, from);
    for (; j < rows.to; ++j) gradient_rows<1>(ly, dz, ld, in, ldi, n, g, j, from);
  } else {
    for (int j = rows.from; j < rows.to; ++j) {
      const int* col = ly.col.data() + ly.row_ptr[j];
      T* gj = g + ly.row_start[j];
      const T* dj = dz + j * ld;
      int left = ly.row_ptr[j + 1] - ly.row_ptr[j];
      for (; left >= 8; left -= 8, col += 8, gj += 8) gradient_edges<8>(col, dj, in, ldi, n, gj);
      switch (left) {
        case 7:
          gradient_edges<7>(col, dj, in, ldi, n, gj);
          break;
        case 6:
          gradient_edges<6>(col, dj, in, ldi, n, gj);
          break;
        case 5:
          gradient_edges<5>(col, dj, in, ldi, n, gj);
          break;
        case 4:
          gradient_edges<4>(col, dj, in, ldi, n, gj);
          break;
        case 3:
          gradient_edges<3>(col, dj, in, ldi, n, gj);
          break;
        case 2:
          gradient_edges<2>(col, dj, in, ldi, n, gj);
          break;
        case 1:
          gradient_edges<1>(col, dj, in, ldi, n, gj);
          break;
        default:
          break;
      }
    }
  }
  if (with_bias)
    for (int j = rows.from; j < rows.to; ++j)
      if (ly.bias[j] >= 0) g[ly.bias[j]] += row_sum(dz + j * ld, n);
}

// g += dZ A^T (and row sums for the biases) over n samples.
template <class T>
void affine_gradient(const Layer& ly, const T* dz, int64_t ld, const T* in, int64_t ldi, int64_t n,
                     T* g, bool with_bias = true) {
  const int outer = outer_columns_of<T>(ly, n);
  if (outer) outer_gradient(ly, Rows{0, outer}, dz, ld, in, ldi, n, g);
  gradient_of_rows(ly, Rows{0, ly.n_out}, outer, dz, ld, in, ldi, n, g, with_bias);
}

}  // namespace edt::EDT_ISA_NS
