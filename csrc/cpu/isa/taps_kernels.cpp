// One instruction set's kernels of sparse layers; compiled as table.cpp is.
#include <algorithm>

#include "cpu/isa/transpose.h"
#include "cpu/tap_kernels.h"

namespace edt::EDT_ISA_NS {
namespace {

// Positions, and taps, whose sums stand in registers at once.
constexpr int kRun = kParts == 1 ? 16 : 4, kTapsAtOnce = kParts == 1 ? 8 : 4;

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

// One run of R positions.
template <int R, class T>
EDT_INLINE void run(const int32_t* offset, const T* w, int64_t taps, const T* in, int64_t in_step,
                    T bias, T* out, int64_t out_step) {
  using V = Vec<T>;
  V sum[R];
#pragma GCC unroll 16
  for (int x = 0; x < R; ++x) sum[x] = V::set1(bias);
  for (int64_t k = 0; k < taps; ++k) {
    const V weight = V::set1(w[k]);
    const T* from = in + int64_t(offset[k]) * V::L;
#pragma GCC unroll 16
    for (int x = 0; x < R; ++x) sum[x] = fma(weight, V::load(from + x * in_step), sum[x]);
  }
#pragma GCC unroll 16
  for (int x = 0; x < R; ++x) sum[x].store(out + x * out_step);
}

template <class T>
void gather(const Taps& list, const T* w, const T* bias, int first, int last, const T* in,
            int64_t cols, int64_t in_step, T* out, int64_t out_step, int64_t out_plane) {
  constexpr int L = Vec<T>::L;
  const int64_t from = in_step * L, to = out_step * L;
  // All channels read the same few positions: these stay in the nearest cache.
  int64_t x = 0;
  const auto all = [&](auto width) {
    constexpr int R = decltype(width)::value;
    for (; x + R <= cols; x += R)
      for (int c = first; c < last; ++c) {
        const int64_t k = list.start[c];
        run<R>(list.offset.data() + k, w + k, list.start[c + 1] - k, in + x * from, from,
               bias ? bias[c] : T(0), out + (c - first) * out_plane * L + x * to, to);
      }
  };
  if constexpr (kRun >= 16) all(std::integral_constant<int, 16>{});
  if constexpr (kRun >= 8) all(std::integral_constant<int, 8>{});
  all(std::integral_constant<int, 4>{});
  all(std::integral_constant<int, 2>{});
  all(std::integral_constant<int, 1>{});
}

template <int R, class T>
EDT_INLINE void products(const int32_t* offset, const T* in, int64_t cols, int64_t in_step,
                         const T* g, T* sums) {
  using V = Vec<T>;
  V sum[R];
  const T* from[R];
#pragma GCC unroll 8
  for (int k = 0; k < R; ++k) {
    sum[k] = V::load(sums + k * V::L);
    from[k] = in + int64_t(offset[k]) * V::L;
  }
  for (int64_t x = 0; x < cols; ++x) {
    const V slope = V::load(g + x * V::L);
#pragma GCC unroll 8
    for (int k = 0; k < R; ++k) sum[k] = fma(slope, V::load(from[k] + x * in_step), sum[k]);
  }
#pragma GCC unroll 8
  for (int k = 0; k < R; ++k) sum[k].store(sums + k * V::L);
}

template <class T>
void contract(const Taps& list, int first, int last, const T* in, int64_t cols, int64_t in_step,
              const T* g, int64_t g_plane, T* sums) {
  constexpr int L = Vec<T>::L;
  const int64_t origin = list.start[first], step = in_step * L;
  for (int c = first; c < last; ++c) {
    int64_t k = list.start[c];
    const int64_t end = list.start[c + 1];
    const T* slopes = g + c * g_plane * L;
    const auto all = [&](auto width) {
      constexpr int R = decltype(width)::value;
      for (; k + R <= end; k += R)
        products<R>(list.offset.data() + k, in, cols, step, slopes, sums + (k - origin) * L);
    };
    all(std::integral_constant<int, kTapsAtOnce>{});
    if constexpr (kTapsAtOnce > 4) all(std::integral_constant<int, 4>{});
    all(std::integral_constant<int, 2>{});
    all(std::integral_constant<int, 1>{});
  }
}

template <class T>
void add_lanes(const T* sums, int64_t n, T* out) {
  for (int64_t k = 0; k < n; ++k) out[k] = hsum(Vec<T>::load(sums + k * Vec<T>::L));
}

}  // namespace

#define EDT_CONCAT_(a, b) a##b
#define EDT_CONCAT(a, b) EDT_CONCAT_(a, b)
using S = EDT_SCALAR;

extern const TapTable<S> EDT_CONCAT(taps_, EDT_SCALAR);
constexpr TapTable<S> EDT_CONCAT(taps_, EDT_SCALAR) = {to_lanes<S>, from_lanes<S>, gather<S>,
                                                       contract<S>, add_lanes<S>};

}  // namespace edt::EDT_ISA_NS
