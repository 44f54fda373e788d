// Networks that one block cannot hold: how their layers are cut into pieces that many blocks share.
//
// Every network has its compressed vectors (parameters, moments, gradient) and its rows of samples
// in the workspace. A launch does one layer of all networks: items name a network and a range of
// units, edges or entries; where samples count too, every item is done once for every tile of
// samples. Samples go through in chunks, so that the rows stay within a budget of memory.
#pragma once
#include <vector>

#include "cuda/plan.h"
#include "cuda/platform.h"

namespace edt::cuda {

//! A network, and where its numbers start: entries of T before them in the workspace.
struct WideNet {
  int net;
  int top, tops;       // its gradient items
  int piece, pieces;   // its items of a vector
  int64_t p, m, v, g;  // vectors: parameters, moments, gradient; curvature: of v and g many
  int64_t x, a, d, f;  // rows: inputs (if gathered), activations, s' and then dL/dz, outputs
  // Curvature only (d stays s'). Rows: dL/dz, s'' and then s'' dA, probabilities, ones; and for
  // every vector of a group: Rz and then Rd of hidden units and of outputs, Ra, scratch.
  int64_t e, c, prob, ones;
  int64_t r, rf, ra, s;
};

//! A piece of one network's work.
struct WideItem {
  int wide;  // which WideNet
  int layer;
  int first, count;     // units, edges, or entries of a vector
  int column, columns;  // gradient of a dense layer: inputs
};

struct WideRange {
  int first, count;
  bool dense;  // products with a dense layer are among them
};

//! Samples of a tile, and what an item takes of the rest.
constexpr int kWideTile = 128;
constexpr int kWideThreads = 256;
constexpr int kWideUnits = 64;      // at most; fewer where that leaves multiprocessors idle
constexpr int kWideEntries = 2048;  // of a vector, and at most edges of a gradient
constexpr int kWideGradRows = 32, kWideGradColumns = 64;  // twice as many of large ones in float64
constexpr int kWideGroup = 8;  // vectors at once, at most; units of Hessians twice as many

struct WideOptions {
  bool training = false;  // keeps parameters and the first moment (or momentum) between steps
  bool moments = false;   // and the second
  int64_t batch_size = 0;
  int64_t shared_block = 0;  // bytes of shared memory a block may have
  bool curvature = false;
  int vectors = 0;  // of curvature; 0: Hessians
};

class WideSchedule {
 public:
  WideSchedule() = default;
  WideSchedule(const DevicePlan& plan, const std::vector<int>& nets, bool is_double, int n_samples,
               int sms, const WideOptions& options);
  bool empty() const { return nets_.empty(); }
  int networks() const { return int(nets_.size()); }
  int layers() const { return int(forward_.size()); }
  const WideRange& inputs() const { return inputs_; }
  const WideRange& forward(int layer) const { return forward_[layer]; }
  const WideRange& backward(int layer) const { return backward_[layer]; }  // layer > 0
  const WideRange& gradient() const { return gradient_; }
  const WideRange& vectors() const { return vectors_; }  // entries of compressed vectors
  const WideRange& flat() const { return flat_; }        // entries of flat slices
  //! Samples done at once, at most.
  int chunk() const { return chunk_; }
  //! Distance of rows.
  int ld() const { return ld_; }
  //! Curvature: vectors (or units) done at once, and all of them; units of the widest network.
  int group() const { return group_; }
  int vectors_given() const { return given_; }
  int most_units(int layer) const { return most_units_[layer]; }
  //! Blocks that share the columns of a unit's rows of Hessians, for so many units at once.
  int parts(int units) const;
  //! Whether inputs are copied to rows: minibatches, or more inputs than an int counts.
  bool gathers() const { return gathers_; }
  //! Samples whose order a block's shared memory holds, as 16-bit numbers.
  int shared_order() const { return shared_order_; }
  //! Whether there is room for second moments.
  bool moments() const { return moments_; }
  //! Numbers (of T) of the workspace, entries of the largest gradients, partial losses a network.
  int64_t numbers() const { return numbers_; }
  int64_t tops() const { return gradient_.count; }
  int64_t tiles() const { return tiles_; }

  //! nets, then items, as they are copied to the device.
  int64_t items_at() const;
  int64_t block_bytes() const;
  void write(unsigned char* to) const;

 private:
  void make_items(const DevicePlan& plan, bool is_double, int tile, int64_t tiles);
  void lay_out(const DevicePlan& plan, bool is_double, int n_samples, const WideOptions& options);

  std::vector<WideNet> nets_;
  std::vector<WideItem> items_;
  std::vector<WideRange> forward_, backward_;
  WideRange inputs_{}, gradient_{}, vectors_{}, flat_{};
  std::vector<int> most_units_;
  int chunk_ = 0, ld_ = 0, shared_order_ = 0, group_ = 1, given_ = 1, columns_ = 0;
  int64_t wanted_ = 0;  // blocks
  bool gathers_ = false, moments_ = false;
  int64_t numbers_ = 0, tiles_ = 0;
};

}  // namespace edt::cuda
