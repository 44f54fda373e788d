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

}  // namespace edt::cuda
