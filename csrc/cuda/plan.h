// The structure of an ensemble as the kernels read it: plain records and one array of integers, in
// one block of memory that is copied to the device as it is.
//
// Parameters are held compressed in the kernels: dense layers as rows padded to whole 16-byte packs
// (so that loads are wide), sparse layers as their edges row by row, then the biases of a layer;
// behind all layers the parameters that no output depends on (weight decay still moves them).
#pragma once
#include <cstdint>
#include <vector>

#include "cuda/platform.h"
#include "layout/plan.h"

namespace edt::cuda {

struct LayerRecord {
  int n_in, n_out;
  int dense;     // 1: every row holds all n_in inputs, rows ld_w apart
  int nnz;       // sparse: edges, whole pairs a row and fours in all (some of no parameter)
  int w, ld_w;   // compressed index of the first weight; row stride
  int bias;      // compressed index of n_out biases, or -1
  int inputs;    // hidden units below its inputs (its place among the rows of activations)
  int row_ptr;   // sparse; places in the network's integers: [n_out + 1]
  int col, row;  // [nnz] input and output unit of each edge
  int t_ptr;     // [n_in + 1] edges by input, whole pairs each
  int t;         // of each its output unit and compressed index
  int by_length, t_by_length;  // [n_out], [n_in] rows and columns, longest first: which, its first
                               // edge, its edges, 0
};

//! Dense layers whose products in float32 go by squares of so many units (squares.cuh): both sides
//! multiples of it, and large enough that few lanes share a square.
constexpr int kSquare = 8;
//! Samples of the tiles they are made for.
constexpr int kSquareTile = 128;
//! And most threads of their blocks, which so have 255 registers each.
constexpr int kSquareThreads = 256;
EDT_HD bool in_squares(const LayerRecord& ly) {
  return ly.n_out % kSquare == 0 && ly.n_in % kSquare == 0 && ly.n_out * ly.n_in >= 1024;
}

struct NetRecord {
  int64_t flat;     // first entry in the ensemble's flat vector
  int64_t ints;     // first of its integers
  int first_layer;  // in the array of layers
  int n_layers;
  int d_in, d_out;
  int n_flat;    // entries in the flat vector
  int n_math;    // compressed entries the outputs depend on
  int n_params;  // and with those they do not depend on
  int n_coords;  // trainable
  int n_hidden;  // alive hidden units
  int widest;    // of all layers' outputs
  int source;  // [n_params]: place in the flat slice if trainable, -2 - place if frozen, -1 padding
  int target;  // [n_flat]: compressed index if trainable, else -1
  int coord;   // [n_params]: coordinate, or -1
};

//! Where the parts of the block start, in bytes.
struct PlanBlock {
  int64_t layers, ints, size;
};

class DevicePlan {
 public:
  explicit DevicePlan(const Plan& plan);
  PlanBlock block() const;
  void write(unsigned char* to) const;  // block().size bytes
  const std::vector<NetRecord>& nets() const { return nets_; }
  const std::vector<LayerRecord>& layers() const { return layers_; }
  //! Multiply-adds of one loss and gradient a sample, with the activations' share.
  const std::vector<double>& costs() const { return costs_; }

 private:
  void add(const Net& net);
  std::vector<NetRecord> nets_;
  std::vector<LayerRecord> layers_;
  std::vector<int32_t> ints_;
  std::vector<double> costs_;
};

}  // namespace edt::cuda
