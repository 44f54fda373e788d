// Sparse linear layers: samples are turned to lie side by side, a plane of them for each channel,
// which all threads then read; outputs are turned back some channels at a time.
#include <algorithm>

#include "cpu/pool.h"
#include "cpu/tap_kernels.h"
#include "cpu/taps.h"
#include "cpu/team.h"

namespace edt {
namespace {

template <class T>
constexpr int kLanes = 64 / int(sizeof(T));

// Channels of outputs that are one item.
constexpr int64_t kChannels = 32;

// One side's samples in blocks, [block][channel][sample], zeros where there are none.
template <class T>
class Side {
 public:
  Side(const TapLayer& layer, const Planes& planes, int64_t n, Scratch& scratch)
      : n_(n), size_(layer.samples), planes_(planes), kernels_(tap_table<T>()) {
    packed_ = scratch.take<T>(size_t(blocks() * block()));
  }
  int64_t blocks() const { return (n_ + size_ - 1) / size_; }
  // Vectors of samples in a block.
  int64_t columns(int64_t b) const {
    return (std::min(size_, n_ - b * size_) + kLanes<T> - 1) / kLanes<T>;
  }
  int64_t all_columns() const { return (n_ + kLanes<T> - 1) / kLanes<T>; }
  const T* at(int64_t b) const { return packed_ + b * block(); }

  // The samples of one vector, counted through all blocks.
  void pack(int64_t column, const T* images) const {
    const int64_t first = column * kLanes<T>, b = first / size_;
    kernels_.to_lanes(images + first * planes_.count, planes_.count, lanes(first), planes_.count,
                      packed_ + b * block() + first % size_, planes_.plane);
  }
  // Channels first..last of the samples of a block, from rows of them.
  void unpack(int64_t b, const T* rows, int64_t first, int64_t last, T* images) const {
    for (int64_t x = 0; x < columns(b); ++x) {
      const int64_t s = b * size_ + x * kLanes<T>;
      kernels_.from_lanes(rows + x * kLanes<T>, planes_.plane, int(last - first), lanes(s),
                          images + s * planes_.count + first, planes_.count);
    }
  }

 private:
  int64_t block() const { return planes_.count * planes_.plane; }
  int lanes(int64_t first) const { return int(std::min<int64_t>(n_ - first, kLanes<T>)); }

  int64_t n_, size_;
  const Planes& planes_;
  const TapTable<T>& kernels_;
  T* packed_;
};

int64_t chunks_of(const Planes& planes) { return (planes.count + kChannels - 1) / kChannels; }

// An item of to = bias + list * from: one chunk of channels of one block.
template <class T>
void multiply(const Taps& list, const T* w, const T* bias, const Side<T>& from, const Side<T>& to,
              const Planes& planes, int64_t item, T* images) {
  const int64_t chunks = chunks_of(planes), b = item / chunks;
  const int64_t first = item % chunks * kChannels;
  const int64_t last = std::min(planes.count, first + kChannels);
  thread_local Scratch scratch;
  scratch.reset();
  T* rows = scratch.take<T>(size_t((last - first) * planes.plane));
  tap_table<T>().gather(list, w, bias, first, last, from.at(b), from.columns(b), rows, planes.plane,
                        {}, {});
  to.unpack(b, rows, first, last, images);
}

double turned(const TapCall& c, double images) { return 4.0 * double(c.n) * images; }
double operations(const TapCall& c, double products) {
  return double(c.n) * products * double(c.layer.taps / 8 + c.layer.in.count + c.layer.out.count);
}

// Turned samples are in memory of the thread that calls.
Scratch& own_scratch() {
  thread_local Scratch scratch;
  scratch.reset();
  return scratch;
}

// Channels of about equal numbers of taps together; which ones changes no bit.
std::vector<int64_t> cuts(const TapLayer& layer) {
  const auto& start = layer.forward.start;
  const int64_t wanted = std::min<int64_t>(layer.out.count, 4 * num_threads());
  std::vector<int64_t> out{0};
  for (int64_t k = 1; k < wanted; ++k) {
    const auto place = std::lower_bound(start.begin(), start.end(), layer.taps * k / wanted);
    out.push_back(std::clamp<int64_t>(place - start.begin(), out.back(), layer.out.count));
  }
  out.push_back(layer.out.count);
  return out;
}

}  // namespace

template <class T>
bool linear_forward(const TapCall& c, const T* weights, const T* bias, const T* x, T* out) {
  const TapLayer& layer = c.layer;
  Scratch& scratch = own_scratch();
  const Side<T> from(layer, layer.in, c.n, scratch), to(layer, layer.out, c.n, scratch);
  const std::vector<T> w = in_order(layer.forward, weights);
  return team_for(
             from.all_columns(), turned(c, double(layer.in.count)),
             [&](int64_t column) { from.pack(column, x); }, c.poll) &&
         team_for(
             from.blocks() * chunks_of(layer.out), operations(c, 1),
             [&](int64_t item) {
               multiply(layer.forward, w.data(), bias, from, to, layer.out, item, out);
             },
             c.poll);
}

template <class T>
bool linear_gradients(const TapCall& c, const TapGradients<T>& of) {
  const TapLayer& layer = c.layer;
  const auto& kernels = tap_table<T>();
  Scratch& scratch = own_scratch();
  const Side<T> in(layer, layer.in, c.n, scratch), out(layer, layer.out, c.n, scratch);
  const std::vector<T> w = of.dx ? in_order(layer.backward, of.weights) : std::vector<T>();
  const int64_t columns = in.all_columns();
  const bool packed = team_for(
      of.dw ? 2 * columns : columns,
      turned(c, double(layer.out.count + (of.dw ? layer.in.count : 0))),
      [&](int64_t k) {
        if (k < columns) out.pack(k, of.slopes);
        else in.pack(k - columns, of.x);
      },
      c.poll);
  if (!packed) return false;

  const std::vector<int64_t> cut = of.dw || of.dbias ? cuts(layer) : std::vector<int64_t>{0};
  const auto parts = int64_t(cut.size()) - 1;
  std::vector<T> sums(of.dw ? size_t(layer.taps) : 0, T(0));
  const auto part = [&](int64_t first, int64_t last) {
    for (int64_t b = 0; b < in.blocks(); ++b) {
      const T* g = out.at(b) + first * layer.out.plane;
      const int64_t length = out.columns(b) * kLanes<T>;
      if (of.dw)
        kernels.contract(layer.forward, first, last, in.at(b), g, layer.out.plane, length,
                         sums.data() + layer.forward.start[size_t(first)]);
      for (int64_t k = first; of.dbias && k < last; ++k) {
        const T sum = kernels.total(g + (k - first) * layer.out.plane, length);
        of.dbias[k] = b == 0 ? sum : of.dbias[k] + sum;
      }
    }
  };
  const int64_t items = of.dx ? in.blocks() * chunks_of(layer.in) : 0;
  const bool done = team_for(
      parts + items, operations(c, double(of.dx != nullptr) + double(of.dw != nullptr)),
      [&](int64_t k) {
        if (k < parts) part(cut[size_t(k)], cut[size_t(k) + 1]);
        else multiply<T>(layer.backward, w.data(), nullptr, out, in, layer.in, k - parts, of.dx);
      },
      c.poll);
  if (!done || !of.dw) return done;
  std::fill(of.dw, of.dw + layer.weights, T(0));
  for (size_t k = 0; k < size_t(layer.taps); ++k) of.dw[layer.forward.weight[k]] = sums[k];
  return true;
}

#define EDT_INSTANTIATE(T)                                                                         \
  template bool linear_forward<T>(const TapCall&, const T*, const T*, const T*, T*);               \
  template bool linear_gradients<T>(const TapCall&, const TapGradients<T>&);
EDT_INSTANTIATE(float)
EDT_INSTANTIATE(double)

}  // namespace edt
