// The first affine layer of a chain and the maxima of its outputs, a band of rows at a time.
//
// These outputs are most of what lies between the layers of a small network. Nobody needs them once
// the maxima are known and where they stood, so that a band of them, the rows of one row of fields,
// never leaves the nearest cache; nor do the slopes there, of which the weights' gradients are
// summed band by band.
#pragma once
#include "cpu/isa/chain_layers.h"

namespace edt::EDT_ISA_NS {

// One network's layer and its pooling.
struct Banded {
  const ChainLayer &affine, &pool;
  const ChainMask::Layer& mask;
  int64_t S;
  int64_t row() const { return affine.w_out * S; }         // numbers of a row of outputs
  int64_t plane() const { return pool.kh * row(); }        // of a channel's band
  int64_t band() const { return affine.c_out * plane(); }  // of a band
  int64_t fields() const { return pool.size_out() * S; }
};

// body(place of a field in the band, its place among all fields) for a row of fields.
template <class Body>
EDT_INLINE void for_band(const Banded& b, int64_t y, const Body& body) {
  const ChainLayer& p = b.pool;
  for (int64_t c = 0; c < p.c_out; ++c)
    for (int64_t k = 0; k < p.w_out; ++k)
      body(c * b.plane() + k * p.kw * b.S, ((c * p.h_out + y) * p.w_out + k) * b.S);
}

template <class T>
void compute_band(const Banded& b, int64_t y, const Products<T>& products, const T* bias, T* band) {
  for (int64_t i = 0; i < b.pool.kh; ++i)
    affine_row(b.affine, b.mask, b.S, y * b.pool.kh + i, products, bias, band + i * b.row(),
               b.plane());
}

// Maxima, and the number in its field of the first that is one (`where`, unless null).
template <class T>
void banded_maxima(const Banded& b, const Products<T>& products, const T* bias, T* out, T* where,
                   Scratch& ws) {
  using V = Vec<T>;
  const Scratch::Hold hold{ws};
  T* band = ws.take<T>(size_t(b.band()));
  for (int64_t y = 0; y < b.pool.h_out; ++y) {
    compute_band(b, y, products, bias, band);
    with_field(b.pool, [&](const auto& field) {
      for_band(b, y, [&](int64_t from, int64_t to) __attribute__((always_inline)) {
        for (int64_t v = 0; v < b.S; v += V::L) {
          V best = V::load(band + from + v), at = V::zero();
#pragma GCC unroll 2
          for (int64_t i = 0; i < field.kh; ++i)
#pragma GCC unroll 2
            for (int64_t j = 0; j < field.kw; ++j) {
              if (i + j == 0) continue;
              const V next = V::load(band + from + v + i * b.row() + j * b.S);
              at = select(next > best, V::set1(T(i * field.kw + j)), at);
              best = larger(best, next);
            }
          best.store(out + to + v);
          if (where) at.store(where + to + v);
        }
      });
    });
  }
}

// Adds the gradient of the layer's parameters, from slopes at the maxima and inputs x.
template <class T>
void banded_parameters(const Banded& b, const T* slopes, const T* where, const T* x, T* grad,
                       Scratch& ws) {
  using V = Vec<T>;
  const ChainLayer &l = b.affine, &p = b.pool;
  const int64_t plane = p.h_out * p.w_out * b.S;
  for (int64_t o = 0; l.bias >= 0 && o < l.c_out; ++o) {
    V sum = V::zero();
    for (int64_t s = 0; s < plane; s += V::L) sum = sum + V::load(slopes + o * plane + s);
    grad[b.mask.bias + o] += hsum(sum);
  }
  const Scratch::Hold hold{ws};
  const int64_t weights =
      b.mask.listed ? int64_t(b.mask.forward.weight.size()) : l.c_out * l.c_in * l.kh * l.kw;
  T* band = ws.take<T>(size_t(b.band()));
  const Sums<T, true> sums{ws.take<T>(size_t(weights * V::L))};
  std::fill_n(sums.at, weights * V::L, T(0));
  std::fill_n(band, b.band(), T(0));  // columns that no field has
  const Rows at{0, b.plane(), b.row(), l.h * l.pitch_in() * b.S, l.pitch_in() * b.S, b.row()};
  for (int64_t y = 0; y < p.h_out; ++y) {
    with_field(p, [&](const auto& field) {
      for_band(b, y, [&](int64_t from, int64_t to) __attribute__((always_inline)) {
        for (int64_t v = 0; v < b.S; v += V::L) {
          V place = V::load(where + to + v);
          const V slope = V::load(slopes + to + v);
#pragma GCC unroll 2
          for (int64_t i = 0; i < field.kh; ++i)
#pragma GCC unroll 2
            for (int64_t j = 0; j < field.kw; ++j) {
              // Places are whole numbers: this one is where both comparisons hold.
              const V number = V::set1(T(i * field.kw + j));
              const V here = select(place >= number, slope, V::zero());
              select(place <= number, here, V::zero())
                  .store(band + from + v + i * b.row() + j * b.S);
            }
        }
      });
    });
    const Range rows{y * p.kh, (y + 1) * p.kh};
    const Products<T> products{band, x};
    if (b.mask.listed) tap_weights(l, b.mask.forward, at, rows, products, b.S, sums);
    else convolution_weights(l, at, rows, products, b.S, sums);
  }
  for (int64_t k = 0; k < weights; ++k)
    grad[b.mask.weight + k] += hsum(V::load(sums.at + k * V::L));
}

}  // namespace edt::EDT_ISA_NS
