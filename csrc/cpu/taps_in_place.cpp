// Sparse convolutions of few taps, on images where they lie (layout/taps.h): what a tap reads stays
// in the nearest caches while the planes of one sample are summed, and nothing is copied.
#include <algorithm>

#include "cpu/pool.h"
#include "cpu/tap_kernels.h"
#include "cpu/taps.h"
#include "cpu/team.h"

namespace edt {
namespace {

// Partial sums of the gradients of weights: at most so many, of so many samples at least.
constexpr int64_t kBlocks = 32, kBlockSamples = 4;
// Positions of the samples whose products are summed before lanes are.
constexpr int64_t kTogether = 512;

// Sample k, where an item ends at `end`.
template <class T>
Ahead sample(const T* images, int64_t size, int64_t k, int64_t end) {
  if (!images || k >= end) return {};
  return {reinterpret_cast<const char*>(images + k * size), size * int64_t(sizeof(T))};
}

double operations(const TapCall& c, double products) {
  const TapLayer& layer = c.layer;
  return double(c.n) * double(layer.out.plane) * products *
         double(layer.taps / 8 + layer.in.count + layer.out.count);
}

// Samples first..last of n, in so many at a time: body(first, last) on all threads.
template <class Body>
bool for_samples(const TapCall& c, int64_t some, double work, const Body& body) {
  return team_for((c.n + some - 1) / some, work,
                  [&](int64_t item) { body(item, item * some, std::min(c.n, (item + 1) * some)); },
                  c.poll);
}

}  // namespace

template <class T>
bool in_place_forward(const TapCall& c, const T* weights, const T* bias, const T* x, T* out) {
  const TapLayer& layer = c.layer;
  const auto& kernels = tap_table<T>();
  const std::vector<T> w = in_order(layer.forward, weights);
  const int64_t size_in = layer.in.count * layer.in.plane,
                size_out = layer.out.count * layer.out.plane;
  const int64_t some = std::max<int64_t>(1, c.n / (8 * num_threads()));
  return for_samples(c, some, operations(c, 1), [&](int64_t, int64_t first, int64_t end) {
    for (int64_t k = first; k < end; ++k)
      kernels.gather_inside(layer.forward, w.data(), bias, x + k * size_in, layer.out.plane,
                            out + k * size_out, {sample(x, size_in, k + 1, end), Ahead()},
                            sample<T>(out, size_out, k + 1, end));
  });
}

template <class T>
bool in_place_gradients(const TapCall& c, const TapGradients<T>& of) {
  const TapLayer& layer = c.layer;
  const auto& kernels = tap_table<T>();
  const std::vector<T> w = of.dx ? in_order(layer.backward, of.weights) : std::vector<T>();
  const int64_t size_in = layer.in.count * layer.in.plane,
                size_out = layer.out.count * layer.out.plane;
  const int64_t some = std::max((c.n + kBlocks - 1) / kBlocks, kBlockSamples);
  const int64_t blocks = (c.n + some - 1) / some, channels = layer.out.count;
  // Of a block: sums of its taps, in the order of the forward list, and of its channels.
  const int64_t sums = layer.taps + channels;
  std::vector<T> parts(of.dw || of.dbias ? size_t(blocks * sums) : 0, T(0));
  const int64_t together = std::max<int64_t>(1, kTogether / layer.out.plane);
  const double products = double(of.dx != nullptr) + double(of.dw != nullptr);
  const bool done =
      for_samples(c, some, operations(c, products), [&](int64_t block, int64_t first, int64_t end) {
        T* own = parts.data() + block * sums;
        for (int64_t next = first; next < end; next += together) {
          const int64_t stop = std::min(end, next + together);
          if (of.dw)
            kernels.contract_inside(layer.forward,
                                    {of.x + next * size_in, of.slopes + next * size_out, size_in,
                                     size_out, stop - next},
                                    layer.out.plane, own);
          for (int64_t k = next; k < stop; ++k) {
            const T* g = of.slopes + k * size_out;
            for (int64_t p = 0; of.dbias && p < channels; ++p)
              own[layer.taps + p] += kernels.total(g + p * layer.out.plane, layer.out.plane);
            if (of.dx)
              kernels.gather_inside(layer.backward, w.data(), nullptr, g, layer.in.plane,
                                    of.dx + k * size_in,
                                    {sample(of.slopes, size_out, k + together, end),
                                     sample(of.dw ? of.x : nullptr, size_in, k + together, end)},
                                    sample<T>(of.dx, size_in, k + 1, end));
          }
        }
      });
  if (!done) return false;
  add_parts(layer, parts, blocks, of);
  return true;
}

#define EDT_INSTANTIATE(T)                                                                         \
  template bool in_place_forward<T>(const TapCall&, const T*, const T*, const T*, T*);             \
  template bool in_place_gradients<T>(const TapCall&, const TapGradients<T>&);
EDT_INSTANTIATE(float)
EDT_INSTANTIATE(double)

}  // namespace edt
