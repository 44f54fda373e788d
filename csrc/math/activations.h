// Hidden activations with their first three derivatives, written once over vectors.
//
// f<K>(z, s) fills s[0..K] with sigma(z) and its derivatives up to order K; lower orders come from
// shared pieces (one exponential, at most one division). Accuracy: docs/accuracy.md.
//
// The long ones are cut in loops: a row of samples passes through one after the other. Each loop
// has few enough live values that several registers of samples can be worked on side by side
// without spilling, which is what keeps the multiply-add pipes busy through the long chains of
// dependent operations. How many loops and registers is a property of the activation, the scalar
// and the order of derivatives; it changes no bit.
#pragma once
#include "math/activations_list.h"
#include "math/coefficients.h"
#include "math/simd.h"

namespace edt {

namespace EDT_ISA_NS {

template <class V>
EDT_INLINE V c(double x) {
  return V::set1(typename V::Scalar(x));
}

template <class V, int N>
EDT_INLINE V poly(const V& x, const typename V::Scalar (&k)[N]) {
  V r = V::set1(k[N - 1]);
#pragma GCC unroll 32
  for (int i = N - 2; i >= 0; --i) r = fma(r, x, V::set1(k[i]));
  return r;
}

// The least argument, for which n in exp_nonpositive is -bias J and so the result exactly 0.
template <class T>
constexpr T exp_floor() {
  return sizeof(T) == 4 ? T(-88.0296) : T(-709.0895);
}
// exp of a non-positive argument; at most the least normal number where it would leave the normal
// range, and 0 at minus infinity. With M1 also exp - 1 to full relative accuracy.
//
// x = n ln2 / J + r: 2^(n / J) for n mod J comes from a table of J entries in a register, so r is
// small and its polynomial short. What the entry lacks to the true power is added to e^r - 1, where
// exp - 1 needs it.
template <class V>
struct ExpNeg {
  V e, m1;
};
// r, and n in the low bits of t.
template <class V>
struct Reduced {
  V r, t;
};
template <class V>
EDT_INLINE Reduced<V> reduce_exp(const V& x) {
  using T = typename V::Scalar;
  using N = Native<T>;
  using C = Coef<T>;
  constexpr int J = 1 << kTableBits<T>;
  const V xc = max(x, V::set1(exp_floor<T>()));
  const V magic = V::set1(N::magic + T(N::bias * J));
  const V t = fma(xc, c<V>(1.4426950408889634 * J), magic);
  const V n = t - magic;
  const V r = fnma(n, V::set1(C::ln2[0] / J), xc);
  return {fnma(n, V::set1(C::ln2[1] / J), r), t};
}
template <bool M1, class V>
EDT_INLINE ExpNeg<V> exp_reduced(const V& r, const V& t) {
  using T = typename V::Scalar;
  using N = Native<T>;
  using I = typename N::I;
  using C = Coef<T>;
  constexpr int bits = kTableBits<T>;
  V q;
  if constexpr (M1) q = poly(r, C::expm1_near);
  else q = poly(r, C::exp_near);
  const V p = fma(r * r, q, r);
  const auto j = table_index(t);
  V s = look_up(j, C::exp_bits);
#pragma GCC unroll 16
  for (int k = 0; k < V::kRegisters; ++k)
    s.v[k] = (typename N::V)((I)s.v[k] + ((I)t.v[k] << (N::mantissa - bits)));
  ExpNeg<V> out;
  out.e = fma(s, p, s);
  if constexpr (M1) out.m1 = fma(s, p + look_up(j, C::exp_lacks), s - c<V>(1));
  return out;
}
template <bool M1, class V>
EDT_INLINE ExpNeg<V> exp_nonpositive(const V& x) {
  const Reduced<V> y = reduce_exp(x);
  return exp_reduced<M1>(y.r, y.t);
}

// exp over the full range: +inf above the largest finite result, 0 below the least normal one.
template <class V>
EDT_INLINE V exp_v(const V& x) {
  using T = typename V::Scalar;
  using C = Coef<T>;
  const V hi = c<V>(sizeof(T) == 4 ? 88.72 : 709.78), lo = c<V>(sizeof(T) == 4 ? -87.3 : -708.3);
  const V xc = min(max(x, lo), hi);
  const auto n = round_bits(xc * c<V>(1.4426950408889634));
  V r = fnma(n.value, V::set1(C::ln2[0]), xc);
  r = fnma(n.value, V::set1(C::ln2[1]), r);
  const V p = fma(r * r, poly(r, C::exp), r);
  // 2^n as a product: n reaches one past the largest exponent.
  const auto h = round_bits(n.value * c<V>(0.5));
  const V s1 = pow2(h), s2 = pow2(round_bits(n.value - h.value));
  const V e = fma(s1, p, s1) * s2;
  return select(x > hi, c<V>(__builtin_inf()), select(x < lo, V::zero(), e));
}

// Natural logarithm of a positive, normal argument.
template <class V>
EDT_INLINE V log_v(const V& x) {
  using T = typename V::Scalar;
  using N = Native<T>;
  using C = Coef<T>;
  // Exponent such that the mantissa lies in [sqrt(1/2), sqrt(2)).
  V m = V::zero(), e = V::zero();
  constexpr int lanes = V::L / V::kRegisters;
  const typename N::Int off =
      sizeof(T) == 4 ? typename N::Int(0x3f3504f3) : typename N::Int(0x3fe6a09e667f3bcdLL);
  for (int p = 0; p < V::kRegisters; ++p) {
    const auto bits = (typename N::I)x.v[p];
    const auto k = (bits - off) >> N::mantissa;
    m.v[p] = (typename N::V)(bits - (k << N::mantissa));
    for (int i = 0; i < lanes; ++i) e.v[p][i] = T(k[i]);
  }
  const V t = (m - c<V>(1)) / (m + c<V>(1));
  const V l = t * poly(t * t, C::log);
  return fma(e, V::set1(C::ln2[0]), fma(e, V::set1(C::ln2[1]), l));
}

// One loop over a row: the numbers it leaves for the next one, the outputs that it stores, one bit
// an order, and the registers of samples side by side.
struct ActLoop {
  int parts, outputs, registers;
};
struct ActLoops {
  int count;
  ActLoop at[3];
};
// Registers where nothing else was found to be better. With AVX2 a vector is two registers already.
template <class T>
constexpr int act_registers() {
  return kParts > 1 ? kParts : sizeof(T) == 4 ? 2 : 4;
}
template <int K>
constexpr int kAllOutputs = (1 << (K + 1)) - 1;
template <class T, int K>
constexpr ActLoops one_loop() {
  return {1, {{0, kAllOutputs<K>, act_registers<T>()}}};
}
template <class T, int K>
constexpr ActLoops two_loops(int parts) {
  return {2, {{parts, 0, act_registers<T>()}, {0, kAllOutputs<K>, act_registers<T>()}}};
}

// An activation has loops<T, K>() and loop<I, K>(z, u, s), which takes u from the loop before and
// leaves it for the next. The two usual kinds: f<K>(z, s) in one loop, and first<K>(z, u), which
// leaves parts<K>() numbers, with second<K>(z, u, s), which goes on from them.
template <class Self>
struct Whole {
  template <class T, int K>
  static constexpr ActLoops loops() {
    return one_loop<T, K>();
  }
  template <int I, int K, class V>
  static EDT_INLINE void loop(const V& z, V*, V* s) {
    Self::template f<K>(z, s);
  }
};
template <class Self>
struct Halved {
  template <class T, int K>
  static constexpr ActLoops loops() {
    return two_loops<T, K>(Self::template parts<K>());
  }
  template <int I, int K, class V>
  static EDT_INLINE void loop(const V& z, V* u, V* s) {
    if constexpr (I == 0) Self::template first<K>(z, u);
    else Self::template second<K>(z, u, s);
  }
};

template <Act A>
struct Activation;

template <>
struct Activation<Act::identity> : Whole<Activation<Act::identity>> {
  template <int K, class V>
  static EDT_INLINE void f(const V& z, V* s) {
    s[0] = z;
    if constexpr (K >= 1) s[1] = c<V>(1);
    if constexpr (K >= 2) s[2] = V::zero();
    if constexpr (K >= 3) s[3] = V::zero();
  }
};

template <class V, int K>
EDT_INLINE void piecewise_linear(const V& z, V* s, double slope) {
  const auto pos = z > V::zero();
  s[0] = select(pos, z, slope == 0 ? min(z, V::zero()) * V::zero() : z * c<V>(slope));
  if (slope == 0) s[0] = max(z, V::zero());
  if constexpr (K >= 1) s[1] = select(pos, c<V>(1), c<V>(slope));
  if constexpr (K >= 2) s[2] = V::zero();
  if constexpr (K >= 3) s[3] = V::zero();
}
template <>
struct Activation<Act::relu> : Whole<Activation<Act::relu>> {
  template <int K, class V>
  static EDT_INLINE void f(const V& z, V* s) {
    piecewise_linear<V, K>(z, s, 0.0);
  }
};
template <>
struct Activation<Act::leaky_relu> : Whole<Activation<Act::leaky_relu>> {
  template <int K, class V>
  static EDT_INLINE void f(const V& z, V* s) {
    piecewise_linear<V, K>(z, s, 0.01);
  }
};

// e^x for x = -|z| or the like, as parts: e, and with M1 also expm1.
template <bool M1, class V>
EDT_INLINE void exp_parts(const V& x, V* u) {
  const auto y = exp_nonpositive<M1>(x);
  u[0] = y.e;
  if constexpr (M1) u[1] = y.m1;
}

// Doubles with AVX2: three loops for value and slope, found on Zen 3.
template <class T, int K>
constexpr bool kThreeLoops = kNativeBytes == 32 && sizeof(T) == 8 && K == 1;

// tanh z = -m / (2 + m), m = expm1(-2|z|); tanh' = 4 e / (2 + m)^2.
template <>
struct Activation<Act::tanh> : Halved<Activation<Act::tanh>> {
  template <class T, int K>
  static constexpr ActLoops loops() {
    if (kThreeLoops<T, K>) return {3, {{2, 0, 2}, {2, 0, 2}, {0, kAllOutputs<K>, 2}}};
    // Found on a Xeon with AVX-512, with its form of `reciprocal`.
    if (kNativeBytes == 64 && sizeof(T) == 8 && K <= 1)
      return {2, {{2, 0, 3}, {0, kAllOutputs<K>, 3}}};
    return two_loops<T, K>(2);
  }
  template <int I, int K, class V>
  static EDT_INLINE void loop(const V& z, V* u, V* s) {
    if constexpr (!kThreeLoops<typename V::Scalar, K>) {
      Halved<Activation>::template loop<I, K>(z, u, s);
    } else if constexpr (I == 0) {
      const auto y = reduce_exp(neg_abs(z) * c<V>(2));
      u[0] = y.r;
      u[1] = y.t;
    } else if constexpr (I == 1) {
      const auto y = exp_reduced<true>(u[0], u[1]);
      u[0] = y.e;
      u[1] = y.m1;
    } else {
      second<K>(z, u, s);
    }
  }
  template <int K, class V>
  static EDT_INLINE void first(const V& z, V* u) {
    exp_parts<true>(neg_abs(z) * c<V>(2), u);
  }
  template <int K, class V>
  static EDT_INLINE void second(const V& z, const V* u, V* s) {
    const V i = reciprocal(u[1] + c<V>(2));
    const V t = copysign(u[1] * i, z), i2 = i + i;
    s[0] = t;
    if constexpr (K >= 1) s[1] = u[0] * (i2 * i2);
    if constexpr (K >= 2) s[2] = c<V>(-2) * t * s[1];
    if constexpr (K >= 3) s[3] = s[1] * (c<V>(4) * (t * t) - c<V>(2) * s[1]);
  }
};

// e where z is negative, else 1; 0 <= e <= 1, NaN where z is. A blend costs AVX2 a multiply-add
// slot, comparison and maximum cost none.
template <class V>
EDT_INLINE V negative_or_one(const V& z, const V& e) {
  if constexpr (kNativeBytes == 32) return max(e, select(z >= V::zero(), c<V>(1), V::zero()));
  else return select_negative(z, e, c<V>(1));
}

// Logistic function and derivatives from u = {e = exp(-|z|), e - 1}, i = 1 / (1 + e).
template <int K, class V>
EDT_INLINE void logistic(const V& z, const V* u, const V& i, V* s) {
  s[0] = negative_or_one(z, u[0]) * i;
  if constexpr (K >= 1) s[1] = u[0] * (i * i);
  if constexpr (K >= 2) s[2] = s[1] * copysign(u[1] * i, -z);
  if constexpr (K >= 3) s[3] = s[1] * fnma(c<V>(6), s[1], c<V>(1));
}
template <>
struct Activation<Act::sigmoid> : Halved<Activation<Act::sigmoid>> {
  template <int K>
  static constexpr int parts() {
    return K >= 2 ? 2 : 1;
  }
  template <int K, class V>
  static EDT_INLINE void first(const V& z, V* u) {
    exp_parts<(K >= 2)>(neg_abs(z), u);
  }
  template <int K, class V>
  static EDT_INLINE void second(const V& z, const V* u, V* s) {
    logistic<K>(z, u, c<V>(1) / (u[0] + c<V>(1)), s);
  }
};

// log1p(e), e in [0, 1] near the node e_j, and, with Inverse, 1 / (1 + e). In float32
// log1p(e) = log1p(r) - log c_j, with c_j a short number close to 1 / (1 + e_j), r = (1 + e) c_j -
// 1 and a polynomial in r. In float64 that would be a long one: log1p(e) = log1p(e_j) + 2 atanh(t),
// t = (e - e_j) / (2 + e + e_j), an odd polynomial, and one division by (1 + e) (2 + e + e_j)
// serves both. In two parts: x is r or t, log what is added to its function.
template <class V>
struct Log1p {
  V x, log;
};
template <bool Inverse, class V>
EDT_INLINE Log1p<V> log1p_front(const V& e, const V& base, V* inverse) {
  using T = typename V::Scalar;
  using C = Coef<T>;
  const auto j = table_index(fma(e, c<V>((1 << kTableBits<T>)-1), V::set1(Native<T>::magic)));
  const V node = look_up(j, C::log1p_node), log = base + look_up(j, C::log1p_at);
  const V e1 = e + c<V>(1);
  if constexpr (sizeof(T) == 4) {
    if constexpr (Inverse) *inverse = c<V>(1) / e1;
    return {fma(e, node, node - c<V>(1)), log};
  } else {
    const V near = e - node, both = (e + node) + c<V>(2);
    V t;
    if constexpr (Inverse) {
      const V d = c<V>(1) / (e1 * both);
      t = near * e1 * d;
      *inverse = both * d;
    } else {
      t = near / both;
    }
    return {t, log};
  }
}
template <class V>
EDT_INLINE V log1p_back(const Log1p<V>& y) {
  using C = Coef<typename V::Scalar>;
  if constexpr (sizeof(typename V::Scalar) == 4)
    return y.log + fma(y.x * y.x, poly(y.x, C::log1p_near), y.x);
  else return fma(y.x, poly(y.x * y.x, C::log1p_near), y.log);
}

// softplus z = max(z, 0) + log1p(e), e = exp(-|z|); the derivative needs 1 / (1 + e).
template <>
struct Activation<Act::softplus> : Halved<Activation<Act::softplus>> {
  template <int K>
  static constexpr int parts() {
    return K >= 3 ? 2 : 1;
  }
  template <int K, class V>
  static EDT_INLINE void first(const V& z, V* u) {
    exp_parts<(K >= 3)>(neg_abs(z), u);
  }
  template <int K, class V>
  static EDT_INLINE void second(const V& z, const V* u, V* s) {
    V inverse;
    s[0] = log1p_back(log1p_front<(K >= 1)>(u[0], max(z, V::zero()), &inverse));
    if constexpr (K >= 1) logistic<K - 1>(z, u, inverse, s + 1);
  }
  template <class T, int K>
  static constexpr ActLoops loops() {
    if (!kThreeLoops<T, K>) return two_loops<T, K>(parts<K>());
    return {3, {{1, 0, 4}, {2, 2, 2}, {0, 1, 4}}};
  }
  template <int I, int K, class V>
  static EDT_INLINE void loop(const V& z, V* u, V* s) {
    if constexpr (!kThreeLoops<typename V::Scalar, K>) {
      Halved<Activation>::template loop<I, K>(z, u, s);
    } else if constexpr (I == 0) {
      first<K>(z, u);
    } else if constexpr (I == 1) {
      V inverse;
      const auto y = log1p_front<true>(u[0], max(z, V::zero()), &inverse);
      logistic<0>(z, u, inverse, s + 1);
      u[0] = y.x;
      u[1] = y.log;
    } else {
      s[0] = log1p_back(Log1p<V>{u[0], u[1]});
    }
  }
};

template <>
struct Activation<Act::silu> : Halved<Activation<Act::silu>> {
  using Logistic = Activation<Act::sigmoid>;
  template <int K>
  static constexpr int parts() {
    return Logistic::parts<K>();
  }
  template <int K, class V>
  static EDT_INLINE void first(const V& z, V* u) {
    Logistic::first<K>(z, u);
  }
  template <int K, class V>
  static EDT_INLINE void second(const V& z, const V* u, V* s) {
    V l[4];
    Logistic::second<K>(z, u, l);
    // Beyond 1000 the factors of z are 0: clamping keeps infinities from making 0 * inf.
    const V lo = max(z, c<V>(-1000)), zc = min(lo, c<V>(1000));
    s[0] = lo * l[0];
    if constexpr (K >= 1) s[1] = fma(zc, l[1], l[0]);
    if constexpr (K >= 2) s[2] = fma(zc, l[2], l[1] + l[1]);
    if constexpr (K >= 3) s[3] = fma(zc, l[3], c<V>(3) * l[2]);
  }
};

template <int K, class V>
EDT_INLINE void elu_like(const V& z, V* s, double scale, double alpha) {
  const auto x = exp_nonpositive<true>(min(z, V::zero()));
  const auto pos = z > V::zero();
  s[0] = select(pos, c<V>(scale) * z, c<V>(scale * alpha) * x.m1);
  const V e = c<V>(scale * alpha) * x.e;
  if constexpr (K >= 1) s[1] = select(pos, c<V>(scale), e);
  if constexpr (K >= 2) s[2] = select(pos, V::zero(), e);
  if constexpr (K >= 3) s[3] = s[2];
}
template <>
struct Activation<Act::elu> : Whole<Activation<Act::elu>> {
  template <int K, class V>
  static EDT_INLINE void f(const V& z, V* s) {
    elu_like<K>(z, s, 1.0, 1.0);
  }
};
template <>
struct Activation<Act::selu> : Whole<Activation<Act::selu>> {
  template <int K, class V>
  static EDT_INLINE void f(const V& z, V* s) {
    elu_like<K>(z, s, 1.0507009873554804934193349852946, 1.6732632423543772848170429916717);
  }
};

// z^2 - h for h = z^2 as rounded: without a fused multiply-add by splitting z in halves (Dekker).
template <class V>
EDT_INLINE V square_error(const V& z, const V& h) {
  if constexpr (kFused) return fma(z, z, -h);
  const V big = z * c<V>(sizeof(typename V::Scalar) == 4 ? 4097.0 : 134217729.0);
  const V hi = big - (big - z), lo = z - hi;
  return ((hi * hi - h) + c<V>(2) * (hi * lo)) + lo * lo;
}

// z clamped to [-50, 50], where everything but erf itself has long been 0 (so that z^2 does not
// overflow and 0 * inf does not arise).
template <class V>
EDT_INLINE V erf_clamp(const V& z) {
  return copysign(min(abs(z), c<V>(50)), z);
}
// exp(-z^2 / 2), to full relative accuracy.
template <class V>
EDT_INLINE V gauss(const V& zc) {
  const V h = zc * zc;
  return exp_nonpositive<false>(h * c<V>(-0.5)).e * fnma(c<V>(0.5), square_error(zc, h), c<V>(1));
}
// erf(z / sqrt 2) and erfc(|z| / sqrt 2).
template <class V>
struct Erf {
  V erf, erfc_abs;
};
template <class V>
EDT_INLINE Erf<V> erf_from(const V& z, const V& zc, const V& gauss) {
  using C = Coef<typename V::Scalar>;
  const V a = abs(zc);
  const V u = (a - c<V>(4)) / (a + c<V>(4));
  Erf<V> out;
  out.erfc_abs = gauss * poly(u, C::erfcx) / (a + c<V>(1));
  const V small = zc * poly(min(zc * zc, c<V>(1)), C::erf_small);
  out.erf = select(a < c<V>(1), small, copysign(c<V>(1) - out.erfc_abs, z));
  return out;
}
template <>
struct Activation<Act::erf> : Halved<Activation<Act::erf>> {
  template <int K>
  static constexpr int parts() {
    return 1;
  }
  template <int K, class V>
  static EDT_INLINE void first(const V& z, V* u) {
    u[0] = gauss(erf_clamp(z));
  }
  template <int K, class V>
  static EDT_INLINE void second(const V& z, const V* u, V* s) {
    const V zc = erf_clamp(z);
    s[0] = erf_from(z, zc, u[0]).erf;
    if constexpr (K >= 1) s[1] = c<V>(0.79788456080286535588) * u[0];
    if constexpr (K >= 2) s[2] = -zc * s[1];
    if constexpr (K >= 3) s[3] = fma(zc, zc, c<V>(-1)) * s[1];
  }
};
template <>
struct Activation<Act::gelu> : Halved<Activation<Act::gelu>> {
  template <int K>
  static constexpr int parts() {
    return 1;
  }
  template <int K, class V>
  static EDT_INLINE void first(const V& z, V* u) {
    u[0] = gauss(erf_clamp(z));
  }
  template <int K, class V>
  static EDT_INLINE void second(const V& z, const V* u, V* s) {
    const V zc = erf_clamp(z), half = c<V>(0.5);
    const auto x = erf_from(z, zc, u[0]);
    const V cdf = select(z < c<V>(-1), half * x.erfc_abs, fma(half, x.erf, half));
    const V pdf = c<V>(0.39894228040143267794) * u[0];
    s[0] = max(z, c<V>(-50)) * cdf;
    if constexpr (K >= 1) s[1] = fma(zc, pdf, cdf);
    if constexpr (K >= 2) s[2] = fnma(zc, zc, c<V>(2)) * pdf;
    if constexpr (K >= 3) s[3] = zc * fma(zc, zc, c<V>(-4)) * pdf;
  }
};

// z - n pi for an integer n, pi in three parts (Cody and Waite). Every step but the last is exact:
// with a fused multiply-add as it stands, otherwise with n in two pieces short enough that their
// products with the first two parts are.
template <class V>
EDT_INLINE V reduce_pi(const V& z, const V& n) {
  using T = typename V::Scalar;
  using C = Coef<T>;
  V r = z;
  if constexpr (kFused) {
    for (int k = 0; k < 2; ++k) r = fnma(n, V::set1(C::pi[k]), r);
  } else {
    const double piece = sizeof(T) == 4 ? 1 << 11 : 1 << 20;
    const V high = round_bits(n * c<V>(1 / piece)).value * c<V>(piece), low = n - high;
    for (int k = 0; k < 2; ++k) r = (r - high * V::set1(C::pi[k])) - low * V::set1(C::pi[k]);
  }
  return fnma(n, V::set1(C::pi[2]), r);
}

template <>
struct Activation<Act::sin> : Whole<Activation<Act::sin>> {
  template <int K, class V>
  static EDT_INLINE void f(const V& z, V* s) {
    using T = typename V::Scalar;
    using C = Coef<T>;
    // Beyond this n pi is no longer exact: NaN, which is noticed, rather than noise.
    const V limit = c<V>(sizeof(T) == 4 ? 1.2e7 : 1e12);
    const V zc = select(abs(z) <= limit, z, c<V>(__builtin_nan("")));
    const auto n = round_bits(zc * c<V>(0.31830988618379067154));
    const V r = reduce_pi(zc, n.value);
    const V q = r * r;
    // (-1)^n from the parity of n.
    const V half = n.value * c<V>(0.5);
    const V odd = half - round_bits(half).value;
    const V sign = fnma(c<V>(2), abs(odd + odd), c<V>(1));
    const V sine = sign * fma(r * q, poly(q, C::sin), r);
    s[0] = sine;
    if constexpr (K >= 1) s[1] = sign * fma(q * q, poly(q, C::cos), fnma(c<V>(0.5), q, c<V>(1)));
    if constexpr (K >= 2) s[2] = -sine;
    if constexpr (K >= 3) s[3] = -s[1];
  }
};
template <>
struct Activation<Act::square> : Whole<Activation<Act::square>> {
  template <int K, class V>
  static EDT_INLINE void f(const V& z, V* s) {
    s[0] = c<V>(0.5) * z * z;
    if constexpr (K >= 1) s[1] = z;
    if constexpr (K >= 2) s[2] = c<V>(1);
    if constexpr (K >= 3) s[3] = V::zero();
  }
};
template <>
struct Activation<Act::cube> : Whole<Activation<Act::cube>> {
  template <int K, class V>
  static EDT_INLINE void f(const V& z, V* s) {
    s[0] = z * z * z;
    if constexpr (K >= 1) s[1] = c<V>(3) * z * z;
    if constexpr (K >= 2) s[2] = c<V>(6) * z;
    if constexpr (K >= 3) s[3] = c<V>(6);
  }
};
// g = sigmoid(4x) + softplus(x) (arXiv 2506.14951)
template <>
struct Activation<Act::g> : Halved<Activation<Act::g>> {
  using A = Activation<Act::sigmoid>;
  using B = Activation<Act::softplus>;
  template <int K>
  static constexpr int parts() {
    return A::parts<K>() + B::parts<K>();
  }
  template <int K, class V>
  static EDT_INLINE void first(const V& z, V* u) {
    A::first<K>(c<V>(4) * z, u);
    B::first<K>(z, u + A::parts<K>());
  }
  template <int K, class V>
  static EDT_INLINE void second(const V& z, const V* u, V* s) {
    V a[4], b[4];
    A::second<K>(c<V>(4) * z, u, a);
    B::second<K>(z, u + A::parts<K>(), b);
    s[0] = a[0] + b[0];
    if constexpr (K >= 1) s[1] = fma(c<V>(4), a[1], b[1]);
    if constexpr (K >= 2) s[2] = fma(c<V>(16), a[2], b[2]);
    if constexpr (K >= 3) s[3] = fma(c<V>(64), a[3], b[3]);
  }
};

}  // namespace EDT_ISA_NS
}  // namespace edt
