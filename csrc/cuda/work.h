// What the kernels are given: the problem, the list of work, and where things lie in a block's
// memory. Shared by the host, which sizes, and the device, which uses.
#pragma once
#include "cuda/plan.h"
#include "cuda/platform.h"

namespace edt::cuda {

//! Samples, feature by feature; n_pad is a multiple of 32, the padding repeats the last sample.
template <class T>
struct Data {
  const T* x;         // [n_tasks, d_in, n_pad]
  const T* y;         // [n_tasks, d_out, n_pad], mse
  const int* labels;  // [n_tasks, n_pad], cross-entropy
  const T* coef;      // [n_tasks, n_pad]
  int64_t n_pad;
  int n, d_in, d_out;
  int loss;  // of layout/dataset.h
};

template <class T>
struct Problem {
  const NetRecord* nets;
  const LayerRecord* layers;
  const int* ints;
  Data<T> data;
  const int64_t* task;    // [B]
  const uint8_t* active;  // [B], or null for all
  const T* theta;         // flat
  int act;
};

//! Where results go.
template <class T>
struct Results {
  T* predict;          // [B, n, d_out], or null
  const T* cotangent;  // [B, n, d_out]: what the gradient starts from instead of the loss, or null
  double* loss;        // [B], or null
  T* grad;             // flat, or null; hvp: vectors, `stride` entries apart
  int64_t stride;
  T* partial;            // of items that share a network
  double* partial_loss;  // [items]
};

//! What an item of training holds: moments in the block's memory; inputs (squares.cuh) in no rows
//! of their own, but brought for each pass; the sums of two halves of the samples
//! (shallow_sums.cuh), by two blocks where `splits` is 2.
constexpr int kMoments = 1, kInputsTwice = 2, kTwoHalves = 4;

//! A share of the work on one network; one block does one at a time.
struct Item {
  int net;
  int first, count;   // samples
  int tile;           // samples held at once
  int groups;         // of warps, each with a gradient of its own
  int splits, split;  // the network's samples are shared among so many items; which one
  int extra;        // curvature: vector, or first unit; units in `extra_count`; training: as below
  int extra_count;  // training in registers: lanes that share a sample
  int64_t partial;  // splits > 1: entries before its partial result in the workspace
};

//! A piece of a network's flat slice, summed over the items that share its samples.
struct Merge {
  int net, splits;
  int first, count;       // flat entries
  int item;               // its first item
  int vector;             // hvp: which
  int64_t partial, step;  // its first partial result, distance to the next
};

//! The start of a block's memory: numbers that travel between warps.
constexpr int kReserved = 1024;

//! Kernels of training: those of one hidden layer in registers (shallow.cuh), those with large
//! dense layers by squares (squares.cuh), all others; in pairs: in registers, where two blocks may
//! have a network.
enum class Training : int { general = 0, shallow = 1, squares = 2, pairs = 3 };
constexpr int kTrainings = 4;

enum class Job : int { forward = 0, gradient = 1, train = 2, curvature = 3 };

//! Rows of samples each job holds for a network.
EDT_HD int rows_of(Job job, const NetRecord& net) {
  switch (job) {
    case Job::forward:
      return net.d_in + net.n_hidden + net.d_out;
    case Job::gradient:
    case Job::train:
      return net.d_in + 2 * net.n_hidden + net.d_out;
    default:
      return net.d_in + 6 * net.n_hidden + 3 * net.d_out + net.widest + 1;
  }
}

//! Compressed vectors each job holds for a network, in entries.
EDT_HD int64_t vectors_of(Job job, const NetRecord& net, int groups, bool moments) {
  switch (job) {
    case Job::forward:
      return net.n_math;
    case Job::gradient:
      return int64_t(net.n_math) * (1 + groups);
    case Job::train:
      return int64_t(net.n_params) * (moments ? 3 : 1) + int64_t(net.n_math) * groups;
    default:
      return int64_t(net.n_math) * 3;
  }
}

//! Inputs of the networks whose training stays in registers (shallow.cuh).
constexpr int kShallowInputs = 4;
//! Their rows of samples: inputs, target, coefficient, and one that keeps the distance odd.
constexpr int kShallowRows = kShallowInputs + 3;
//! Warps of their blocks, each with sums of its own.
constexpr int kShallowWarps = 4;
//! How many lanes share a sample of such a network, each with a pack of units; 0 for others: those
//! of more layers, outputs or inputs, with sparse layers, or more units than a warp holds.
template <class T>
int shallow_lanes(const NetRecord& net, const LayerRecord* layers) {
  if (net.n_layers != 2 || net.d_out != 1 || net.d_in > kShallowInputs || !layers[0].dense ||
      !layers[1].dense || layers[0].n_out > kWarp * kPack<T>)
    return 0;
  int lanes = 1;
  while (lanes * kPack<T> < layers[0].n_out) lanes *= 2;
  return lanes;
}

//! Whether inputs may be brought twice: they fit where the last hidden layer's derivatives and
//! activations lie, and are not in use when those are.
EDT_HD bool fit_twice(const NetRecord& net, const LayerRecord* layers) {
  return net.n_layers > 2 && layers[net.n_layers - 1].n_in >= net.d_in;
}

//! Bytes of a block's memory for one item.
template <class T>
EDT_HD int64_t arena_bytes(Job job, const NetRecord& net, int tile, int groups, bool twice,
                           bool moments, bool shallow) {
  const int rows_held = rows_of(job, net) - (twice ? net.d_in : 0);
  const int64_t rows =
      shallow ? int64_t(kShallowRows) * tile : int64_t(rows_held) * (tile + kPack<T>);
  return kReserved + int64_t(sizeof(T)) * (vectors_of(job, net, groups, moments) + rows);
}

}  // namespace edt::cuda
