// A chain of convolutions, pooling, activations and linear layers, as the kernels want it.
//
// Images are [channel][row][column][sample]; flattening them changes nothing, and a linear layer is
// a convolution of single positions.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "math/activations_list.h"

namespace edt {

struct ChainLayer {
  enum class Kind { affine, pool, mean, activation };
  Kind kind;
  int64_t c_in, h, w, c_out, h_out, w_out;
  int64_t kh, kw, top, left;  // kernel, and margins of zeros; of pooling (maxima, means) the field
  int64_t weight, bias;       // where they start among a network's parameters; -1: none
  Act act;
  // Columns of images with the zeros beside them that an affine layer reads: of its inputs, and of
  // slopes at its outputs.
  int64_t pitch_in() const { return w + 2 * left; }
  int64_t beside_out() const { return kw - 1 > left ? kw - 1 - left : 0; }
  int64_t pitch_out() const { return w_out + 2 * beside_out(); }
  int64_t size_in() const { return c_in * h * w; }
  int64_t size_out() const { return c_out * h_out * w_out; }
};

struct Chain {
  // Throws std::invalid_argument where a layer does not fit the one before, or reads parameters
  // beyond `parameters`.
  Chain(std::vector<ChainLayer> layers, int64_t parameters);

  std::vector<ChainLayer> layers;
  int64_t parameters;   // of a network
  int64_t d_in, d_out;  // numbers of a sample and of its outputs
  int64_t widest;       // the most numbers of a sample between two layers
  int64_t room;         // numbers that a sample takes on its way forward and back
  double operations;    // multiply-adds of a sample, forward
  size_t first;         // affine layer; none: as many as layers
  bool banded;          // maxima follow it, and both go by bands of rows
};

}  // namespace edt
