// Affine layers of which few weights are left, by lists of taps (layout/chain_mask.h).
//
// A run of vectors of a row stands in registers while the taps of its channel go by; a tap reads
// from its own place. Gradients are taken of listed weights only. The sums are those of whole
// layers (chain_affine.h) without their zeros.
#pragma once
#include <algorithm>
#include <type_traits>

#include "cpu/chain_kernels.h"
#include "cpu/isa/block.h"
#include "cpu/isa/transpose.h"

namespace edt::EDT_ISA_NS {

// Vectors of a row, and taps, whose sums stand in registers at once.
constexpr int kTapVecs = kParts == 1 ? 16 : 4, kTapDots = kParts == 1 ? 8 : 4;

template <int N>
using Count = std::integral_constant<int, N>;

// Numbers and the vectors that they multiply.
template <class T>
struct Factors {
  const T *w, *x;
};
// One or two of them, whose products are added up one after the other.
template <class T>
struct Products {
  Factors<T> all[2];
  int count = 0;
  Products() = default;
  Products(const T* w, const T* x) { add(w, x); }
  void add(const T* w, const T* x) { all[count++] = {w, x}; }
  const Factors<T>* begin() const { return all; }
  const Factors<T>* end() const { return all + count; }
};

// The taps of a kernel that read or write inside an image: first..last - 1.
struct Range {
  int64_t first, last;
  int64_t size() const { return std::max<int64_t>(0, last - first); }
};
// Of the kernel, for the output that reads from y on, y before margins.
inline Range taps_of_output(int64_t y, int64_t kernel, int64_t margin, int64_t size) {
  return {std::max<int64_t>(0, margin - y), std::min(kernel, size + margin - y)};
}
// Of the kernel, for the input at y: the output at y + margin - tap.
inline Range taps_of_input(int64_t y, int64_t kernel, int64_t margin, int64_t size_out) {
  return {std::max<int64_t>(0, y + margin - size_out + 1), std::min(kernel, y + margin + 1)};
}
// Of outputs, that read inside the image with one tap.
inline Range outputs_of_tap(int64_t tap, int64_t margin, int64_t stride, int64_t size,
                            int64_t size_out) {
  const auto up = [=](int64_t n) { return n > 0 ? (n + stride - 1) / stride : 0; };
  return {up(margin - tap), std::min(size_out, up(size + margin - tap))};
}

inline Range within(const Range& a, const Range& b) {
  return {std::max(a.first, b.first), std::min(a.last, b.last)};
}

// Slopes and inputs of a layer's weights: where they lie in their images.
struct Rows {
  int64_t g_from, g_plane, g_pitch, x_plane, x_pitch, columns;
};

// body(Count<R>, first) for runs of n things: powers of two, the largest first.
template <int Most, class Body>
EDT_INLINE void in_runs(int64_t first, int64_t n, const Body& body) {
  for (; first + Most <= n; first += Most) body(Count<Most>{}, first);
  if constexpr (Most > 1) in_runs<Most / 2>(first, n, body);
}

// A layer's weights as its products take them, forward and back: those of lists one after the
// other, as bringing them from far apart takes longer than multiplying by them.
template <class T>
struct Weights {
  const T *forward, *back;
};
template <class T>
Weights<T> in_order(const ChainMask::Layer& mask, const T* w, Scratch& ws) {
  if (!mask.listed) return {w, w};
  const auto picked = [&](const ChainMask::Taps& taps) {
    T* out = ws.take<T>(taps.weight.size());
    for (size_t k = 0; k < taps.weight.size(); ++k) out[k] = w[taps.weight[k]];
    return out;
  };
  T* forward = picked(mask.forward);
  return {forward, picked(mask.back)};
}

// out[c] = start[c] + sum_k w[k] x[offset[k]] over the taps k of channel `from` + c of the list in
// rows `i` of the kernel, for n vectors of a row; out rows are `step` apart. S samples a position.
template <class T>
void gather_taps(const ChainMask::Taps& taps, int64_t from, int64_t channels, int64_t kernel,
                 const Range& i, const Products<T>& products, int64_t x_from, int64_t S, int64_t n,
                 const T* start, T* out, int64_t step) {
  using V = Vec<T>;
  const int64_t some = i.size();
  // All channels read the same few columns: these stay in the nearest cache.
  in_runs<kTapVecs>(0, n, [&](auto count, int64_t v) __attribute__((always_inline)) {
    constexpr int R = decltype(count)::value;
    for (int64_t c = 0; c < channels; ++c) {
      const int32_t* rows = taps.start.data() + (from + c) * kernel + (some ? i.first : 0);
      V sum[R];
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) sum[r] = V::set1(start ? start[c] : T(0));
      for (const Factors<T>& p : products) {
        const T* x = p.x + x_from + v * V::L;
        for (int64_t k = rows[0]; k < rows[some]; ++k) {
          const V weight = V::set1(p.w[k]);
          const T* at = x + int64_t(taps.offset[size_t(k)]) * S;
#pragma GCC unroll 16
          for (int r = 0; r < R; ++r) sum[r] = fma(weight, V::load(at + r * V::L), sum[r]);
        }
      }
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) sum[r].store(out + c * step + (v + r) * V::L);
    }
  });
}

// Where sums over rows go: to numbers, to which their lanes are added; or, of layers that come a
// few rows at a time, to vectors that wait for the other rows.
template <class T, bool Waiting>
struct Sums {
  T* at;
  EDT_INLINE Vec<T> start(int64_t k) const {
    return Waiting ? Vec<T>::load(at + k * Vec<T>::L) : Vec<T>::zero();
  }
  EDT_INLINE void end(int64_t k, const Vec<T>& sum) const {
    if (Waiting) sum.store(at + k * Vec<T>::L);
    else at[k] += hsum(sum);
  }
};

// sums[k] += the sum over `rows` and their columns of slopes (w of the products) by what tap k
// reads (x). Slopes begin with the first of these rows.
template <class T, bool Waiting>
void tap_weights(const ChainLayer& l, const ChainMask::Taps& taps, const Rows& at,
                 const Range& rows, const Products<T>& products, int64_t S,
                 const Sums<T, Waiting>& sums) {
  using V = Vec<T>;
  for (int64_t c = 0; c < l.c_out; ++c)
    for (int64_t i = 0; i < l.kh; ++i) {
      const Range y = within(outputs_of_tap(i, l.top, l.sh, l.h, l.h_out), rows);
      const int64_t g_from = at.g_from + c * at.g_plane + (y.first - rows.first) * at.g_pitch;
      const int64_t x_from = (y.first * l.sh - l.top) * at.x_pitch;
      const int32_t* run = taps.start.data() + c * l.kh + i;
      in_runs<kTapDots>(run[0], run[1], [&](auto count, int64_t k) __attribute__((always_inline)) {
        constexpr int R = decltype(count)::value;
        V sum[R];
        int64_t from[R];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          sum[r] = sums.start(k + r);
          from[r] = x_from + int64_t(taps.offset[size_t(k + r)]) * S;
        }
        for (const Factors<T>& p : products)
          for (int64_t row = 0; row < y.size(); ++row) {
            const T *slopes = p.w + g_from + row * at.g_pitch, *x = p.x + row * l.sh * at.x_pitch;
            for (int64_t s = 0; s < at.columns; s += V::L) {
              const V slope = V::load(slopes + s);
#pragma GCC unroll 8
              for (int r = 0; r < R; ++r) sum[r] = fma(slope, V::load(x + from[r] + s), sum[r]);
            }
          }
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) sums.end(k + r, sum[r]);
      });
    }
}

}  // namespace edt::EDT_ISA_NS
