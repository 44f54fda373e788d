// A network's pass over the layers of a chain or graph with one part of samples: forward, and back
// from slopes at its outputs.
#pragma once
#include <algorithm>

#include "cpu/isa/chain_graph.h"
#include "cpu/isa/chain_picked.h"

namespace edt::EDT_ISA_NS {

using Kind = ChainLayer::Kind;

// A network's part on its way: what each layer takes in (with its margins, of affine ones), and the
// derivatives of activations.
template <class T>
struct Passed {
  T **in, **slopes, **seconds;
  T *where, *out;  // where: of banded maxima
};

// What does not change from part to part.
template <class T>
struct Network {
  const Chain& chain;
  const ChainMask& mask;
  const T* theta;
  const Weights<T>* weights;  // of each layer
  int64_t S;
  Banded bands() const {
    return {chain.layers[chain.first], chain.layers[chain.first + 1], mask.layers[chain.first], S};
  }
};

// For as long as the scratch holds it.
template <class T>
Network<T> network(const Chain& chain, const ChainMask& mask, const T* theta, Scratch& ws) {
  const size_t n = chain.layers.size();
  Weights<T>* weights = ws.take<Weights<T>>(n);
  for (size_t l = 0; l < n; ++l) {
    const ChainLayer& layer = chain.layers[l];
    const T* own = theta + std::max<int64_t>(0, layer.weight);
    weights[l] = layer.kind == Kind::affine ? in_order(mask.layers[l], own, ws)
                 : layer.kind == Kind::gain ? Weights<T>{own, own}
                                            : Weights<T>{nullptr, nullptr};
  }
  return {chain, mask, theta, weights, mask.vectors * Vec<T>::L};
}

// Images as an affine layer reads them.
template <class T>
T* with_margins(const ChainLayer& l, T* x, int64_t S, Scratch& ws) {
  if (l.kind != Kind::affine || (l.left == 0 && l.sw == 1)) return x;
  T* out = ws.take<T>(size_t(l.c_in * l.h * l.pitch_in() * S));
  if (l.sw > 1) split_rows(l, x, S, out);
  else pad_rows(x, l.c_in * l.h, l.w, l.left, S, out);
  return out;
}

// Slopes at an affine layer's outputs as its inputs read them.
template <class T>
T* with_zeros(const ChainLayer& l, T* slopes, int64_t S, Scratch& ws) {
  if (l.beside_out() == 0) return slopes;
  T* out = ws.take<T>(size_t(l.c_out * l.h_out * l.pitch_out() * S));
  pad_rows(slopes, l.c_out * l.h_out, l.w_out, l.beside_out(), S, out);
  return out;
}

// row(r): a sample. order: derivatives of activations that are kept; pieces of lines have no
// second.
template <class T, class Row>
Passed<T> forward(const Network<T>& net, const Row& row, int count, int order, Scratch& ws) {
  const auto& [chain, mask, theta, weights, S] = net;
  const size_t n = chain.layers.size();
  Passed<T> b{ws.take<T*>(n), ws.take<T*>(n), ws.take<T*>(n), nullptr, nullptr};
  // What comes in, and each layer's outputs.
  T** images = ws.take<T*>(n + 1) + 1;
  images[-1] = ws.take<T>(size_t(chain.d_in * S));
  if (count < S) std::fill_n(images[-1], chain.d_in * S, T(0));
  transpose(row, count, chain.d_in, images[-1], S);
  for (size_t l = 0; l < n; ++l) {
    const ChainLayer& layer = chain.layers[l];
    const size_t size = size_t(layer.size_out() * S);
    T* at = b.in[l] = with_margins(layer, images[layer.source], S, ws);
    b.slopes[l] = b.seconds[l] = nullptr;
    if (layer.kind == Kind::activation) {
      // In place where nobody else reads what was before.
      if (!layer.alone) at = std::copy_n(at, size, ws.take<T>(size)) - size;
      images[l] = at;
      const bool lines = layer.act <= Act::leaky_relu;
      if (order >= 1) b.slopes[l] = ws.take<T>(size);
      if (order >= 2 && !lines) b.seconds[l] = ws.take<T>(size);
      activate(layer.act, at, b.slopes[l], b.seconds[l], int64_t(size));
      continue;
    }
    if (chain.banded && l == chain.first) {
      const Banded bands = net.bands();
      T* out = ws.take<T>(size_t(bands.fields()));
      if (order >= 1) b.where = ws.take<T>(size_t(bands.fields()));
      banded_maxima(bands, {weights[l].forward, at}, layer.bias < 0 ? nullptr : theta + layer.bias,
                    out, b.where, ws);
      b.in[++l] = nullptr;
      images[l] = out;
      continue;
    }
    const bool in_place = layer.kind == Kind::add && layer.alone;
    T* out = images[l] = in_place ? at : ws.take<T>(size);
    if (layer.kind == Kind::affine)
      affine(layer, mask.layers[l], S, {weights[l].forward, at},
             layer.bias < 0 ? nullptr : theta + layer.bias, out);
    else if (layer.kind == Kind::mean) mean(layer, S, at, out);
    else if (layer.kind == Kind::pool) pool(layer, S, at, out);
    else if (layer.kind == Kind::gain) gained({weights[l].forward, at}, int64_t(size), out);
    else if (layer.kind == Kind::shortcut) shortcut(layer, S, at, out);
    else sum_of(at, images[layer.other], int64_t(size), out);
  }
  b.out = images[n - 1];
  return b;
}

// Slopes at a layer's inputs; `products` are weights and slopes at its outputs, x its inputs.
template <class T>
void slopes_before(const ChainLayer& layer, const ChainMask::Layer& mask, int64_t S,
                   const Products<T>& products, const T* x, T* out, Scratch& ws) {
  if (layer.strided()) strided_inputs(layer, mask, S, products, out, ws);
  else if (layer.kind == Kind::affine) affine_inputs(layer, mask, S, products, out);
  else if (layer.kind == Kind::mean) mean_inputs(layer, S, products.begin()->x, out);
  else if (layer.kind == Kind::gain) gained(products, layer.size_in() * S, out);
  else if (layer.kind == Kind::shortcut) shortcut_inputs(layer, S, products.begin()->x, out);
  else pool_inputs(layer, S, x, products.begin()->x, out);
}

// a *= b
template <class T>
EDT_INLINE void multiply(T* a, const T* b, int64_t n) {
  using V = Vec<T>;
  for (int64_t s = 0; s < n; s += V::L) (V::load(a + s) * V::load(b + s)).store(a + s);
}

// Rows of samples, of which those that are not there become 0.
template <class T>
void turn(const T* rows, int count, int64_t size, int64_t S, T* out) {
  if (count < S) std::fill(out, out + size * S, T(0));
  transpose([=](int r) { return rows + r * size; }, count, size, out, S);
}

// Samples from `first` on, of those that lie side by side.
template <class T>
auto rows_of(const Chain& chain, const T* x, int first) {
  return [=, d = chain.d_in](int r) { return x + (first + r) * d; };
}

// body(first, count) for parts of S samples; what each takes is gone afterwards.
template <class Body>
void in_parts(int count, int64_t S, Scratch& ws, const Body& body) {
  for (int first = 0; first < count; first += int(S)) {
    const Scratch::Hold hold{ws};
    body(first, std::min(int(S), count - first));
  }
}

// Adds to grad what goes back from slopes `last` at a part's outputs, which are written over.
template <class T>
void backward(const Network<T>& net, const Passed<T>& b, T* last, T* grad, Scratch& ws) {
  const auto& [chain, mask, theta, weights, S] = net;
  Slopes<T> slopes(chain, S, last, ws);
  for (size_t l = chain.layers.size(); l-- > chain.first;) {
    const ChainLayer& layer = chain.layers[l];
    T* now = slopes[l];
    if (!now) continue;
    if (layer.kind == Kind::activation || layer.kind == Kind::add) {
      if (layer.kind == Kind::activation) multiply(now, b.slopes[l], layer.size_out() * S);
      else slopes.copy(layer.other, now, chain.widest);
      if (T* left = slopes.pass(layer.source, now)) slopes.give(left);
      continue;
    }
    if (chain.banded && l == chain.first + 1) {
      banded_parameters(net.bands(), now, b.where, b.in[chain.first], grad, ws);
      break;
    }
    const bool on = slopes.wanted(layer.source);
    T* next = on ? slopes.room(chain.widest) : nullptr;
    {
      const Scratch::Hold hold{ws};
      T* given = now;
      if (layer.kind == Kind::affine) {
        if (on) given = with_zeros(layer, now, S, ws);
        affine_parameters(layer, mask.layers[l], S, !on, {given, b.in[l]}, grad, ws);
      } else if (layer.kind == Kind::gain) {
        grad[mask.layers[l].weight] += gain_slope<T>(layer, S, {now, b.in[l]});
      }
      if (on) slopes_before(layer, mask.layers[l], S, {weights[l].back, given}, b.in[l], next, ws);
    }
    slopes.give(now);
    if (on)
      if (T* left = slopes.pass(layer.source, next)) slopes.give(left);
  }
}

}  // namespace edt::EDT_ISA_NS
