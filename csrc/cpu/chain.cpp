#include "cpu/chain.h"

#include <algorithm>

#include "cpu/chain_kernels.h"
#include "cpu/pool.h"

namespace edt {
namespace {

template <class T>
struct Blocks {
  static constexpr int64_t size = kChainSamples<T>;
  int64_t n, count = (n + size - 1) / size;
  int samples(int64_t k) const { return int(std::min(size, n - k * size)); }
};

}  // namespace

template <class T>
bool chain_outputs(const ChainCall<T>& c, T* out) {
  const Chain& chain = c.chain;
  const auto& kernels = chain_table<T>();
  const Blocks<T> blocks{c.samples};
  return parallel_for(
      c.networks * blocks.count, chain.operations * double(c.networks * c.samples), false,
      [&](int64_t item, Crew& crew) {
        const int64_t b = item / blocks.count, k = item % blocks.count, first = k * blocks.size;
        crew.scratch.reset();
        kernels.outputs(chain, c.theta + b * chain.parameters,
                        c.x + b * c.x_step + first * chain.d_in, blocks.samples(k),
                        out + (b * c.samples + first) * chain.d_out, crew.scratch);
      },
      c.poll);
}

template <class T>
bool chain_gradient(const ChainCall<T>& c, const T* slopes, T* grad) {
  const Chain& chain = c.chain;
  const auto& kernels = chain_table<T>();
  const Blocks<T> blocks{c.samples};
  const int64_t size = chain.parameters;
  return parallel_for(
      c.networks, 3 * chain.operations * double(c.networks * c.samples), blocks.count > 1,
      [&](int64_t b, Crew& crew) {
        T* sums = grad + b * size;
        std::fill(sums, sums + size, T(0));
        const auto add = [&](int64_t k, T* to, Scratch& scratch) {
          const int64_t first = k * blocks.size;
          kernels.gradient(chain, c.theta + b * size, c.x + b * c.x_step + first * chain.d_in,
                           blocks.samples(k), slopes + (b * c.samples + first) * chain.d_out, to,
                           scratch);
        };
        crew.scratch.reset();
        if (blocks.count == 1) return add(0, sums, crew.scratch);
        const int slots = crew.slots(size_t(size) * sizeof(T));
        T* partial = crew.scratch.take<T>(size_t(slots) * size_t(size));
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
      },
      c.poll);
}

#define EDT_INSTANTIATE(T)                                                                         \
  template bool chain_outputs<T>(const ChainCall<T>&, T*);                                         \
  template bool chain_gradient<T>(const ChainCall<T>&, const T*, T*);
EDT_INSTANTIATE(float)
EDT_INSTANTIATE(double)

}  // namespace edt
