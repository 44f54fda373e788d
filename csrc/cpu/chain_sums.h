// Sums over blocks of samples of one network of a chain: in the order of blocks, whichever threads
// take them.
#pragma once
#include <algorithm>

#include "cpu/chain_kernels.h"

namespace edt {

template <class T>
struct Blocks {
  static constexpr int64_t size = kChainSamples<T>;
  int64_t n, count = (n + size - 1) / size;
  int samples(int64_t k) const { return int(std::min(size, n - k * size)); }
};

// sums [size] = the sum over blocks of what add(k, to, scratch) adds to zeros.
template <class T, class Add>
void sum_blocks(const Blocks<T>& blocks, int64_t size, T* sums, Crew& crew, const Add& add) {
  std::fill(sums, sums + size, T(0));
  if (blocks.count == 1) return add(0, sums, crew.scratch);
  const Scratch::Hold hold{crew.scratch};
  const int slots = crew.slots(size_t(size) * sizeof(T));
  T* partial = crew.scratch.template take<T>(size_t(slots) * size_t(size));
  crew.share(
      blocks.count, slots,
      [&](int64_t k, int slot, Scratch& scratch) {
        if (crew.cancel.load()) return;
        T* to = partial + slot * size;
        std::fill(to, to + size, T(0));
        add(k, to, scratch);
      },
      [&](int64_t, int slot) {
        const T* from = partial + slot * size;
        for (int64_t i = 0; i < size; ++i) sums[i] += from[i];
      });
}

}  // namespace edt
