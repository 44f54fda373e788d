// Sparse layers over batches of samples: rows of blocks are items of work.
#pragma once
#include <functional>

#include "layout/taps.h"

namespace edt {

// What every call needs; `n` samples.
struct TapCall {
  const TapLayer& layer;
  int64_t n;
  std::function<bool()> poll;  // true: stop
};

// Elements of images that are packed: of the input, or of the output and its gradient.
template <class T>
int64_t packed_size(const TapLayer&, const Packed&, int64_t n);
// Each returns false if it was stopped before the end. Images as torch has them are [n, channels,
// rows, cols], contiguous; weights [taps].
template <class T>
bool tap_pack(const TapCall&, const Packed&, const T* images, T* packed);
template <class T>
bool tap_forward(const TapCall&, const T* weights, const T* bias, const T* packed, T* out);
template <class T>
bool tap_input_grad(const TapCall&, const T* weights, const T* packed_grad, T* out);
// Sums over all samples, in an order that does not depend on threads.
template <class T>
bool tap_weight_grad(const TapCall&, const T* packed, const T* packed_grad, T* out);

}  // namespace edt
