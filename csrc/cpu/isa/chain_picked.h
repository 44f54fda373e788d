// The first affine layer of a chain and the maxima of its outputs, in products with many vectors.
//
// Along a vector, and on the way back, only the outputs count that are maxima: one of each field.
// What the layer's taps read there is the same for all vectors. So it is picked out of the inputs
// once, a few fields at a time ([field][tap][sample], which stay in the nearest cache), and a
// vector costs as many multiply-adds as there are fields, not outputs: a quarter of them for the
// usual fields.
#pragma once
#include "cpu/isa/chain_bands.h"

namespace edt::EDT_ISA_NS {

// Of the nearest cache, for what is picked at a time.
constexpr int64_t kPickedBytes = 16 << 10;
constexpr int kPickedRows = kDotRows < 4 ? kDotRows : 4;  // vectors beside taps

// The taps of a channel, in the order of sums: where they read, and which weights they are.
template <class T>
struct PickedTaps {
  int64_t count;
  int64_t *offset, *row, *weight;  // from the first row that any reads; row of the kernel
  const T** from;                  // by tap and row of a field
};

template <class T>
PickedTaps<T> taps_of(const Banded& b, int64_t o, Scratch& ws) {
  const ChainLayer& l = b.affine;
  const int64_t taps = l.kh * l.kw, pitch = l.pitch_in();
  const ChainMask::Taps& list = b.mask.forward;
  const int64_t from = b.mask.listed ? list.start[size_t(o * l.kh)] : 0;
  const int64_t n = b.mask.listed ? list.start[size_t((o + 1) * l.kh)] - from : l.c_in * taps;
  PickedTaps<T> out{0, ws.take<int64_t>(size_t(n)), ws.take<int64_t>(size_t(n)),
                    ws.take<int64_t>(size_t(n)), ws.take<const T*>(size_t(n * b.pool.kh))};
  const auto add = [&](int64_t i, int64_t offset, int64_t weight) {
    out.row[out.count] = i;
    out.offset[out.count] = offset;
    out.weight[out.count++] = weight;
  };
  for (int64_t i = 0; i < l.kh; ++i) {
    if (b.mask.listed) {
      for (int64_t k = list.start[size_t(o * l.kh + i)]; k < list.start[size_t(o * l.kh + i + 1)];
           ++k)
        add(i, list.offset[size_t(k)], k);
      continue;
    }
    for (int64_t c = 0; c < l.c_in; ++c)
      for (int64_t j = 0; j < l.kw; ++j)
        add(i, (c * l.h + i) * pitch + j, (o * l.c_in + c) * taps + i * l.kw + j);
  }
  return out;
}

// Where the taps read in each row of the fields of row y, at their first column. `zeros` is a row
// of them.
template <class T>
void aim(const Banded& b, int64_t y, const PickedTaps<T>& taps, const T* x, const T* zeros) {
  const ChainLayer& l = b.affine;
  const int64_t rows = b.pool.kh, pitch = l.pitch_in();
  for (int64_t t = 0; t < taps.count; ++t)
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t first = (y * rows + i) * l.sh - l.top, at = first + taps.row[t];
      taps.from[t * rows + i] =
          at < 0 || at >= l.h ? zeros : x + (first * pitch + taps.offset[t]) * b.S;
    }
}

// What the taps read at the maxima of some fields of a row; `where` is that of the first.
template <class T>
void pick(const Banded& b, int64_t first, int64_t fields, const PickedTaps<T>& taps, const T* where,
          T* out) {
  using V = Vec<T>;
  const int64_t n = taps.count, S = b.S;
  with_field(b.pool, [&](const auto& field) {
    for (int64_t k = 0; k < fields; ++k)
      for (int64_t v = 0; v < S; v += V::L) {
        const V at = V::load(where + k * S + v);
        const T* const* from = taps.from;
        const int64_t column = (first + k) * field.kw * S + v;
        T* to = out + k * n * S + v;
        for (int64_t t = 0; t < n; ++t, from += field.kh, to += S) {
          V found = V::load(from[0] + column);
#pragma GCC unroll 2
          for (int64_t i = 0; i < field.kh; ++i)
#pragma GCC unroll 2
            for (int64_t j = 0; j < field.kw; ++j)
              if (i + j > 0)
                found = select(at >= V::set1(T(i * field.kw + j)),
                               V::load(from[i] + column + j * S), found);
          found.store(to);
        }
      }
  });
}

// begin(o, taps) and end(o, taps) for every channel, and between them body(first, fields, taps,
// what they read) for some fields at a time, `first` among those of all channels.
template <class T, class Begin, class Body, class End>
void for_picked(const Banded& b, const T* x, const T* where, Scratch& ws, const Begin& begin,
                const Body& body, const End& end) {
  const Scratch::Hold hold{ws};
  const int64_t size = b.affine.w_out * b.S;
  T* zeros = ws.take<T>(size_t(size));
  std::fill_n(zeros, size, T(0));
  for (int64_t o = 0; o < b.affine.c_out; ++o) {
    const Scratch::Hold channel{ws};
    const PickedTaps<T> taps = taps_of<T>(b, o, ws);
    const int64_t each = std::max<int64_t>(1, taps.count * b.S), width = b.pool.w_out;
    const int64_t most = std::max<int64_t>(1, kPickedBytes / (each * int64_t(sizeof(T))));
    T* picked = ws.take<T>(size_t(each * std::min(most, width)));
    begin(o, taps);
    for (int64_t y = 0; y < b.pool.h_out; ++y) {
      aim(b, y, taps, x, zeros);
      for (int64_t k = 0; k < width; k += most) {
        const int64_t first = (o * b.pool.h_out + y) * width + k, some = std::min(most, width - k);
        pick(b, k, some, taps, where + first * b.S, picked);
        body(first, some, taps, picked);
      }
    }
    end(o, taps);
  }
}

// Derivatives of the maxima along `many` vectors, [vector][fields]; weight(k) and bias(k) are those
// of vector k, or null.
template <class T, class Weight, class Bias>
void picked_tangents(const Banded& b, int64_t many, const Weight& weight, const Bias& bias,
                     const T* x, const T* where, T* out, Scratch& ws) {
  T *w = nullptr, *start = ws.take<T>(size_t(many));
  for_picked(
      b, x, where, ws,
      [&](int64_t o, const PickedTaps<T>& taps) {
        w = ws.take<T>(size_t(taps.count * many));  // [tap][vector]
        for (int64_t k = 0; k < many; ++k) {
          const T *mine = weight(k), *b0 = bias(k);
          start[k] = b0 ? b0[o] : T(0);
          for (int64_t t = 0; t < taps.count; ++t)
            w[t * many + k] = mine ? mine[taps.weight[t]] : T(0);
        }
      },
      [&](int64_t first, int64_t some, const PickedTaps<T>& taps, const T* picked) {
        const Sweep sweep{{1, 1, taps.count}, {0, 0, many}, {0, 0, b.S}};
        T* to = out + first * b.S;
        for (int64_t k = 0; k < some; ++k)
          along_row<T>(1, b.S, [&](auto count, int64_t v, int64_t, int64_t) {
            gather<decltype(count)::value>(sweep, many, Products<T>{w, picked}, 0, 1,
                                           k * taps.count * b.S + v * Vec<T>::L, start,
                                           to + k * b.S + v * Vec<T>::L, b.fields());
          });
      },
      [](int64_t, const PickedTaps<T>&) {});
}

// Adds the gradients of the layer's parameters to those of `many` vectors, grad(k), from slopes at
// the maxima, [vector][fields].
template <class T, class Grad>
void picked_parameters(const Banded& b, int64_t many, const T* slopes, const T* x, const T* where,
                       const Grad& grad, Scratch& ws) {
  using V = Vec<T>;
  const int64_t plane = b.pool.h_out * b.pool.w_out * b.S;
  Sums<T, true> sums{nullptr};
  for_picked(
      b, x, where, ws,
      [&](int64_t o, const PickedTaps<T>& taps) {
        sums.at = ws.take<T>(size_t(many * taps.count * V::L));
        std::fill_n(sums.at, many * taps.count * V::L, T(0));
        for (int64_t k = 0; b.affine.bias >= 0 && k < many; ++k) {
          V sum = V::zero();
          for (int64_t s = 0; s < plane; s += V::L)
            sum = sum + V::load(slopes + k * b.fields() + o * plane + s);
          grad(k)[b.mask.bias + o] += hsum(sum);
        }
      },
      [&](int64_t first, int64_t fields, const PickedTaps<T>& taps, const T* picked) {
        const int64_t n = taps.count;
        const Rows at{0, b.fields(), b.S, 0, n * b.S, b.S};
        const T* mine = slopes + first * b.S;
        in_tiles<kPickedRows>(many, [&](auto some, int64_t k) __attribute__((always_inline)) {
          in_tiles<kDotColumns>(n, [&](auto columns, int64_t t) __attribute__((always_inline)) {
            constexpr int C = decltype(columns)::value;
            int64_t tap[C], place[C];
            for (int c = 0; c < C; ++c) {
              tap[c] = (t + c) * b.S;
              place[c] = t + c;
            }
            dot<decltype(some)::value, C>(Products<T>{mine, picked}, at, {0, fields},
                                          k * b.fields(), 0, tap, sums, k * n, n, place);
          });
        });
      },
      [&](int64_t, const PickedTaps<T>& taps) {
        for (int64_t k = 0; k < many; ++k)
          for (int64_t t = 0; t < taps.count; ++t)
            grad(k)[b.mask.weight + taps.weight[t]] +=
                hsum(V::load(sums.at + (k * taps.count + t) * V::L));
      });
}

}  // namespace edt::EDT_ISA_NS
