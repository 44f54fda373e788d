// Losses of one output at a time: l(f, y) and its first K <= 2 derivatives in f, to s[0..K]; the
// formulas of csrc/cpu/isa/losses.h.
#pragma once
#include "cuda/activations.cuh"
#include "math/losses.h"

namespace edt::cuda {

template <int K, class T>
EDT_DEVICE void scalar_loss(Loss kind, T f, T y, T* s) {
  if (kind == Loss::bce || kind == Loss::logistic) {
    // log1p(exp(-|z|)) and its slopes, without taking large numbers from each other.
    const bool margin = kind == Loss::logistic;
    const T z = margin ? y * f : f;
    const auto x = exp_nonpositive(-fabs(z));
    const T e1 = x.e + T(1), e2 = x.e + T(2), r = T(1) / (e1 * e2), t = x.e * e1 * r;
    const T inverse = e2 * r, tail = x.e * inverse;
    const T base = margin ? at_least(-z, T(0)) : at_least(z, T(0)) - y * f;
    s[0] = fma(t, poly<Log1pTable>(t * t), base);
    if constexpr (K >= 1) {
      if (margin) s[1] = -y * (z > T(0) ? tail : inverse);
      else s[1] = z > T(0) ? (T(1) - y) - tail : tail - y;
    }
    if constexpr (K >= 2) s[2] = (margin ? y * y : T(1)) * (tail * inverse);
  } else if (kind == Loss::squared_hinge) {
    const T short_by = at_least(T(1) - y * f, T(0));
    s[0] = short_by * short_by;
    if constexpr (K >= 1) s[1] = T(-2) * y * short_by;
    if constexpr (K >= 2) s[2] = short_by > T(0) ? T(2) * y * y : T(0);
  } else {
    const T r = f - y, a = fabs(r);
    const bool far = a > T(1);
    s[0] = far ? a - T(0.5) : T(0.5) * r * r;
    if constexpr (K >= 1) s[1] = at_least(at_most(r, T(1)), T(-1));
    if constexpr (K >= 2) s[2] = far ? T(0) : T(1);
  }
}

// c l of one sample with outputs f[0], f[ld], ..., for the losses that seldom run: called, so that
// their registers do not weigh on the others. With Grad f becomes c dl/df, with Keep `prob` what
// `pull_outputs` needs.
template <bool Grad, bool Keep, class T>
EDT_CALLED T other_loss(Loss kind, int d_out, const T* y, int64_t n_pad, T c, T* f, int ld, T* prob,
                        int ld_prob) {
  T sum = T(0);
  if (kind != Loss::soft_cross_entropy) {
    for (int o = 0; o < d_out; ++o) {
      T l[3];
      scalar_loss<Keep ? 2 : 1>(kind, f[o * ld], y[o * n_pad], l);
      sum += l[0];
      if constexpr (Grad) f[o * ld] = c * l[1];
      if constexpr (Keep) prob[o * ld_prob] = l[2];
    }
    return c * sum;
  }
  T top = f[0], picked = T(0);
  for (int o = 1; o < d_out; ++o) top = at_least(top, f[o * ld]);
  for (int o = 0; o < d_out; ++o) {
    sum += exp_nonpositive(f[o * ld] - top).e;
    picked = fma(y[o * n_pad], f[o * ld], picked);
  }
  if constexpr (Grad) {
    const T inverse = T(1) / sum;
    for (int o = 0; o < d_out; ++o) {
      const T share = exp_nonpositive(f[o * ld] - top).e * inverse;
      if constexpr (Keep) prob[o * ld_prob] = share;
      f[o * ld] = c * (share - y[o * n_pad]);
    }
  }
  return c * (top + T(log(sum)) - picked);
}

}  // namespace edt::cuda
