#include "cpu/chain.h"

#include <algorithm>

#include "cpu/chain_sums.h"
#include "cpu/pool.h"

namespace edt {
namespace {

// Vectors whose products share a block's values and slopes.
constexpr int64_t kVectorsTogether = 8;

// The masks of a call's networks.
template <class T>
class Masks {
 public:
  explicit Masks(const ChainCall<T>& call) : call_(call), whole_(call.chain) {}
  const ChainMask& operator[](int64_t network) const {
    return call_.masks.empty() ? whole_ : *call_.masks[size_t(network)];
  }

 private:
  const ChainCall<T>& call_;
  const ChainMask whole_;
};

// out, `many` rows of parameters `step` apart, = the sum over blocks of what add(k, to, scratch)
// adds to zeros [many, mask.size].
template <class T, class Add>
void sum_rows(const Blocks<T>& blocks, const Chain& chain, const ChainMask& mask, int64_t many,
              int64_t step, T* out, Crew& crew, const Add& add) {
  const int64_t size = many * mask.size;
  const bool all = mask.place.empty(), whole = all && (many == 1 || step == mask.size);
  crew.scratch.reset();
  T* sums = whole ? out : crew.scratch.take<T>(size_t(size));
  sum_blocks(blocks, size, sums, crew, add);
  if (whole) return;
  for (int64_t v = 0; v < many; ++v, out += step, sums += mask.size) {
    if (all) {
      std::copy_n(sums, mask.size, out);
      continue;
    }
    std::fill_n(out, chain.parameters, T(0));
    for (int64_t k = 0; k < mask.size; ++k)
      if (mask.place[size_t(k)] >= 0) out[mask.place[size_t(k)]] = sums[k];
  }
}

}  // namespace

template <class T>
bool chain_outputs(const ChainCall<T>& c, T* out) {
  const Chain& chain = c.chain;
  const auto& kernels = chain_table<T>();
  const Blocks<T> blocks{c.samples};
  const Masks<T> masks(c);
  return parallel_for(
      c.networks * blocks.count, chain.operations * double(c.networks * c.samples), false,
      [&](int64_t item, Crew& crew) {
        const int64_t b = item / blocks.count, k = item % blocks.count, first = k * blocks.size;
        crew.scratch.reset();
        kernels.outputs(chain, masks[b], c.theta + b * chain.parameters,
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
  const Masks<T> masks(c);
  const int64_t size = chain.parameters;
  return parallel_for(
      c.networks, 3 * chain.operations * double(c.networks * c.samples), blocks.count > 1,
      [&](int64_t b, Crew& crew) {
        sum_rows(blocks, chain, masks[b], 1, size, grad + b * size, crew,
                 [&](int64_t k, T* to, Scratch& scratch) {
                   const int64_t first = k * blocks.size;
                   kernels.gradient(chain, masks[b], c.theta + b * size,
                                    c.x + b * c.x_step + first * chain.d_in, blocks.samples(k),
                                    slopes + (b * c.samples + first) * chain.d_out, to, scratch);
                 });
      },
      c.poll);
}

template <class T>
bool chain_products(const ChainCall<T>& c, const OutputDerivatives<T>& derivatives,
                    const T* vectors, int64_t many, VectorSteps steps, T* out) {
  const Chain& chain = c.chain;
  const auto& kernels = chain_table<T>();
  const Blocks<T> blocks{c.samples};
  const Masks<T> masks(c);
  const int64_t size = chain.parameters, d = chain.d_out;
  // Vectors that share a pass forward and back: fewer where threads would find nothing to do.
  int64_t together = kVectorsTogether;
  if (c.networks * blocks.count * ((many + together - 1) / together) < num_threads())
    together = std::max<int64_t>(1, std::min(together, many / num_threads()));
  const int64_t parts = (many + together - 1) / together;
  return parallel_for(
      c.networks * parts,
      double(c.networks * c.samples) * chain.operations * double(6 * many + 2 * parts),
      blocks.count > 1,
      [&](int64_t item, Crew& crew) {
        const int64_t b = item / parts, v = item % parts * together;
        const int64_t count = std::min(together, many - v);
        const int64_t from = b * steps.networks + v * steps.vectors;
        const auto add = [&](int64_t k, T* to, Scratch& scratch) {
          const int64_t first = k * blocks.size;
          kernels.products(chain, masks[b], c.theta + b * size,
                           c.x + b * c.x_step + first * chain.d_in, blocks.samples(k),
                           derivatives.from(b * c.samples + first, first, d), vectors + from,
                           steps.vectors, count, to, scratch);
        };
        sum_rows(blocks, chain, masks[b], count, steps.vectors, out + from, crew, add);
      },
      c.poll);
}

#define EDT_INSTANTIATE(T)                                                                         \
  template bool chain_outputs<T>(const ChainCall<T>&, T*);                                         \
  template bool chain_gradient<T>(const ChainCall<T>&, const T*, T*);                              \
  template bool chain_products<T>(const ChainCall<T>&, const OutputDerivatives<T>&, const T*,      \
                                  int64_t, VectorSteps, T*);
EDT_INSTANTIATE(float)
EDT_INSTANTIATE(double)

}  // namespace edt
