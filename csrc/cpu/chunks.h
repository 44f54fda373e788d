// The chunks of samples in which sums over many samples are formed. They depend on the network and
// the number of samples alone, not on threads, so neither does any bit; and one thread uses them,
// too. Up to kWhole samples there is one.
#pragma once
#include <algorithm>
#include <cstdint>

#include "layout/plan.h"

namespace edt {

// Multiply-adds, some 10 us of them, that are worth a thread's way to them.
constexpr double kSharedWork = 1 << 19;

// Of one network in one chunk, that are worth the threads' common work on them.
constexpr double kSharedBlocks = 1 << 21;
// Of rows of one block, worth a loop of their own: what the layer takes in and gives lies in the
// cache of another core before and after, which costs more than finding the loop.
constexpr double kSharedRows = 1 << 21;

struct Chunks {
  static constexpr int64_t kWhole = 4096;
  // A chunk takes 0.1 ms or more of work, next to which finding it and adding its sum is little...
  static constexpr int64_t kShortest = 1024, kLongest = 4096, kWork = int64_t(1) << 19;
  // ... and there are so few that their sums take little memory, yet enough for many cores.
  static constexpr int64_t kMost = 128, kEntries = int64_t(1) << 25;
  static constexpr int64_t kUnit = 64;  // samples: whole tiles of vectors
  // Above this many, a multiple: 65 chunks would leave the second half of 64 cores' time idle.
  static constexpr int64_t kRound = 64;

  int64_t n, length, count;

  // n: samples, in whole vectors.
  Chunks(const Net& net, int64_t n_) : n(n_), length(n_), count(1) {
    if (n <= kWhole) return;
    const int64_t size = std::max(net.n_params(), 1);
    const int64_t least = std::clamp(kWork / size, kShortest, kLongest);
    const int64_t most = std::clamp<int64_t>(kEntries / size, 16, kMost);
    int64_t wanted = std::min((n + least - 1) / least, most);
    if (wanted > kRound) wanted = wanted / kRound * kRound;
    cut(((n + wanted - 1) / wanted + kUnit - 1) / kUnit * kUnit);
  }
  void cut(int64_t length_) {
    length = length_;
    count = (n + length - 1) / length;
  }
  int64_t begin(int64_t k) const { return k * length; }
  int64_t size(int64_t k) const { return std::min(length, n - begin(k)); }
};

// One hidden layer, one output, at most kNarrowInputs inputs a neuron: the shape with passes of its
// own (isa/narrow.h), in which the errors of the hidden units are never stored.
constexpr int kNarrowInputs = 8;
inline bool is_narrow(const Net& net) {
  if (net.layers.size() != 2 || net.d_out != 1 || net.layers[1].nnz() != net.layers[1].n_in)
    return false;
  const Layer& ly = net.layers[0];
  for (int j = 0; j < ly.n_out; ++j)
    if (ly.row_ptr[j + 1] - ly.row_ptr[j] > kNarrowInputs) return false;
  return true;
}

// Whether threads can share this network's work on `samples` at a time: chunks, blocks of a chunk,
// or rows of a block (isa/evaluate.h, isa/passes.h).
inline bool shares(const Net& net, int64_t samples) {
  if (Chunks(net, samples).count > 1) return true;
  return !is_narrow(net) && double(net.n_params()) * double(samples) >= kSharedBlocks;
}

}  // namespace edt
