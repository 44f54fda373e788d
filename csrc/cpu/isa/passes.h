// Forward and backward passes of one network over one block, and the losses.
#pragma once
#include "cpu/isa/affine.h"

namespace edt::EDT_ISA_NS {

template <class T>
void forward(Block<T>& b, const T* p, const Samples<T>& in) {
  const T* x = in.x;
  int64_t ldx = in.ldx;
  for (int l = 0; l < b.n_layers; ++l) {
    const Layer& ly = b.net.layers[l];
    const bool last = l + 1 == b.n_layers;
    T* z = last ? b.f : b.a[l + 1];
    affine_forward(ly, p, x, ldx, z, b.ld, in.n);
    if (last) break;
    for (int j = 0; j < ly.n_out; ++j) {
      const int64_t at = j * b.ld;
      T* out[4] = {b.a[l + 1] + at, b.order >= 1 ? b.d1[l + 1] + at : nullptr,
                   b.order >= 2 ? b.d2[l + 1] + at : nullptr, nullptr};
      b.act(z + at, out, in.n);
    }
    x = z;
    ldx = b.ld;
  }
}

// Softmax of the outputs, row by row, over one vector of samples; returns log-sum-exp.
template <class T>
EDT_INLINE Vec<T> softmax(const T* f, int64_t ld, int d_out, int64_t s, Vec<T>* prob, T* prob_rows) {
  using V = Vec<T>;
  V m = V::load(f + s);
  for (int o = 1; o < d_out; ++o) m = max(m, V::load(f + o * ld + s));
  V z = V::zero();
  for (int o = 0; o < d_out; ++o) {
    const V e = exp_v(V::load(f + o * ld + s) - m);
    e.store(prob_rows + o * ld + s);
    z = z + e;
  }
  const V inv = V::set1(T(1)) / z;
  for (int o = 0; o < d_out; ++o) (V::load(prob_rows + o * ld + s) * inv).store(prob_rows + o * ld + s);
  (void)prob;
  return m + log_v(z);
}

// Sum over the block of c_n l_n; with Grad also delta = c_n dl/df.
template <bool Grad, class T>
T loss_block(Loss kind, const T* f, int64_t ld, const Samples<T>& in, int d_out, T* delta) {
  using V = Vec<T>;
  V total = V::zero();
  if (kind == Loss::mse) {
    for (int64_t s = 0; s < in.n; s += V::L) {
      const V cn = V::load(in.coef + s), c2 = cn + cn;
      V sum = V::zero();
      for (int o = 0; o < d_out; ++o) {
        const V r = V::load(f + o * ld + s) - V::loadu(in.y + o * in.ldx + s);
        sum = fma(r, r, sum);
        if constexpr (Grad) (c2 * r).store(delta + o * ld + s);
      }
      total = fma(cn, sum, total);
    }
  } else {
    for (int64_t s = 0; s < in.n; s += V::L) {
      const V cn = V::load(in.coef + s);
      V lse, picked = V::zero();
      // delta doubles as the probabilities' buffer
      lse = softmax<T>(f, ld, d_out, s, nullptr, delta);
      for (int o = 0; o < d_out; ++o) {
        const V y = V::load(in.y + o * in.ldx + s);
        picked = fma(y, V::load(f + o * ld + s), picked);
        (cn * (V::load(delta + o * ld + s) - y)).store(delta + o * ld + s);
      }
      total = fma(cn, lse - picked, total);
    }
  }
  return hsum(total);
}

// dst = a * b over n entries of each row.
template <class T>
EDT_INLINE void multiply_rows(const T* a, const T* b, T* dst, int rows, int64_t ld, int64_t n) {
  using V = Vec<T>;
  for (int r = 0; r < rows; ++r)
    for (int64_t s = 0; s < n; s += V::L)
      (V::load(a + r * ld + s) * V::load(b + r * ld + s)).store(dst + r * ld + s);
}

// Narrow scalar-output case: error, gradient of the outgoing weight and of K incoming weights of
// one hidden neuron in a single sweep. d = w_out delta_out sigma'(z).
template <int K, class T>
EDT_INLINE void narrow_neuron(const T* dout, const T* a, const T* d1, T w_out, const int* col,
                              const T* x, int64_t ldx, int64_t n, T* g_in, T* g_bias, T* g_out) {
  using V = Vec<T>;
  constexpr int U = K <= 5 ? 2 : 1;  // independent sums: hides the latency of the additions
  V gi[U][K + 1], gb[U], go[U];
  const T* xr[K + 1];
  for (int k = 0; k < K; ++k) xr[k] = x + col[k] * ldx;
#pragma GCC unroll 2
  for (int u = 0; u < U; ++u) {
    gb[u] = go[u] = V::zero();
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) gi[u][k] = V::zero();
  }
  const V w = V::set1(w_out);
  auto step = [&](int u, int64_t s) __attribute__((always_inline)) {
    const V e = V::load(dout + s);
    const V d = e * w * V::load(d1 + s);
    go[u] = fma(e, V::load(a + s), go[u]);
    gb[u] = gb[u] + d;
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) gi[u][k] = fma(d, V::load(xr[k] + s), gi[u][k]);
  };
  int64_t s = 0;
  if constexpr (U == 2)
    for (; s + 2 * V::L <= n; s += 2 * V::L) {
      step(0, s);
      step(1, s + V::L);
    }
  for (; s < n; s += V::L) step(0, s);
  if constexpr (U == 2) {
    gb[0] = gb[0] + gb[1];
    go[0] = go[0] + go[1];
#pragma GCC unroll 8
    for (int k = 0; k < K; ++k) gi[0][k] = gi[0][k] + gi[1][k];
  }
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) g_in[k] += hsum(gi[0][k]);
  if (g_bias) *g_bias += hsum(gb[0]);
  *g_out += hsum(go[0]);
}

template <class T>
bool narrow(const Net& net) {
  if (net.layers.size() != 2 || net.d_out != 1 || net.layers[1].nnz() != net.layers[1].n_in)
    return false;
  const Layer& ly = net.layers[0];
  for (int j = 0; j < ly.n_out; ++j)
    if (ly.row_ptr[j + 1] - ly.row_ptr[j] > 8) return false;
  return true;
}

template <class T>
void narrow_backward(Block<T>& b, const T* p, const Samples<T>& in, T* g) {
  const Layer &l0 = b.net.layers[0], &l1 = b.net.layers[1];
  const T* dout = b.delta[2];
  for (int j = 0; j < l0.n_out; ++j) {
    const int* col = l0.col.data() + l0.row_ptr[j];
    const T *a = b.a[1] + j * b.ld, *d1 = b.d1[1] + j * b.ld;
    const int out = l1.row_start[0] + j;
    T* gi = g + l0.row_start[j];
    T* gb = l0.bias[j] >= 0 ? g + l0.bias[j] : nullptr;
    switch (l0.row_ptr[j + 1] - l0.row_ptr[j]) {
#define EDT_CASE(K)                                                                       \
  case K:                                                                                 \
    narrow_neuron<K>(dout, a, d1, p[out], col, in.x, in.ldx, in.n, gi, gb, g + out);      \
    break;
      EDT_CASE(0) EDT_CASE(1) EDT_CASE(2) EDT_CASE(3) EDT_CASE(4)
      EDT_CASE(5) EDT_CASE(6) EDT_CASE(7) EDT_CASE(8)
#undef EDT_CASE
      default: break;
    }
  }
  if (l1.bias[0] >= 0) g[l1.bias[0]] += row_sum(dout, in.n);
}

// From delta at the outputs: delta of every layer (and da = dL/da when kept), g += gradient.
template <class T>
void backward(Block<T>& b, const T* p, const Samples<T>& in, T* g) {
  for (int l = b.n_layers - 1; l >= 0; --l) {
    const Layer& ly = b.net.layers[l];
    const T* dz = b.delta[l + 1];
    const T* a = l == 0 ? in.x : b.a[l];
    if (g) affine_gradient(ly, dz, b.ld, a, l == 0 ? in.ldx : b.ld, in.n, g);
    if (l == 0) break;
    T* da = b.da[l] ? b.da[l] : b.delta[l];
    affine_backward(ly, p, dz, b.ld, da, in.n);
    multiply_rows(da, b.d1[l], b.delta[l], ly.n_in, b.ld, in.n);
  }
}

template <class T>
Samples<T> samples_at(const Problem<T>& pr, int64_t s0, int64_t n) {
  const auto& d = *pr.data;
  return {d.x + pr.task * d.d_in * d.n_pad + s0, d.y + pr.task * d.d_out * d.n_pad + s0,
          d.coef + pr.task * d.n_pad + s0, d.n_pad, n};
}

// Loss and compressed gradient over `all` samples, block by block.
template <class T>
double evaluate(Block<T>& b, const T* p, Loss kind, const Samples<T>& all, T* g, bool is_narrow) {
  double loss = 0;
  for (int64_t s = 0; s < all.n; s += b.ld) {
    const Samples<T> in{all.x + s, all.y + s, all.coef + s, all.ldx, std::min(b.ld, all.n - s)};
    forward(b, p, in);
    T* delta = b.delta[b.n_layers];
    loss += loss_block<true>(kind, b.f, b.ld, in, b.net.d_out, delta);
    if (!g) continue;
    if (is_narrow) narrow_backward(b, p, in, g);
    else backward(b, p, in, g);
  }
  return loss;
}

}  // namespace edt::EDT_ISA_NS
