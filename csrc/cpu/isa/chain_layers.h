// Pooling and activations of a chain on one block of samples, forward, along directions, and back;
// affine layers are in chain_affine.h.
#pragma once
#include <type_traits>

#include "cpu/isa/chain_affine.h"

namespace edt::EDT_ISA_NS {

// max that keeps NaN of either side.
template <class V>
EDT_INLINE V larger(const V& best, const V& next) {
  const V found = max(next, best);  // a NaN of `next` stays
  return select(best <= best, found, best);
}

// body(place in x of the field's first number, place in out) for every field.
template <class Body>
EDT_INLINE void for_fields(const ChainLayer& l, int64_t S, const Body& body) {
  for (int64_t c = 0; c < l.c_in; ++c)
    for (int64_t y = 0; y < l.h_out; ++y)
      for (int64_t k = 0; k < l.w_out; ++k)
        body(((c * l.h + y * l.kh) * l.w + k * l.kw) * S, ((c * l.h_out + y) * l.w_out + k) * S);
}

// A field's size, known when compiling where it is the usual one.
struct AnyField {
  int64_t kh, kw;
};
struct Field2x2 {
  static constexpr int64_t kh = 2, kw = 2;
};
template <class Body>
EDT_INLINE void with_field(const ChainLayer& l, const Body& body) {
  if (l.kh == 2 && l.kw == 2) body(Field2x2{});
  else body(AnyField{l.kh, l.kw});
}

template <class T, class Field>
EDT_INLINE Vec<T> largest(const Field& field, int64_t row, const T* x, int64_t S) {
  using V = Vec<T>;
  V best = V::load(x);
#pragma GCC unroll 2
  for (int64_t i = 0; i < field.kh; ++i)
#pragma GCC unroll 2
    for (int64_t j = 0; j < field.kw; ++j)
      if (i + j > 0) best = larger(best, V::load(x + i * row + j * S));
  return best;
}

template <class T>
void pool(const ChainLayer& l, int64_t S, const T* x, T* out) {
  const int64_t row = l.w * S;
  with_field(l, [&](const auto& field) {
    for_fields(l, S, [&](int64_t from, int64_t to) __attribute__((always_inline)) {
      for (int64_t v = 0; v < S; v += Vec<T>::L)
        largest(field, row, x + from + v, S).store(out + to + v);
    });
  });
}

// Of equal ones the first gets the slope, as torch's.
template <class T>
void pool_inputs(const ChainLayer& l, int64_t S, const T* x, const T* slope, T* out) {
  using V = Vec<T>;
  const int64_t row = l.w * S;
  if (l.h % l.kh != 0 || l.w % l.kw != 0) std::fill(out, out + l.size_in() * S, T(0));
  with_field(l, [&](const auto& field) {
    for_fields(l, S, [&](int64_t from, int64_t to) __attribute__((always_inline)) {
      for (int64_t v = 0; v < S; v += V::L) {
        const V best = largest(field, row, x + from + v, S);
        V left = V::load(slope + to + v);
#pragma GCC unroll 2
        for (int64_t i = 0; i < field.kh; ++i)
#pragma GCC unroll 2
          for (int64_t j = 0; j < field.kw; ++j) {
            const int64_t at = from + v + i * row + j * S;
            const auto found = V::load(x + at) >= best;
            select(found, left, V::zero()).store(out + at);
            left = select(found, V::zero(), left);
          }
      }
    });
  });
}

// What stands where the maxima of x are.
template <class T>
void pool_tangents(const ChainLayer& l, int64_t S, const T* x, const T* tangent, T* out) {
  using V = Vec<T>;
  const int64_t row = l.w * S;
  with_field(l, [&](const auto& field) {
    for_fields(l, S, [&](int64_t from, int64_t to) __attribute__((always_inline)) {
      for (int64_t v = 0; v < S; v += V::L) {
        const V best = largest(field, row, x + from + v, S);
        V found = V::zero();
#pragma GCC unroll 2
        for (int64_t i = 0; i < field.kh; ++i)
#pragma GCC unroll 2
          for (int64_t j = 0; j < field.kw; ++j) {
            // The last first: of equal ones the first stays.
            const int64_t at = from + v + (field.kh - 1 - i) * row + (field.kw - 1 - j) * S;
            found = select(V::load(x + at) >= best, V::load(tangent + at), found);
          }
        found.store(out + to + v);
      }
    });
  });
}

template <class T>
void mean(const ChainLayer& l, int64_t S, const T* x, T* out) {
  using V = Vec<T>;
  const V share = V::set1(T(1) / T(l.kh * l.kw));
  for_fields(l, S, [&](int64_t from, int64_t to) __attribute__((always_inline)) {
    for (int v = 0; v < S; v += V::L) {
      V sum = V::zero();
      for (int64_t i = 0; i < l.kh; ++i)
        for (int64_t j = 0; j < l.kw; ++j) sum = sum + V::load(x + from + v + (i * l.w + j) * S);
      (sum * share).store(out + to + v);
    }
  });
}

template <class T>
void mean_inputs(const ChainLayer& l, int64_t S, const T* slope, T* out) {
  using V = Vec<T>;
  const V share = V::set1(T(1) / T(l.kh * l.kw));
  if (l.h % l.kh != 0 || l.w % l.kw != 0) std::fill(out, out + l.size_in() * S, T(0));
  for_fields(l, S, [&](int64_t from, int64_t to) __attribute__((always_inline)) {
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
