// One instruction set's kernels of chains of layers; compiled as table.cpp is.
//
// Forward and back are passes over the layers (chain_layers.h) of one block of samples. A product
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

#include "cpu/isa/chain_layers.h"

namespace edt::EDT_ISA_NS {
namespace {

using Kind = ChainLayer::Kind;

// A block on its way: what each layer takes in, and the derivatives of activations.
template <class T>
struct Passed {
  T **in, **slopes, **seconds;
  T* out;
};

// order: derivatives of activations that are kept. Pieces of lines have no second.
template <class T>
Passed<T> forward(const Chain& chain, const T* theta, const T* x, int count, int order,
                  Scratch& ws) {
  constexpr int64_t S = kSamples<T>;
  const size_t n = chain.layers.size();
  Passed<T> b{ws.take<T*>(n), ws.take<T*>(n), ws.take<T*>(n), nullptr};
  T* at = ws.take<T>(size_t(chain.d_in * S));
  if (count < S) std::fill(at, at + chain.d_in * S, T(0));
  transpose([=](int r) { return x + r * chain.d_in; }, count, chain.d_in, at, S);
  for (size_t l = 0; l < n; ++l) {
    const ChainLayer& layer = chain.layers[l];
    const size_t size = size_t(layer.size_out() * S);
    b.in[l] = at;
    b.slopes[l] = b.seconds[l] = nullptr;
    if (layer.kind == Kind::activation) {
      // In place: nobody reads what was before.
      const bool lines = layer.act <= Act::leaky_relu;
      if (order >= 1) b.slopes[l] = ws.take<T>(size);
      if (order >= 2 && !lines) b.seconds[l] = ws.take<T>(size);
      activate(layer.act, at, b.slopes[l], b.seconds[l], int64_t(size));
      continue;
    }
    T* out = ws.take<T>(size);
    if (layer.kind == Kind::affine)
      affine(layer, {theta + layer.weight, at}, layer.bias < 0 ? nullptr : theta + layer.bias, out);
    else if (layer.kind == Kind::mean) mean(layer, at, out);
    else pool(layer, at, out);
    at = out;
  }
  b.out = at;
  return b;
}

// Slopes at a layer's inputs; `products` are weights and slopes at its outputs, x its inputs.
template <class T>
void slopes_before(const ChainLayer& layer, const Products<T>& products, const T* x, T* out) {
  if (layer.kind == Kind::affine) affine_inputs(layer, products, out);
  else if (layer.kind == Kind::mean) mean_inputs(layer, products.begin()->x, out);
  else pool_inputs(layer, x, products.begin()->x, out);
}

// a *= b
template <class T>
EDT_INLINE void multiply(T* a, const T* b, int64_t n) {
  using V = Vec<T>;
  for (int64_t s = 0; s < n; s += V::L) (V::load(a + s) * V::load(b + s)).store(a + s);
}

// Rows of samples, of which those that are not there become 0.
template <class T>
void turn(const T* rows, int count, int64_t size, T* out) {
  constexpr int64_t S = kSamples<T>;
  if (count < S) std::fill(out, out + size * S, T(0));
  transpose([=](int r) { return rows + r * size; }, count, size, out, S);
}

template <class T>
void outputs(const Chain& chain, const T* theta, const T* x, int count, T* out, Scratch& ws) {
  const Passed<T> b = forward(chain, theta, x, count, 0, ws);
  transpose([&](int r) { return b.out + r * kSamples<T>; }, int(chain.d_out), count, out,
            chain.d_out);
}

template <class T>
void gradient(const Chain& chain, const T* theta, const T* x, int count, const T* slopes, T* grad,
              Scratch& ws) {
  constexpr int64_t S = kSamples<T>;
  const Passed<T> b = forward(chain, theta, x, count, 1, ws);
  T* now = ws.take<T>(size_t(chain.widest * S));
  T* next = ws.take<T>(size_t(chain.widest * S));
  // Samples that are not there have no slope, and so no part in any sum.
  turn(slopes, count, chain.d_out, now);
  for (size_t l = chain.layers.size(); l-- > 0;) {
    const ChainLayer& layer = chain.layers[l];
    if (layer.kind == Kind::activation) {
      multiply(now, b.slopes[l], layer.size_out() * S);
      continue;
    }
    if (layer.kind == Kind::affine) affine_parameters(layer, {now, b.in[l]}, grad, ws);
    if (l == 0) break;
    slopes_before(layer, {theta + layer.weight, now}, b.in[l], next);
    std::swap(now, next);
  }
}

// What is there before any vector: a block's values, slopes at the outputs of its affine layers
// (null without u), and A as rows of samples. `seconds` hold s''(z) delta.
template <class T>
struct Bent {
  Passed<T> values;
  T** slopes;
  T* curvature;  // [d_out, d_out, S]
  size_t first;  // affine layer: nothing before it is trained
};

template <class T>
Bent<T> bent(const Chain& chain, const T* theta, const T* x, int count, const T* slopes,
             const T* curvature, Scratch& ws) {
  constexpr int64_t S = kSamples<T>;
  const size_t n = chain.layers.size();
  Bent<T> b{forward(chain, theta, x, count, slopes ? 2 : 1, ws), nullptr, nullptr, 0};
  while (b.first < n && chain.layers[b.first].kind != Kind::affine) ++b.first;
  b.curvature = ws.take<T>(size_t(chain.d_out * chain.d_out * S));
  turn(curvature, count, chain.d_out * chain.d_out, b.curvature);
  if (!slopes) return b;
  b.slopes = ws.take<T*>(n);
  T* now = ws.take<T>(size_t(chain.d_out * S));
  turn(slopes, count, chain.d_out, now);
  for (size_t l = n; l-- > b.first;) {
    const ChainLayer& layer = chain.layers[l];
    b.slopes[l] = now;
    if (layer.kind == Kind::activation) {
      if (b.values.seconds[l]) multiply(b.values.seconds[l], now, layer.size_out() * S);
      multiply(now, b.values.slopes[l], layer.size_out() * S);
    } else if (l > b.first) {
      T* next = ws.take<T>(size_t(layer.size_in() * S));
      slopes_before(layer, {theta + layer.weight, now}, b.values.in[l], next);
      now = next;
    }
  }
  return b;
}

template <class T>
bool any(const T* x, int64_t n) {
  return std::any_of(x, x + n, [](T value) { return value != T(0); });
}

// Adds the product with one vector to out.
template <class T>
void product(const Chain& chain, const T* theta, const Bent<T>& b, const T* vector, T* out,
             Scratch& ws) {
  using V = Vec<T>;
  constexpr int64_t S = kSamples<T>;
  const size_t n = chain.layers.size();
  // Derivatives along the vector: of what a layer takes in, and of z of those that bend; null: 0.
  T **in = ws.take<T*>(n), **z = ws.take<T*>(n), *at = nullptr;
  const T** weights = ws.take<const T*>(n);  // the vector's, where any is not 0
  for (size_t l = 0; l < n; ++l) {
    const ChainLayer& layer = chain.layers[l];
    const int64_t size = layer.size_out() * S;
    in[l] = at;
    z[l] = nullptr;
    weights[l] = nullptr;
    if (layer.kind == Kind::affine) {
      const T* w = vector + layer.weight;
      const T* bias = layer.bias < 0 ? nullptr : vector + layer.bias;
      if (any(w, layer.c_out * layer.c_in * layer.kh * layer.kw)) weights[l] = w;
      if (!at && !weights[l] && !(bias && any(bias, layer.c_out))) continue;
      Products<T> products;
      if (weights[l]) products.add(w, b.values.in[l]);
      if (at) products.add(theta + layer.weight, at);
      at = ws.take<T>(size_t(size));
      affine(layer, products, bias, at);
    } else if (!at) {
      continue;
    } else if (layer.kind == Kind::activation) {
      if (b.values.seconds[l]) {
        z[l] = at;
        at = ws.take<T>(size_t(size));
        std::copy(z[l], z[l] + size, at);
      }
      multiply(at, b.values.slopes[l], size);
    } else {
      at = ws.take<T>(size_t(size));
      if (layer.kind == Kind::mean) mean(layer, in[l], at);
      else pool_tangents(layer, b.values.in[l], in[l], at);
    }
  }
  if (!at) return;
  T* now = ws.take<T>(size_t(chain.widest * S));
  T* next = ws.take<T>(size_t(chain.widest * S));
  for (int64_t o = 0; o < chain.d_out; ++o)
    for (int64_t s = 0; s < S; s += V::L) {
      V sum = V::zero();
      for (int64_t k = 0; k < chain.d_out; ++k)
        sum =
            fma(V::load(b.curvature + (o * chain.d_out + k) * S + s), V::load(at + k * S + s), sum);
      sum.store(now + o * S + s);
    }
  for (size_t l = n; l-- > b.first;) {
    const ChainLayer& layer = chain.layers[l];
    if (layer.kind == Kind::activation) {
      const int64_t size = layer.size_out() * S;
      multiply(now, b.values.slopes[l], size);
      for (int64_t s = 0; z[l] && s < size; s += V::L)
        fma(V::load(b.values.seconds[l] + s), V::load(z[l] + s), V::load(now + s)).store(now + s);
      continue;
    }
    Products<T> back{theta + layer.weight, now};
    if (layer.kind == Kind::affine) {
      Products<T> grads{now, b.values.in[l]};
      if (b.slopes && in[l]) grads.add(b.slopes[l], in[l]);
      if (b.slopes && weights[l]) back.add(weights[l], b.slopes[l]);
      affine_parameters(layer, grads, out, ws);
    }
    if (l == b.first) break;
    slopes_before(layer, back, b.values.in[l], next);
    std::swap(now, next);
  }
}

template <class T>
void products(const Chain& chain, const T* theta, const T* x, int count, const T* slopes,
              const T* curvature, const T* vectors, int64_t many, T* out, Scratch& ws) {
  const Bent<T> b = bent(chain, theta, x, count, slopes, curvature, ws);
  for (int64_t k = 0; k < many; ++k) {
    const Scratch::Hold hold{ws};
    product(chain, theta, b, vectors + k * chain.parameters, out + k * chain.parameters, ws);
  }
}

}  // namespace

#define EDT_CONCAT_(a, b) a##b
#define EDT_CONCAT(a, b) EDT_CONCAT_(a, b)
using S = EDT_SCALAR;

extern const ChainTable<S> EDT_CONCAT(chain_, EDT_SCALAR);
constexpr ChainTable<S> EDT_CONCAT(chain_, EDT_SCALAR) = {outputs<S>, gradient<S>, products<S>};

}  // namespace edt::EDT_ISA_NS
