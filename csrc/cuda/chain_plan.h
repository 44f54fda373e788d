// Chains of convolutions on a device: stages, where their numbers lie, and lists of taps.
//
// A stage is an affine layer or pooling with the activation behind it. What lies between two stages
// is an image [channel][row][column][sample], with the margins of zeros that its reader wants, so
// that no tap asks whether it is inside; slopes at the outputs of a layer with a stride lie as far
// apart as what made them, with zeros between, so that nothing divides by strides. All samples of
// an image's position are packs side by side: lanes of a warp are packs, and a tap moves all of
// them by the same number of entries.
//
// A network has a room for its images, derivatives and slopes, and one for its weights in the order
// in which kernels read them; K vectors (products) have such rooms each. Samples go in chunks and
// networks in groups, so that the rooms stay within a budget; chunks follow from the chain alone,
// so a network's sums do not depend on its company.
#pragma once
#include <vector>

#include "cuda/launch.h"
#include "cuda/platform.h"
#include "layout/chain_mask.h"

namespace edt::cuda {

struct ChainImage {
  int64_t at;  // positions before it in a room
  int c, h, w, top, left;
  int sy = 1, sx = 1;  // from a row and column to the next: between them lie zeros
  EDT_HD int rows() const { return (h - 1) * sy + 1 + 2 * top; }
  EDT_HD int pitch() const { return (w - 1) * sx + 1 + 2 * left; }
  EDT_HD int plane() const { return rows() * pitch(); }
  EDT_HD int positions() const { return c * plane(); }
  EDT_HD bool bare() const { return top == 0 && left == 0 && sy * sx == 1; }
  EDT_HD int place(int y, int x) const { return (y * sy + top) * pitch() + x * sx + left; }
  //! Of number d of a sample.
  EDT_HD int place(int d) const {
    if (bare()) return d;
    const int at_row = d / w, channel = at_row / h;
    return channel * plane() + place(at_row - channel * h, d - at_row * w);
  }
};

//! out[row][y][x] = sum over channels, i, j of w[row][channel][i][j] in[channel][sy y + i][sx x +
//! j], images from (y0, x0) on: an affine layer, or (its kernel turned around) what goes back
//! through it. Weights lie in tiles of `height` rows, [tile][channel][i][j][row]; or they are taps.
struct ChainProduct {
  int rows, h, w;              // of what is made
  int channels, pitch, plane;  // of what is read
  int y0, x0;
  int height, tiles;
  int many;    // whether taps take four packs a lane
  int64_t at;  // numbers before its weights in their room
  int sy = 1, sx = 1;
};

struct ChainStage {
  enum class Kind : int { affine, pool, mean };
  Kind kind;
  int act;  // behind it; -1: none
  int kh, kw;
  ChainImage in, slope;          // what it takes in; dL/dz at its outputs
  int c, h, w;                   // of its outputs
  int64_t first, second, where;  // s', s'', which of a field is the largest: positions before them
  int64_t r_in, r_z, r_slope;    // of tangents: positions before them in a vector's room
  // Affine ones.
  int64_t weight, bias;
  int taps;  // kh kw times channels in
  ChainProduct forward, back;
  int parts;          // that share the rows of a gradient,
  int64_t partial;    // and what lies before the first one's sums [taps c + c] among them
  int height, tiles;  // of its gradient: channels out, and tiles of them
  int groups;         // of taps, the most of a network
  //! Of a row of outputs: what one loop goes through, in which slopes and inputs lie side by side.
  EDT_HD int lines() const { return forward.sx == 1 ? 1 : w; }
  int items[4];  // of gradients, of all parts: by tiles of 8, 6 and 2 rows; lists and biases
};

//! A network's list of taps of one direction: where it starts among the plan's numbers.
struct ChainTaps {
  int start, offset, weight, count;  // by row of the product; of each tap
};
struct ChainNet {
  int listed;
  ChainTaps forward, back;
  int groups, group_count;  // of gradients: (channel, first tap, taps), up to 8 taps each
};

//! What kernels that know all stages are given.
struct ChainTables {
  const ChainStage* stages;
  const ChainNet* nets;  // [networks, stages]
  const int* ints;
  const uint8_t* asked;  // [networks, parameters], whose gradients are asked for; null: all
  int count;             // stages
  int first;             // the first affine one
};

//! Gradients are of up to so many taps at once.
constexpr int kChainTaps = 8;

class ChainPlan {
 public:
  //! Throws std::invalid_argument where this engine lacks a layer. masks: one a network, or none;
  //! room: bytes of a network's samples at once, about, and a sixteenth of all networks'.
  ChainPlan(const Chain& chain, const std::vector<const ChainMask*>& masks, int64_t networks,
            int64_t samples, bool is_double, int vectors, int sms, int64_t room);

  int64_t networks() const { return networks_; }
  int64_t samples() const { return samples_; }
  bool is_double() const { return is_double_; }
  int vectors() const { return vectors_; }
  int group() const { return group_; }  // networks at once
  int chunk() const { return chunk_; }  // samples at once
  //! Whether one pass has all networks and samples: what `outputs` leaves serves `gradient`.
  bool whole() const { return group_ >= networks_ && chunk_ >= samples_; }
  int64_t parameters() const { return parameters_; }
  int d_in() const { return d_in_; }
  int d_out() const { return d_out_; }
  const std::vector<ChainStage>& stages() const { return stages_; }
  int first() const { return first_; }
  bool any_listed(int stage) const { return any_listed_[stage]; }
  bool any_dense(int stage) const { return any_dense_[stage]; }

  // Positions of rooms (of `samples` numbers each), and numbers of weights and of partial sums.
  int64_t room() const { return room_; }
  int64_t r_room() const { return r_room_; }
  int64_t weights() const { return weights_; }
  int64_t partial() const { return partial_; }
  //! Positions of the image that inputs are turned to, and before outputs and curvature.
  int64_t inputs() const { return stages_.front().in.positions(); }
  int64_t outputs() const { return outputs_; }
  int64_t r_outputs() const { return r_outputs_; }
  int64_t curvature() const { return curvature_; }

  int64_t block_bytes() const;
  void write(unsigned char* to) const;
  int64_t workspace_bytes() const;
  ChainTables tables(const unsigned char* block, int64_t first_network) const;

 private:
  void make_stages(const Chain& chain);
  void lay_out(double budget);
  void list(const std::vector<const ChainMask*>& masks);
  ChainTaps taps_of(const ChainStage& stage, const std::vector<int32_t>& weights, bool back);

  std::vector<ChainStage> stages_;
  std::vector<int> layer_;  // of each stage, in the chain
  std::vector<ChainNet> nets_;
  std::vector<int> ints_;
  std::vector<uint8_t> asked_;
  std::vector<char> any_listed_, any_dense_;
  int64_t networks_, samples_, parameters_;
  bool is_double_;
  int vectors_, sms_, group_ = 0, chunk_ = 0, first_ = 0, d_in_ = 0, d_out_ = 0;
  int64_t room_ = 0, r_room_ = 0, weights_ = 0, partial_ = 0;
  int64_t outputs_ = 0, r_outputs_ = 0, curvature_ = 0;
};

//! A call's memory: all pointers are the device's, none is kept.
struct ChainCall {
  const ChainPlan& plan;
  const unsigned char* block;
  unsigned char* workspace;
  const void *theta, *x;  // [networks, parameters]; [samples, d_in] of every network,
  int64_t x_step;         // so many entries apart (0: the same)
  void* stream;
};

//! [networks, samples, d_out]; keep: leaves in the workspace what the gradient asks for (of a plan
//! that is `whole`).
template <class T>
void chain_outputs(const ChainCall&, T* out, bool keep);
//! From slopes [networks, samples, d_out] to grad [networks, parameters], 0 where no layer is and
//! where a mask has nothing or asks for nothing. ready: after chain_outputs with `keep`.
template <class T>
void chain_gradient(const ChainCall&, const T* slopes, T* grad, bool ready);

//! Products with the Hessian of sum_n l_n, from its slopes [networks, samples, d_out] and curvature
//! [networks, samples, d_out, d_out] in the outputs, or with J^T A J where slopes is null. Vectors,
//! 0 where a mask has nothing, and out lie alike: `many` of each network, of one network
//! `vector_step` entries apart, of the next `network_step`.
template <class T>
struct ChainVectors {
  const T *slopes, *curvature, *vectors;
  T* out;
  int64_t many, network_step, vector_step;
};
template <class T>
void chain_products(const ChainCall&, const ChainVectors<T>&);

}  // namespace edt::cuda
