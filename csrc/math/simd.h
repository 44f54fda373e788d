// Virtual vectors of 64 bytes: 16 floats or 8 doubles, whatever the instruction set.
//
// AVX-512 holds one in a zmm register, AVX2 in two ymm, the baseline in four 16-byte vectors. Every
// operation acts lane by lane with IEEE rounding and hsum uses one fixed tree, so AVX-512 and AVX2
// give the same bits. The baseline has no fused multiply-add unless the target offers one; its
// results agree to rounding.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(EDT_ISA_AVX512) || defined(EDT_ISA_AVX2)
#include <immintrin.h>
#endif

#define EDT_INLINE inline __attribute__((always_inline))

namespace edt::EDT_ISA_NS {

#if defined(EDT_ISA_AVX512)
constexpr int kNativeBytes = 64;
#elif defined(EDT_ISA_AVX2)
constexpr int kNativeBytes = 32;
#else
constexpr int kNativeBytes = 16;
#endif
constexpr int kParts = 64 / kNativeBytes;
constexpr int kNativeRegisters = kNativeBytes == 64 ? 32 : 16;

// The same operation at both AVX widths.
#if defined(EDT_ISA_AVX512)
#define EDT_INTRINSIC(name) _mm512_##name
using Floats = __m512;
using Doubles = __m512d;
#elif defined(EDT_ISA_AVX2)
#define EDT_INTRINSIC(name) _mm256_##name
using Floats = __m256;
using Doubles = __m256d;
#endif

// Whether fma is one instruction with one rounding.
#if defined(EDT_INTRINSIC)
constexpr bool kFused = true;
#else
constexpr bool kFused = false;
#endif

template <class T>
struct Native;
template <>
struct Native<float> {
  typedef float V __attribute__((vector_size(kNativeBytes)));
  typedef int32_t I __attribute__((vector_size(kNativeBytes)));
  using Int = int32_t;
  static constexpr int mantissa = 23, bias = 127;
  static constexpr float magic = 12582912.0f;  // 1.5 * 2^23
};
template <>
struct Native<double> {
  typedef double V __attribute__((vector_size(kNativeBytes)));
  typedef int64_t I __attribute__((vector_size(kNativeBytes)));
  using Int = int64_t;
  static constexpr int mantissa = 52, bias = 1023;
  static constexpr double magic = 6755399441055744.0;  // 1.5 * 2^52
};

template <class T, int P = kParts>
struct Mask {
  typename Native<T>::I m[P];
};

#define EDT_EACH _Pragma("GCC unroll 16") for (int p = 0; p < P; ++p)

// P native registers. The default is the 64-byte vector that all layouts and sums are built on;
// wider ones serve code of long dependency chains (activations), where the steps of several
// registers must stand side by side for the processor to overlap them.
template <class T, int P = kParts>
struct Vec {
  using N = Native<T>;
  using V = typename N::V;
  using I = typename N::I;
  using Scalar = T;
  static constexpr int kRegisters = P;
  static constexpr int L = P * kNativeBytes / int(sizeof(T));
  V v[P];

  static EDT_INLINE Vec load(const T* p_) {
    Vec r;
    EDT_EACH std::memcpy(&r.v[p], __builtin_assume_aligned(p_ + p * (L / P), kNativeBytes),
                         kNativeBytes);
    return r;
  }
  static EDT_INLINE Vec loadu(const T* p_) {
    Vec r;
    EDT_EACH std::memcpy(&r.v[p], p_ + p * (L / P), kNativeBytes);
    return r;
  }
  EDT_INLINE void store(T* p_) const {
    EDT_EACH std::memcpy(__builtin_assume_aligned(p_ + p * (L / P), kNativeBytes), &v[p],
                         kNativeBytes);
  }
  EDT_INLINE void storeu(T* p_) const {
    EDT_EACH std::memcpy(p_ + p * (L / P), &v[p], kNativeBytes);
  }
  static EDT_INLINE Vec set1(T x) {
    Vec r;
#if defined(EDT_INTRINSIC)
    EDT_EACH {
      if constexpr (sizeof(T) == 4) r.v[p] = (V)EDT_INTRINSIC(set1_ps)(x);
      else r.v[p] = (V)EDT_INTRINSIC(set1_pd)(x);
    }
#else
    EDT_EACH r.v[p] = V{} + x;
#endif
    return r;
  }
  static EDT_INLINE Vec zero() {
    Vec r;
    EDT_EACH r.v[p] = V{};
    return r;
  }
};

#define EDT_BINARY(op)                                                                             \
  template <class T, int P>                                                                        \
  EDT_INLINE Vec<T, P> operator op(const Vec<T, P>& a, const Vec<T, P>& b) {                       \
    Vec<T, P> r;                                                                                   \
    EDT_EACH r.v[p] = a.v[p] op b.v[p];                                                            \
    return r;                                                                                      \
  }
EDT_BINARY(+)
EDT_BINARY(-)
EDT_BINARY(*)
EDT_BINARY(/)
#undef EDT_BINARY

#define EDT_COMPARE(op)                                                                            \
  template <class T, int P>                                                                        \
  EDT_INLINE Mask<T, P> operator op(const Vec<T, P>& a, const Vec<T, P>& b) {                      \
    Mask<T, P> r;                                                                                  \
    EDT_EACH r.m[p] = a.v[p] op b.v[p];                                                            \
    return r;                                                                                      \
  }
EDT_COMPARE(<)
EDT_COMPARE(>)
EDT_COMPARE(<=)
EDT_COMPARE(>=)
#undef EDT_COMPARE

template <class T, int P>
EDT_INLINE Vec<T, P> operator-(const Vec<T, P>& a) {
  Vec<T, P> r;
  EDT_EACH r.v[p] = -a.v[p];
  return r;
}
template <class T, int P>
EDT_INLINE Vec<T, P> select(const Mask<T, P>& m, const Vec<T, P>& a, const Vec<T, P>& b) {
  Vec<T, P> r;
  EDT_EACH r.v[p] = m.m[p] ? a.v[p] : b.v[p];
  return r;
}

template <class T, int P>
EDT_INLINE Vec<T, P> fma(const Vec<T, P>& a, const Vec<T, P>& b, const Vec<T, P>& c) {
  using R = typename Vec<T, P>::V;
  Vec<T, P> r;
#if defined(EDT_INTRINSIC)
  EDT_EACH {
    if constexpr (sizeof(T) == 4)
      r.v[p] = (R)EDT_INTRINSIC(fmadd_ps)((Floats)a.v[p], (Floats)b.v[p], (Floats)c.v[p]);
    else r.v[p] = (R)EDT_INTRINSIC(fmadd_pd)((Doubles)a.v[p], (Doubles)b.v[p], (Doubles)c.v[p]);
  }
#else
  EDT_EACH r.v[p] = R(a.v[p] * b.v[p] + c.v[p]);
#endif
  return r;
}
// c - a b
template <class T, int P>
EDT_INLINE Vec<T, P> fnma(const Vec<T, P>& a, const Vec<T, P>& b, const Vec<T, P>& c) {
#if defined(EDT_INTRINSIC)
  using R = typename Vec<T, P>::V;
  Vec<T, P> r;
  EDT_EACH {
    if constexpr (sizeof(T) == 4)
      r.v[p] = (R)EDT_INTRINSIC(fnmadd_ps)((Floats)a.v[p], (Floats)b.v[p], (Floats)c.v[p]);
    else r.v[p] = (R)EDT_INTRINSIC(fnmadd_pd)((Doubles)a.v[p], (Doubles)b.v[p], (Doubles)c.v[p]);
  }
  return r;
#else
  return fma(-a, b, c);
#endif
}
// a < b ? b : a and a > b ? b : a, so a NaN in `a` is returned: one instruction each, which returns
// its second operand when the comparison is false.
#if defined(EDT_INTRINSIC)
#define EDT_EXTREME(name)                                                                          \
  template <class T, int P>                                                                        \
  EDT_INLINE Vec<T, P> name(const Vec<T, P>& a, const Vec<T, P>& b) {                              \
    using R = typename Vec<T, P>::V;                                                               \
    Vec<T, P> r;                                                                                   \
    EDT_EACH {                                                                                     \
      if constexpr (sizeof(T) == 4)                                                                \
        r.v[p] = (R)EDT_INTRINSIC(name##_ps)((Floats)b.v[p], (Floats)a.v[p]);                      \
      else r.v[p] = (R)EDT_INTRINSIC(name##_pd)((Doubles)b.v[p], (Doubles)a.v[p]);                 \
    }                                                                                              \
    return r;                                                                                      \
  }
EDT_EXTREME(max)
EDT_EXTREME(min)
#undef EDT_EXTREME
#else
template <class T, int P>
EDT_INLINE Vec<T, P> max(const Vec<T, P>& a, const Vec<T, P>& b) {
  return select(a < b, b, a);
}
template <class T, int P>
EDT_INLINE Vec<T, P> min(const Vec<T, P>& a, const Vec<T, P>& b) {
  return select(a > b, b, a);
}
#endif

// a where z is negative (its sign bit set), else b.
template <class T, int P>
EDT_INLINE Vec<T, P> select_negative(const Vec<T, P>& z, const Vec<T, P>& a, const Vec<T, P>& b) {
#if defined(EDT_ISA_AVX2)
  using R = typename Vec<T, P>::V;
  Vec<T, P> r;
  EDT_EACH {
    if constexpr (sizeof(T) == 4)
      r.v[p] = (R)_mm256_blendv_ps((__m256)b.v[p], (__m256)a.v[p], (__m256)z.v[p]);
    else r.v[p] = (R)_mm256_blendv_pd((__m256d)b.v[p], (__m256d)a.v[p], (__m256d)z.v[p]);
  }
  return r;
#else
  using N = Native<T>;
  Vec<T, P> r;
  EDT_EACH r.v[p] = (typename N::I)z.v[p] < 0 ? a.v[p] : b.v[p];
  return r;
#endif
}

template <class T, int P>
EDT_INLINE Vec<T, P> abs(const Vec<T, P>& a) {
  using N = Native<T>;
  Vec<T, P> r;
  EDT_EACH r.v[p] = (typename N::V)(
      (typename N::I)a.v[p] & ~((typename N::I){} + (typename N::Int(1) << (8 * sizeof(T) - 1))));
  return r;
}
// -|a|
template <class T, int P>
EDT_INLINE Vec<T, P> neg_abs(const Vec<T, P>& a) {
  using N = Native<T>;
  Vec<T, P> r;
  EDT_EACH r.v[p] = (typename N::V)(
      (typename N::I)a.v[p] | ((typename N::I){} + (typename N::Int(1) << (8 * sizeof(T) - 1))));
  return r;
}
template <class T, int P>
EDT_INLINE Vec<T, P> copysign(const Vec<T, P>& a, const Vec<T, P>& sign) {
  using N = Native<T>;
  const auto bit = (typename N::I){} + (typename N::Int(1) << (8 * sizeof(T) - 1));
  Vec<T, P> r;
  EDT_EACH r.v[p] =
      (typename N::V)(((typename N::I)a.v[p] & ~bit) | ((typename N::I)sign.v[p] & bit));
  return r;
}
template <class T, int P>
EDT_INLINE Vec<T, P> sqrt(const Vec<T, P>& a) {
  Vec<T, P> r;
#if defined(EDT_INTRINSIC)
  using R = typename Vec<T, P>::V;
  EDT_EACH {
    if constexpr (sizeof(T) == 4) r.v[p] = (R)EDT_INTRINSIC(sqrt_ps)((Floats)a.v[p]);
    else r.v[p] = (R)EDT_INTRINSIC(sqrt_pd)((Doubles)a.v[p]);
  }
#else
  EDT_EACH for (int i = 0; i < Vec<T, P>::L / P; ++i) r.v[p][i] = T(__builtin_sqrt(a.v[p][i]));
#endif
  return r;
}

// 1 / b as the division rounds it, NaN for NaN, where b and 1 / b are normal. Doubles go without
// the divider, which a Xeon keeps busy for 16 cycles, where there is little to do beside it (floats
// are no faster so). The last step but one of AVX-512 rounds upwards: what is above 1 / b by less
// than one unit is rounded right by the last, for the mantissa of ones alone, too, where what is
// below is not (P. Markstein, "Computation of elementary functions on the IBM RISC System/6000
// processor", 1990, theorem 6; tests/ops/test_recorded_bits.py holds AVX-512 to the bits of AVX2).
template <class T, int P>
EDT_INLINE Vec<T, P> reciprocal(const Vec<T, P>& b) {
  const Vec<T, P> one = Vec<T, P>::set1(T(1));
#if defined(EDT_ISA_AVX512)
  if constexpr (sizeof(T) == 8) {
    using R = typename Vec<T, P>::V;
    constexpr int up = _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC;
    Vec<T, P> y;
    EDT_EACH y.v[p] = (R)_mm512_rcp14_pd((Doubles)b.v[p]);
    Vec<T, P> e = fnma(b, y, one);
    y = fma(y, fma(e, e, e), y);
    e = fnma(b, y, one);
    EDT_EACH y.v[p] =
        (R)_mm512_fmadd_round_pd((Doubles)y.v[p], (Doubles)e.v[p], (Doubles)y.v[p], up);
    return fma(y, fnma(b, y, one), y);
  }
#endif
  return one / b;
}

// Nearest integer as a float, plus its bits shifted into an exponent: |a| < 2^22 (float), 2^51.
template <class T, int P>
struct Rounded {
  Vec<T, P> value;                // nearest-even integer
  typename Native<T>::I bits[P];  // integer, in the low bits
};
template <class T, int P>
EDT_INLINE Rounded<T, P> round_bits(const Vec<T, P>& a) {
  const Vec<T, P> magic = Vec<T, P>::set1(Native<T>::magic);
  const Vec<T, P> t = a + magic;
  Rounded<T, P> r;
  r.value = t - magic;
  EDT_EACH r.bits[p] = (typename Native<T>::I)t.v[p];
  return r;
}
// 2^n for the integer n in r, 1 - bias <= n <= bias.
template <class T, int P>
EDT_INLINE Vec<T, P> pow2(const Rounded<T, P>& r) {
  using N = Native<T>;
  Vec<T, P> out;
  EDT_EACH out.v[p] = (typename N::V)((r.bits[p] + N::bias) << N::mantissa);
  return out;
}

// Tables of one half register of AVX2: 8 floats or 4 doubles, looked up by the low 3 or 2 bits of
// each lane. AVX-512 could hold twice that; both use the same, for the same bits.
template <class T>
constexpr int kTableBits = sizeof(T) == 4 ? 3 : 2;

// Lanes of bits that a table can be indexed with; AVX2 looks doubles up as pairs of 32 bits.
template <class T, int P>
struct TableIndex {
  typename Native<T>::I i[P];
};
template <class T, int P>
EDT_INLINE TableIndex<T, P> table_index(const Vec<T, P>& bits) {
  using I = typename Native<T>::I;
  TableIndex<T, P> r;
#if defined(EDT_ISA_AVX2)
  EDT_EACH {
    if constexpr (sizeof(T) == 4) {
      r.i[p] = (I)bits.v[p];
    } else {
      const __m256 twice = _mm256_castsi256_ps(_mm256_slli_epi64((__m256i)bits.v[p], 1));
      r.i[p] = (I)_mm256_or_si256(_mm256_castps_si256(_mm256_moveldup_ps(twice)),
                                  _mm256_set1_epi64x(int64_t(1) << 32));
    }
  }
#else
  EDT_EACH r.i[p] = (I)bits.v[p];
#endif
  return r;
}
// The entries of a table of T, or of integers of its size (then as bits).
template <class E, class T, int P>
EDT_INLINE Vec<T, P> look_up(const TableIndex<T, P>& at, const E (&table)[1 << kTableBits<T>]) {
  static_assert(sizeof(E) == sizeof(T));
  Vec<T, P> r;
#if defined(EDT_ISA_AVX512)
  using R = typename Vec<T, P>::V;
  const __m256 half = _mm256_loadu_ps(reinterpret_cast<const float*>(table));
  EDT_EACH {
    if constexpr (sizeof(T) == 4)
      r.v[p] = (R)_mm512_permutexvar_ps((__m512i)at.i[p], _mm512_broadcast_f32x8(half));
    else
      r.v[p] = (R)_mm512_permutexvar_pd((__m512i)at.i[p],
                                        _mm512_broadcast_f64x4(_mm256_castps_pd(half)));
  }
#elif defined(EDT_ISA_AVX2)
  using R = typename Vec<T, P>::V;
  __m256 whole = _mm256_loadu_ps(reinterpret_cast<const float*>(table));
  asm("" : "+x"(whole));  // or each look-up loads the table anew
  EDT_EACH r.v[p] = (R)_mm256_permutevar8x32_ps(whole, (__m256i)at.i[p]);
#else
  EDT_EACH for (int l = 0; l < Vec<T, P>::L / P; ++l)
      std::memcpy(reinterpret_cast<char*>(&r.v[p]) + l * sizeof(T),
                  &table[at.i[p][l] & ((1 << kTableBits<T>)-1)], sizeof(T));
#endif
  return r;
}

// Fixed tree: lanes i and i + L/2, then i and i + L/4, ...
template <class T>
EDT_INLINE T hsum(const Vec<T>& a) {
#if defined(EDT_ISA_AVX512)
  if constexpr (sizeof(T) == 4) {
    const __m256 h = _mm256_add_ps(_mm512_castps512_ps256((__m512)a.v[0]),
                                   _mm512_extractf32x8_ps((__m512)a.v[0], 1));
    const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
  } else {
    const __m256d h = _mm256_add_pd(_mm512_castpd512_pd256((__m512d)a.v[0]),
                                    _mm512_extractf64x4_pd((__m512d)a.v[0], 1));
    const __m128d q = _mm_add_pd(_mm256_castpd256_pd128(h), _mm256_extractf128_pd(h, 1));
    return _mm_cvtsd_f64(_mm_add_sd(q, _mm_unpackhi_pd(q, q)));
  }
#elif defined(EDT_ISA_AVX2)
  if constexpr (sizeof(T) == 4) {
    const __m256 h = _mm256_add_ps((__m256)a.v[0], (__m256)a.v[1]);
    const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
  } else {
    const __m256d h = _mm256_add_pd((__m256d)a.v[0], (__m256d)a.v[1]);
    const __m128d q = _mm_add_pd(_mm256_castpd256_pd128(h), _mm256_extractf128_pd(h, 1));
    return _mm_cvtsd_f64(_mm_add_sd(q, _mm_unpackhi_pd(q, q)));
  }
#else
  T lanes[Vec<T>::L];
  a.storeu(lanes);
  for (int half = Vec<T>::L / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
#endif
}
template <class T>
EDT_INLINE T hmax(const Vec<T>& a) {
  T lanes[Vec<T>::L];
  a.storeu(lanes);
  T m = lanes[0];
  for (int i = 1; i < Vec<T>::L; ++i) m = lanes[i] > m ? lanes[i] : m;
  return m;
}

#undef EDT_EACH

}  // namespace edt::EDT_ISA_NS
