// One instruction set's kernels of sparse layers; compiled as table.cpp is.
#include <algorithm>
#include <type_traits>

#include "cpu/isa/transpose.h"
#include "cpu/tap_kernels.h"

namespace edt::EDT_ISA_NS {
namespace {

// Vectors of a run, and taps, whose sums stand in registers at once.
constexpr int kMostRun = kParts == 1 ? 8 : kParts == 2 ? 6 : 3;
constexpr int kMostTaps = kParts == 1 ? 8 : kParts == 2 ? 6 : 3;
// Vectors of a run whose products with all taps are summed before the next: what taps read of them
// stays in the nearest cache.
constexpr int64_t kStrip = 12;
// The same of layers in place, whose taps are few and need two addresses each.
constexpr int kMostTapsInside = kParts == 1 ? 4 : kParts == 2 ? 3 : 2;
constexpr int64_t kStripInside = 32;

// n things in groups of about equal size, at most `most`: body(first, size).
template <class Body>
EDT_INLINE void even(int64_t n, int64_t most, const Body& body) {
  const int64_t groups = (n + most - 1) / most;
  for (int64_t k = 0, first = 0; k < groups; ++k) {
    const int64_t size = (n - first) / (groups - k);
    body(first, size);
    first += size;
  }
}

// body<R>() for the R of 1..Most that equals r.
template <int Most, class Body>
EDT_INLINE void with_constant(int64_t r, const Body& body) {
  if constexpr (Most > 0) {
    if (r == Most) body(std::integral_constant<int, Most>{});
    else with_constant<Most - 1>(r, body);
  }
}

// Rows of at least one piece of P elements, the last one of which may overlap the one before.
template <int P, class T>
void copy_in_pieces(const T* src, int64_t src_pitch, T* dst, int64_t dst_pitch, int64_t rows,
                    int64_t cols) {
  for (int64_t y = 0; y < rows; ++y, src += src_pitch, dst += dst_pitch) {
    for (int64_t x = 0; x + P < cols; x += P) std::memcpy(dst + x, src + x, P * sizeof(T));
    std::memcpy(dst + cols - P, src + cols - P, P * sizeof(T));
  }
}

template <class T>
void copy_rows(const T* src, int64_t src_pitch, T* dst, int64_t dst_pitch, int64_t rows,
               int64_t cols) {
  if (cols >= 16) copy_in_pieces<16>(src, src_pitch, dst, dst_pitch, rows, cols);
  else if (cols >= 8) copy_in_pieces<8>(src, src_pitch, dst, dst_pitch, rows, cols);
  else if (cols >= 4) copy_in_pieces<4>(src, src_pitch, dst, dst_pitch, rows, cols);
  else if (cols > 0) copy_in_pieces<1>(src, src_pitch, dst, dst_pitch, rows, cols);
}

template <class T>
void split_rows(const T* src, int64_t src_pitch, T* even, T* odd, int64_t dst_pitch, int64_t rows,
                int64_t cols) {
  const int64_t pairs = cols / 2;
  for (int64_t y = 0; y < rows; ++y) {
    const T* __restrict__ from = src + y * src_pitch;
    T* __restrict__ a = even ? even + y * dst_pitch : nullptr;
    T* __restrict__ b = odd ? odd + y * dst_pitch : nullptr;
    if (a && b) {
      for (int64_t i = 0; i < pairs; ++i) {
        a[i] = from[2 * i];
        b[i] = from[2 * i + 1];
      }
    } else if (a) {
      for (int64_t i = 0; i < pairs; ++i) a[i] = from[2 * i];
    } else {
      for (int64_t i = 0; i < pairs; ++i) b[i] = from[2 * i + 1];
    }
    if (a && cols % 2) a[pairs] = from[2 * pairs];
  }
}

template <class T>
void join_rows(const T* even, const T* odd, int64_t src_pitch, T* dst, int64_t dst_pitch,
               int64_t rows, int64_t cols) {
  const int64_t pairs = cols / 2;
  for (int64_t y = 0; y < rows; ++y) {
    const T* __restrict__ a = even ? even + y * src_pitch : nullptr;
    const T* __restrict__ b = odd ? odd + y * src_pitch : nullptr;
    T* __restrict__ to = dst + y * dst_pitch;
    if (a && b) {
      for (int64_t i = 0; i < pairs; ++i) {
        to[2 * i] = a[i];
        to[2 * i + 1] = b[i];
      }
    } else if (a) {
      for (int64_t i = 0; i < pairs; ++i) {
        to[2 * i] = a[i];
        to[2 * i + 1] = 0;
      }
    } else {
      for (int64_t i = 0; i < pairs; ++i) {
        to[2 * i] = 0;
        to[2 * i + 1] = b[i];
      }
    }
    if (cols % 2) to[2 * pairs] = a ? a[pairs] : T(0);
  }
}

template <class T>
void to_lanes(const T* src, int64_t stride, int lanes, int64_t n, T* dst, int64_t ldd) {
  constexpr int L = Vec<T>::L;
  if (lanes == L) {
    transpose([=](int l) { return src + l * stride; }, L, n, dst, ldd);
    return;
  }
  for (int64_t i = 0; i < n; ++i) Vec<T>::zero().store(dst + i * ldd);
  if (lanes > 0) transpose([=](int l) { return src + l * stride; }, lanes, n, dst, ldd);
}

// Samples often lie a power of two apart, so that their lines share a set of the cache: every line
// is written once, in one piece.
template <class T>
void from_lanes(const T* src, int64_t stride, int rows, int lanes, T* dst, int64_t ldd) {
  using V = Vec<T>;
  if (lanes <= 0) return;
  alignas(64) T turned[V::L * V::L];
  int r = 0;
  for (; r + V::L <= rows; r += V::L) {
    transpose([=](int k) { return src + (r + k) * stride; }, V::L, lanes, turned, V::L);
    for (int l = 0; l < lanes; ++l) V::load(turned + l * V::L).storeu(dst + l * ldd + r);
  }
  if (r < rows)
    transpose([=](int k) { return src + (r + k) * stride; }, rows - r, lanes, dst + r, ldd);
}

// Asks for a stretch of memory in so many steps.
template <bool Write>
class Steps {
 public:
  Steps(const Ahead& ahead, int64_t steps)
      : at_(ahead.at),
        end_(ahead.at + ahead.size),
        bytes_((ahead.size / kLine + steps) / steps * kLine) {}
  EDT_INLINE void step() {
    const char* stop = std::min(end_, at_ + bytes_);
    for (; at_ < stop; at_ += kLine) {
      if constexpr (Write) __builtin_prefetch(at_, 1, 3);
      else __builtin_prefetch(at_, 0, 2);
    }
  }

 private:
  static constexpr int64_t kLine = 64;
  const char *at_, *end_;
  int64_t bytes_;
};

struct Prefetch {
  Steps<false> first, second;
  Steps<true> write;
  EDT_INLINE void step() {
    first.step();
    second.step();
    write.step();
  }
};

// R vectors of a run, plane after plane: all read the same few positions of one chunk of planes,
// which stay in the nearest cache.
template <int R, class T>
void gather_run(const Taps& list, int64_t chunk, const T* w, const T* bias, int64_t first,
                int64_t last, const T* in, T* out, int64_t out_plane, Prefetch& prefetch) {
  using V = Vec<T>;
  const int32_t* offset = list.offset.data();
  const auto planes = int64_t(list.start.size()) - 1;
  const int64_t *begin = list.cuts.data() + chunk * planes, *end = begin + planes;
  for (int64_t c = first; c < last; ++c) {
    if (chunk == 0) prefetch.step();
    else if (begin[c] == end[c]) continue;
    T* to = out + (c - first) * out_plane;
    V sum[R];
#pragma GCC unroll 24
    for (int r = 0; r < R; ++r)
      sum[r] = chunk == 0 ? V::set1(bias ? bias[c] : T(0)) : V::load(to + r * V::L);
    for (int64_t k = begin[c]; k < end[c]; ++k) {
      const V weight = V::set1(w[k]);
      const T* from = in + offset[k];
#pragma GCC unroll 24
      for (int r = 0; r < R; ++r) sum[r] = fma(weight, V::loadu(from + r * V::L), sum[r]);
    }
#pragma GCC unroll 24
    for (int r = 0; r < R; ++r) sum[r].store(to + r * V::L);
  }
}

template <class T>
void gather(const Taps& list, const T* w, const T* bias, int64_t first, int64_t last, const T* in,
            int64_t vectors, T* out, int64_t out_plane, const Ahead (&read)[2],
            const Ahead& write) {
  constexpr int L = Vec<T>::L;
  const int64_t steps = (vectors + kMostRun - 1) / kMostRun * (last - first);
  Prefetch prefetch{{read[0], steps}, {read[1], steps}, {write, steps}};
  even(vectors, kMostRun, [&](int64_t v, int64_t size) {
    with_constant<kMostRun>(size, [&](auto count) {
      for (int64_t chunk = 0; chunk < list.chunks; ++chunk)
        gather_run<decltype(count)::value>(list, chunk, w, bias, first, last, in + v * L,
                                           out + v * L, out_plane, prefetch);
    });
  });
}

// sums[k] += hsum(sum[k]), with the additions of eight floats' trees side by side.
template <int R, class T>
EDT_INLINE void add_sums(const Vec<T> (&sum)[R], T* sums) {
#if defined(EDT_INTRINSIC)
  if constexpr (sizeof(T) == 4 && R > 2) {
    __m256 h[8];
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) {
      const Vec<T>& s = sum[k < R ? k : R - 1];
#if defined(EDT_ISA_AVX512)
      h[k] = _mm256_add_ps(_mm512_castps512_ps256((__m512)s.v[0]),
                           _mm512_extractf32x8_ps((__m512)s.v[0], 1));
#else
      h[k] = _mm256_add_ps((__m256)s.v[0], (__m256)s.v[1]);
#endif
    }
    __m256 q[4], d[2];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k)  // four lanes of k, four of k + 4
      q[k] = _mm256_add_ps(_mm256_permute2f128_ps(h[k], h[k + 4], 0x20),
                           _mm256_permute2f128_ps(h[k], h[k + 4], 0x31));
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k)  // two lanes of k, two of k + 2; and of four more
      d[k] = _mm256_add_ps(_mm256_shuffle_ps(q[k], q[k + 2], 0x44),
                           _mm256_shuffle_ps(q[k], q[k + 2], 0xee));
    // 0 2 1 3, and of four more
    const __m256 s =
        _mm256_add_ps(_mm256_shuffle_ps(d[0], d[1], 0x88), _mm256_shuffle_ps(d[0], d[1], 0xdd));
    alignas(32) float all[8];
    _mm256_store_ps(all, _mm256_permute_ps(s, 0xd8));
#pragma GCC unroll 8
    for (int k = 0; k < R; ++k) sums[k] += all[k];
    return;
  }
#endif
#pragma GCC unroll 8
  for (int k = 0; k < R; ++k) sums[k] += hsum(sum[k]);
}

// sums[k] += sum over the vectors of g, and over the lanes of `tail` behind them.
template <int R, class T>
EDT_INLINE void products(const int32_t* offset, const T* in, const T* g, int64_t vectors,
                         const T* tail, T* sums) {
  using V = Vec<T>;
  V sum[R];
  const T* from[R];
#pragma GCC unroll 8
  for (int k = 0; k < R; ++k) {
    sum[k] = V::zero();
    from[k] = in + offset[k];
  }
  for (int64_t q = 0; q < vectors * V::L; q += V::L) {
    const V slope = V::load(g + q);
#pragma GCC unroll 8
    for (int k = 0; k < R; ++k) sum[k] = fma(slope, V::loadu(from[k] + q), sum[k]);
  }
  if (tail) {
    const V slope = V::load(tail);
#pragma GCC unroll 8
    for (int k = 0; k < R; ++k) sum[k] = fma(slope, V::loadu(from[k] + vectors * V::L), sum[k]);
  }
  add_sums(sum, sums);
}

template <class T>
void contract(const Taps& list, int64_t first, int64_t last, const T* in, const T* g,
              int64_t g_plane, int64_t length, T* sums) {
  constexpr int L = Vec<T>::L;
  const int64_t origin = list.start[size_t(first)], rest = length % L;
  const auto planes = int64_t(list.start.size()) - 1;
  const int64_t vectors = length / L;
  // What lies behind a run belongs to others.
  alignas(64) T tail[L] = {};
  even(vectors + (rest > 0), kStrip, [&](int64_t v, int64_t size) {
    const bool ends = rest > 0 && v + size > vectors;
    for (int64_t chunk = 0; chunk < list.chunks; ++chunk) {
      const int64_t *begin = list.cuts.data() + chunk * planes, *end = begin + planes;
      for (int64_t c = first; c < last; ++c) {
        const T* slopes = g + (c - first) * g_plane;
        if (ends) std::copy_n(slopes + vectors * L, rest, tail);
        even(end[c] - begin[c], kMostTaps, [&](int64_t k, int64_t taps) {
          with_constant<kMostTaps>(taps, [&](auto count) {
            products<decltype(count)::value>(list.offset.data() + begin[c] + k, in + v * L,
                                             slopes + v * L, size - ends, ends ? tail : nullptr,
                                             sums + begin[c] + k - origin);
          });
        });
      }
    }
  });
}

// The lanes of p whose bits are set, 0 for the others, of which nothing is read.
template <class T>
EDT_INLINE Vec<T> load_inside(const T* p, const uint8_t* bits) {
  using V = Vec<T>;
  V out;
#if defined(EDT_ISA_AVX512)
  if constexpr (sizeof(T) == 4) {
    uint16_t inside;
    std::memcpy(&inside, bits, 2);
    out.v[0] = (typename V::V)_mm512_maskz_loadu_ps(inside, p);
  } else {
    out.v[0] = (typename V::V)_mm512_maskz_loadu_pd(*bits, p);
  }
#elif defined(EDT_ISA_AVX2)
  for (int h = 0; h < 2; ++h)
    if constexpr (sizeof(T) == 4) {
      const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
      const __m256i inside = _mm256_and_si256(_mm256_set1_epi32(bits[h]), bit);
      out.v[h] = (typename V::V)_mm256_maskload_ps(p + 8 * h, _mm256_cmpeq_epi32(inside, bit));
    } else {
      const __m256i bit = _mm256_setr_epi64x(1, 2, 4, 8);
      const __m256i inside = _mm256_and_si256(_mm256_set1_epi64x(*bits >> (4 * h)), bit);
      out.v[h] = (typename V::V)_mm256_maskload_pd(p + 4 * h, _mm256_cmpeq_epi64(inside, bit));
    }
#else
  alignas(64) T lanes[V::L];
  for (int l = 0; l < V::L; ++l) lanes[l] = bits[l / 8] >> (l % 8) & 1 ? p[l] : T(0);
  out = V::load(lanes);
#endif
  return out;
}

// gather_run, in place; of the last vector only `rest` lanes are written if that is not 0.
template <int R, class T>
void gather_inside_run(const Taps& list, const T* w, const T* bias, const T* in,
                       const uint8_t* masks, T* out, int64_t out_plane, int64_t rest,
                       Prefetch& prefetch) {
  using V = Vec<T>;
  const int32_t *offset = list.offset.data(), *mask = list.mask.data();
  const auto planes = int64_t(list.start.size()) - 1;
  for (int64_t c = 0; c < planes; ++c) {
    prefetch.step();
    V sum[R];
#pragma GCC unroll 24
    for (int r = 0; r < R; ++r) sum[r] = V::set1(bias ? bias[c] : T(0));
    for (int64_t k = list.start[size_t(c)]; k < list.start[size_t(c) + 1]; ++k) {
      const V weight = V::set1(w[k]);
      const T* from = in + offset[k];
      const uint8_t* inside = masks + mask[k];
#pragma GCC unroll 24
      for (int r = 0; r < R; ++r)
        sum[r] = fma(weight, load_inside(from + r * V::L, inside + r * (V::L / 8)), sum[r]);
    }
    T* to = out + c * out_plane;
#pragma GCC unroll 24
    for (int r = 0; r < R - 1; ++r) sum[r].storeu(to + r * V::L);
    if (rest == 0) {
      sum[R - 1].storeu(to + (R - 1) * V::L);
    } else {
      alignas(64) T last[V::L];
      sum[R - 1].store(last);
      std::copy_n(last, rest, to + (R - 1) * V::L);
    }
  }
}

template <class T>
void gather_inside(const Taps& list, const T* w, const T* bias, const T* in, int64_t positions,
                   T* out, const Ahead (&read)[2], const Ahead& write) {
  constexpr int L = Vec<T>::L;
  const int64_t vectors = (positions + L - 1) / L;
  const int64_t steps = (vectors + kMostRun - 1) / kMostRun * (int64_t(list.start.size()) - 1);
  Prefetch prefetch{{read[0], steps}, {read[1], steps}, {write, steps}};
  even(vectors, kMostRun, [&](int64_t v, int64_t size) {
    const int64_t rest = v + size == vectors ? positions % L : 0;
    with_constant<kMostRun>(size, [&](auto count) {
      gather_inside_run<decltype(count)::value>(list, w, bias, in + v * L,
                                                list.masks.data() + v * (L / 8), out + v * L,
                                                positions, rest, prefetch);
    });
  });
}

// sums[k] += sum over samples and the vectors of g, in place, and over the first lanes of one more
// of each, those of `tail`.
template <int R, class T>
EDT_INLINE void products_inside(const int32_t* offset, const int32_t* mask, const uint8_t* masks,
                                const Images<T>& of, int64_t first, int64_t vectors,
                                const uint8_t* tail, T* sums) {
  using V = Vec<T>;
  constexpr int kBytes = V::L / 8;
  V sum[R];
  const uint8_t* inside[R];
#pragma GCC unroll 8
  for (int k = 0; k < R; ++k) {
    sum[k] = V::zero();
    inside[k] = masks + mask[k] + first * kBytes;
  }
  for (int64_t s = 0; s < of.samples; ++s) {
    const T* g = of.g + s * of.g_sample + first * V::L;
    const T* from[R];
#pragma GCC unroll 8
    for (int k = 0; k < R; ++k) from[k] = of.in + s * of.in_sample + offset[k] + first * V::L;
    for (int64_t v = 0; v < vectors; ++v) {
      const V slope = V::loadu(g + v * V::L);
#pragma GCC unroll 8
      for (int k = 0; k < R; ++k)
        sum[k] = fma(slope, load_inside(from[k] + v * V::L, inside[k] + v * kBytes), sum[k]);
    }
    if (tail) {
      const V slope = load_inside(g + vectors * V::L, tail);
#pragma GCC unroll 8
      for (int k = 0; k < R; ++k)
        sum[k] =
            fma(slope, load_inside(from[k] + vectors * V::L, inside[k] + vectors * kBytes), sum[k]);
    }
  }
  add_sums(sum, sums);
}

template <class T>
void contract_inside(const Taps& list, const Images<T>& of, int64_t positions, T* sums) {
  constexpr int L = Vec<T>::L;
  const int64_t rest = positions % L, vectors = positions / L;
  const auto planes = int64_t(list.start.size()) - 1;
  const auto lanes = uint16_t((1 << rest) - 1);
  uint8_t tail[2];
  std::memcpy(tail, &lanes, 2);
  even(vectors + (rest > 0), kStripInside, [&](int64_t v, int64_t size) {
    const bool ends = rest > 0 && v + size > vectors;
    Images<T> plane = of;
    for (int64_t c = 0; c < planes; ++c, plane.g += positions) {
      const int64_t from = list.start[size_t(c)];
      even(list.start[size_t(c) + 1] - from, kMostTapsInside, [&](int64_t k, int64_t taps) {
        with_constant<kMostTapsInside>(taps, [&](auto count) {
          products_inside<decltype(count)::value>(
              list.offset.data() + from + k, list.mask.data() + from + k, list.masks.data(), plane,
              v, size - ends, ends ? tail : nullptr, sums + from + k);
        });
      });
    }
  });
}

template <class T>
T total(const T* g, int64_t length) {
  using V = Vec<T>;
  V sum = V::zero();
  int64_t q = 0;
  for (; q + V::L <= length; q += V::L) sum = sum + V::loadu(g + q);
  alignas(64) T tail[V::L] = {};
  std::copy(g + q, g + length, tail);
  return hsum(sum + V::load(tail));
}

}  // namespace

#define EDT_CONCAT_(a, b) a##b
#define EDT_CONCAT(a, b) EDT_CONCAT_(a, b)
using S = EDT_SCALAR;

extern const TapTable<S> EDT_CONCAT(taps_, EDT_SCALAR);
constexpr TapTable<S> EDT_CONCAT(taps_, EDT_SCALAR) = {
    copy_rows<S>, split_rows<S>, join_rows<S>,     to_lanes<S>,        from_lanes<S>,
    gather<S>,    contract<S>,   gather_inside<S>, contract_inside<S>, total<S>};

}  // namespace edt::EDT_ISA_NS
