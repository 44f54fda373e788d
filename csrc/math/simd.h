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

template <class T>
struct Mask {
  typename Native<T>::I m[kParts];
};

#define EDT_EACH for (int p = 0; p < kParts; ++p)

template <class T>
struct Vec {
  using N = Native<T>;
  using V = typename N::V;
  using I = typename N::I;
  using Scalar = T;
  static constexpr int L = 64 / sizeof(T);
  V v[kParts];

  static EDT_INLINE Vec load(const T* p_) {
    Vec r;
    EDT_EACH std::memcpy(&r.v[p], __builtin_assume_aligned(p_ + p * (L / kParts), kNativeBytes),
                         kNativeBytes);
    return r;
  }
  static EDT_INLINE Vec loadu(const T* p_) {
    Vec r;
    EDT_EACH std::memcpy(&r.v[p], p_ + p * (L / kParts), kNativeBytes);
    return r;
  }
  EDT_INLINE void store(T* p_) const {
    EDT_EACH std::memcpy(__builtin_assume_aligned(p_ + p * (L / kParts), kNativeBytes), &v[p],
                         kNativeBytes);
  }
  EDT_INLINE void storeu(T* p_) const {
    EDT_EACH std::memcpy(p_ + p * (L / kParts), &v[p], kNativeBytes);
  }
  static EDT_INLINE Vec set1(T x) {
    Vec r;
    EDT_EACH r.v[p] = V{} + x;
#if defined(EDT_ISA_AVX512)
    if constexpr (sizeof(T) == 4) r.v[0] = (V)_mm512_set1_ps(x);
    else r.v[0] = (V)_mm512_set1_pd(x);
#elif defined(EDT_ISA_AVX2)
    if constexpr (sizeof(T) == 4) EDT_EACH r.v[p] = (V)_mm256_set1_ps(x);
    else EDT_EACH r.v[p] = (V)_mm256_set1_pd(x);
#endif
    return r;
  }
  static EDT_INLINE Vec zero() {
    Vec r;
    EDT_EACH r.v[p] = V{};
    return r;
  }
};

#define EDT_BINARY(op)                                              \
  template <class T>                                                \
  EDT_INLINE Vec<T> operator op(const Vec<T>& a, const Vec<T>& b) { \
    Vec<T> r;                                                       \
    EDT_EACH r.v[p] = a.v[p] op b.v[p];                             \
    return r;                                                       \
  }
EDT_BINARY(+)
EDT_BINARY(-)
EDT_BINARY(*)
EDT_BINARY(/)
#undef EDT_BINARY

#define EDT_COMPARE(op)                                            \
  template <class T>                                               \
  EDT_INLINE Mask<T> operator op(const Vec<T>& a, const Vec<T>& b) { \
    Mask<T> r;                                                     \
    EDT_EACH r.m[p] = a.v[p] op b.v[p];                            \
    return r;                                                      \
  }
EDT_COMPARE(<)
EDT_COMPARE(>)
EDT_COMPARE(<=)
EDT_COMPARE(>=)
#undef EDT_COMPARE

template <class T>
EDT_INLINE Vec<T> operator-(const Vec<T>& a) {
  Vec<T> r;
  EDT_EACH r.v[p] = -a.v[p];
  return r;
}
template <class T>
EDT_INLINE Vec<T> select(const Mask<T>& m, const Vec<T>& a, const Vec<T>& b) {
  Vec<T> r;
  EDT_EACH r.v[p] = m.m[p] ? a.v[p] : b.v[p];
  return r;
}

template <class T>
EDT_INLINE Vec<T> fma(const Vec<T>& a, const Vec<T>& b, const Vec<T>& c) {
  Vec<T> r;
#if defined(EDT_ISA_AVX512)
  if constexpr (sizeof(T) == 4)
    r.v[0] = (typename Vec<T>::V)_mm512_fmadd_ps((__m512)a.v[0], (__m512)b.v[0], (__m512)c.v[0]);
  else
    r.v[0] = (typename Vec<T>::V)_mm512_fmadd_pd((__m512d)a.v[0], (__m512d)b.v[0], (__m512d)c.v[0]);
#elif defined(EDT_ISA_AVX2)
  EDT_EACH {
    if constexpr (sizeof(T) == 4)
      r.v[p] = (typename Vec<T>::V)_mm256_fmadd_ps((__m256)a.v[p], (__m256)b.v[p], (__m256)c.v[p]);
    else
      r.v[p] =
          (typename Vec<T>::V)_mm256_fmadd_pd((__m256d)a.v[p], (__m256d)b.v[p], (__m256d)c.v[p]);
  }
#else
  EDT_EACH r.v[p] = a.v[p] * b.v[p] + c.v[p];
#endif
  return r;
}
// c - a b
template <class T>
EDT_INLINE Vec<T> fnma(const Vec<T>& a, const Vec<T>& b, const Vec<T>& c) {
  return fma(-a, b, c);
}
// NaN in either operand must survive: written so that a NaN in `a` is returned.
template <class T>
EDT_INLINE Vec<T> max(const Vec<T>& a, const Vec<T>& b) { return select(a < b, b, a); }
template <class T>
EDT_INLINE Vec<T> min(const Vec<T>& a, const Vec<T>& b) { return select(a > b, b, a); }

template <class T>
EDT_INLINE Vec<T> abs(const Vec<T>& a) {
  using N = Native<T>;
  Vec<T> r;
  EDT_EACH r.v[p] = (typename N::V)((typename N::I)a.v[p] &
                                    ~((typename N::I){} + (typename N::Int(1) << (8 * sizeof(T) - 1))));
  return r;
}
template <class T>
EDT_INLINE Vec<T> copysign(const Vec<T>& a, const Vec<T>& sign) {
  using N = Native<T>;
  const auto bit = (typename N::I){} + (typename N::Int(1) << (8 * sizeof(T) - 1));
  Vec<T> r;
  EDT_EACH r.v[p] =
      (typename N::V)(((typename N::I)a.v[p] & ~bit) | ((typename N::I)sign.v[p] & bit));
  return r;
}
template <class T>
EDT_INLINE Vec<T> sqrt(const Vec<T>& a) {
  Vec<T> r;
#if defined(EDT_ISA_AVX512)
  if constexpr (sizeof(T) == 4) r.v[0] = (typename Vec<T>::V)_mm512_sqrt_ps((__m512)a.v[0]);
  else r.v[0] = (typename Vec<T>::V)_mm512_sqrt_pd((__m512d)a.v[0]);
#elif defined(EDT_ISA_AVX2)
  EDT_EACH {
    if constexpr (sizeof(T) == 4) r.v[p] = (typename Vec<T>::V)_mm256_sqrt_ps((__m256)a.v[p]);
    else r.v[p] = (typename Vec<T>::V)_mm256_sqrt_pd((__m256d)a.v[p]);
  }
#else
  EDT_EACH for (int i = 0; i < Vec<T>::L / kParts; ++i) r.v[p][i] = __builtin_sqrt(a.v[p][i]);
#endif
  return r;
}

// Nearest integer as a float, plus its bits shifted into an exponent: |a| < 2^22 (float), 2^51.
template <class T>
struct Rounded {
  Vec<T> value;                  // nearest-even integer
  typename Native<T>::I bits[kParts];  // integer, in the low bits
};
template <class T>
EDT_INLINE Rounded<T> round_bits(const Vec<T>& a) {
  const Vec<T> magic = Vec<T>::set1(Native<T>::magic);
  const Vec<T> t = a + magic;
  Rounded<T> r;
  r.value = t - magic;
  EDT_EACH r.bits[p] = (typename Native<T>::I)t.v[p];
  return r;
}
// 2^n for the integer n in r, 1 - bias <= n <= bias.
template <class T>
EDT_INLINE Vec<T> pow2(const Rounded<T>& r) {
  using N = Native<T>;
  Vec<T> out;
  EDT_EACH out.v[p] = (typename N::V)((r.bits[p] + N::bias) << N::mantissa);
  return out;
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
