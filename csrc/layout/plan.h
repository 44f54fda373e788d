// Compiled structure of a ragged ensemble: which parameters take part in the arithmetic, in which
// order, and which neurons can be skipped. Built once per (widths, masks); immutable afterwards.
#pragma once
#include <cstdint>
#include <vector>

namespace edt {

// Per-parameter state, as in the Python package.
enum : uint8_t { kPruned = 0, kTrainable = 1, kFrozen = 2 };

// One affine layer over the *alive* units only: a hidden unit is alive when an unpruned path leads
// from it to an output. Row j's weights are contiguous in the compressed parameter array, so edge
// k of row j has compressed index row_start[j] + k.
struct Layer {
  int n_in = 0;
  int n_out = 0;
  bool dense = false;          // every row holds all n_in inputs in order
  std::vector<int> row_start;  // [n_out] compressed index of the row's first weight
  std::vector<int> row_ptr;    // [n_out + 1] into col
  std::vector<int> col;        // [nnz] alive index of the input
  std::vector<int> bias;       // [n_out] compressed index, or -1 (no bias or pruned)
  std::vector<int> t_ptr;      // [n_in + 1] transpose: edges leaving each input
  std::vector<int> t_row;      // [nnz]
  std::vector<int> t_param;    // [nnz] compressed index
  int nnz() const { return static_cast<int>(col.size()); }
};

struct Net {
  int64_t offset = 0;  // first entry in the ensemble's flat vector
  int n_flat = 0;      // entries in the flat vector
  int n_coords = 0;    // trainable entries
  int d_in = 0;
  int d_out = 0;
  bool identity = false;           // compressed == flat and everything is trainable
  std::vector<int> flat;           // [n_params] compressed -> offset inside the network
  std::vector<uint8_t> trainable;  // [n_params]
  std::vector<int> coord;          // [n_params] compressed -> coordinate index, or -1
  bool all_trainable = true;
  std::vector<int> fixed;     // compressed indices that are not trainable
  std::vector<int> pruned;    // compressed indices that are pruned (inside dense layers)
  std::vector<Layer> layers;  // D + 1 affine layers
  int n_hidden = 0;           // alive hidden units in total
  int n_params() const { return static_cast<int>(flat.size()); }
  double cost = 0;  // relative cost of one loss-and-gradient per sample
};

struct Plan {
  std::vector<Net> nets;
  std::vector<int> by_cost;  // network indices, most expensive first
  int64_t total = 0;
  int depth = 0;  // hidden layers
  bool bias = true;

  // widths: [n_nets, n_cols], row = d_in, h_1..h_D, d_out. state: [total].
  Plan(const int64_t* widths, int64_t n_nets, int64_t n_cols, bool bias, const uint8_t* state,
       int64_t total);
};

}  // namespace edt
