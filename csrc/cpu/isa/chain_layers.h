// The layers of a chain on one block of samples, forward, along directions, and back.
//
// Samples are lanes: a row of a block holds one number of all its samples. Multiply-adds stand in
// tiles of registers, rows (channels) by vectors of samples. The gradient of weights is summed lane
// by lane where a layer has many positions; where it has one, by outer products with channels as
// lanes, which need no sums over lanes at the end. Derivatives along a direction are sums of two
// products (v x + w rx), which share their registers.
#pragma once
#include <algorithm>
#include <type_traits>

#include "cpu/chain_kernels.h"
#include "cpu/isa/block.h"
#include "cpu/isa/transpose.h"

namespace edt::EDT_ISA_NS {

template <class T>
constexpr int kSamples = kChainSamples<T>;

#if defined(EDT_ISA_AVX512)
constexpr int kDotRows = 6, kDotColumns = 4;  // channels out and in whose products are summed
#else
constexpr int kDotRows = 2, kDotColumns = 2;
#endif

// What a tile sums over: three nested loops, with the steps of the factors that are numbers (w) and
// of those that are vectors (x).
struct Sweep {
  int64_t n[3], w[3], x[3];
};

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

// sum[r][v] += w[r * row + ...] * x[v * L + ...]
template <int R, int C, class T>
EDT_INLINE void tile(const Sweep& s, const T* w, int64_t row, const T* x, Vec<T> (&sum)[R][C]) {
  using V = Vec<T>;
  for (int64_t a = 0; a < s.n[0]; ++a)
    for (int64_t i = 0; i < s.n[1]; ++i) {
      const T* at_w = w + a * s.w[0] + i * s.w[1];
      const T* at_x = x + a * s.x[0] + i * s.x[1];
      for (int64_t j = 0; j < s.n[2]; ++j, at_w += s.w[2], at_x += s.x[2]) {
        V in[C];
#pragma GCC unroll 4
        for (int v = 0; v < C; ++v) in[v] = V::load(at_x + v * V::L);
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) {
          const V weight = V::set1(at_w[r * row]);
#pragma GCC unroll 4
          for (int v = 0; v < C; ++v) sum[r][v] = fma(weight, in[v], sum[r][v]);
        }
      }
    }
}

template <int N>
using Count = std::integral_constant<int, N>;

// body(Count<R>, first) for the rows first..first + R - 1, as many together as are left.
template <int Most, class Body>
EDT_INLINE void in_tiles(int64_t n, const Body& body, int64_t first = 0) {
  for (; first + Most <= n; first += Most) body(Count<Most>{}, first);
  if constexpr (Most > 1) in_tiles<Most - 1>(n, body, first);
}

// out[r] = start[r] + the sweeps, rows of kSamples; out rows are `step` apart. All products have
// their first number at w_from and their first vector at x_from.
template <class T>
void gather(const Sweep& sweep, int64_t rows, const Products<T>& products, int64_t w_from,
            int64_t row, int64_t x_from, const T* start, T* out, int64_t step) {
  using V = Vec<T>;
  in_tiles<kTileRows>(rows, [&](auto count, int64_t r) __attribute__((always_inline)) {
    constexpr int R = decltype(count)::value, C = kTileVecs;
    for (int v = 0; v < kSamples<T>; v += C * V::L) {
      V sum[R][C];
#pragma GCC unroll 6
      for (int k = 0; k < R; ++k)
#pragma GCC unroll 4
        for (int p = 0; p < C; ++p) sum[k][p] = V::set1(start ? start[r + k] : T(0));
      for (const Factors<T>& p : products)
        tile<R, C>(sweep, p.w + w_from + r * row, row, p.x + x_from + v, sum);
#pragma GCC unroll 6
      for (int k = 0; k < R; ++k)
#pragma GCC unroll 4
        for (int p = 0; p < C; ++p) sum[k][p].store(out + (r + k) * step + v + p * V::L);
    }
  });
}

// The taps of a kernel that read or write inside an image: first..last - 1.
struct Range {
  int64_t first, last;
  int64_t size() const { return std::max<int64_t>(0, last - first); }
};
// Of the kernel, for the output at y.
inline Range taps_of_output(int64_t y, int64_t kernel, int64_t margin, int64_t size) {
  return {std::max<int64_t>(0, margin - y), std::min(kernel, size + margin - y)};
}
// Of the kernel, for the input at y: the output at y + margin - tap.
inline Range taps_of_input(int64_t y, int64_t kernel, int64_t margin, int64_t size_out) {
  return {std::max<int64_t>(0, y + margin - size_out + 1), std::min(kernel, y + margin + 1)};
}
// Of outputs, that read inside the image with one tap.
inline Range outputs_of_tap(int64_t tap, int64_t margin, int64_t size, int64_t size_out) {
  return {std::max<int64_t>(0, margin - tap), std::min(size_out, size + margin - tap)};
}

// Weights and inputs of products; a bias, or null.
template <class T>
void affine(const ChainLayer& l, const Products<T>& products, const T* bias, T* out) {
  constexpr int64_t S = kSamples<T>;
  const int64_t taps = l.kh * l.kw;
  for (int64_t y = 0; y < l.h_out; ++y)
    for (int64_t c = 0; c < l.w_out; ++c) {
      const Range i = taps_of_output(y, l.kh, l.top, l.h), j = taps_of_output(c, l.kw, l.left, l.w);
      const Sweep sweep{{l.c_in, i.size(), j.size()}, {taps, l.kw, 1}, {l.h * l.w * S, l.w * S, S}};
      const int64_t from = (y - l.top + i.first) * l.w + c - l.left + j.first;
      gather(sweep, l.c_out, products, i.first * l.kw + j.first, l.c_in * taps, from * S, bias,
             out + (y * l.w_out + c) * S, l.h_out * l.w_out * S);
    }
}

// Weights and slopes of products.
template <class T>
void affine_inputs(const ChainLayer& l, const Products<T>& products, T* out) {
  constexpr int64_t S = kSamples<T>;
  const int64_t taps = l.kh * l.kw, plane = l.h_out * l.w_out * S;
  for (int64_t y = 0; y < l.h; ++y)
    for (int64_t c = 0; c < l.w; ++c) {
      const Range i = taps_of_input(y, l.kh, l.top, l.h_out);
      const Range j = taps_of_input(c, l.kw, l.left, l.w_out);
      const Sweep sweep{
          {l.c_out, i.size(), j.size()}, {l.c_in * taps, l.kw, 1}, {plane, -l.w_out * S, -S}};
      const int64_t from = (y + l.top - i.first) * l.w_out + c + l.left - j.first;
      gather(sweep, l.c_in, products, i.first * l.kw + j.first, taps, from * S,
             static_cast<const T*>(nullptr), out + (y * l.w + c) * S, l.h * l.w * S);
    }
}

// One tap's weights, R channels out by C in: sums over the positions rows x cols of slopes (w of
// the products) by inputs (x).
template <int R, int C, class T>
EDT_INLINE void dot(const Products<T>& products, int64_t g_from, int64_t g_plane, int64_t g_row,
                    int64_t x_from, int64_t x_plane, int64_t x_row, int64_t rows, int64_t cols,
                    T* grad, int64_t out_step, int64_t in_step) {
  using V = Vec<T>;
  V sum[R][C];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int k = 0; k < C; ++k) sum[r][k] = V::zero();
  for (const Factors<T>& p : products)
    for (int64_t y = 0; y < rows; ++y) {
      const T *slopes = p.w + g_from + y * g_row, *in = p.x + x_from + y * x_row;
      for (int64_t s = 0; s < cols * kSamples<T>; s += V::L) {
        V a[C];
#pragma GCC unroll 4
        for (int k = 0; k < C; ++k) a[k] = V::load(in + k * x_plane + s);
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) {
          const V b = V::load(slopes + r * g_plane + s);
#pragma GCC unroll 4
          for (int k = 0; k < C; ++k) sum[r][k] = fma(b, a[k], sum[r][k]);
        }
      }
    }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int k = 0; k < C; ++k) grad[r * out_step + k * in_step] += hsum(sum[r][k]);
}

template <class T>
void convolution_weights(const ChainLayer& l, const Products<T>& products, T* grad) {
  constexpr int64_t S = kSamples<T>;
  const int64_t taps = l.kh * l.kw, g_plane = l.h_out * l.w_out * S, x_plane = l.h * l.w * S;
  for (int64_t i = 0; i < l.kh; ++i)
    for (int64_t j = 0; j < l.kw; ++j) {
      const Range y = outputs_of_tap(i, l.top, l.h, l.h_out);
      const Range c = outputs_of_tap(j, l.left, l.w, l.w_out);
      if (y.size() == 0 || c.size() == 0) continue;
      const int64_t g = (y.first * l.w_out + c.first) * S;
      const int64_t in = ((y.first - l.top + i) * l.w + c.first - l.left + j) * S;
      in_tiles<kDotRows>(l.c_out, [&](auto rows, int64_t o) __attribute__((always_inline)) {
        in_tiles<kDotColumns>(l.c_in, [&](auto columns, int64_t k) __attribute__((always_inline)) {
          dot<decltype(rows)::value, decltype(columns)::value>(
              products, g + o * g_plane, g_plane, l.w_out * S, in + k * x_plane, x_plane, l.w * S,
              y.size(), c.size(), grad + l.weight + (o * l.c_in + k) * taps + i * l.kw + j,
              l.c_in * taps, taps);
        });
      });
    }
}

// A layer of one position and tap, with channels as lanes.
template <class T>
void linear_weights(const ChainLayer& l, const Products<T>& products, T* grad, Scratch& ws) {
  using V = Vec<T>;
  constexpr int64_t S = kSamples<T>;
  const int64_t ld = (l.c_in + V::L - 1) / V::L * V::L;
  T* turned = ws.take<T>(size_t(products.count * S * ld));  // [product][sample][channel]
  T* at = turned;
  for (const Factors<T>& p : products) {
    transpose([&](int r) { return p.x + r * S; }, int(l.c_in), S, at, ld);
    for (int64_t s = 0; s < S; ++s, at += ld) std::fill(at + l.c_in, at + ld, T(0));
  }
  const Sweep sweep{{1, 1, S}, {0, 0, 1}, {0, 0, ld}};
  in_tiles<kTileRows>(l.c_out, [&](auto rows, int64_t o) __attribute__((always_inline)) {
    in_tiles<kTileVecs>(ld / V::L, [&](auto vectors, int64_t v) __attribute__((always_inline)) {
      constexpr int R = decltype(rows)::value, C = decltype(vectors)::value;
      V sum[R][C];
#pragma GCC unroll 6
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int k = 0; k < C; ++k) sum[r][k] = V::zero();
      const T* in = turned + v * V::L;
      for (const Factors<T>& p : products) {
        tile<R, C>(sweep, p.w + o * S, S, in, sum);
        in += S * ld;
      }
      for (int r = 0; r < R; ++r) {
        alignas(64) T found[C * V::L];
#pragma GCC unroll 4
        for (int k = 0; k < C; ++k) sum[r][k].store(found + k * V::L);
        const int64_t first = v * V::L, n = std::min<int64_t>(C * V::L, l.c_in - first);
        T* to = grad + l.weight + (o + r) * l.c_in + first;
        for (int64_t k = 0; k < n; ++k) to[k] += found[k];
      }
    });
  });
}

// Slopes and inputs of products; the bias has the first slopes.
template <class T>
void affine_parameters(const ChainLayer& l, const Products<T>& products, T* grad, Scratch& ws) {
  using V = Vec<T>;
  const T* slope = products.begin()->w;
  const int64_t plane = l.h_out * l.w_out * kSamples<T>;
  for (int64_t o = 0; l.bias >= 0 && o < l.c_out; ++o) {
    V sum = V::zero();
    for (int64_t s = 0; s < plane; s += V::L) sum = sum + V::load(slope + o * plane + s);
    grad[l.bias + o] += hsum(sum);
  }
  const bool alone = l.kh * l.kw * l.h * l.w * l.h_out * l.w_out == 1;
  const Scratch::Hold hold{ws};
  if (alone) linear_weights(l, products, grad, ws);
  else convolution_weights(l, products, grad);
}

// max that keeps NaN of either side.
template <class V>
EDT_INLINE V larger(const V& best, const V& next) {
  const V found = max(next, best);  // a NaN of `next` stays
  return select(best <= best, found, best);
}

// body(place in x of the field's first number, place in out) for every field.
template <class T, class Body>
EDT_INLINE void for_fields(const ChainLayer& l, const Body& body) {
  constexpr int64_t S = kSamples<T>;
  for (int64_t c = 0; c < l.c_in; ++c)
    for (int64_t y = 0; y < l.h_out; ++y)
      for (int64_t k = 0; k < l.w_out; ++k)
        body(((c * l.h + y * l.kh) * l.w + k * l.kw) * S, ((c * l.h_out + y) * l.w_out + k) * S);
}

template <class T>
EDT_INLINE Vec<T> largest(const ChainLayer& l, const T* x) {
  using V = Vec<T>;
  V best = V::load(x);
  for (int64_t i = 0; i < l.kh; ++i)
    for (int64_t j = 0; j < l.kw; ++j)
      best = larger(best, V::load(x + (i * l.w + j) * kSamples<T>));
  return best;
}

template <class T>
void pool(const ChainLayer& l, const T* x, T* out) {
  for_fields<T>(l, [&](int64_t from, int64_t to) __attribute__((always_inline)) {
    for (int v = 0; v < kSamples<T>; v += Vec<T>::L) largest(l, x + from + v).store(out + to + v);
  });
}

// Of equal ones the first gets the slope, as torch's.
template <class T>
void pool_inputs(const ChainLayer& l, const T* x, const T* slope, T* out) {
  using V = Vec<T>;
  constexpr int64_t S = kSamples<T>;
  if (l.h % l.kh != 0 || l.w % l.kw != 0) std::fill(out, out + l.size_in() * S, T(0));
  for_fields<T>(l, [&](int64_t from, int64_t to) __attribute__((always_inline)) {
    for (int v = 0; v < S; v += V::L) {
      const V best = largest(l, x + from + v);
      V left = V::load(slope + to + v);
      for (int64_t i = 0; i < l.kh; ++i)
        for (int64_t j = 0; j < l.kw; ++j) {
          const int64_t at = from + v + (i * l.w + j) * S;
          const V here = select(V::load(x + at) >= best, left, V::zero());
          here.store(out + at);
          left = select(V::load(x + at) >= best, V::zero(), left);
        }
    }
  });
}

// What stands where the maxima of x are.
template <class T>
void pool_tangents(const ChainLayer& l, const T* x, const T* tangent, T* out) {
  using V = Vec<T>;
  for_fields<T>(l, [&](int64_t from, int64_t to) __attribute__((always_inline)) {
    for (int v = 0; v < kSamples<T>; v += V::L) {
      const V best = largest(l, x + from + v);
      V found = V::zero();
      for (int64_t k = l.kh * l.kw; k-- > 0;) {
        const int64_t at = from + v + (k / l.kw * l.w + k % l.kw) * kSamples<T>;
        found = select(V::load(x + at) >= best, V::load(tangent + at), found);
      }
      found.store(out + to + v);
    }
  });
}

template <class T>
void mean(const ChainLayer& l, const T* x, T* out) {
  using V = Vec<T>;
  constexpr int64_t S = kSamples<T>;
  const V share = V::set1(T(1) / T(l.kh * l.kw));
  for_fields<T>(l, [&](int64_t from, int64_t to) __attribute__((always_inline)) {
    for (int v = 0; v < S; v += V::L) {
      V sum = V::zero();
      for (int64_t i = 0; i < l.kh; ++i)
        for (int64_t j = 0; j < l.kw; ++j) sum = sum + V::load(x + from + v + (i * l.w + j) * S);
      (sum * share).store(out + to + v);
    }
  });
}

template <class T>
void mean_inputs(const ChainLayer& l, const T* slope, T* out) {
  using V = Vec<T>;
  constexpr int64_t S = kSamples<T>;
  const V share = V::set1(T(1) / T(l.kh * l.kw));
  if (l.h % l.kh != 0 || l.w % l.kw != 0) std::fill(out, out + l.size_in() * S, T(0));
  for_fields<T>(l, [&](int64_t from, int64_t to) __attribute__((always_inline)) {
    for (int v = 0; v < S; v += V::L) {
      const V each = V::load(slope + to + v) * share;
      for (int64_t i = 0; i < l.kh; ++i)
        for (int64_t j = 0; j < l.kw; ++j) each.store(out + from + v + (i * l.w + j) * S);
    }
  });
}

// sigma of z in place, and its derivatives to those of `slope` and `second` that are given.
template <class T>
void activate(Act act, T* z, T* slope, T* second, int64_t n) {
  T* out[4] = {z, slope, second, nullptr};
  const auto pass = [&](auto code) {
    constexpr Act A = decltype(code)::value;
    if (second) act_pass<T, A, 2>(z, out, n);
    else if (slope) act_pass<T, A, 1>(z, out, n);
    else act_pass<T, A, 0>(z, out, n);
  };
  const auto one_of = [&](auto... codes) {
    (void)((act == decltype(codes)::value && (pass(codes), true)) || ...);
  };
#define EDT_ACT(name)                                                                              \
  std::integral_constant<Act, Act::name> {}
  one_of(EDT_ACT(identity), EDT_ACT(relu), EDT_ACT(leaky_relu), EDT_ACT(tanh), EDT_ACT(sigmoid),
         EDT_ACT(softplus), EDT_ACT(gelu), EDT_ACT(silu), EDT_ACT(elu), EDT_ACT(selu), EDT_ACT(erf),
         EDT_ACT(sin), EDT_ACT(square), EDT_ACT(cube), EDT_ACT(g));
#undef EDT_ACT
}

}  // namespace edt::EDT_ISA_NS
