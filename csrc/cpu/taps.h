// Sparse layers over batches of samples.
#pragma once
#include <algorithm>
#include <functional>
#include <vector>

#include "layout/taps.h"

namespace edt {

// What every call needs; `n` samples.
struct TapCall {
  const TapLayer& layer;
  int64_t n;
  std::function<bool()> poll;  // true: stop
};

// Slopes of outputs, and what is wanted of them; null: not wanted.
template <class T>
struct TapGradients {
  const T *weights, *x, *slopes;
  T *dx, *dw, *dbias;
};

// Each returns false if it was stopped before the end. Images are as torch has them, [n, channels,
// rows, columns]; weights as the layer's, of which those without a tap are not read, and their
// gradients are 0. Gradients of weights are sums over all samples in an order that does not depend
// on threads.
template <class T>
bool tap_forward(const TapCall&, const T* weights, const T* bias, const T* x, T* out);
template <class T>
bool tap_gradients(const TapCall&, const TapGradients<T>&);

// Of linear layers (taps_linear.cpp).
template <class T>
bool linear_forward(const TapCall&, const T* weights, const T* bias, const T* x, T* out);
template <class T>
bool linear_gradients(const TapCall&, const TapGradients<T>&);

// Of layers in place (taps_in_place.cpp).
template <class T>
bool in_place_forward(const TapCall&, const T* weights, const T* bias, const T* x, T* out);
template <class T>
bool in_place_gradients(const TapCall&, const TapGradients<T>&);

// Weights in the order of a list.
template <class T>
std::vector<T> in_order(const Taps& list, const T* weights) {
  std::vector<T> out(list.weight.size());
  for (size_t k = 0; k < out.size(); ++k) out[k] = weights[list.weight[k]];
  return out;
}

// Gradients from partial sums of so many blocks: of taps in the order of the forward list, then of
// channels. Into the first block.
template <class T>
void add_parts(const TapLayer& layer, std::vector<T>& parts, int64_t blocks,
               const TapGradients<T>& of) {
  const int64_t sums = layer.taps + layer.out.count;
  for (int64_t b = 1; b < blocks && !parts.empty(); ++b)
    for (int64_t k = 0; k < sums; ++k) parts[size_t(k)] += parts[size_t(b * sums + k)];
  if (of.dw) {
    std::fill(of.dw, of.dw + layer.weights, T(0));
    for (size_t k = 0; k < size_t(layer.taps); ++k) of.dw[layer.forward.weight[k]] = parts[k];
  }
  if (of.dbias) std::copy_n(parts.data() + layer.taps, layer.out.count, of.dbias);
}

}  // namespace edt
