// What a mask leaves of a chain's network: of each affine layer all weights or lists of taps. Gains
// are read as they are.
// Layers with a stride are always listed: to a list, a stride is other offsets.
//
// A tap is one weight that is there. Taps that add to one row of outputs lie together: they are
// sorted by channel, then by row of the kernel, so that those that read inside an image are one run
// of a channel's list. The order is that of the sums of whole layers, which a list leaves out zeros
// of: both give the same bits where weights that are not there are 0.
//
// Gradients are summed in vectors of what is there alone (`size` numbers) and put in their places
// at the end, so that their cost follows active weights.
#pragma once
#include <cstdint>
#include <vector>

#include "layout/chain.h"

namespace edt {

struct ChainMask {
  // By channel and row of the kernel, [channels * kh + 1]: taps start[c * kh + i].. Back, channels
  // stand once for each remainder of columns, and rows are in the order of theirs.
  struct Taps {
    std::vector<int32_t> start;
    std::vector<int32_t> offset;  // position that is read, less that of the run's start
    std::vector<int32_t> weight;  // which of the layer's weights
  };
  struct Layer {
    bool listed = false;       // by taps
    int64_t weight, bias = 0;  // where their gradients start among `size`
    Taps forward, back;        // by channel out, by channel in
  };

  // Everything is there.
  explicit ChainMask(const Chain&);
  // state [parameters]: 0 not there (and its weight 0), 1 there, 2 there with no gradient.
  ChainMask(const Chain&, const uint8_t* state);

  // Vectors of 64 bytes of samples that kernels take together, 4, 2 or 1. Whole layers read their
  // weights for all of them, which is worth more than a cache (four were as fast as one or faster,
  // at 1.3 MB a vector). Of lists what lies between layers is most of what is read, and in graphs
  // what waits for an add is read once more (norm-free ResNet-20, half as wide, 32 x 32: four took
  // 1.2 times as long as one): there parts stay in the second-level cache where one vector does.
  int vectors;

  std::vector<Layer> layers;
  int64_t size = 0;
  std::vector<int64_t> place;  // of each number of a gradient; -1: nobody asks; empty: its own

 private:
  void list(const Chain&, const uint8_t* state);
};

}  // namespace edt
