// The affine layers of a chain on one block of samples, forward, along directions, and back.
//
// Samples are lanes: a row of a block holds the columns of an image one after the other, of each S
// numbers, one a sample. A tap of a kernel then moves a row by whole columns, so multiply-adds
// stand in tiles of registers, channels by vectors of a row, whether those are samples or columns.
// Images with margins lie in copies with zeros beside their rows; rows beyond an image are left
// out. The gradient of weights is summed lane by lane where a layer has many positions; where it
// has one, by outer products with channels as lanes, which need no sums over lanes at the end.
// Derivatives along a direction are sums of two products (v x + w rx), which share their registers.
#pragma once
#include <algorithm>

#include "cpu/isa/chain_taps.h"

namespace edt::EDT_ISA_NS {

#if defined(EDT_ISA_AVX512)
constexpr int kDotRows = 6, kDotColumns = 4;  // channels out and taps whose products are summed
template <int C>
constexpr int kRowsBeside = C == 1   ? 16
                            : C == 2 ? 8
                                     : kTileRows;  // channels beside C vectors
#else
constexpr int kDotRows = 2, kDotColumns = 2;
template <int C>
constexpr int kRowsBeside = kTileRows;
#endif

// Loaded once: compilers else load it again for each of the multiply-adds that take it, which then
// wait for loads.
template <class V>
EDT_INLINE V in_register(V x) {
  for (auto& part : x.v) asm("" : "+v"(part));
  return x;
}

// What a tile sums over: three nested loops, with the steps of the factors that are numbers (w) and
// of those that are vectors (x).
struct Sweep {
  int64_t n[3], w[3], x[3];
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
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
          const V weight = V::set1(at_w[r * row]);
#pragma GCC unroll 4
          for (int v = 0; v < C; ++v) sum[r][v] = fma(weight, in[v], sum[r][v]);
        }
      }
    }
}

// body(Count<R>, first) for the rows first..first + R - 1, as many together as are left.
template <int Most, class Body>
EDT_INLINE void in_tiles(int64_t n, const Body& body, int64_t first = 0) {
  for (; first + Most <= n; first += Most) body(Count<Most>{}, first);
  if constexpr (Most > 8) in_tiles<8>(n, body, first);
  else if constexpr (Most > 1) in_tiles<Most - 1>(n, body, first);
}

// out[r] = start[r] + the sweeps, rows of C vectors; out rows are `step` apart. All products have
// their first number at w_from and their first vector at x_from.
template <int C, class T>
void gather(const Sweep& sweep, int64_t rows, const Products<T>& products, int64_t w_from,
            int64_t row, int64_t x_from, const T* start, T* out, int64_t step) {
  using V = Vec<T>;
  in_tiles<kRowsBeside<C>>(rows, [&](auto count, int64_t r) __attribute__((always_inline)) {
    constexpr int R = decltype(count)::value;
    V sum[R][C];
#pragma GCC unroll 16
    for (int k = 0; k < R; ++k)
#pragma GCC unroll 4
      for (int p = 0; p < C; ++p) sum[k][p] = V::set1(start ? start[r + k] : T(0));
    for (const Factors<T>& p : products)
      tile<R, C>(sweep, p.w + w_from + r * row, row, p.x + x_from, sum);
#pragma GCC unroll 16
    for (int k = 0; k < R; ++k)
#pragma GCC unroll 4
      for (int p = 0; p < C; ++p) sum[k][p].store(out + (r + k) * step + p * V::L);
  });
}

// body(Count<C>, first vector, its column, the last one's) for the vectors of a row of n columns.
template <class T, class Body>
EDT_INLINE void along_row(int64_t n, int64_t S, const Body& body) {
  constexpr int64_t L = Vec<T>::L;
  in_tiles<kTileVecs>(n * S / L, [&](auto count, int64_t v) __attribute__((always_inline)) {
    body(count, v, v * L / S, ((v + decltype(count)::value) * L - 1) / S);
  });
}

// Images with zeros beside their rows, so that the columns of a tile have the same taps.
template <class T>
void pad_rows(const T* x, int64_t rows, int64_t columns, int64_t beside, int64_t S, T* out) {
  const int64_t n = columns * S, zeros = beside * S;
  for (int64_t r = 0; r < rows; ++r, x += n) {
    out = std::fill_n(out, zeros, T(0));
    out = std::copy_n(x, n, out);
    out = std::fill_n(out, zeros, T(0));
  }
}

// The same with columns by their remainders (ChainLayer::column_in).
template <class T>
void split_rows(const ChainLayer& l, const T* x, int64_t S, T* out) {
  const int64_t rows = l.c_in * l.h, pitch = l.pitch_in() * S;
  std::fill_n(out, rows * pitch, T(0));
  for (int64_t r = 0; r < rows; ++r, out += pitch)
    for (int64_t k = 0; k < l.w; ++k, x += S) std::copy_n(x, S, out + l.column_in(k + l.left) * S);
}

// Row y of outputs, channels `plane` apart: weights and inputs of products, these with their
// margins; a bias, or null.
template <class T>
void affine_row(const ChainLayer& l, const ChainMask::Layer& mask, int64_t S, int64_t y,
                const Products<T>& products, const T* bias, T* out, int64_t plane) {
  const int64_t taps = l.kh * l.kw, pitch = l.pitch_in();
  const Range i = taps_of_output(y * l.sh, l.kh, l.top, l.h);
  if (mask.listed) {
    gather_taps(mask.forward, 0, l.c_out, l.kh, i, products, (y * l.sh - l.top) * pitch * S, S,
                l.w_out * S / Vec<T>::L, bias, out, plane);
    return;
  }
  along_row<T>(l.w_out, S, [&](auto count, int64_t v, int64_t first, int64_t last) {
    const Range j{std::max<int64_t>(0, l.left - last), std::min(l.kw, l.w + l.left - first)};
    const Sweep sweep{
        {i.size(), l.c_in, j.size()}, {l.kw, taps, 1}, {pitch * S, l.h * pitch * S, S}};
    gather<decltype(count)::value>(sweep, l.c_out, products, i.first * l.kw + j.first,
                                   l.c_in * taps,
                                   ((y - l.top + i.first) * pitch + j.first) * S + v * Vec<T>::L,
                                   bias, out + v * Vec<T>::L, plane);
  });
}

template <class T>
void affine(const ChainLayer& l, const ChainMask::Layer& mask, int64_t S,
            const Products<T>& products, const T* bias, T* out) {
  for (int64_t y = 0; y < l.h_out; ++y)
    affine_row(l, mask, S, y, products, bias, out + y * l.w_out * S, l.h_out * l.w_out * S);
}

// As affine_inputs, of a layer with strides. A row takes slopes from the rows of the kernel of one
// remainder, and so do its columns: those of one remainder are summed side by side.
template <class T>
void strided_inputs(const ChainLayer& l, const ChainMask::Layer& mask, int64_t S,
                    const Products<T>& products, T* out, Scratch& ws) {
  const Scratch::Hold hold{ws};
  const int64_t pitch = l.pitch_out(), beside = l.beside_out(), plane = l.h * l.w * S;
  const int64_t most = (l.w + l.sw - 1) / l.sw * S;
  T* columns = ws.take<T>(size_t(l.c_in * most));
  const T* none = nullptr;
  for (int64_t y = 0; y < l.h; ++y, out += l.w * S) {
    const int64_t phase = (y + l.top) % l.sh, at = (y + l.top) / l.sh, from = l.rows_from(phase);
    const Range some = taps_of_input(at, l.rows_from(phase + 1) - from, 0, l.h_out);
    const Range i{from + some.first, from + some.last};
    for (int64_t first = 0; first < std::min(l.sw, l.w); ++first) {
      const int64_t list = (first + l.left) % l.sw * l.c_in, k = (first + l.left) / l.sw;
      const int64_t n = (l.w - first + l.sw - 1) / l.sw;
      gather_taps(mask.back, list, l.c_in, l.kh, i, products, (at * pitch + beside + k) * S, S,
                  n * S / Vec<T>::L, none, columns, most);
      for (int64_t c = 0; c < l.c_in; ++c)
        for (int64_t m = 0; m < n; ++m)
          std::copy_n(columns + c * most + m * S, S, out + c * plane + (first + m * l.sw) * S);
    }
  }
}

// Weights and slopes of products, these with zeros beside them.
template <class T>
void affine_inputs(const ChainLayer& l, const ChainMask::Layer& mask, int64_t S,
                   const Products<T>& products, T* out) {
  const int64_t taps = l.kh * l.kw, pitch = l.pitch_out(), plane = l.h * l.w * S;
  const int64_t ahead = l.left + l.beside_out();
  const T* none = nullptr;
  for (int64_t y = 0; y < l.h; ++y, out += l.w * S) {
    const Range i = taps_of_input(y, l.kh, l.top, l.h_out);
    if (mask.listed) {
      gather_taps(mask.back, 0, l.c_in, l.kh, i, products, ((y + l.top) * pitch + ahead) * S, S,
                  l.w * S / Vec<T>::L, none, out, plane);
      continue;
    }
    along_row<T>(l.w, S, [&](auto count, int64_t v, int64_t first, int64_t last) {
      const Range j{std::max<int64_t>(0, first + l.left - l.w_out + 1),
                    std::min(l.kw, last + l.left + 1)};
      const Sweep sweep{{i.size(), l.c_out, j.size()},
                        {l.kw, l.c_in * taps, 1},
                        {-pitch * S, l.h_out * pitch * S, -S}};
      gather<decltype(count)::value>(
          sweep, l.c_in, products, i.first * l.kw + j.first, taps,
          ((y + l.top - i.first) * pitch + ahead - j.first) * S + v * Vec<T>::L, none,
          out + v * Vec<T>::L, plane);
    });
  }
}

// The weights of C taps, each of one row of the kernel, by R channels out: sums over rows and
// columns of slopes (w of the products) by inputs (x).
template <int R, int C, class T, bool Waiting>
EDT_INLINE void dot(const Products<T>& products, const Rows& at, const Range& y, int64_t g_from,
                    int64_t x_from, const int64_t (&tap)[C], const Sums<T, Waiting>& sums,
                    int64_t first, int64_t out_step, const int64_t (&weight)[C]) {
  using V = Vec<T>;
  V sum[R][C];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sum[r][c] = sums.start(first + r * out_step + weight[c]);
  for (const Factors<T>& p : products)
    for (int64_t k = 0; k < y.size(); ++k) {
      const T *slopes = p.w + g_from + k * at.g_pitch, *in = p.x + x_from + k * at.x_pitch;
      for (int64_t s = 0; s < at.columns; s += V::L) {
        V a[C];
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) a[c] = V::load(in + tap[c] + s);
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) {
          const V b = in_register(V::load(slopes + r * at.g_plane + s));
#pragma GCC unroll 4
          for (int c = 0; c < C; ++c) sum[r][c] = fma(b, a[c], sum[r][c]);
        }
      }
    }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) sums.end(first + r * out_step + weight[c], sum[r][c]);
}

// As tap_weights, of all weights.
template <class T, bool Waiting>
void convolution_weights(const ChainLayer& l, const Rows& at, const Range& rows,
                         const Products<T>& products, int64_t S, const Sums<T, Waiting>& sums) {
  const int64_t taps = l.kh * l.kw;
  for (int64_t i = 0; i < l.kh; ++i) {
    const Range y = within(outputs_of_tap(i, l.top, 1, l.h, l.h_out), rows);
    if (y.size() == 0) continue;
    const int64_t g_from = at.g_from + (y.first - rows.first) * at.g_pitch;
    const int64_t x_from = (y.first - l.top + i) * at.x_pitch;
    in_tiles<kDotRows>(l.c_out, [&](auto some, int64_t o) __attribute__((always_inline)) {
      in_tiles<kDotColumns>(
          l.c_in * l.kw, [&](auto columns, int64_t k) __attribute__((always_inline)) {
            constexpr int C = decltype(columns)::value;
            int64_t tap[C], weight[C];
            for (int c = 0; c < C; ++c) {
              const int64_t channel = (k + c) / l.kw, j = (k + c) % l.kw;
              tap[c] = channel * at.x_plane + j * S;
              weight[c] = channel * taps + i * l.kw + j;
            }
            dot<decltype(some)::value, C>(products, at, y, g_from + o * at.g_plane, x_from, tap,
                                          sums, o * l.c_in * taps, l.c_in * taps, weight);
          });
    });
  }
}

// A layer of one position and tap, with channels as lanes.
template <class T>
void linear_weights(const ChainLayer& l, const Products<T>& products, int64_t S, T* grad,
                    Scratch& ws) {
  using V = Vec<T>;
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
        T* to = grad + (o + r) * l.c_in + first;
        for (int64_t k = 0; k < n; ++k) to[k] += found[k];
      }
    });
  });
}

// Slopes and inputs of products, these with their margins, slopes with zeros beside them unless
// `bare`; the bias has the first slopes.
template <class T>
void affine_parameters(const ChainLayer& l, const ChainMask::Layer& mask, int64_t S, bool bare,
                       const Products<T>& products, T* grad, Scratch& ws) {
  using V = Vec<T>;
  const int64_t pitch = bare ? l.w_out : l.pitch_out(), row = l.w_out * S;
  const Rows at{bare ? 0 : l.beside_out() * S, l.h_out * pitch * S, pitch * S,
                l.h * l.pitch_in() * S,        l.pitch_in() * S,    row};
  for (int64_t o = 0; l.bias >= 0 && o < l.c_out; ++o) {
    V sum = V::zero();
    for (int64_t y = 0; y < l.h_out; ++y) {
      const T* slope = products.begin()->w + at.g_from + o * at.g_plane + y * at.g_pitch;
      for (int64_t s = 0; s < row; s += V::L) sum = sum + V::load(slope + s);
    }
    grad[mask.bias + o] += hsum(sum);
  }
  const Scratch::Hold hold{ws};
  const Sums<T, false> sums{grad + mask.weight};
  const Range rows{0, l.h_out};
  if (mask.listed) tap_weights(l, mask.forward, at, rows, products, S, sums);
  else if (l.kh * l.kw * l.h * l.w * l.h_out * l.w_out == 1)
    linear_weights(l, products, S, sums.at, ws);
  else convolution_weights(l, at, rows, products, S, sums);
}

}  // namespace edt::EDT_ISA_NS
