// What a training call is told, by name, as Python gives it.
#pragma once
#include <pybind11/pybind11.h>

#include <algorithm>
#include <set>
#include <string>

#include "layout/training.h"

namespace edt {

// Arguments by name: none may be missing, none may be left over.
class Named {
 public:
  Named(const pybind11::dict& from, const char* what) : from_(from), what_(what) {
    for (const auto& item : from) left_.insert(item.first.cast<std::string>());
  }
  template <class T>
  T value(const char* name) {
    if (left_.erase(name) == 0)
      throw pybind11::value_error(std::string(what_) + " lacks '" + name + "'");
    return from_[name].cast<T>();
  }
  template <class T>
  T* pointer(const char* name) {
    return reinterpret_cast<T*>(value<uintptr_t>(name));
  }
  void finish() const {
    if (!left_.empty())
      throw pybind11::value_error(std::string(what_) + " does not know '" + *left_.begin() + "'");
  }

 private:
  const pybind11::dict& from_;
  const char* what_;
  std::set<std::string> left_;
};

inline HyperParameters read_hyper(const pybind11::dict& from) {
  Named d(from, "hyper");
  HyperParameters hp;
  const auto name = d.value<std::string>("optimizer");
  const auto* found = std::find(std::begin(kOptimizerNames), std::end(kOptimizerNames), name);
  if (found == std::end(kOptimizerNames))
    throw pybind11::value_error("optimizer must be one of the core's, got '" + name + "'");
  hp.optimizer = Optimizer(found - std::begin(kOptimizerNames));
  hp.momentum = d.value<double>("momentum");
  hp.dampening = d.value<double>("dampening");
  hp.nesterov = d.value<bool>("nesterov");
  hp.beta1 = d.value<double>("beta1");
  hp.beta2 = d.value<double>("beta2");
  hp.eps = d.value<double>("eps");
  hp.batch_size = d.value<int64_t>("batch_size");
  hp.tol = d.value<double>("tol");
  hp.loss_target = d.value<double>("loss_target");
  hp.last_step = d.value<int64_t>("last_step");
  d.finish();
  return hp;
}

template <class T>
TrainState<T> read_train_state(const pybind11::dict& from, const HyperParameters& hp, T* theta,
                               int64_t networks) {
  Named d(from, "state");
  TrainState<T> st{};
  st.theta = theta;
  st.m = d.pointer<T>("m");
  st.v = d.pointer<T>("v");
  st.steps = d.pointer<int64_t>("steps");
  st.until = d.value<int64_t>("until");
  st.lr = d.pointer<const double>("lr");
  st.weight_decay = d.pointer<const double>("weight_decay");
  st.seeds = d.pointer<const uint64_t>("seeds");
  st.factors = d.pointer<const double>("factors");
  st.status = d.pointer<int8_t>("status");
  st.loss = d.pointer<double>("loss");
  st.grad_norm = d.pointer<double>("grad_norm");
  st.record = d.pointer<const int64_t>("record");
  st.n_record = d.value<int64_t>("n_record");
  st.history_loss = d.pointer<double>("history_loss");
  st.history_grad = d.pointer<double>("history_grad");
  st.networks = networks;
  st.lr_scale = d.pointer<const T>("lr_scale");
  st.clip_norm = d.pointer<const double>("clip_norm");
  d.finish();
  if (hp.optimizer != Optimizer::sgd && !(st.m && st.v))
    throw pybind11::value_error("optimizers other than sgd need both moments");
  if (hp.momentum != 0 && !st.m) throw pybind11::value_error("momentum needs its buffer");
  return st;
}

inline ExcursionRule read_excursion_rule(const pybind11::dict& from) {
  Named d(from, "rule");
  ExcursionRule rule{};
  rule.shares = d.pointer<const double>("shares");
  rule.count = d.value<int64_t>("count");
  rule.back = d.value<bool>("back");
  rule.patience = d.value<int64_t>("patience");
  rule.least = d.value<double>("least");
  rule.brisk = d.value<double>("brisk");
  rule.hopeless = d.value<double>("hopeless");
  rule.deep = d.value<double>("deep");
  rule.floor = d.value<double>("floor");
  d.finish();
  if (rule.count < 1) throw pybind11::value_error("excursions need a damping");
  return rule;
}

template <class T>
ExcursionState<T> read_excursions(const pybind11::dict& from, T* theta) {
  Named d(from, "state");
  ExcursionState<T> st{};
  st.theta = theta;
  st.start = d.pointer<const T>("start");
  st.lowest = d.pointer<T>("lowest");
  st.scale = d.pointer<const double>("scale");
  st.best = d.pointer<double>("best");
  st.mark = d.pointer<double>("mark");
  st.since = d.pointer<int64_t>("since");
  st.tried = d.pointer<int64_t>("tried");
  st.share = d.pointer<int64_t>("share");
  st.taken = d.pointer<int64_t>("taken");
  st.most = d.value<int64_t>("most");
  st.phase = d.pointer<int8_t>("phase");
  st.budget = d.value<int64_t>("budget");
  d.finish();
  return st;
}

inline LevenbergRule read_levenberg_rule(const pybind11::dict& from) {
  Named d(from, "rule");
  LevenbergRule rule{};
  rule.tries = d.value<int64_t>("tries");
  rule.lost = d.value<int64_t>("lost");
  rule.corrections = d.value<int64_t>("corrections");
  rule.patience = d.value<int64_t>("patience");
  rule.tol = d.value<double>("tol");
  rule.switch_to = d.value<double>("switch");
  rule.zero_soon = d.value<double>("zero_soon");
  rule.first = d.value<double>("first");
  rule.least = d.value<double>("least");
  rule.up = d.value<double>("up");
  rule.far = d.value<double>("far");
  rule.down = d.value<double>("down");
  rule.wary = d.value<double>("wary");
  rule.close = d.value<double>("close");
  rule.shrink = d.value<double>("shrink");
  rule.bent = d.value<double>("bent");
  rule.ratio = d.value<double>("ratio");
  rule.slow = d.value<double>("slow");
  rule.brisk = d.value<double>("brisk");
  d.finish();
  return rule;
}

template <class T>
LevenbergState<T> read_levenberg(const pybind11::dict& from, T* theta) {
  Named d(from, "state");
  LevenbergState<T> st{};
  st.theta = theta;
  st.grad = d.pointer<T>("grad");
  st.scale = d.pointer<const double>("scale");
  st.goal = d.pointer<const double>("goal");
  st.loss = d.pointer<double>("loss");
  st.grad_max = d.pointer<double>("grad_max");
  st.moving = d.pointer<double>("moving");
  st.mu = d.pointer<double>("mu");
  st.best = d.pointer<double>("best");
  st.decade = d.pointer<double>("decade");
  st.left = d.pointer<int64_t>("left");
  st.iterations = d.pointer<int64_t>("iterations");
  st.since = d.pointer<int64_t>("since");
  st.since_decade = d.pointer<int64_t>("since_decade");
  st.failed = d.pointer<int8_t>("failed");
  st.over = d.pointer<int8_t>("over");
  st.budget = d.value<int64_t>("budget");
  d.finish();
  return st;
}

inline NewtonRule read_newton_rule(const pybind11::dict& from) {
  Named d(from, "rule");
  NewtonRule rule{};
  rule.tries = d.value<int64_t>("tries");
  rule.patience = d.value<int64_t>("patience");
  rule.tol = d.value<double>("tol");
  rule.first = d.value<double>("first");
  rule.least = d.value<double>("least");
  rule.range = d.value<double>("range");
  rule.bent = d.value<double>("bent");
  rule.probe = d.value<double>("probe");
  rule.reach = d.value<double>("reach");
  rule.zero_soon = d.value<double>("zero_soon");
  rule.falling = d.value<double>("falling");
  rule.channel_norm = d.value<double>("channel_norm");
  rule.drift = d.value<double>("drift");
  d.finish();
  if (rule.patience < 1) throw pybind11::value_error("patience must be at least 1");
  return rule;
}

template <class T>
NewtonState<T> read_newton(const pybind11::dict& from, T* theta) {
  Named d(from, "state");
  NewtonState<T> st{};
  st.theta = theta;
  st.grad = d.pointer<T>("grad");
  st.scale = d.pointer<const double>("scale");
  st.loss = d.pointer<double>("loss");
  st.grad_max = d.pointer<double>("grad_max");
  st.moving = d.pointer<double>("moving");
  st.mu = d.pointer<double>("mu");
  st.growth = d.pointer<double>("growth");
  st.best_grad = d.pointer<double>("best_grad");
  st.best_loss = d.pointer<double>("best_loss");
  st.last_loss = d.pointer<double>("last_loss");
  st.left = d.pointer<int64_t>("left");
  st.iterations = d.pointer<int64_t>("iterations");
  st.polish = d.pointer<int64_t>("polish");
  st.since = d.pointer<int64_t>("since");
  st.scaled = d.pointer<int8_t>("scaled");
  st.failed = d.pointer<int8_t>("failed");
  st.status = d.pointer<int8_t>("status");
  st.budget = d.value<int64_t>("budget");
  d.finish();
  return st;
}

}  // namespace edt
