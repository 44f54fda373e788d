#include "cpu/chain_train.h"

#include <cmath>
#include <numeric>

#include "cpu/chain_sums.h"
#include "cpu/pool.h"
#include "math/philox.h"

namespace edt {
namespace {

// The numbers of a network that its mask leaves, side by side as its gradients are summed.
template <class T>
class Packed {
 public:
  explicit Packed(const ChainMask& mask)
      : places_(mask.place), size_(mask.size), room_((mask.size + kLanes - 1) / kLanes * kLanes) {}
  int64_t room() const { return room_; }
  T* pack(const T* row, Scratch& ws) const {
    if (!row) return nullptr;
    T* out = ws.take<T>(size_t(room_));
    std::fill(out, out + room_, T(0));
    if (places_.empty()) std::copy_n(row, size_, out);
    for (size_t k = 0; k < places_.size(); ++k)
      if (places_[k] >= 0) out[k] = row[places_[k]];
    return out;
  }
  void unpack(const T* from, T* row) const {
    if (!row) return;
    if (places_.empty()) std::copy_n(from, size_, row);
    for (size_t k = 0; k < places_.size(); ++k)
      if (places_[k] >= 0) row[places_[k]] = from[k];
  }
  // No gradient where nobody asks for one.
  void clear(T* grad) const {
    for (size_t k = 0; k < places_.size(); ++k)
      if (places_[k] < 0) grad[k] = T(0);
  }

 private:
  static constexpr int64_t kLanes = 64 / sizeof(T);
  const std::vector<int64_t>& places_;
  const int64_t size_, room_;
};

// Which samples each step takes; of full batches all, in order.
class Order {
 public:
  Order(uint64_t seed, int64_t samples, int64_t batch, Scratch& ws)
      : seed_(seed),
        samples_(samples),
        size_(batch ? batch : samples),
        per_epoch_((samples + size_ - 1) / size_),
        order_(ws.take<int>(size_t(samples))) {
    if (!batch) std::iota(order_, order_ + samples, 0);
    else epoch_ = -1;
  }
  const int* at(int64_t step, int64_t* count) {
    if (epoch_ != kOneEpoch && step / per_epoch_ != epoch_) {
      epoch_ = step / per_epoch_;
      shuffle(seed_, uint64_t(epoch_), int(samples_), order_);
    }
    const int64_t first = step % per_epoch_ * size_;
    *count = std::min(size_, samples_ - first);
    return order_ + first;
  }

 private:
  static constexpr int64_t kOneEpoch = -2;
  const uint64_t seed_;
  const int64_t samples_, size_, per_epoch_;
  int64_t epoch_ = kOneEpoch;
  int* order_;
};

template <class T>
void train(const ChainTraining<T>& c, const ChainLearner<T>& net, Crew& crew) {
  const TrainState<T>& st = c.state;
  const int64_t b = net.number;
  if (Status(st.status[b]) != Status::running) return;
  const auto& chains = chain_table<T>();
  const auto& kernels = current_isa().table<T>();
  const ChainSamples<T>& data = *net.data;
  Scratch& ws = crew.scratch;
  ws.reset();
  const Packed<T> packed(*net.mask);
  const int64_t n = packed.room();
  const auto row = [&](auto* flat) { return flat ? flat + net.offset : nullptr; };
  T *p = packed.pack(row(st.theta), ws), *m = packed.pack(row(st.m), ws);
  T *v = packed.pack(row(st.v), ws), *g = ws.take<T>(size_t(n));
  const Moving<T> moving{p, g, m, v, packed.pack(row(st.lr_scale), ws), int(n)};
  // As kernels read them: of a mask, with the zeros between.
  T* theta = p;
  if (!net.mask->place.empty()) {
    theta = ws.take<T>(size_t(c.chain.parameters));
    std::copy_n(row(st.theta), c.chain.parameters, theta);
  }
  Order order(st.seeds[b], data.count, c.hyper.batch_size, ws);
  std::fill(g + net.mask->size, g + n, T(0));
  int64_t step = st.steps[b];
  for (; step < st.until && !crew.cancel.load(std::memory_order_relaxed); ++step) {
    int64_t count;
    const int* picked = order.at(step, &count);
    const double scale = double(data.count) / double(count);
    const Blocks<T> blocks{count};
    const Scratch::Hold hold{ws};
    double* losses = ws.take<double>(size_t(blocks.count));
    sum_blocks(blocks, net.mask->size, g, crew, [&](int64_t k, T* to, Scratch& scratch) {
      losses[k] = chains.loss_gradient(c.chain, *net.mask, theta, data, picked + k * blocks.size,
                                       blocks.samples(k), scale, to, scratch);
    });
    if (crew.cancel.load()) break;  // blocks may have been left out
    packed.clear(g);
    const bool finite = std::isfinite(std::accumulate(losses, losses + blocks.count, 0.0));
    if (!finite ||
        !kernels.step(c.hyper, moving, step, st.lr[b] * st.factors[step], st.weight_decay[b],
                      st.clip_norm ? st.clip_norm + b : nullptr, crew)) {
      st.status[b] = int8_t(Status::diverged);
      st.loss[b] = st.grad_norm[b] = double(NAN);
      break;
    }
    if (theta != p) packed.unpack(p, theta);
  }
  packed.unpack(p, row(st.theta));
  packed.unpack(m, row(st.m));
  packed.unpack(v, row(st.v));
  st.steps[b] = step;
}

}  // namespace

template <class T>
bool chain_train(const ChainTraining<T>& c) {
  double work = 0;
  bool shares = false;
  for (const ChainLearner<T>& net : c.networks) {
    const int64_t batch = c.hyper.batch_size;
    const int64_t samples = batch ? std::min(batch, net.data->count) : net.data->count;
    const auto steps = double(c.state.until - c.state.steps[net.number]);
    work += 3 * c.chain.operations * double(samples) * steps;
    shares |= samples > Blocks<T>::size;
  }
  return parallel_for(
      int64_t(c.networks.size()), work, shares,
      [&](int64_t k, Crew& crew) { train(c, c.networks[size_t(k)], crew); }, c.poll);
}

#define EDT_INSTANTIATE(T) template bool chain_train<T>(const ChainTraining<T>&);
EDT_INSTANTIATE(float)
EDT_INSTANTIATE(double)

}  // namespace edt
