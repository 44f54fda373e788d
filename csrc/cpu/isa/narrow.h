// Passes of narrow networks: one hidden layer, one output, a few inputs a neuron.
//
//   forward   z_j = b_j + sum_i w_ji x_i,  f = c + sum_j v_j sigma(z_j)
//   gradient  dv_j = sum_n e_n sigma_jn,  dw_ji = v_j sum_n e_n sigma'_jn x_in
//
// One neuron at a time over the samples of a block (lanes are samples). The rows of sigma and
// sigma' live in the second-level cache, the inputs and e in the first. Per neuron and vector of
// samples, K inputs: forward K + 1 fused multiply-adds and the activation, gradient K + 2
// multiplications and fused multiply-adds, one addition, K + 3 loads.
#pragma once
#include "cpu/isa/block.h"

namespace edt::EDT_ISA_NS {

#define EDT_INPUTS(n, CALL)                                                                        \
  switch (n) {                                                                                     \
    case 0:                                                                                        \
      CALL(0);                                                                                     \
      break;                                                                                       \
    case 1:                                                                                        \
      CALL(1);                                                                                     \
      break;                                                                                       \
    case 2:                                                                                        \
      CALL(2);                                                                                     \
      break;                                                                                       \
    case 3:                                                                                        \
      CALL(3);                                                                                     \
      break;                                                                                       \
    case 4:                                                                                        \
      CALL(4);                                                                                     \
      break;                                                                                       \
    case 5:                                                                                        \
      CALL(5);                                                                                     \
      break;                                                                                       \
    case 6:                                                                                        \
      CALL(6);                                                                                     \
      break;                                                                                       \
    case 7:                                                                                        \
      CALL(7);                                                                                     \
      break;                                                                                       \
    default:                                                                                       \
      CALL(8);                                                                                     \
      break;                                                                                       \
  }

template <int K, class T>
void narrow_affine(const T* w, T bias, const int* col, const T* x, int64_t ldx, int64_t n, T* z) {
  using V = Vec<T>;
  const T* row[K + 1];
  V wk[K + 1];
  for (int k = 0; k < K; ++k) {
    row[k] = x + col[k] * ldx;
    wk[k] = V::set1(w[k]);
  }
  const V b = V::set1(bias);
  for (int64_t s = 0; s < n; s += V::L) {
    V acc = b;
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) acc = fma(wk[k], V::load(row[k] + s), acc);
    acc.store(z + s);
  }
}

// f += sum of R rows of a, weighted, in the order of the rows.
template <int R, class T>
void narrow_output(const T* const* a, const T* v, int64_t n, T* f) {
  using V = Vec<T>;
  V w[R];
  for (int r = 0; r < R; ++r) w[r] = V::set1(v[r]);
  for (int64_t s = 0; s < n; s += V::L) {
    V acc = V::load(f + s);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) acc = fma(w[r], V::load(a[r] + s), acc);
    acc.store(f + s);
  }
}

template <class T>
void narrow_forward(Block<T>& b, const T* p, const Samples<T>& in) {
  using V = Vec<T>;
  const Layer &l0 = b.net.layers[0], &l1 = b.net.layers[1];
  const V c = V::set1(l1.bias[0] >= 0 ? p[l1.bias[0]] : T(0));
  for (int64_t s = 0; s < in.n; s += V::L) c.store(b.f + s);
  constexpr int R = 4;
  const T* rows[R];
  int held = 0;
  for (int j = 0; j < l0.n_out; ++j) {
    const int* col = l0.col.data() + l0.row_ptr[j];
    const int inputs = l0.row_ptr[j + 1] - l0.row_ptr[j];
    const T bias = l0.bias[j] >= 0 ? p[l0.bias[j]] : T(0);
    const int64_t at = j * b.ld;
    T* a = b.a[1] + at;
    T* out[4] = {a, b.order >= 1 ? b.d1[1] + at : nullptr, b.order >= 2 ? b.d2[1] + at : nullptr,
                 nullptr};
    const T* w = p + l0.row_start[j];
#define EDT_CALL(K) narrow_affine<K>(w, bias, col, in.x, in.ldx, inputs ? in.n : V::L, a)
    EDT_INPUTS(inputs, EDT_CALL)
#undef EDT_CALL
    if (inputs) {
      b.act(a, out, in.n);
    } else {
      // Without inputs a neuron is constant.
      b.act(a, out, V::L);
      for (int k = 0; k <= b.order; ++k) {
        const V constant = V::load(out[k]);
        for (int64_t s = V::L; s < in.n; s += V::L) constant.store(out[k] + s);
      }
    }
    rows[held++] = a;
    const T* v = p + l1.row_start[0] + j + 1 - held;
    if (held == R) {
      narrow_output<R>(rows, v, in.n, b.f);
      held = 0;
    } else if (j + 1 == l0.n_out) {
      for (int r = 0; r < held; ++r) narrow_output<1>(rows + r, v + r, in.n, b.f);
    }
  }
}

// Gradient of the outgoing weight and of the K incoming weights of one neuron in a single sweep.
template <int K, class T>
EDT_INLINE void narrow_gradient(const T* e, const T* a, const T* d1, T v, const int* col,
                                const T* x, int64_t ldx, int64_t n, T* g_in, T* g_bias, T* g_out) {
  using V = Vec<T>;
  V gi[K + 1], gb = V::zero(), go = V::zero();
  const T* row[K + 1];
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) {
    row[k] = x + col[k] * ldx;
    gi[k] = V::zero();
  }
#pragma GCC unroll 2
  for (int64_t s = 0; s < n; s += V::L) {
    const V es = V::load(e + s);
    const V d = es * V::load(d1 + s);
    go = fma(es, V::load(a + s), go);
    gb = gb + d;
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) gi[k] = fma(d, V::load(row[k] + s), gi[k]);
  }
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) g_in[k] += v * hsum(gi[k]);
  if (g_bias) *g_bias += v * hsum(gb);
  *g_out += hsum(go);
}

template <class T>
void narrow_backward(Block<T>& b, const T* p, const Samples<T>& in, T* g) {
  const Layer &l0 = b.net.layers[0], &l1 = b.net.layers[1];
  const T* e = b.delta[2];
  for (int j = 0; j < l0.n_out; ++j) {
    const int* col = l0.col.data() + l0.row_ptr[j];
    const T *a = b.a[1] + j * b.ld, *d1 = b.d1[1] + j * b.ld;
    const int out = l1.row_start[0] + j;
    T* gi = g + l0.row_start[j];
    T* gb = l0.bias[j] >= 0 ? g + l0.bias[j] : nullptr;
#define EDT_CALL(K) narrow_gradient<K>(e, a, d1, p[out], col, in.x, in.ldx, in.n, gi, gb, g + out)
    EDT_INPUTS(l0.row_ptr[j + 1] - l0.row_ptr[j], EDT_CALL)
#undef EDT_CALL
  }
  if (l1.bias[0] >= 0) {
    using V = Vec<T>;
    V sum = V::zero();
    for (int64_t s = 0; s < in.n; s += V::L) sum = sum + V::load(e + s);
    g[l1.bias[0]] += hsum(sum);
  }
}

}  // namespace edt::EDT_ISA_NS
