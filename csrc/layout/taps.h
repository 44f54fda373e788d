// A sparse linear or convolutional layer as lists of taps: one tap is one weight that is there.
//
// Images are packed with samples as lanes: [block of samples][channel][row][column][lane], one
// vector of 64 bytes a position, with margins of zeros so that no tap falls outside. A tap then
// multiplies a run of positions that lie side by side. A linear layer is one whose image is a row
// of `cols` positions, each holding the next lanes of samples.
#pragma once
#include <cstdint>
#include <vector>

namespace edt {

// Images on one side of the layer; sizes in positions.
struct Packed {
  int channels = 0;
  int64_t rows = 0, cols = 0;                                   // as the caller has them
  int64_t top = 0, left = 0, packed_rows = 0, packed_cols = 0;  // as they are packed
  int64_t plane() const { return packed_rows * packed_cols; }
  int64_t block() const { return channels * plane(); }
};

// Taps by the channel that they add to.
struct Taps {
  std::vector<int64_t> start;   // [channels + 1]
  std::vector<int32_t> offset;  // position of what is read, less that of the run's start
  std::vector<int64_t> weight;  // which weight, in the order of the forward lists
};

// What a layer is, as Python gives it.
struct TapShape {
  int c_in, c_out;
  int64_t h, w, h_out, w_out;
  int64_t stride_h, stride_w, pad_h, pad_w;
  int64_t reach_h, reach_w;  // largest offset of a tap within its kernel
  bool flat;                 // a linear layer
};

struct TapLayer {
  // out, in: channels of each tap, sorted by out; dy, dx: its place within the kernel, dilated.
  TapLayer(const TapShape& shape, int64_t taps, const int32_t* out, const int32_t* in,
           const int32_t* dy, const int32_t* dx);

  TapShape shape;
  int64_t taps;
  Packed in, out;
  Taps forward;
  // Of the gradient of the input: its rows and columns by their remainder of the stride.
  std::vector<Taps> backward;  // [stride_h * stride_w]
};

}  // namespace edt
