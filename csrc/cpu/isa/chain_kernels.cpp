// One instruction set's kernels of chains of layers; compiled as table.cpp is.
//
// Samples go by in parts of S (ChainMask::vectors).
// Forward and back are passes over the layers of one part (chain_passes.h). A product
// with the Hessian of sum_n l_n(f_n),
//   H v = J^T (A J v) + sum_n u_n d^2 f_n v,   u = dl/df, A = d^2 l/df^2,
// goes along v and back: with r for derivatives along v, rz = v x + w rx and ra = s'(z) rz forward,
// and back, from r delta = A rf,
//   r grad = (r delta) x^T + delta rx^T,   r delta before = w^T (r delta) + v^T delta,
//   through an activation s'(z) (r delta) + s''(z) rz delta.
// What does not depend on v (x, s', s'', delta) is computed once for all vectors. Layers before the
// first that v moves have no rx, and those that it leaves have no v x, so columns of a Hessian cost
// less than other vectors. Without u only J^T A J is left.
#include <algorithm>

#include "cpu/isa/chain_passes.h"
#include "cpu/isa/losses.h"

namespace edt::EDT_ISA_NS {
namespace {

template <class T>
void outputs(const Chain& chain, const ChainMask& mask, const T* theta, const T* x, int count,
             T* out, Scratch& ws) {
  const Scratch::Hold whole{ws};
  const Network<T> net = network(chain, mask, theta, ws);
  in_parts(count, net.S, ws, [&](int first, int some) {
    const Passed<T> b = forward(net, rows_of(chain, x, first), some, 0, ws);
    transpose([&](int r) { return b.out + r * net.S; }, int(chain.d_out), some,
              out + first * chain.d_out, chain.d_out);
  });
}

template <class T>
void gradient(const Chain& chain, const ChainMask& mask, const T* theta, const T* x, int count,
              const T* slopes, T* grad, Scratch& ws) {
  const Scratch::Hold whole{ws};
  const Network<T> net = network(chain, mask, theta, ws);
  in_parts(count, net.S, ws, [&](int from, int some) {
    const Passed<T> b = forward(net, rows_of(chain, x, from), some, 1, ws);
    T* now = ws.take<T>(size_t(chain.widest * net.S));
    // Samples that are not there have no slope, and so no part in any sum.
    turn(slopes + from * chain.d_out, some, chain.d_out, net.S, now);
    backward(net, b, now, grad, ws);
  });
}

// Targets and weights of a part's samples, number(s) among `data`; `outputs` are filled up with
// those that are not there.
template <class T, class Number>
Samples<T> targets(const Network<T>& net, T* outputs, const ChainSamples<T>& data,
                   const Number& number, int count, double scale, Scratch& ws) {
  const int64_t S = net.S, d = net.chain.d_out;
  T *y = ws.take<T>(size_t(d * S)), *c = ws.take<T>(size_t(S));
  if (data.loss == Loss::cross_entropy) {
    const auto* classes = static_cast<const int64_t*>(data.y);
    for (int64_t o = 0; o < d; ++o)
      for (int s = 0; s < count; ++s) y[o * S + s] = T(classes[number(s)] == o);
  } else {
    const auto* rows = static_cast<const T*>(data.y);
    transpose([&](int r) { return rows + number(r) * d; }, count, d, y, S);
  }
  for (int s = 0; s < count; ++s)
    c[s] = T(scale * (data.weights ? double(data.weights[number(s)]) : 1.0 / double(data.count)));
  // Those that are not there repeat the last one, whose loss is a number where the others' are.
  std::fill(c + count, c + S, T(0));
  for (int64_t o = 0; o < d; ++o) {
    std::fill(y + o * S + count, y + (o + 1) * S, y[o * S + count - 1]);
    std::fill(outputs + o * S + count, outputs + (o + 1) * S, outputs[o * S + count - 1]);
  }
  return {nullptr, y, c, S, S};
}

template <class T>
double loss_gradient(const Chain& chain, const ChainMask& mask, const T* theta,
                     const ChainSamples<T>& data, const int* picked, int count, double scale,
                     T* grad, Scratch& ws) {
  const Scratch::Hold whole{ws};
  const Network<T> net = network(chain, mask, theta, ws);
  double sum = 0;
  in_parts(count, net.S, ws, [&](int from, int some) {
    const int* mine = picked + from;
    const auto row = [&](int r) { return data.x + mine[r] * chain.d_in; };
    const Passed<T> b = forward(net, row, some, 1, ws);
    T* now = ws.take<T>(size_t(chain.widest * net.S));
    const auto number = [=](int s) { return int64_t(mine[s]); };
    const Samples<T> target = targets(net, b.out, data, number, some, scale, ws);
    sum += double(loss_block<true>(data.loss, b.out, net.S, target, int(chain.d_out), now));
    backward(net, b, now, grad, ws);
  });
  return sum;
}

// What is there before any vector: a part's values, slopes at the outputs of its affine layers
// (with zeros beside them; null without u), and A as rows of samples: all of it, or what a loss
// makes it of. `seconds` hold s''(z) delta.
template <class T>
struct Bent {
  Passed<T> values;
  T** slopes;
  T* curvature;  // [d_out, d_out, S], or [d_out, S] of a loss
  const ChainSamples<T>* data;
  Samples<T> target;
};

// out = A rf, rows of samples.
template <class T>
void curve(const Bent<T>& b, int64_t d, int64_t S, const T* rf, T* out) {
  using V = Vec<T>;
  if (b.data) return loss_curvature(b.data->loss, b.target, b.curvature, rf, S, int(d), out);
  for (int64_t o = 0; o < d; ++o)
    for (int64_t s = 0; s < S; s += V::L) {
      V sum = V::zero();
      for (int64_t k = 0; k < d; ++k)
        sum = fma(V::load(b.curvature + (o * d + k) * S + s), V::load(rf + k * S + s), sum);
      sum.store(out + o * S + s);
    }
}

template <class T>
Bent<T> bent(const Network<T>& net, const T* x, int count, const OutputDerivatives<T>& of,
             Scratch& ws) {
  const auto& [chain, mask, theta, weights, S] = net;
  const size_t n = chain.layers.size();
  const bool first = !of.gauss_newton;
  const int64_t d = chain.d_out;
  Bent<T> b{
      forward(net, rows_of(chain, x, 0), count, first ? 2 : 1, ws), nullptr, nullptr, of.data, {}};
  T* last = first ? ws.take<T>(size_t(d * S)) : nullptr;
  b.curvature = ws.take<T>(size_t((of.data ? d : d * d) * S));
  if (of.data) {
    const auto number = [&](int s) { return of.first + s; };
    b.target = targets(net, b.values.out, *of.data, number, count, of.scale, ws);
    if (first) loss_block<true>(of.data->loss, b.values.out, S, b.target, int(d), last);
    curvature_rows(of.data->loss, b.values.out, S, b.target, int(d), b.curvature);
  } else {
    turn(of.curvature, count, d * d, S, b.curvature);
    if (first) turn(of.slopes, count, d, S, last);
  }
  if (!first) return b;
  b.slopes = ws.take<T*>(n);
  Slopes<T> back(chain, S, last, ws);
  for (size_t l = n; l-- > chain.first;) {
    const ChainLayer& layer = chain.layers[l];
    T* now = b.slopes[l] = back[l];
    if (!now) continue;
    if (layer.kind == Kind::activation || layer.kind == Kind::add) {
      if (layer.kind == Kind::add) back.copy(layer.other, now, layer.size_out());
      else {
        if (b.values.seconds[l]) multiply(b.values.seconds[l], now, layer.size_out() * S);
        multiply(now, b.values.slopes[l], layer.size_out() * S);
      }
      back.pass(layer.source, now);
      continue;
    }
    const bool on = back.wanted(layer.source);
    if (layer.kind == Kind::affine && on) b.slopes[l] = now = with_zeros(layer, now, S, ws);
    if (chain.banded && l == chain.first + 1) break;
    if (!on) continue;
    T* next = back.room(layer.size_in());
    slopes_before(layer, mask.layers[l], S, {weights[l].back, now}, b.values.in[l], next, ws);
    back.pass(layer.source, next);
  }
  return b;
}

template <class T>
bool any(const T* x, int64_t n) {
  return std::any_of(x, x + n, [](T value) { return value != T(0); });
}

// Of a vector and each layer: its weights and biases, where any is not 0.
template <class T>
struct Moved {
  Weights<T> weights;
  const T* bias;
};

template <class T>
void moved(const Chain& chain, const ChainMask& mask, const T* vector, Moved<T>* out, Scratch& ws) {
  for (size_t l = 0; l < chain.layers.size(); ++l) {
    const ChainLayer& layer = chain.layers[l];
    out[l] = {{nullptr, nullptr}, nullptr};
    if (layer.kind == Kind::gain && any(vector + layer.weight, 1))
      out[l].weights = {vector + layer.weight, vector + layer.weight};
    if (layer.kind != Kind::affine) continue;
    const ChainMask::Layer& mine = mask.layers[l];
    const Weights<T> weights = in_order(mine, vector + layer.weight, ws);
    const int64_t count = mine.listed ? int64_t(mine.forward.weight.size())
                                      : layer.c_out * layer.c_in * layer.kh * layer.kw;
    if (any(weights.forward, count)) out[l].weights = weights;
    if (layer.bias >= 0 && any(vector + layer.bias, layer.c_out)) out[l].bias = vector + layer.bias;
  }
}

// Adds the product with one vector to out. Of chains with bands, `maxima` are derivatives of the
// first ones, or null; `slopes` become those there, and the first layer's product is left to
// others.
template <class T>
void product(const Network<T>& net, const Bent<T>& b, const Moved<T>* vector, T* maxima,
             T* slopes_there, T* out, Scratch& ws) {
  using V = Vec<T>;
  const auto& [chain, mask, theta, weights, S] = net;
  const size_t n = chain.layers.size();
  // Derivatives along the vector: of what a layer takes in, and of z of those that bend; null: 0.
  T **in = ws.take<T*>(n), **z = ws.take<T*>(n), **images = ws.take<T*>(n + 1) + 1;
  images[-1] = nullptr;
  for (size_t l = 0; l < n; ++l) {
    const ChainLayer& layer = chain.layers[l];
    const int64_t size = layer.size_out() * S;
    T*& at = images[l] = images[layer.source];
    if (chain.banded && l == chain.first) {
      at = in[l] = in[l + 1] = z[l + 1] = nullptr;
      images[++l] = maxima;
      continue;
    }
    if (at) at = with_margins(layer, at, S, ws);
    in[l] = at;
    z[l] = nullptr;
    if (layer.kind == Kind::affine || layer.kind == Kind::gain) {
      if (!at && !vector[l].weights.forward && !vector[l].bias) continue;
      Products<T> products;
      if (vector[l].weights.forward) products.add(vector[l].weights.forward, b.values.in[l]);
      if (at) products.add(weights[l].forward, at);
      at = ws.take<T>(size_t(size));
      if (layer.kind == Kind::gain) gained(products, size, at);
      else affine(layer, mask.layers[l], S, products, vector[l].bias, at);
    } else if (layer.kind == Kind::add) {
      T* other = images[layer.other];
      if (!at && !other) continue;
      // In place where nobody else reads it.
      if (!at || !layer.alone) at = std::copy_n(at ? at : other, size, ws.take<T>(size)) - size;
      if (in[l] && other) add_to(at, other, size);
    } else if (!at) {
      continue;
    } else if (layer.kind == Kind::activation) {
      if (b.values.seconds[l]) z[l] = at;
      if (b.values.seconds[l] || !layer.alone)
        at = std::copy_n(in[l], size, ws.take<T>(size_t(size))) - size;
      multiply(at, b.values.slopes[l], size);
    } else {
      at = ws.take<T>(size_t(size));
      if (layer.kind == Kind::mean) mean(layer, S, in[l], at);
      else if (layer.kind == Kind::shortcut) shortcut(layer, S, in[l], at);
      else pool_tangents(layer, S, b.values.in[l], in[l], at);
    }
  }
  const T* at = images[n - 1];
  if (!at) {
    if (chain.banded) std::fill_n(slopes_there, net.bands().fields(), T(0));
    return;
  }
  T* turned = ws.take<T>(size_t(chain.widest * S));
  curve(b, chain.d_out, S, at, turned);
  Slopes<T> slopes(chain, S, turned, ws);
  for (size_t l = n; l-- > chain.first;) {
    const ChainLayer& layer = chain.layers[l];
    T* now = slopes[l];
    if (!now && chain.banded && l == chain.first + 1)
      std::fill_n(slopes_there, net.bands().fields(), T(0));
    if (!now) continue;
    if (layer.kind == Kind::activation || layer.kind == Kind::add) {
      const int64_t size = layer.size_out() * S;
      if (layer.kind == Kind::add) slopes.copy(layer.other, now, chain.widest);
      else multiply(now, b.values.slopes[l], size);
      for (int64_t s = 0; z[l] && s < size; s += V::L)
        fma(V::load(b.values.seconds[l] + s), V::load(z[l] + s), V::load(now + s)).store(now + s);
      if (T* left = slopes.pass(layer.source, now)) slopes.give(left);
      continue;
    }
    if (chain.banded && l == chain.first + 1) {
      std::copy_n(now, net.bands().fields(), slopes_there);
      break;
    }
    const bool on = slopes.wanted(layer.source);
    T* next = on ? slopes.room(chain.widest) : nullptr;
    {
      const Scratch::Hold hold{ws};
      const bool affine = layer.kind == Kind::affine, own = affine || layer.kind == Kind::gain;
      T* given = affine && on ? with_zeros(layer, now, S, ws) : now;
      Products<T> back{weights[l].back, given}, grads{given, b.values.in[l]};
      if (own && b.slopes && in[l]) grads.add(b.slopes[l], in[l]);
      if (own && b.slopes && vector[l].weights.back) back.add(vector[l].weights.back, b.slopes[l]);
      if (affine) affine_parameters(layer, mask.layers[l], S, !on, grads, out, ws);
      else if (own) out[mask.layers[l].weight] += gain_slope(layer, S, grads);
      if (on) slopes_before(layer, mask.layers[l], S, back, b.values.in[l], next, ws);
    }
    slopes.give(now);
    if (on)
      if (T* left = slopes.pass(layer.source, next)) slopes.give(left);
  }
}

template <class T>
void products(const Chain& chain, const ChainMask& mask, const T* theta, const T* x, int count,
              const OutputDerivatives<T>& of, const T* vectors, int64_t step, int64_t many, T* out,
              Scratch& ws) {
  const Scratch::Hold whole{ws};
  const Network<T> net = network(chain, mask, theta, ws);
  const int64_t n = int64_t(chain.layers.size());
  Moved<T>* every = ws.take<Moved<T>>(size_t(many * n));
  for (int64_t k = 0; k < many; ++k) moved(chain, mask, vectors + k * step, every + k * n, ws);
  in_parts(count, net.S, ws, [&](int first, int some) {
    const Bent<T> b =
        bent(net, x + first * chain.d_in, some, of.from(first, of.first + first, chain.d_out), ws);
    const auto on_their_own = [&](int64_t k, T* maxima, T* slopes) {
      const Scratch::Hold hold{ws};
      product(net, b, every + k * n, maxima, slopes, out + k * mask.size, ws);
    };
    if (!chain.banded) {
      for (int64_t k = 0; k < many; ++k) on_their_own(k, nullptr, nullptr);
      return;
    }
    const Banded bands = net.bands();
    const T *inputs = b.values.in[chain.first], *where = b.values.where;
    const auto first_of = [&](int64_t k) { return every[k * n + int64_t(chain.first)]; };
    const auto weight = [&](int64_t k) { return first_of(k).weights.forward; };
    const auto bias = [&](int64_t k) { return first_of(k).bias; };
    bool move = false;
    for (int64_t k = 0; k < many; ++k) move |= weight(k) || bias(k);
    // Derivatives of maxima, and then, in their places, slopes there.
    T* at = ws.take<T>(size_t(many * bands.fields()));
    if (move) picked_tangents(bands, many, weight, bias, inputs, where, at, ws);
    for (int64_t k = 0; k < many; ++k) {
      T* mine = at + k * bands.fields();
      on_their_own(k, weight(k) || bias(k) ? mine : nullptr, mine);
    }
    picked_parameters(
        bands, many, at, inputs, where, [&](int64_t k) { return out + k * mask.size; }, ws);
  });
}

}  // namespace

#define EDT_CONCAT_(a, b) a##b
#define EDT_CONCAT(a, b) EDT_CONCAT_(a, b)
using S = EDT_SCALAR;

extern const ChainTable<S> EDT_CONCAT(chain_, EDT_SCALAR);
constexpr ChainTable<S> EDT_CONCAT(chain_, EDT_SCALAR) = {outputs<S>, gradient<S>, loss_gradient<S>,
                                                          products<S>};

}  // namespace edt::EDT_ISA_NS
