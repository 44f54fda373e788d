#include "cpu/engine.h"

#include <algorithm>

#include "cpu/pool.h"

namespace edt {
namespace {

// body(b, problem, scratch, cancel) for every active network; `passes` scales the work estimate.
template <class T, class Body>
bool for_networks(const Call& c, double passes, const Body& body) {
  std::vector<int> chosen;
  double cost = 0;
  for (int b : c.plan.by_cost)
    if (!c.active || c.active[b]) {
      chosen.push_back(b);
      cost += c.plan.nets[b].cost;
    }
  const DatasetT<T>& data = c.data.get<T>();
  return parallel_for(
      int64_t(chosen.size()), cost * double(data.n_pad) * passes,
      [&](int64_t i, Scratch& ws, const CancelFlag& cancel) {
        const int b = chosen[i];
        const Problem<T> problem{&data, c.task_index[b], c.act};
        body(b, c.plan.nets[b], problem, ws, cancel);
      },
      c.poll);
}

}  // namespace

template <class T>
bool predict(const Call& c, const T* theta, T* out) {
  const auto& k = current_isa().table<T>();
  const int64_t row = c.data.n * c.data.d_out;
  return for_networks<T>(
      c, 0.5, [&](int b, const Net& net, const Problem<T>& pr, Scratch& ws, const CancelFlag&) {
        k.predict(net, pr, theta + net.offset, out + b * row, ws);
      });
}

template <class T>
bool loss(const Call& c, const T* theta, double* out) {
  const auto& k = current_isa().table<T>();
  return for_networks<T>(
      c, 0.5, [&](int b, const Net& net, const Problem<T>& pr, Scratch& ws, const CancelFlag&) {
        out[b] = k.loss(net, pr, theta + net.offset, ws);
      });
}

template <class T>
bool loss_and_grad(const Call& c, const T* theta, double* loss, T* grad) {
  const auto& k = current_isa().table<T>();
  return for_networks<T>(
      c, 1, [&](int b, const Net& net, const Problem<T>& pr, Scratch& ws, const CancelFlag&) {
        loss[b] = k.loss_and_grad(net, pr, theta + net.offset, grad + net.offset, ws);
      });
}

template <class T>
bool hvp(const Call& c, const T* theta, int n, const T* v, T* out, int64_t stride, bool ggn) {
  const auto& k = current_isa().table<T>();
  return for_networks<T>(
      c, 2.0 * n, [&](int, const Net& net, const Problem<T>& pr, Scratch& ws, const CancelFlag&) {
        k.hvp(net, pr, theta + net.offset, n, v + net.offset, out + net.offset, stride, ggn, ws);
      });
}

template <class T>
bool hessian(const Call& c, const T* theta, T* out, const int64_t* offsets, bool ggn) {
  const auto& k = current_isa().table<T>();
  return for_networks<T>(
      c, 20, [&](int b, const Net& net, const Problem<T>& pr, Scratch& ws, const CancelFlag&) {
        k.hessian(net, pr, theta + net.offset, out + offsets[b], ggn, ws);
      });
}

template <class T>
bool jacobian(const Call& c, const T* theta, T* out, const int64_t* offsets, bool weighted) {
  const auto& k = current_isa().table<T>();
  return for_networks<T>(
      c, 2, [&](int b, const Net& net, const Problem<T>& pr, Scratch& ws, const CancelFlag&) {
        k.jacobian(net, pr, theta + net.offset, out + offsets[b], weighted, ws);
      });
}

template <class T>
bool train(const Call& c, T* theta, T* m, T* v, const TrainArrays& a) {
  const auto& k = current_isa().table<T>();
  const int64_t B = int64_t(c.plan.nets.size());
  int64_t first = a.until;
  for (int64_t b = 0; b < B; ++b)
    if (a.status[b] == int8_t(Status::running)) first = std::min(first, a.steps[b]);
  const double passes = double(a.until - first + 1);
  return for_networks<T>(
      c, passes,
      [&](int b, const Net& net, const Problem<T>& pr, Scratch& ws, const CancelFlag& cancel) {
        if (a.status[b] != int8_t(Status::running)) return;
        TrainJob<T> job{};
        job.hp = &a.hp;
        job.theta = theta + net.offset;
        job.m = m ? m + net.offset : nullptr;
        job.v = v ? v + net.offset : nullptr;
        job.step = a.steps[b];
        job.until = a.until;
        job.lr = a.lr[b];
        job.weight_decay = a.weight_decay[b];
        job.seed = a.seeds[b];
        job.schedule = a.schedule;
        job.schedule_start = a.schedule_start;
        job.status = Status(a.status[b]);
        job.loss = a.loss[b];
        job.grad_max = a.grad_norm[b];
        job.record = a.record;
        job.n_record = a.n_record;
        job.hist_loss = a.history_loss + b;
        job.hist_grad = a.history_grad + b;
        job.hist_stride = B;
        job.cancel = &cancel;
        k.train(net, pr, job, ws);
        a.steps[b] = job.step;
        a.status[b] = int8_t(job.status);
        a.loss[b] = job.loss;
        a.grad_norm[b] = job.grad_max;
      });
}

template <class T>
bool lbfgs(const Call& c, T* theta, const LbfgsArrays& a) {
  const auto& k = current_isa().table<T>();
  return for_networks<T>(
      c, 2.0 * a.max_iter,
      [&](int b, const Net& net, const Problem<T>& pr, Scratch& ws, const CancelFlag& cancel) {
        LbfgsJob<T> job{};
        job.theta = theta + net.offset;
        job.memory = a.memory;
        job.max_iter = a.max_iter;
        job.gtol = a.gtol;
        job.cancel = &cancel;
        k.lbfgs(net, pr, job, ws);
        a.iterations[b] = job.iterations;
        a.status[b] = int8_t(job.status);
        a.loss[b] = job.loss;
        a.grad_max[b] = job.grad_max;
      });
}

#define EDT_INSTANTIATE(T)                                                                         \
  template bool predict<T>(const Call&, const T*, T*);                                             \
  template bool loss<T>(const Call&, const T*, double*);                                           \
  template bool loss_and_grad<T>(const Call&, const T*, double*, T*);                              \
  template bool hvp<T>(const Call&, const T*, int, const T*, T*, int64_t, bool);                   \
  template bool hessian<T>(const Call&, const T*, T*, const int64_t*, bool);                       \
  template bool jacobian<T>(const Call&, const T*, T*, const int64_t*, bool);                      \
  template bool train<T>(const Call&, T*, T*, T*, const TrainArrays&);                             \
  template bool lbfgs<T>(const Call&, T*, const LbfgsArrays&);
EDT_INSTANTIATE(float)
EDT_INSTANTIATE(double)
#undef EDT_INSTANTIATE

}  // namespace edt
