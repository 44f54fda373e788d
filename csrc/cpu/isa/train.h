// First-order training of one network: many steps without leaving the kernel.
//
// The state between calls is (theta, moments, step), nothing else, so a run may be cut into calls
// anywhere without changing a bit. At step s the loss and gradient at theta_s decide whether the
// network stops there; then theta_{s+1} follows. The run ends with an evaluation at `last_step`; a
// call that ends before leaves the evaluation at its last step to the next one.
//
// Minibatches: epoch e visits the samples in an order drawn from (seed, e); step s takes the next
// batch_size of them. The batch's coefficients are scaled by N / (batch size), so the batch loss is
// an unbiased estimate of the full one. Loss, history and the loss target always refer to all
// samples; with minibatches the target is looked at once an epoch and at recorded steps.
#pragma once
#include "cpu/isa/evaluate.h"
#include "cpu/isa/vectors.h"
#include "math/philox.h"
#include "math/power.h"

namespace edt::EDT_ISA_NS {

template <class T>
struct Stepper {
  using V = Vec<T>;
  const HyperParameters& hp;
  T *p, *g, *m, *v;
  const T* scale;  // of the learning rate, where it is Scaled
  int n;           // padded

  // Scales a gradient down to the norm `most` (torch.nn.utils.clip_grad_norm_).
  void clip(double most) {
    // Divided by its largest entry, whose square may not be a number.
    const T top = max_abs(g, n);
    if (!(top > 0)) return;
    const V unit = V::set1(T(1) / top);
    V sum = V::zero();
    for (int i = 0; i < n; i += V::L) {
      const V x = unit * V::load(g + i);
      sum = fma(x, x, sum);
    }
    const double factor = most / (double(top) * std::sqrt(double(hsum(sum))) + 1e-6);
    if (!(factor < 1)) return;
    const V k = V::set1(T(factor));
    for (int i = 0; i < n; i += V::L) (k * V::load(g + i)).store(g + i);
  }

  // From step to step + 1, with the learning rate and the weight decay of the network. Threads that
  // have nothing else to do take ranges of the parameters.
  void operator()(int64_t step, double lr, double decay, Crew& crew) {
    constexpr int kTile = 4096;
    share_rows(&crew, n, kTile, double(n) * kWork, [&](Rows range) {
      scale ? move<true>(range, step, lr, decay) : move<false>(range, step, lr, decay);
    });
  }

  // The same for a range of them.
  template <bool Scaled>
  void move(Rows range, int64_t step, double lr, double decay) {
    switch (hp.optimizer) {
      case Optimizer::sgd:
        return sgd<Scaled>(range, step, lr, decay);
      case Optimizer::adam:
      case Optimizer::adamw:
        return adam<Scaled>(range, step, lr, decay);
    }
  }

 private:
  static constexpr double kWork = 32;  // multiply-adds that take as long as one parameter's step

  // The rate at parameters i...
  template <bool Scaled>
  V at(V rate, int i) const {
    if constexpr (Scaled) return rate * V::load(scale + i);
    else return rate;
  }

  template <bool Scaled>
  void sgd(Rows range, int64_t step, double lr, double decay) {
    const V rate = V::set1(T(-lr)), wd = V::set1(T(decay));
    if (hp.momentum == 0) {
      for (int i = range.from; i < range.to; i += V::L) {
        const V x = V::load(p + i);
        fma(at<Scaled>(rate, i), fma(wd, x, V::load(g + i)), x).store(p + i);
      }
      return;
    }
    const V mu = V::set1(T(hp.momentum));
    // The first step fills the buffer with the gradient itself (torch's convention).
    const V keep = V::set1(step == 0 ? T(1) : T(1 - hp.dampening));
    for (int i = range.from; i < range.to; i += V::L) {
      const V x = V::load(p + i);
      const V d = fma(wd, x, V::load(g + i));
      const V b = fma(mu, V::load(m + i), keep * d);
      b.store(m + i);
      fma(at<Scaled>(rate, i), hp.nesterov ? fma(mu, b, d) : b, x).store(p + i);
    }
  }

  template <bool Scaled>
  void adam(Rows range, int64_t step, double lr, double decay) {
    const double c1 = 1.0 - integer_power(hp.beta1, step + 1);
    const double c2 = 1.0 - integer_power(hp.beta2, step + 1);
    const bool decoupled = hp.optimizer == Optimizer::adamw;
    const V b1 = V::set1(T(hp.beta1)), d1 = V::set1(T(1.0 - hp.beta1));
    const V b2 = V::set1(T(hp.beta2)), d2 = V::set1(T(1.0 - hp.beta2));
    const V rate = V::set1(T(-lr / c1)), root = V::set1(T(1.0 / std::sqrt(c2)));
    const V eps = V::set1(T(hp.eps)), wd = V::set1(T(decoupled ? 0.0 : decay));
    const V shrink = V::set1(T(decoupled ? 1.0 - lr * decay : 1.0));
    const V one = V::set1(T(1)), loss = V::set1(T(decoupled ? -lr * decay : 0.0));
    for (int i = range.from; i < range.to; i += V::L) {
      const V x = V::load(p + i);
      const V d = fma(wd, x, V::load(g + i));
      const V mi = fma(d1, d, b1 * V::load(m + i));
      const V vi = fma(d2 * d, d, b2 * V::load(v + i));
      mi.store(m + i);
      vi.store(v + i);
      const V kept = Scaled ? fma(at<Scaled>(loss, i), one, one) : shrink;
      fma(at<Scaled>(rate, i), mi / fma(sqrt(vi), root, eps), x * kept).store(p + i);
    }
  }
};

// Samples of one minibatch, a source of blocks (evaluate.h): rows of samples picked, and turned
// feature by feature into memory that stays in the second-level cache.
template <class T>
struct Minibatch {
  int64_t size = 0, per_epoch = 1, epoch = -1;
  int64_t first = 0, count = 0, n = 0;  // of the present one; n: whole vectors
  const DatasetT<T>& data;
  const T* rows;
  int* order = nullptr;

  Minibatch(const DatasetT<T>& d, int64_t task, int64_t batch_size, Scratch& ws)
      : size(batch_size), data(d), rows(size ? d.rows() + task * d.n * d.row_size() : nullptr) {
    if (!size) return;
    per_epoch = (d.n + size - 1) / size;
    order = ws.take<int>(d.n);
  }

  const Minibatch& at(uint64_t seed, int64_t step) {
    if (step / per_epoch != epoch) {
      epoch = step / per_epoch;
      shuffle(seed, uint64_t(epoch), int(data.n), order);
    }
    first = step % per_epoch * size;
    count = std::min(size, data.n - first);
    n = padded<T>(int(count));
    return *this;
  }
};

// An odd number of cache lines, so rows spread over the sets.
template <class T>
int64_t row_distance(int64_t samples) {
  const int64_t lines = padded<T>(int(samples)) / Vec<T>::L;
  return (lines | 1) * Vec<T>::L;
}

// x, y and coefficients, [d_in + d_out + 1, row_distance].
template <class T>
int64_t room_of(const Minibatch<T>& batch, int64_t samples) {
  return batch.data.row_size() * row_distance<T>(samples);
}

template <class T>
Samples<T> block_of(const Minibatch<T>& batch, int64_t first, int64_t samples, T* store) {
  const DatasetT<T>& d = batch.data;
  const int64_t width = d.row_size(), ld = row_distance<T>(samples);
  const int count = int(std::min(samples, batch.count - first)), last = count - 1;
  const int* order = batch.order + batch.first + first;
  const auto at_row = [&](int s) { return batch.rows + order[s] * width; };
  const auto ask_for = [](const T* x, int64_t entries) {
    for (int64_t i = 0; i < entries; i += 64 / int64_t(sizeof(T))) __builtin_prefetch(x + i);
  };
  // A strip of features stays in the first-level cache while the samples go by.
  constexpr int64_t kStrip = 32;
  constexpr int kAhead = 8;
  for (int64_t i0 = 0; i0 < width; i0 += kStrip) {
    const int64_t strip = std::min(kStrip, width - i0);
    const auto row = [&](int s) {
      // The rows lie anywhere in memory: ask for one a few turns ahead.
      ask_for(at_row(std::min(s + kAhead, last)) + i0, strip);
      return at_row(s) + i0;
    };
    T* to = store + i0 * ld;
    transpose(row, count, strip, to, ld);
    for (int64_t i = 0; i < strip; ++i)
      for (int64_t s = count; s < samples; ++s) to[i * ld + s] = to[i * ld + last];
  }
  T* coef = store + (width - 1) * ld;
  const T scale = T(double(d.n) / double(batch.count));
  for (int64_t s = 0; s < samples; ++s) coef[s] = s < count ? scale * coef[s] : T(0);
  return {store, store + d.d_in * ld, coef, ld, samples};
}

// Network b of the call.
template <class T>
void train(const Net& net, const Problem<T>& pr, const HyperParameters& hp, const TrainState<T>& st,
           int64_t b, Crew& crew) {
  Status status = Status(st.status[b]);
  if (status != Status::running) return;
  Scratch& ws = crew.scratch;
  ws.reset();
  const int n_params = net.n_params(), n = padded<T>(n_params);
  const bool batches = hp.batch_size > 0;
  T* p = compress(net, st.theta + net.offset, ws);
  T* m = st.m ? compress(net, st.m + net.offset, ws) : nullptr;
  T* v = st.v ? compress(net, st.v + net.offset, ws) : nullptr;
  const T* scale = st.lr_scale ? compress(net, st.lr_scale + net.offset, ws) : nullptr;
  T* g = ws.take<T>(n);
  T* kept = ws.take<T>(net.fixed.size());
  for (size_t k = 0; k < net.fixed.size(); ++k) kept[k] = p[net.fixed[k]];
  const Samples<T> all = samples_of(pr);
  const Loss kind = pr.data->loss;
  Block<T> block(net, pr.act, 1, true, false, all.n, 0, ws);
  Minibatch<T> batch(*pr.data, pr.task, hp.batch_size, ws);
  Stepper<T> stepper{hp, p, g, m, v, scale, n};
  int64_t step = st.steps[b];
  double loss = st.loss[b], grad_norm = st.grad_norm[b];
  const int64_t* record = std::lower_bound(st.record, st.record + st.n_record, step);

  auto gradient = [&](const auto& source) {
    const double value = evaluate(block, pr.act, p, kind, source, g, crew);
    for (int k : net.fixed) g[k] = T(0);
    return value;
  };
  const bool has_target = hp.loss_target > -std::numeric_limits<double>::infinity();

  while (!crew.cancel.load(std::memory_order_relaxed)) {
    const bool last = step >= st.until;
    if (last && step < hp.last_step) break;
    const int64_t row = record - st.record;
    const bool recorded = row < st.n_record && *record == step;
    // Only evaluations that do not depend on where the calls are cut may stop a network.
    const bool decides = !batches || recorded || (has_target && step % batch.per_epoch == 0);
    if (decides || last) {
      loss = gradient(all);
      const bool finite = std::isfinite(loss) && all_finite(g, n);
      grad_norm = finite ? double(max_abs(g, n)) : double(NAN);
      if (recorded) {
        st.history_loss[row * st.networks + b] = loss;
        st.history_grad[row * st.networks + b] = grad_norm;
        ++record;
      }
      if (decides) {
        if (!finite) status = Status::diverged;
        else if (!batches && hp.tol > 0 && grad_norm <= hp.tol) status = Status::converged;
        else if (loss <= hp.loss_target) status = Status::target;
      }
    }
    if (last || status != Status::running) break;
    if (batches) {
      const double value = gradient(batch.at(st.seeds[b], step));
      if (!(std::isfinite(value) && all_finite(g, n))) {
        status = Status::diverged;
        loss = grad_norm = double(NAN);
        break;
      }
    }
    if (st.clip_norm) stepper.clip(st.clip_norm[b]);
    const double lr = st.lr[b] * st.factors[step];
    stepper(step, lr, st.weight_decay[b], crew);
    for (size_t k = 0; k < net.fixed.size(); ++k) p[net.fixed[k]] = kept[k];
    ++step;
  }
  scatter(net, p, st.theta + net.offset);
  if (m) scatter(net, m, st.m + net.offset);
  if (v) scatter(net, v, st.v + net.offset);
  st.steps[b] = step;
  st.status[b] = int8_t(status);
  st.loss[b] = loss;
  st.grad_norm[b] = grad_norm;
}

}  // namespace edt::EDT_ISA_NS
