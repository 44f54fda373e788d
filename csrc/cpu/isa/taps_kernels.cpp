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
constexpr int64_t kStrip = 24;

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

// R vectors of a run, plane after plane: all read the same few positions, which stay in the
// nearest cache.
template <int R, class T>
void gather_run(const Taps& list, const T* w, const T* bias, int64_t first, int64_t last,
                const T* in, T* out, int64_t out_plane) {
  using V = Vec<T>;
  const int32_t* offset = list.offset.data();
  for (int64_t c = first; c < last; ++c) {
    V sum[R];
#pragma GCC unroll 24
    for (int r = 0; r < R; ++r) sum[r] = V::set1(bias ? bias[c] : T(0));
    for (int64_t k = list.start[size_t(c)]; k < list.start[size_t(c) + 1]; ++k) {
      const V weight = V::set1(w[k]);
      const T* from = in + offset[k];
#pragma GCC unroll 24
      for (int r = 0; r < R; ++r) sum[r] = fma(weight, V::loadu(from + r * V::L), sum[r]);
    }
    T* to = out + (c - first) * out_plane;
#pragma GCC unroll 24
    for (int r = 0; r < R; ++r) sum[r].store(to + r * V::L);
  }
}

template <class T>
void gather(const Taps& list, const T* w, const T* bias, int64_t first, int64_t last, const T* in,
            int64_t vectors, T* out, int64_t out_plane) {
  constexpr int L = Vec<T>::L;
  even(vectors, kMostRun, [&](int64_t v, int64_t size) {
    with_constant<kMostRun>(size, [&](auto count) {
      gather_run<decltype(count)::value>(list, w, bias, first, last, in + v * L, out + v * L,
                                         out_plane);
    });
  });
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
#pragma GCC unroll 8
  for (int k = 0; k < R; ++k) sums[k] += hsum(sum[k]);
}

template <class T>
void contract(const Taps& list, int64_t first, int64_t last, const T* in, const T* g,
              int64_t g_plane, int64_t length, T* sums) {
  constexpr int L = Vec<T>::L;
  const int64_t origin = list.start[size_t(first)], rest = length % L;
  const int64_t vectors = length / L;
  // What lies behind a run belongs to others.
  alignas(64) T tail[L] = {};
  even(vectors + (rest > 0), kStrip, [&](int64_t v, int64_t size) {
    const bool ends = rest > 0 && v + size > vectors;
    for (int64_t c = first; c < last; ++c) {
      const T* slopes = g + (c - first) * g_plane;
      if (ends) std::copy_n(slopes + vectors * L, rest, tail);
      const int64_t from = list.start[size_t(c)];
      even(list.start[size_t(c) + 1] - from, kMostTaps, [&](int64_t k, int64_t taps) {
        with_constant<kMostTaps>(taps, [&](auto count) {
          products<decltype(count)::value>(list.offset.data() + from + k, in + v * L,
                                           slopes + v * L, size - ends, ends ? tail : nullptr,
                                           sums + from + k - origin);
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
  for (; q + V::L <= length; q += V::L) sum = sum + V::load(g + q);
  alignas(64) T tail[V::L] = {};
  std::copy(g + q, g + length, tail);
  return hsum(sum + V::load(tail));
}

}  // namespace

#define EDT_CONCAT_(a, b) a##b
#define EDT_CONCAT(a, b) EDT_CONCAT_(a, b)
using S = EDT_SCALAR;

extern const TapTable<S> EDT_CONCAT(taps_, EDT_SCALAR);
constexpr TapTable<S> EDT_CONCAT(taps_, EDT_SCALAR) = {copy_rows<S>, to_lanes<S>, from_lanes<S>,
                                                       gather<S>,    contract<S>, total<S>};

}  // namespace edt::EDT_ISA_NS
