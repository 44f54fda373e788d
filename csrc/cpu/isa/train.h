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
#include "cpu/isa/passes.h"
#include "cpu/isa/vectors.h"
#include "math/philox.h"
#include "math/power.h"

namespace edt::EDT_ISA_NS {

template <class T>
struct Stepper {
  using V = Vec<T>;
  const HyperParameters& hp;
  T *p, *g, *m, *v;
  int n;  // padded

  void sgd(int64_t step, double lr, double decay) {
    const V rate = V::set1(T(-lr)), wd = V::set1(T(decay));
    if (hp.momentum == 0) {
      for (int i = 0; i < n; i += V::L) {
        const V x = V::load(p + i);
        fma(rate, fma(wd, x, V::load(g + i)), x).store(p + i);
      }
      return;
    }
    const V mu = V::set1(T(hp.momentum));
    // The first step fills the buffer with the gradient itself (torch's convention).
    const V keep = V::set1(step == 0 ? T(1) : T(1 - hp.dampening));
    for (int i = 0; i < n; i += V::L) {
      const V x = V::load(p + i);
      const V d = fma(wd, x, V::load(g + i));
      const V b = fma(mu, V::load(m + i), keep * d);
      b.store(m + i);
      fma(rate, hp.nesterov ? fma(mu, b, d) : b, x).store(p + i);
    }
  }

  void adam(int64_t step, double lr, double decay) {
    const double c1 = 1.0 - integer_power(hp.beta1, step + 1);
    const double c2 = 1.0 - integer_power(hp.beta2, step + 1);
    const bool decoupled = hp.optimizer == Optimizer::adamw;
    const V b1 = V::set1(T(hp.beta1)), d1 = V::set1(T(1.0 - hp.beta1));
    const V b2 = V::set1(T(hp.beta2)), d2 = V::set1(T(1.0 - hp.beta2));
    const V rate = V::set1(T(-lr / c1)), root = V::set1(T(1.0 / std::sqrt(c2)));
    const V eps = V::set1(T(hp.eps)), wd = V::set1(T(decoupled ? 0.0 : decay));
    const V shrink = V::set1(T(decoupled ? 1.0 - lr * decay : 1.0));
    for (int i = 0; i < n; i += V::L) {
      const V x = V::load(p + i);
      const V d = fma(wd, x, V::load(g + i));
      const V mi = fma(d1, d, b1 * V::load(m + i));
      const V vi = fma(d2 * d, d, b2 * V::load(v + i));
      mi.store(m + i);
      vi.store(v + i);
      fma(rate, mi / fma(sqrt(vi), root, eps), x * shrink).store(p + i);
    }
  }
};

// Samples of one minibatch: rows of samples picked, and turned feature by feature.
template <class T>
struct Minibatch {
  int64_t size = 0, ld = 0, per_epoch = 1, epoch = -1;
  int* order = nullptr;
  T* store = nullptr;  // [d_in + d_out + 1, ld]: x, y, coef

  Minibatch(const DatasetT<T>& d, int64_t batch_size, Scratch& ws) : size(batch_size) {
    if (!size) return;
    ld = padded<T>(int(size));
    per_epoch = (d.n + size - 1) / size;
    order = ws.take<int>(d.n);
    store = ws.take<T>(d.row_size() * ld);
  }

  Samples<T> at(const DatasetT<T>& d, int64_t task, uint64_t seed, int64_t step) {
    if (step / per_epoch != epoch) {
      epoch = step / per_epoch;
      shuffle(seed, uint64_t(epoch), int(d.n), order);
    }
    const int64_t first = step % per_epoch * size, count = std::min(size, d.n - first);
    const int64_t pad = padded<T>(int(count)), width = d.row_size();
    const T* rows = d.rows() + task * d.n * width;
    const int last = int(count) - 1;
    const auto at_row = [&](int s) { return rows + order[first + s] * width; };
    // A strip of features stays in the first-level cache while the samples go by.
    constexpr int64_t kStrip = 32;
    constexpr int kAhead = 8;
    for (int64_t i0 = 0; i0 < width; i0 += kStrip) {
      const int64_t strip = std::min(kStrip, width - i0);
      const auto row = [&](int s) {
        // The rows lie anywhere in memory: ask for one a few turns ahead.
        const char* ahead = reinterpret_cast<const char*>(at_row(std::min(s + kAhead, last)) + i0);
        for (int64_t b = 0; b < strip * int64_t(sizeof(T)); b += 64) __builtin_prefetch(ahead + b);
        return at_row(s) + i0;
      };
      T* to = store + i0 * ld;
      transpose(row, int(count), strip, to, ld);
      for (int64_t i = 0; i < strip; ++i)
        for (int64_t s = count; s < pad; ++s) to[i * ld + s] = to[i * ld + last];
    }
    T* coef = store + (width - 1) * ld;
    const T scale = T(double(d.n) / double(count));
    for (int64_t s = 0; s < pad; ++s) coef[s] = s < count ? scale * coef[s] : T(0);
    return {store, store + d.d_in * ld, coef, ld, pad};
  }
};

template <class T>
void train(const Net& net, const Problem<T>& pr, TrainJob<T>& job, Scratch& ws) {
  if (job.status != Status::running) return;
  ws.reset();
  const HyperParameters& hp = *job.hp;
  const int n_params = net.n_params(), n = padded<T>(n_params);
  const bool batches = hp.batch_size > 0;
  T* p = compress(net, job.theta, ws);
  T* m = job.m ? compress(net, job.m, ws) : nullptr;
  T* v = job.v ? compress(net, job.v, ws) : nullptr;
  T* g = ws.take<T>(n);
  T* kept = ws.take<T>(net.fixed.size());
  for (size_t k = 0; k < net.fixed.size(); ++k) kept[k] = p[net.fixed[k]];
  const Samples<T> all = samples_at(pr, 0, pr.data->n_pad);
  const Loss kind = pr.data->loss;
  Block<T> block(net, pr.act, 1, true, false, all.n, 0, ws);
  Minibatch<T> batch(*pr.data, hp.batch_size, ws);
  Stepper<T> stepper{hp, p, g, m, v, n};
  const int64_t* record = std::lower_bound(job.record, job.record + job.n_record, job.step);

  auto gradient = [&](const Samples<T>& in) {
    std::fill(g, g + n, T(0));
    const double loss = evaluate(block, p, kind, in, g);
    for (int k : net.fixed) g[k] = T(0);
    return loss;
  };
  const bool has_target = hp.loss_target > -std::numeric_limits<double>::infinity();

  while (!job.cancel->load(std::memory_order_relaxed)) {
    const int64_t s = job.step;
    const bool last = s >= job.until;
    if (last && s < hp.last_step) break;
    const int64_t row = record - job.record;
    const bool recorded = row < job.n_record && *record == s;
    // Only evaluations that do not depend on where the calls are cut may stop a network.
    const bool decides = !batches || recorded || (has_target && s % batch.per_epoch == 0);
    if (decides || last) {
      job.loss = gradient(all);
      const bool finite = std::isfinite(job.loss) && all_finite(g, n);
      job.grad_max = finite ? double(max_abs(g, n)) : double(NAN);
      if (recorded) {
        job.hist_loss[row * job.hist_stride] = job.loss;
        job.hist_grad[row * job.hist_stride] = job.grad_max;
        ++record;
      }
      if (decides) {
        if (!finite) job.status = Status::diverged;
        else if (!batches && hp.tol > 0 && job.grad_max <= hp.tol) job.status = Status::converged;
        else if (job.loss <= hp.loss_target) job.status = Status::target;
      }
    }
    if (last || job.status != Status::running) break;
    if (batches) {
      const double loss = gradient(batch.at(*pr.data, pr.task, job.seed, s));
      if (!(std::isfinite(loss) && all_finite(g, n))) {
        job.status = Status::diverged;
        job.loss = job.grad_max = double(NAN);
        break;
      }
    }
    const double lr = job.lr * job.schedule[s - job.schedule_start];
    if (hp.optimizer == Optimizer::sgd) stepper.sgd(s, lr, job.weight_decay);
    else stepper.adam(s, lr, job.weight_decay);
    for (size_t k = 0; k < net.fixed.size(); ++k) p[net.fixed[k]] = kept[k];
    ++job.step;
  }
  scatter(net, p, job.theta);
  if (m) scatter(net, m, job.m);
  if (v) scatter(net, v, job.v);
}

}  // namespace edt::EDT_ISA_NS
