// Hidden activations with their derivatives, one number at a time: the formulas and polynomials of
// math/activations.h, spelled for a thread instead of a vector. tests/cuda compares the two.
//
// activation<A, K>(z, s) fills s[0..K] with sigma(z) and its derivatives up to order K.
#pragma once
#include "cuda/platform.h"
#include "math/activations_list.h"
#include "math/coefficients.h"

namespace edt::cuda {

template <class T>
struct Format;
template <>
struct Format<float> {
  using Bits = uint32_t;
  static constexpr int mantissa = 23, bias = 127;
  static constexpr float magic = 12582912.0f;  // 1.5 * 2^23
};
template <>
struct Format<double> {
  using Bits = uint64_t;
  static constexpr int mantissa = 52, bias = 1023;
  static constexpr double magic = 6755399441055744.0;  // 1.5 * 2^52
};

template <class T>
EDT_DEVICE typename Format<T>::Bits bits_of(T x) {
  typename Format<T>::Bits b;
  memcpy(&b, &x, sizeof(T));
  return b;
}
template <class T>
EDT_DEVICE T from_bits(typename Format<T>::Bits b) {
  T x;
  memcpy(&x, &b, sizeof(T));
  return x;
}

// Unlike fmin and fmax these return a NaN in `a`; in float32 that is one instruction.
template <class T>
EDT_DEVICE T at_least(T a, T b) {
#if defined(__CUDACC__)
  if constexpr (sizeof(T) == 4) {
    float r;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
    return r;
  }
#endif
  return a < b ? b : a;
}
template <class T>
EDT_DEVICE T at_most(T a, T b) {
#if defined(__CUDACC__)
  if constexpr (sizeof(T) == 4) {
    float r;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
    return r;
  }
#endif
  return a > b ? b : a;
}

// Coefficients as literals: device code cannot index host tables.
#define EDT_TABLE(Name, member)                                                                    \
  struct Name {                                                                                    \
    template <class T>                                                                             \
    static constexpr T at(int i) {                                                                 \
      return Coef<T>::member[i];                                                                   \
    }                                                                                              \
    template <class T>                                                                             \
    static constexpr int size() {                                                                  \
      return int(sizeof(Coef<T>::member) / sizeof(T));                                             \
    }                                                                                              \
  };
EDT_TABLE(ExpTable, exp)
EDT_TABLE(Log1pTable, log1p)
EDT_TABLE(ErfTable, erf_small)
EDT_TABLE(ErfcxTable, erfcx)
EDT_TABLE(SinTable, sin)
EDT_TABLE(CosTable, cos)
EDT_TABLE(Ln2Table, ln2)
EDT_TABLE(PiTable, pi)
#undef EDT_TABLE

template <class Table, class T, int I = 0>
EDT_DEVICE T poly(T x) {
  constexpr T k = Table::template at<T>(I);
  if constexpr (I + 1 == Table::template size<T>()) return k;
  else return fma(poly<Table, T, I + 1>(x), x, k);
}
template <class Table, int I, class T>
EDT_DEVICE T entry() {
  constexpr T k = Table::template at<T>(I);
  return k;
}

// 1 / x for normal numbers whose reciprocals are: no check of the range, within half a unit of the
// last place and a bit.
template <class T>
EDT_DEVICE T reciprocal(T x) {
#if defined(__CUDACC__)
  if constexpr (sizeof(T) == 4) {
    float r;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return fma(fma(-x, r, 1.0f), r, r);
  }
#endif
  return T(1) / x;
}

// exp and exp - 1 of a non-positive argument, both to full relative accuracy; exp is 0 where it
// would leave the normal range.
template <class T>
struct ExpNeg {
  T e, m1;
};
template <class T>
EDT_DEVICE ExpNeg<T> exp_nonpositive(T x) {
  using F = Format<T>;
  const T floor = sizeof(T) == 4 ? T(-88.0296) : T(-709.0895);
  const T xc = at_least(x, floor);
  const T magic = F::magic + T(F::bias);
  const T t = fma(xc, T(1.4426950408889634), magic);
  const T n = t - magic;
  T r = fma(-n, entry<Ln2Table, 0, T>(), xc);
  r = fma(-n, entry<Ln2Table, 1, T>(), r);
  const T p = fma(r * r, poly<ExpTable>(r), r);
  // The low bits of t hold n plus the exponent's bias.
  const T s = from_bits<T>(bits_of(t) << F::mantissa);
  return {fma(s, p, s), fma(s, p, s - T(1))};
}

// Logistic function and derivatives from e = exp(-|z|), m = e - 1, i = 1 / (1 + e).
template <int K, class T>
EDT_DEVICE void logistic(T z, T e, T m, T i, T* s) {
  s[0] = z < T(0) ? e * i : i;
  if constexpr (K >= 1) s[1] = e * (i * i);
  if constexpr (K >= 2) s[2] = s[1] * copysign(m * i, -z);
  if constexpr (K >= 3) s[3] = s[1] * fma(T(-6), s[1], T(1));
}

// max(z, 0) + log1p(e): log1p through t = e / (2 + e).
template <int K, class T>
EDT_DEVICE void softplus(T z, T* s) {
  const auto x = exp_nonpositive(-fabs(z));
  const T e1 = x.e + T(1), e2 = x.e + T(2), r = reciprocal(e1 * e2), t = x.e * e1 * r;
  s[0] = fma(t, poly<Log1pTable>(t * t), at_least(z, T(0)));
  if constexpr (K >= 1) logistic<K - 1>(z, x.e, x.m1, e2 * r, s + 1);
}

template <int K, class T>
EDT_DEVICE void elu_like(T z, T scale, T alpha, T* s) {
  const auto x = exp_nonpositive(at_most(z, T(0)));
  const bool positive = z > T(0);
  const T e = scale * alpha * x.e;
  s[0] = positive ? scale * z : scale * alpha * x.m1;
  if constexpr (K >= 1) s[1] = positive ? scale : e;
  if constexpr (K >= 2) s[2] = positive ? T(0) : e;
  if constexpr (K >= 3) s[3] = s[2];
}

// zc: z clamped to where erf is not yet constant; erf(z / sqrt 2), erfc(|z| / sqrt 2), exp(-z^2/2).
template <class T>
struct ErfParts {
  T zc, erf, erfc_abs, gauss;
};
template <class T>
EDT_DEVICE ErfParts<T> erf_parts(T z) {
  const T a = at_most(T(fabs(z)), T(50)), zc = copysign(a, z);
  const T h = zc * zc, low = fma(zc, zc, -h), u = (a - T(4)) / (a + T(4));
  ErfParts<T> out;
  out.zc = zc;
  out.gauss = exp_nonpositive(h * T(-0.5)).e * fma(T(-0.5), low, T(1));
  out.erfc_abs = out.gauss * poly<ErfcxTable>(u) / (a + T(1));
  const T small = zc * poly<ErfTable>(at_most(h, T(1)));
  out.erf = a < T(1) ? small : T(copysign(T(1) - out.erfc_abs, z));
  return out;
}

// Beyond the limit n pi is no longer exact: NaN, which is noticed, rather than noise.
template <int K, class T>
EDT_DEVICE void sine(T z, T* s) {
  using F = Format<T>;
  const T limit = sizeof(T) == 4 ? T(1.2e7) : T(1e12);
  const T zc = fabs(z) <= limit ? z : T(NAN);
  const T t = fma(zc, T(0.31830988618379067154), F::magic);
  const T n = t - F::magic;
  T r = fma(-n, entry<PiTable, 0, T>(), zc);
  r = fma(-n, entry<PiTable, 1, T>(), r);
  r = fma(-n, entry<PiTable, 2, T>(), r);
  const T q = r * r, sign = bits_of(t) & 1 ? T(-1) : T(1);  // (-1)^n
  s[0] = sign * fma(r * q, poly<SinTable>(q), r);
  if constexpr (K >= 1) s[1] = sign * fma(q * q, poly<CosTable>(q), fma(T(-0.5), q, T(1)));
  if constexpr (K >= 2) s[2] = -s[0];
  if constexpr (K >= 3) s[3] = -s[1];
}

template <Act A, int K, class T>
EDT_DEVICE void activation(T z, T* s) {
  if constexpr (A == Act::identity) {
    s[0] = z;
    if constexpr (K >= 1) s[1] = T(1);
    if constexpr (K >= 2) s[2] = T(0);
    if constexpr (K >= 3) s[3] = T(0);
  } else if constexpr (A == Act::relu || A == Act::leaky_relu) {
    const T slope = A == Act::relu ? T(0) : T(0.01);
    const bool positive = z > T(0);
    s[0] = A == Act::relu ? at_least(z, T(0)) : (positive ? z : slope * z);
    if constexpr (K >= 1) s[1] = positive ? T(1) : slope;
    if constexpr (K >= 2) s[2] = T(0);
    if constexpr (K >= 3) s[3] = T(0);
  } else if constexpr (A == Act::tanh) {
    const auto x = exp_nonpositive(fabs(z) * T(-2));
    const T i = reciprocal(x.m1 + T(2)), t = copysign(-x.m1 * i, z);
    s[0] = t;
    if constexpr (K >= 1) s[1] = T(4) * x.e * (i * i);
    if constexpr (K >= 2) s[2] = T(-2) * t * s[1];
    if constexpr (K >= 3) s[3] = s[1] * (T(4) * (t * t) - T(2) * s[1]);
  } else if constexpr (A == Act::sigmoid) {
    const auto x = exp_nonpositive(-fabs(z));
    logistic<K>(z, x.e, x.m1, reciprocal(x.e + T(1)), s);
  } else if constexpr (A == Act::softplus) {
    softplus<K>(z, s);
  } else if constexpr (A == Act::gelu) {
    const auto x = erf_parts(z);
    const T cdf = z < T(-1) ? T(0.5) * x.erfc_abs : fma(T(0.5), x.erf, T(0.5));
    const T pdf = T(0.39894228040143267794) * x.gauss;
    s[0] = at_least(z, T(-50)) * cdf;
    if constexpr (K >= 1) s[1] = fma(x.zc, pdf, cdf);
    if constexpr (K >= 2) s[2] = fma(-x.zc, x.zc, T(2)) * pdf;
    if constexpr (K >= 3) s[3] = x.zc * fma(x.zc, x.zc, T(-4)) * pdf;
  } else if constexpr (A == Act::silu) {
    T l[K + 1];
    activation<Act::sigmoid, K>(z, l);
    // Beyond 1000 the factors of z are 0: clamping keeps infinities from making 0 * inf.
    const T lo = at_least(z, T(-1000)), zc = at_most(lo, T(1000));
    s[0] = lo * l[0];
    if constexpr (K >= 1) s[1] = fma(zc, l[1], l[0]);
    if constexpr (K >= 2) s[2] = fma(zc, l[2], l[1] + l[1]);
    if constexpr (K >= 3) s[3] = fma(zc, l[3], T(3) * l[2]);
  } else if constexpr (A == Act::elu) {
    elu_like<K>(z, T(1), T(1), s);
  } else if constexpr (A == Act::selu) {
    elu_like<K>(z, T(1.0507009873554804934193349852946), T(1.6732632423543772848170429916717), s);
  } else if constexpr (A == Act::erf) {
    const auto x = erf_parts(z);
    s[0] = x.erf;
    if constexpr (K >= 1) s[1] = T(0.79788456080286535588) * x.gauss;
    if constexpr (K >= 2) s[2] = -x.zc * s[1];
    if constexpr (K >= 3) s[3] = fma(x.zc, x.zc, T(-1)) * s[1];
  } else if constexpr (A == Act::sin) {
    sine<K>(z, s);
  } else if constexpr (A == Act::square) {
    s[0] = T(0.5) * z * z;
    if constexpr (K >= 1) s[1] = z;
    if constexpr (K >= 2) s[2] = T(1);
    if constexpr (K >= 3) s[3] = T(0);
  } else if constexpr (A == Act::cube) {
    s[0] = z * z * z;
    if constexpr (K >= 1) s[1] = T(3) * z * z;
    if constexpr (K >= 2) s[2] = T(6) * z;
    if constexpr (K >= 3) s[3] = T(6);
  } else {
    static_assert(A == Act::g, "an activation without device code");
    T a[K + 1], b[K + 1];
    activation<Act::sigmoid, K>(T(4) * z, a);
    softplus<K>(z, b);
    s[0] = a[0] + b[0];
    if constexpr (K >= 1) s[1] = fma(T(4), a[1], b[1]);
    if constexpr (K >= 2) s[2] = fma(T(16), a[2], b[2]);
    if constexpr (K >= 3) s[3] = fma(T(64), a[3], b[3]);
  }
}

// body(Tag<A>{}) for the activation with this code: one branch a call, not one a number.
template <Act A>
struct ActTag {
  static constexpr Act act = A;
};
template <class Body, int A = 0>
EDT_DEVICE void with_activation(int code, const Body& body) {
  if constexpr (A < kActivations) {
    if (code == A) body(ActTag<Act(A)>{});
    else with_activation<Body, A + 1>(code, body);
  }
}

}  // namespace edt::cuda
