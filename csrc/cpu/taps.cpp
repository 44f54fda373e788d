#include "cpu/taps.h"

#include <algorithm>
#include <cstring>

#include "cpu/pool.h"
#include "cpu/tap_kernels.h"

namespace edt {
namespace {

template <class T>
constexpr int kLanes = 64 / int(sizeof(T));

// Channels of a linear layer that are one item.
constexpr int kChannels = 32;

// How samples lie in blocks: in a linear layer a block has a run of lanes in each column.
template <class T>
struct Blocks {
  Blocks(const TapLayer& layer, int64_t samples)
      : n(samples),
        flat(layer.shape.flat),
        size(kLanes<T> * (flat ? layer.shape.w : 1)),
        count((n + size - 1) / size) {}
  // Samples that are there from `first` on, at most a vector of them.
  int lanes(int64_t first) const { return int(std::clamp<int64_t>(n - first, 0, kLanes<T>)); }
  int64_t n;
  bool flat;
  int64_t size, count;
};

}  // namespace

template <class T>
int64_t packed_size(const TapLayer& layer, const Packed& images, int64_t n) {
  return Blocks<T>(layer, n).count * images.block() * kLanes<T>;
}

template <class T>
bool tap_pack(const TapCall& c, const Packed& p, const T* images, T* packed) {
  constexpr int L = kLanes<T>;
  const auto& kernels = tap_table<T>();
  const Blocks<T> blocks(c.layer, c.n);
  const int64_t pixels = p.rows * p.cols, sample = p.channels * pixels;
  const double work = 4.0 * double(c.n) * double(sample);
  if (blocks.flat)
    return parallel_for(
        blocks.count, work, false,
        [&](int64_t b, Crew&) {
          for (int64_t x = 0; x < p.cols; ++x) {
            const int64_t first = b * blocks.size + x * L;
            kernels.to_lanes(images + first * p.channels, p.channels, blocks.lanes(first),
                             p.channels, packed + (b * p.block() + x) * L, p.cols * L);
          }
        },
        c.poll);
  const bool bare = p.packed_rows == p.rows && p.packed_cols == p.cols;
  const size_t row_bytes = size_t(p.packed_cols) * L * sizeof(T);
  return parallel_for(
      blocks.count * p.channels, work, false,
      [&](int64_t item, Crew&) {
        const int64_t b = item / p.channels, channel = item % p.channels, first = b * L;
        const T* from = images + first * sample + channel * pixels;
        T* to = packed + (b * p.block() + channel * p.plane()) * L;
        const int lanes = blocks.lanes(first);
        if (bare) {
          kernels.to_lanes(from, sample, lanes, pixels, to, L);
          return;
        }
        const int64_t below = p.top + p.rows, beyond = p.left + p.cols;
        std::memset(to, 0, size_t(p.top) * row_bytes);
        for (int64_t y = 0; y < p.rows; ++y) {
          T* row = to + (p.top + y) * p.packed_cols * L;
          std::memset(row, 0, size_t(p.left) * L * sizeof(T));
          kernels.to_lanes(from + y * p.cols, sample, lanes, p.cols, row + p.left * L, L);
          std::memset(row + beyond * L, 0, size_t(p.packed_cols - beyond) * L * sizeof(T));
        }
        std::memset(to + below * p.packed_cols * L, 0, size_t(p.packed_rows - below) * row_bytes);
      },
      c.poll);
}

namespace {

// Memory of the rows that are computed before they are unpacked.
constexpr size_t kRowBytes = size_t(512) << 10;

// Computes images a few rows at a time and unpacks them: compute(b, y, first, last, out, plane)
// fills the rows y of the channels first..last of block b, vectors of columns, `plane` a channel.
// Several rows, as every sample and channel lies in pages of its own.
template <class T, class Compute>
bool by_rows(const TapCall& c, const Packed& p, double work, T* images, const Compute& compute) {
  constexpr int L = kLanes<T>;
  const auto& kernels = tap_table<T>();
  const Blocks<T> blocks(c.layer, c.n);
  const int64_t pixels = p.rows * p.cols, sample = p.channels * pixels;
  const int chunk = blocks.flat ? kChannels : p.channels;
  const int64_t chunks = (p.channels + chunk - 1) / chunk;
  const int64_t fit = int64_t(kRowBytes / (size_t(chunk) * size_t(p.cols) * L * sizeof(T)));
  const int64_t spread = blocks.count * chunks * p.rows / (4 * num_threads());
  const int64_t height = std::clamp<int64_t>(std::min(fit, spread), 1, p.rows);
  const int64_t bands = (p.rows + height - 1) / height, plane = height * p.cols;
  return parallel_for(
      blocks.count * bands * chunks, work, false,
      [&](int64_t item, Crew& crew) {
        const int64_t b = item / (bands * chunks), y = item / chunks % bands * height;
        const int first = int(item % chunks) * chunk;
        const int count = std::min(chunk, p.channels - first);
        const int64_t n_rows = std::min(height, p.rows - y);
        crew.scratch.reset();
        T* rows = crew.scratch.take<T>(size_t(count) * size_t(plane) * L);
        for (int64_t k = 0; k < n_rows; ++k)
          compute(b, y + k, first, first + count, rows + k * p.cols * L, plane);
        if (blocks.flat) {
          for (int64_t x = 0; x < p.cols; ++x) {
            const int64_t s = b * blocks.size + x * L;
            kernels.from_lanes(rows + x * L, plane * L, count, blocks.lanes(s),
                               images + s * p.channels + first, p.channels);
          }
          return;
        }
        for (int k = 0; k < count; ++k)
          kernels.from_lanes(rows + k * plane * L, L, int(n_rows * p.cols), blocks.lanes(b * L),
                             images + b * L * sample + (first + k) * pixels + y * p.cols, sample);
      },
      c.poll);
}

template <class T>
double operations(const TapCall& c) {
  const TapShape& s = c.layer.shape;
  const double pixels = s.flat ? 1.0 : double(s.h_out * s.w_out);
  return double(c.n) * pixels * double(c.layer.taps + 4 * s.c_out);
}

}  // namespace

template <class T>
bool tap_forward(const TapCall& c, const T* weights, const T* bias, const T* packed, T* out) {
  constexpr int L = kLanes<T>;
  const TapLayer& layer = c.layer;
  const TapShape& s = layer.shape;
  const auto& kernels = tap_table<T>();
  return by_rows(c, layer.out, operations<T>(c), out,
                 [&](int64_t b, int64_t y, int first, int last, T* rows, int64_t plane) {
                   const int64_t at = b * layer.in.block() + y * s.stride_h * layer.in.packed_cols;
                   kernels.gather(layer.forward, weights, bias, first, last, packed + at * L,
                                  s.w_out, s.stride_w, rows, 1, plane);
                 });
}

template <class T>
bool tap_input_grad(const TapCall& c, const T* weights, const T* packed_grad, T* out) {
  constexpr int L = kLanes<T>;
  const TapLayer& layer = c.layer;
  const TapShape& s = layer.shape;
  const auto& kernels = tap_table<T>();
  std::vector<std::vector<T>> sorted;
  for (const Taps& list : layer.backward) {
    std::vector<T> own(list.weight.size());
    for (size_t k = 0; k < own.size(); ++k) own[k] = weights[list.weight[k]];
    sorted.push_back(std::move(own));
  }
  return by_rows(c, layer.in, operations<T>(c), out,
                 [&](int64_t b, int64_t y, int first, int last, T* rows, int64_t plane) {
                   const int64_t row = y / s.stride_h, qy = y % s.stride_h;
                   const T* from =
                       packed_grad + (b * layer.out.block() + row * layer.out.packed_cols) * L;
                   for (int64_t qx = 0; qx < std::min(s.stride_w, s.w); ++qx) {
                     const size_t phase = size_t(qy * s.stride_w + qx);
                     kernels.gather(layer.backward[phase], sorted[phase].data(), nullptr, first,
                                    last, from, (s.w - qx + s.stride_w - 1) / s.stride_w, 1,
                                    rows + qx * L, s.stride_w, plane);
                   }
                 });
}

template <class T>
bool tap_weight_grad(const TapCall& c, const T* packed, const T* packed_grad, T* out) {
  constexpr int L = kLanes<T>;
  const TapLayer& layer = c.layer;
  const TapShape& s = layer.shape;
  const auto& kernels = tap_table<T>();
  const Blocks<T> blocks(layer, c.n);
  // Channels of about equal numbers of taps together: few items, so that one finds the rows that
  // its channels read in the cache. Which ones belong together changes no bit.
  const int64_t wanted = std::min<int64_t>(s.c_out, 2 * num_threads());
  std::vector<int> cuts{0};
  for (int k = 1; k < wanted; ++k) {
    const auto& start = layer.forward.start;
    const auto place = std::lower_bound(start.begin(), start.end(), layer.taps * k / wanted);
    cuts.push_back(std::max(cuts.back(), std::min(int(place - start.begin()), s.c_out)));
  }
  cuts.push_back(s.c_out);
  const Packed &in = layer.in, &g = layer.out;
  return parallel_for(
      int64_t(cuts.size()) - 1, operations<T>(c), false,
      [&](int64_t item, Crew& crew) {
        const int first = cuts[item], last = cuts[item + 1];
        const int64_t from = layer.forward.start[first];
        const int64_t count = layer.forward.start[last] - from;
        if (count == 0) return;
        crew.scratch.reset();
        T* sums = crew.scratch.take<T>(size_t(count) * L);
        std::memset(sums, 0, size_t(count) * L * sizeof(T));
        for (int64_t b = 0; b < blocks.count && !crew.cancel.load(); ++b)
          for (int64_t y = 0; y < s.h_out; ++y) {
            const int64_t read = b * in.block() + y * s.stride_h * in.packed_cols;
            const int64_t slope = b * g.block() + (g.top + y) * g.packed_cols + g.left;
            kernels.contract(layer.forward, first, last, packed + read * L, s.w_out, s.stride_w,
                             packed_grad + slope * L, g.plane(), sums);
          }
        kernels.add_lanes(sums, count, out + from);
      },
      c.poll);
}

#define EDT_INSTANTIATE(T)                                                                         \
  template int64_t packed_size<T>(const TapLayer&, const Packed&, int64_t);                        \
  template bool tap_pack<T>(const TapCall&, const Packed&, const T*, T*);                          \
  template bool tap_forward<T>(const TapCall&, const T*, const T*, const T*, T*);                  \
  template bool tap_input_grad<T>(const TapCall&, const T*, const T*, T*);                         \
  template bool tap_weight_grad<T>(const TapCall&, const T*, const T*, T*);
EDT_INSTANTIATE(float)
EDT_INSTANTIATE(double)

}  // namespace edt
