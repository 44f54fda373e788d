// A sparse linear or convolutional layer as lists of taps: one tap is one weight that is there.
//
// Positions are lanes. The images of both sides lie on one grid of rows of `pitch` positions, one
// plane a channel, with zeros around and between them, so that a tap multiplies one run of
// positions that lie side by side, and none falls outside:
//
//   y[c][q] += w x[c'][q + dy pitch + dx]     for all q at once, columns of zeros included.
//
// The zeros right of a row are those left of the next. With strides an input channel is split into
// its phases: rows and columns of one remainder of the stride are a plane of their own, on the grid
// of the outputs. Small images stand one below the other, several samples at a time; large ones are
// cut into bands of rows. A linear layer has samples as its positions (cpu/taps_linear.cpp).
//
// Where taps are few, copying images onto the grid and back takes longer than multiplying them.
// Such a layer reads them where they lie, rows without anything between them, and masks what falls
// outside: for every shift, a bit for each position.
#pragma once
#include <cstdint>
#include <vector>

namespace edt {

// Taps by the plane that they add to.
struct Taps {
  std::vector<int64_t> start;   // [planes + 1]
  std::vector<int32_t> offset;  // of what is read, from the start of the first plane's run
  std::vector<int64_t> weight;  // place in the layer's weights
  // Where the taps of each plane begin that read the planes of each chunk, [chunks + 1][planes]:
  // what the taps of a chunk read for a few vectors stays in the nearest cache.
  int64_t chunks = 1;
  std::vector<int64_t> cuts;
  // In place: whether a tap reads something inside at each position, from bit mask[tap] * 8 on.
  std::vector<int32_t> mask;
  std::vector<uint8_t> masks;
};

// What a layer is, as Python gives it.
struct TapShape {
  int c_in, c_out;
  int64_t h, w, h_out, w_out;
  int64_t stride_h, stride_w, pad_h, pad_w;
  int64_t reach_h, reach_w;  // largest offset of a tap within its kernel
  bool flat;                 // a linear layer
};

// Rows and columns of an input that have one remainder of the stride.
struct Phase {
  int64_t y, x;        // the first of them
  int64_t rows, cols;  // how many
};

// One side's planes in memory; numbers of elements.
struct Planes {
  int64_t count = 0;
  int64_t lead = 0;   // zeros before the run's start: what taps read above it and left of it
  int64_t plane = 0;  // from one to the next
  int64_t size() const { return count * plane + lead; }  // and a vector read past the end
};

struct TapLayer {
  // out, in: channels of each tap, sorted by out; dy, dx: its place within the kernel, dilated;
  // weight: its place in the weights.
  TapLayer(const TapShape& shape, int64_t weights, int64_t taps, const int32_t* out,
           const int32_t* in, const int32_t* dy, const int32_t* dx, const int64_t* weight);

  TapShape shape;
  bool in_place = false;  // no grid: what follows `backward` is not used, but for planes' counts
  int64_t weights, taps;
  int64_t serial;  // no other layer of this process has it
  // By output channels, reading planes of the input; and by planes of the input, reading those of
  // the slopes.
  Taps forward, backward;
  // Planes of the input: channel after channel, in each its phases that some tap reads.
  std::vector<Phase> phases;
  int64_t pitch = 1;        // positions from row to row
  int64_t samples = 1;      // at a time
  int64_t sample_rows = 1;  // rows from one of these to the next
  int64_t band = 1;         // rows of outputs at a time; all of them if several samples are
  int64_t bands = 1;
  int64_t first_row = 0, last_row = 0;  // of the shifts of taps
  Planes in, out;
  int64_t run = 0;  // most positions of a run
  bool all_phases() const { return int64_t(phases.size()) == shape.stride_h * shape.stride_w; }

 private:
  void place_on_images(const int32_t* out, const int32_t* in, const int32_t* dy, const int32_t* dx,
                       const int64_t* weight);
  // Lists, cut by the planes that are read.
  void list(const int32_t* out, const std::vector<int64_t>& plane,
            const std::vector<int64_t>& shift, const int64_t* weight);
};

}  // namespace edt
