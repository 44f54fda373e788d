// A chain of convolutions, pooling, activations and linear layers, as the kernels want it; or a
// graph of such layers, with gains, shortcuts and residual adds.
//
// Images are [channel][row][column][sample]; flattening them changes nothing, and a linear layer is
// a convolution of single positions. Layers stand in topological order, and each names the layer
// whose outputs it takes in: in a chain the one before. The last one's are the network's.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "math/activations_list.h"

namespace edt {

struct ChainLayer {
  // gain: one parameter (at `weight`) times all inputs. add: inputs plus those of `other`.
  // shortcut: the first `kept` channels, every sh-th row and sw-th column of them, behind `ahead`
  // channels of zeros and before more.
  enum class Kind { affine, pool, mean, activation, gain, shortcut, add };
  Kind kind;
  int64_t c_in, h, w, c_out, h_out, w_out;
  int64_t kh, kw, top, left;  // kernel, and margins of zeros; of pooling (maxima, means) the field
  int64_t weight, bias;       // where they start among a network's parameters; -1: none
  Act act;
  int64_t sh = 1,
          sw = 1;  // strides of an affine layer and a shortcut; pooling goes by whole fields
  static constexpr int64_t kBefore = -2, kInputs = -1;
  int64_t source = kBefore;  // the layer whose outputs come in; kInputs: the network's inputs
  int64_t other = kInputs;   // of an add
  int64_t kept = 0, ahead = 0;
  // Filled in by Chain: whether nothing else takes in what `source` gives, and whether parameters
  // move the outputs.
  bool alone = true, moves = false;
  bool strided() const { return kind == Kind::affine && sh * sw > 1; }
  // Columns of images with the zeros beside them that an affine layer reads: of its inputs, and of
  // slopes at its outputs. With a stride, the inputs' columns lie by their remainder: all that one
  // tap reads in a row lie side by side.
  int64_t each_phase() const { return (w + 2 * left + sw - 1) / sw; }
  int64_t pitch_in() const { return sw * each_phase(); }
  int64_t column_in(int64_t padded) const { return padded % sw * each_phase() + padded / sw; }
  int64_t beside_out() const {
    const int64_t before = (kw - 1) / sw - left / sw, after = (w - 1 + left) / sw - (w_out - 1);
    return std::max({int64_t(0), before, after});
  }
  int64_t pitch_out() const { return w_out + 2 * beside_out(); }
  // The rows of the kernel by their remainder: where those of one start.
  int64_t rows_from(int64_t phase) const { return phase * (kh / sh) + std::min(phase, kh % sh); }
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
  size_t first;         // layer with parameters; none: as many as layers
  bool banded;          // maxima follow it, and both go by bands of rows
  bool strided;         // some affine layer is
  bool graph;           // more than one layer after the other: gains, shortcuts, adds, branches

 private:
  void connect();
};

}  // namespace edt
