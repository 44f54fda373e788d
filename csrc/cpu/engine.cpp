#include "cpu/engine.h"

#include <algorithm>

#include "cpu/pool.h"

namespace edt {
namespace {

// body(b, net, problem, crew) for every active network; `passes` scales the work estimate.
template <class T, class Body>
bool for_networks(const Call& c, double passes, const Body& body) {
  const DatasetT<T>& data = c.data.get<T>();
  std::vector<int> chosen;
  double cost = 0;
  bool shared = false;
  for (int b : c.plan.by_cost)
    if (!c.active || c.active[b]) {
      const Net& net = c.plan.nets[b];
      chosen.push_back(b);
      cost += net.cost;
      shared |= shares(net, data.n_pad);
    }
  return parallel_for(
      int64_t(chosen.size()), cost * double(data.n_pad) * passes, shared,
      [&](int64_t i, Crew& crew) {
        const int b = chosen[i];
        const Problem<T> problem{&data, c.task_index[b], c.act};
        body(b, c.plan.nets[b], problem, crew);
      },
      c.poll);
}

}  // namespace

template <class T>
bool predict(const Call& c, const T* theta, T* out) {
  const auto& k = current_isa().table<T>();
  const int64_t row = c.data.n * c.data.d_out;
  return for_networks<T>(c, 0.5, [&](int b, const Net& net, const Problem<T>& pr, Crew& crew) {
    k.predict(net, pr, theta + net.offset, out + b * row, crew);
  });
}

template <class T>
bool loss(const Call& c, const T* theta, double* out) {
  const auto& k = current_isa().table<T>();
  return for_networks<T>(c, 0.5, [&](int b, const Net& net, const Problem<T>& pr, Crew& crew) {
    out[b] = k.loss(net, pr, theta + net.offset, crew);
  });
}

template <class T>
bool loss_and_grad(const Call& c, const T* theta, double* loss, T* grad) {
  const auto& k = current_isa().table<T>();
  return for_networks<T>(c, 1, [&](int b, const Net& net, const Problem<T>& pr, Crew& crew) {
    loss[b] = k.loss_and_grad(net, pr, theta + net.offset, grad + net.offset, crew);
  });
}

template <class T>
bool vjp(const Call& c, const T* theta, const T* u, T* grad) {
  const auto& k = current_isa().table<T>();
  const int64_t row = c.data.n * c.data.d_out;
  return for_networks<T>(c, 1, [&](int b, const Net& net, const Problem<T>& pr, Crew& crew) {
    k.vjp(net, pr, theta + net.offset, u + b * row, grad + net.offset, crew);
  });
}

template <class T>
bool second_directional(const Call& c, const T* theta, const T* step, const T* reach, T* out) {
  const auto& k = current_isa().table<T>();
  return for_networks<T>(c, 2.5, [&](int b, const Net& net, const Problem<T>& pr, Crew& crew) {
    k.second_directional(net, pr, theta + net.offset, step + net.offset, reach[b], out + net.offset,
                         crew);
  });
}

template <class T>
bool hvp(const Call& c, const T* theta, int n, const T* v, T* out, int64_t stride, bool ggn) {
  const auto& k = current_isa().table<T>();
  return for_networks<T>(c, 2.0 * n, [&](int, const Net& net, const Problem<T>& pr, Crew& crew) {
    k.hvp(net, pr, theta + net.offset, n, v + net.offset, out + net.offset, stride, ggn, crew);
  });
}

template <class T>
bool hessian(const Call& c, const T* theta, T* out, const int64_t* offsets, bool ggn) {
  const auto& k = current_isa().table<T>();
  return for_networks<T>(c, 20, [&](int b, const Net& net, const Problem<T>& pr, Crew& crew) {
    k.hessian(net, pr, theta + net.offset, out + offsets[b], ggn, crew);
  });
}

template <class T>
bool jacobian(const Call& c, const T* theta, T* out, const int64_t* offsets, bool weighted) {
  const auto& k = current_isa().table<T>();
  return for_networks<T>(c, 2, [&](int b, const Net& net, const Problem<T>& pr, Crew& crew) {
    k.jacobian(net, pr, theta + net.offset, out + offsets[b], weighted, crew);
  });
}

template <class T>
bool train(const Call& c, const HyperParameters& hp, const TrainState<T>& state) {
  const auto& k = current_isa().table<T>();
  int64_t first = state.until;
  for (int64_t b = 0; b < state.networks; ++b)
    if (state.status[b] == int8_t(Status::running)) first = std::min(first, state.steps[b]);
  const double passes = double(state.until - first + 1);
  return for_networks<T>(c, passes, [&](int b, const Net& net, const Problem<T>& pr, Crew& crew) {
    k.train(net, pr, hp, state, b, crew);
  });
}

template <class T>
bool lbfgs(const Call& c, const LbfgsState<T>& state) {
  const auto& k = current_isa().table<T>();
  return for_networks<T>(c, 2.0 * double(state.max_iter),
                         [&](int b, const Net& net, const Problem<T>& pr, Crew& crew) {
                           k.lbfgs(net, pr, state, b, crew);
                         });
}

template <class T>
bool newton(const Call& c, const NewtonRule& rule, const NewtonState<T>& state) {
  const auto& k = current_isa().table<T>();
  return for_networks<T>(c, 30.0 * double(state.budget),
                         [&](int b, const Net& net, const Problem<T>& pr, Crew& crew) {
                           k.newton(net, pr, rule, state, b, crew);
                         });
}

template <class T>
bool levenberg(const Call& c, const LevenbergRule& rule, const LevenbergState<T>& state) {
  const auto& k = current_isa().table<T>();
  return for_networks<T>(c, 20.0 * double(state.budget),
                         [&](int b, const Net& net, const Problem<T>& pr, Crew& crew) {
                           k.levenberg(net, pr, rule, state, b, crew);
                         });
}

template <class T>
bool excursions(const Call& c, const ExcursionRule& rule, const ExcursionState<T>& state) {
  const auto& k = current_isa().table<T>();
  return for_networks<T>(c, 20.0 * double(state.budget),
                         [&](int b, const Net& net, const Problem<T>& pr, Crew& crew) {
                           k.excursion(net, pr, rule, state, b, crew);
                         });
}

#define EDT_INSTANTIATE(T)                                                                         \
  template bool predict<T>(const Call&, const T*, T*);                                             \
  template bool loss<T>(const Call&, const T*, double*);                                           \
  template bool loss_and_grad<T>(const Call&, const T*, double*, T*);                              \
  template bool hvp<T>(const Call&, const T*, int, const T*, T*, int64_t, bool);                   \
  template bool hessian<T>(const Call&, const T*, T*, const int64_t*, bool);                       \
  template bool jacobian<T>(const Call&, const T*, T*, const int64_t*, bool);                      \
  template bool vjp<T>(const Call&, const T*, const T*, T*);                                       \
  template bool train<T>(const Call&, const HyperParameters&, const TrainState<T>&);               \
  template bool lbfgs<T>(const Call&, const LbfgsState<T>&);                                       \
  template bool second_directional<T>(const Call&, const T*, const T*, const T*, T*);              \
  template bool newton<T>(const Call&, const NewtonRule&, const NewtonState<T>&);                  \
  template bool levenberg<T>(const Call&, const LevenbergRule&, const LevenbergState<T>&);         \
  template bool excursions<T>(const Call&, const ExcursionRule&, const ExcursionState<T>&);
EDT_INSTANTIATE(float)
EDT_INSTANTIATE(double)
#undef EDT_INSTANTIATE

}  // namespace edt
