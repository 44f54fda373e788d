// Losses of one output at a time: l(f, y) and its first K <= 2 derivatives in f, to s[0..K].
#pragma once
#include "cpu/isa/vectors.h"
#include "math/activations.h"
#include "math/losses.h"

namespace edt::EDT_ISA_NS {

// log1p(exp(-|z|)) + base, and e = exp(-|z|), i = 1 / (1 + e).
template <class V>
struct Logistic {
  V value, e, i;
  EDT_INLINE Logistic(const V& z, const V& base) {
    V u[2];
    exp_parts<false>(neg_abs(z), u);
    e = u[0];
    value = log1p_back(log1p_front<true>(e, base, &i));
  }
};

template <Loss>
struct ScalarLoss;

template <>
struct ScalarLoss<Loss::bce> {
  // softplus(f) - y f without taking large numbers from each other: for y = 0 and 1 value and
  // slope keep their relative accuracy where both are tiny.
  template <int K, class V>
  static EDT_INLINE void f(const V& f, const V& y, V* s) {
    const Logistic<V> x(f, max(f, V::zero()) - y * f);
    s[0] = x.value;
    const V tail = x.e * x.i;
    if constexpr (K >= 1) s[1] = select(f > V::zero(), (V::set1(1) - y) - tail, tail - y);
    if constexpr (K >= 2) s[2] = tail * x.i;
  }
};

template <>
struct ScalarLoss<Loss::logistic> {
  template <int K, class V>
  static EDT_INLINE void f(const V& f, const V& y, V* s) {
    const V z = y * f;
    const Logistic<V> x(z, max(-z, V::zero()));
    s[0] = x.value;
    const V tail = x.e * x.i;
    if constexpr (K >= 1) s[1] = -y * select(z > V::zero(), tail, x.i);
    if constexpr (K >= 2) s[2] = y * y * (tail * x.i);
  }
};

template <>
struct ScalarLoss<Loss::squared_hinge> {
  template <int K, class V>
  static EDT_INLINE void f(const V& f, const V& y, V* s) {
    const V short_by = max(V::set1(1) - y * f, V::zero());
    s[0] = short_by * short_by;
    if constexpr (K >= 1) s[1] = V::set1(-2) * y * short_by;
    if constexpr (K >= 2) s[2] = select(short_by > V::zero(), V::set1(2) * y * y, V::zero());
  }
};

template <>
struct ScalarLoss<Loss::huber> {
  template <int K, class V>
  static EDT_INLINE void f(const V& f, const V& y, V* s) {
    const V r = f - y, a = abs(r), one = V::set1(1), half = V::set1(0.5);
    const auto far = a > one;
    s[0] = select(far, a - half, half * r * r);
    if constexpr (K >= 1) s[1] = max(min(r, one), -one);
    if constexpr (K >= 2) s[2] = select(far, V::zero(), one);
  }
};

// body(ScalarLoss<kind>{}) for a loss of one output at a time: one branch a block.
template <class Body>
EDT_INLINE void with_scalar_loss(Loss kind, const Body& body) {
#define EDT_CASE(name)                                                                             \
  case Loss::name:                                                                                 \
    return body(ScalarLoss<Loss::name>{});
  switch (kind) {
    EDT_SCALAR_LOSSES(EDT_CASE)
    default:
      return;
  }
#undef EDT_CASE
}

// Softmax of the outputs, row by row, over one vector of samples; returns log-sum-exp.
template <class T>
EDT_INLINE Vec<T> softmax(const T* f, int64_t ld, int d_out, int64_t s, T* prob) {
  using V = Vec<T>;
  V m = V::load(f + s);
  for (int o = 1; o < d_out; ++o) m = max(m, V::load(f + o * ld + s));
  V z = V::zero();
  for (int o = 0; o < d_out; ++o) {
    const V e = exp_v(V::load(f + o * ld + s) - m);
    e.store(prob + o * ld + s);
    z = z + e;
  }
  const V inv = V::set1(T(1)) / z;
  for (int o = 0; o < d_out; ++o) (V::load(prob + o * ld + s) * inv).store(prob + o * ld + s);
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
  } else if (is_softmax(kind)) {
    for (int64_t s = 0; s < in.n; s += V::L) {
      const V cn = V::load(in.coef + s);
      V lse, picked = V::zero();
      // delta doubles as the probabilities' buffer
      lse = softmax<T>(f, ld, d_out, s, delta);
      for (int o = 0; o < d_out; ++o) {
        const V y = V::load(in.y + o * in.ldx + s);
        picked = fma(y, V::load(f + o * ld + s), picked);
        (cn * (V::load(delta + o * ld + s) - y)).store(delta + o * ld + s);
      }
      total = fma(cn, lse - picked, total);
    }
  } else {
    with_scalar_loss(kind, [&](auto loss) {
      for (int64_t s = 0; s < in.n; s += V::L) {
        const V cn = V::load(in.coef + s);
        V sum = V::zero();
        for (int o = 0; o < d_out; ++o) {
          V l[2];
          loss.template f<Grad>(V::load(f + o * ld + s), V::loadu(in.y + o * in.ldx + s), l);
          sum = sum + l[0];
          if constexpr (Grad) (cn * l[1]).store(delta + o * ld + s);
        }
        total = fma(cn, sum, total);
      }
    });
  }
  return hsum(total);
}

// What `loss_curvature` needs of the outputs, rows of ld samples: the softmax, or d^2 l / df^2.
template <class T>
void curvature_rows(Loss kind, const T* f, int64_t ld, const Samples<T>& in, int d_out, T* rows) {
  using V = Vec<T>;
  if (is_softmax(kind)) {
    for (int64_t s = 0; s < in.n; s += V::L) softmax<T>(f, ld, d_out, s, rows);
    return;
  }
  with_scalar_loss(kind, [&](auto loss) {
    for (int o = 0; o < d_out; ++o)
      for (int64_t s = 0; s < in.n; s += V::L) {
        V l[3];
        loss.template f<2>(V::load(f + o * ld + s), V::loadu(in.y + o * in.ldx + s), l);
        l[2].store(rows + o * ld + s);
      }
  });
}

// out = (d^2 loss / df^2) rf, rows of ld samples; rows as `curvature_rows` leaves them.
template <class T>
void loss_curvature(Loss kind, const Samples<T>& in, const T* rows, const T* rf, int64_t ld,
                    int d_out, T* out) {
  using V = Vec<T>;
  for (int64_t s = 0; s < in.n; s += V::L) {
    const V c = V::load(in.coef + s);
    if (kind == Loss::mse) {
      for (int o = 0; o < d_out; ++o) ((c + c) * V::load(rf + o * ld + s)).store(out + o * ld + s);
    } else if (is_softmax(kind)) {
      V mean = V::zero();
      for (int o = 0; o < d_out; ++o)
        mean = fma(V::load(rows + o * ld + s), V::load(rf + o * ld + s), mean);
      for (int o = 0; o < d_out; ++o)
        (c * V::load(rows + o * ld + s) * (V::load(rf + o * ld + s) - mean))
            .store(out + o * ld + s);
    } else {
      for (int o = 0; o < d_out; ++o)
        (c * V::load(rows + o * ld + s) * V::load(rf + o * ld + s)).store(out + o * ld + s);
    }
  }
}

}  // namespace edt::EDT_ISA_NS
