// What makes a chain of layers a graph, on one block of samples: gains, shortcuts, adds, and the
// slopes of outputs that more than one layer takes in.
#pragma once
#include "cpu/isa/chain_layers.h"

namespace edt::EDT_ISA_NS {

// to += from
template <class T>
void add_to(T* to, const T* from, int64_t n) {
  using V = Vec<T>;
  for (int64_t s = 0; s < n; s += V::L) (V::load(to + s) + V::load(from + s)).store(to + s);
}

template <class T>
void sum_of(const T* a, const T* b, int64_t n, T* out) {
  using V = Vec<T>;
  for (int64_t s = 0; s < n; s += V::L) (V::load(a + s) + V::load(b + s)).store(out + s);
}

// out = the sum of products of a gain (or its change) and an image: forward, along, and back.
template <class T>
void gained(const Products<T>& products, int64_t n, T* out) {
  using V = Vec<T>;
  for (int64_t s = 0; s < n; s += V::L) {
    V sum = V::zero();
    for (const Factors<T>& p : products) sum = fma(V::set1(*p.w), V::load(p.x + s), sum);
    sum.store(out + s);
  }
}

// A gain's gradient: slopes (w of the products) by inputs (x), channel by channel, so that no sum
// in one precision has more terms than those of a convolution's weight.
template <class T>
T gain_slope(const ChainLayer& l, int64_t S, const Products<T>& products) {
  using V = Vec<T>;
  double total = 0;
  const int64_t plane = l.h * l.w * S;
  for (int64_t c = 0; c < l.c_in; ++c) {
    V sum = V::zero();
    for (const Factors<T>& p : products)
      for (int64_t s = c * plane; s < (c + 1) * plane; s += V::L)
        sum = fma(V::load(p.w + s), V::load(p.x + s), sum);
    total += double(hsum(sum));
  }
  return T(total);
}

template <class T>
void shortcut(const ChainLayer& l, int64_t S, const T* x, T* out) {
  const int64_t plane = l.h_out * l.w_out * S;
  T* end = out + l.c_out * plane;
  out = std::fill_n(out, l.ahead * plane, T(0));
  for (int64_t c = 0; c < l.kept; ++c)
    for (int64_t y = 0; y < l.h; y += l.sh) {
      const T* row = x + (c * l.h + y) * l.w * S;
      if (l.sw == 1) out = std::copy_n(row, l.w * S, out);
      else
        for (int64_t k = 0; k < l.w; k += l.sw) out = std::copy_n(row + k * S, S, out);
    }
  std::fill(out, end, T(0));
}

template <class T>
void shortcut_inputs(const ChainLayer& l, int64_t S, const T* slope, T* out) {
  if (l.kept < l.c_in || l.sh * l.sw > 1) std::fill_n(out, l.size_in() * S, T(0));
  slope += l.ahead * l.h_out * l.w_out * S;
  for (int64_t c = 0; c < l.kept; ++c)
    for (int64_t y = 0; y < l.h; y += l.sh)
      for (int64_t k = 0; k < l.w; k += l.sw, slope += S)
        std::copy_n(slope, S, out + ((c * l.h + y) * l.w + k) * S);
}

// Slopes at the layers' outputs on the way back: the sum of those of all layers that take them in.
// In a chain each is read as soon as it is there, so two images take turns.
template <class T>
class Slopes {
 public:
  // `last` are those at the network's outputs.
  Slopes(const Chain& chain, int64_t S, T* last, Scratch& ws)
      : chain_(chain), S_(S), ws_(ws), at_(ws.take<T*>(chain.layers.size())) {
    spare_ = ws.take<T*>(chain.layers.size() + 1);
    std::fill_n(at_, chain.layers.size(), nullptr);
    at_[chain.layers.size() - 1] = last;
  }
  // Null: none comes back to this layer.
  T* operator[](size_t l) const { return at_[l]; }
  // Whether somebody wants the slopes at a layer's outputs (of the inputs nobody does).
  bool wanted(int64_t l) const { return l >= 0 && chain_.layers[size_t(l)].moves; }
  // Memory for slopes, of `size` numbers a sample unless some is spare.
  T* room(int64_t size) { return spares_ ? spare_[--spares_] : ws_.take<T>(size_t(size * S_)); }
  // Memory that nobody reads any more, of the widest image.
  void give(T* memory) { spare_[spares_++] = memory; }
  // Slopes for the layer l, with their memory; returns what is left of it, or null.
  T* pass(int64_t l, T* slopes) {
    if (!wanted(l)) return slopes;
    if (!at_[l]) {
      at_[l] = slopes;
      return nullptr;
    }
    add_to(at_[l], slopes, chain_.layers[size_t(l)].size_out() * S_);
    return slopes;
  }
  // The same of slopes that stay where they are; `size` as of room.
  void copy(int64_t l, const T* slopes, int64_t size) {
    if (!wanted(l)) return;
    const int64_t n = chain_.layers[size_t(l)].size_out() * S_;
    if (at_[l]) return add_to(at_[l], slopes, n);
    at_[l] = room(size);
    std::copy_n(slopes, n, at_[l]);
  }

 private:
  const Chain& chain_;
  const int64_t S_;
  Scratch& ws_;
  T **at_, **spare_;
  size_t spares_ = 0;
};

}  // namespace edt::EDT_ISA_NS
