// Random ensembles with their data, and counted checks, for the tests of the core without Python.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cpu/engine.h"
#include "math/activations_list.h"
#include "reference.h"

namespace {

int passed = 0, failed = 0;

inline void check(bool ok, const std::string& what) {
  if (ok) {
    ++passed;
  } else {
    ++failed;
    std::printf("FAILED: %s\n", what.c_str());
  }
}

using reference::Dual;

inline int code_of(reference::Act act) {
  switch (act) {
    case reference::Act::tanh:
      return int(edt::Act::tanh);
    case reference::Act::softplus:
      return int(edt::Act::softplus);
    case reference::Act::relu:
      return int(edt::Act::relu);
    case reference::Act::square:
      return int(edt::Act::square);
    default:
      return int(edt::Act::sin);
  }
}

// An exact-size copy on the heap, so that the sanitizer sees any access past the end.
template <class T, class S>
std::vector<T> as(const std::vector<S>& v) {
  std::vector<T> out;
  out.reserve(v.size());
  for (const S& s : v) out.push_back(T(s));
  return out;
}

struct Case {
  std::vector<reference::Network> nets;
  reference::Data data;
  std::vector<int64_t> widths;
  std::vector<uint8_t> state;
  std::vector<double> theta;
  std::vector<size_t> offset;
  std::vector<int64_t> index;
  int64_t d_in = 0, d_out = 0;
  int depth = 1;

  size_t total() const { return theta.size(); }
  int B() const { return int(nets.size()); }
};

inline Case random_case(std::mt19937& rng) {
  auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng); };
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  Case c;
  c.depth = pick(1, 3);
  c.d_in = pick(1, 11);
  constexpr int kLosses = int(sizeof(edt::kLossNames) / sizeof(*edt::kLossNames));
  c.data.loss = pick(0, 2) ? edt::Loss(pick(0, kLosses - 1)) : edt::Loss::mse;
  c.d_out = c.data.softmax() ? pick(2, 4) : pick(1, 3);
  if (pick(0, 1)) c.d_out = c.data.softmax() ? c.d_out : 1;
  c.data.n = pick(0, 3) ? pick(1, 70) : pick(200, 700);
  const bool bias = pick(0, 3) > 0;
  const auto act = reference::Act(pick(0, 4));
  const double pruned = std::vector<double>{0, 0, 0.4, 0.8, 0.97}[size_t(pick(0, 4))];
  const double frozen = pick(0, 2) ? 0.0 : 0.2;
  const int B = pick(1, 5);
  for (int b = 0; b < B; ++b) {
    reference::Network net;
    net.bias = bias;
    net.act = act;
    net.widths.push_back(c.d_in);
    for (int l = 0; l < c.depth; ++l) net.widths.push_back(pick(1, c.depth == 1 ? 20 : 9));
    net.widths.push_back(c.d_out);
    c.widths.insert(c.widths.end(), net.widths.begin(), net.widths.end());
    c.offset.push_back(c.theta.size());
    for (size_t k = 0; k < net.size(); ++k) {
      const double u = uniform(rng);
      net.state.push_back(u < pruned ? 0 : (u > 1 - frozen ? 2 : 1));
      c.theta.push_back(net.state.back() ? 0.7 * normal(rng) : 0.0);
    }
    c.state.insert(c.state.end(), net.state.begin(), net.state.end());
    c.index.push_back(0);
    c.nets.push_back(net);
  }
  double sum = 0;
  for (int64_t n = 0; n < c.data.n; ++n) {
    for (int64_t i = 0; i < c.d_in; ++i) c.data.x.push_back(normal(rng));
    const int label = pick(0, int(c.d_out) - 1);
    const double share = c.data.loss == edt::Loss::cross_entropy ? 1.0 : 0.7;
    for (int64_t o = 0; o < c.d_out; ++o)
      c.data.y.push_back(c.data.softmax()
                             ? share * double(o == label) + (1 - share) / double(c.d_out)
                             : normal(rng));
    c.data.coef.push_back(0.1 + uniform(rng));
    sum += c.data.coef.back();
  }
  for (double& w : c.data.coef) w /= sum;
  return c;
}

// Dense networks with these hidden widths, of one depth; three outputs with cross-entropy.
inline Case dense_case(int64_t n, const std::vector<std::vector<int64_t>>& hidden,
                       bool cross_entropy) {
  std::mt19937 rng(3);
  std::normal_distribution<double> normal;
  Case c;
  c.d_in = 3;
  c.d_out = cross_entropy ? 3 : 1;
  c.depth = int(hidden[0].size());
  c.data.n = n;
  c.data.loss = cross_entropy ? edt::Loss::cross_entropy : edt::Loss::mse;
  for (const auto& widths : hidden) {
    reference::Network net;
    net.widths.push_back(c.d_in);
    net.widths.insert(net.widths.end(), widths.begin(), widths.end());
    net.widths.push_back(c.d_out);
    c.widths.insert(c.widths.end(), net.widths.begin(), net.widths.end());
    c.offset.push_back(c.theta.size());
    for (size_t k = 0; k < net.size(); ++k) c.theta.push_back(0.5 * normal(rng));
    net.state.assign(net.size(), 1);
    c.state.insert(c.state.end(), net.state.begin(), net.state.end());
    c.index.push_back(0);
    c.nets.push_back(net);
  }
  for (int64_t s = 0; s < n; ++s) {
    for (int64_t i = 0; i < c.d_in; ++i) c.data.x.push_back(normal(rng));
    for (int64_t o = 0; o < c.d_out; ++o)
      c.data.y.push_back(cross_entropy ? double(o == s % c.d_out) : normal(rng));
    c.data.coef.push_back(1.0 / double(n));
  }
  return c;
}

template <class T>
edt::Dataset make_data(const Case& c) {
  const auto x = as<T>(c.data.x), coef = as<T>(c.data.coef), y = as<T>(c.data.y);
  std::vector<int64_t> labels;
  for (int64_t n = 0; n < c.data.n && c.data.loss == edt::Loss::cross_entropy; ++n)
    for (int64_t o = 0; o < c.d_out; ++o)
      if (c.data.y[size_t(n * c.d_out + o)] > 0.5) labels.push_back(o);
  const void* target =
      c.data.loss == edt::Loss::cross_entropy ? static_cast<const void*>(labels.data()) : y.data();
  edt::Dataset d;
  d.is_double = sizeof(T) == 8;
  d.n_tasks = 1;
  d.n = c.data.n;
  d.d_in = int(c.d_in);
  d.d_out = int(c.d_out);
  auto made = std::make_unique<edt::DatasetT<T>>(1, c.data.n, d.d_in, d.d_out, c.data.loss,
                                                 x.data(), target, coef.data());
  if constexpr (sizeof(T) == 8) d.f64 = std::move(made);
  else d.f32 = std::move(made);
  return d;
}

template <class T>
double tolerance() {
  return sizeof(T) == 8 ? 1e-11 : 2e-3;
}

template <class T, class S>
bool close(const std::vector<T>& got, const std::vector<S>& want) {
  double size = 1e-3, worst = 0;
  for (size_t k = 0; k < want.size(); ++k) {
    size = std::fmax(size, std::fabs(double(want[k])));
    const double error = std::fabs(double(got[k]) - double(want[k]));
    worst = error <= worst ? worst : error;
    if (error != error) return false;
  }
  return got.size() == want.size() && worst <= tolerance<T>() * size;
}

inline bool never() { return false; }

// All that the calls compute, end to end; matrices where these are small.
template <class T>
std::vector<T> everything(const edt::Call& call, const std::vector<T>& theta,
                          bool matrices = true) {
  const size_t total = theta.size(), B = call.plan.nets.size();
  const size_t outputs = B * size_t(call.data.n * call.data.d_out);
  std::vector<T> predicted(outputs), cotangent(outputs, T(0.5)), grad(total), pulled(total);
  std::vector<T> product(2 * total), vectors(2 * total, T(1));
  std::vector<double> loss(B), alone(B);
  edt::predict<T>(call, theta.data(), predicted.data());
  edt::loss<T>(call, theta.data(), alone.data());
  edt::loss_and_grad<T>(call, theta.data(), loss.data(), grad.data());
  edt::vjp<T>(call, theta.data(), cotangent.data(), pulled.data());
  edt::hvp<T>(call, theta.data(), 2, vectors.data(), product.data(), int64_t(total), false);
  std::vector<int64_t> squares, rows;
  int64_t square = 0, row = 0;
  for (const edt::Net& net : call.plan.nets) {
    squares.push_back(square);
    rows.push_back(row);
    square += int64_t(net.n_coords) * net.n_coords;
    row += net.n_coords * call.data.n * call.data.d_out;
  }
  std::vector<T> hessian, jacobian;
  if (matrices) {
    hessian.resize(size_t(square));
    jacobian.resize(size_t(row));
    edt::hessian<T>(call, theta.data(), hessian.data(), squares.data(), false);
    edt::jacobian<T>(call, theta.data(), jacobian.data(), rows.data(), false);
  }

  std::vector<T> p = theta, m(total), v(total);
  std::vector<int64_t> steps(B, 0), record{0, 4}, done(B);
  std::vector<double> lr(B, 0.01), decay(B, 0.0), factors(4, 1.0), l(B), g(B), hl(2 * B), hg(2 * B);
  std::vector<uint64_t> seeds(B, 1);
  std::vector<int8_t> status(B, 0);
  edt::HyperParameters hp;
  hp.loss_target = -std::numeric_limits<double>::infinity();
  hp.last_step = 4;
  edt::train<T>(
      call, hp,
      edt::TrainState<T>{p.data(), m.data(), v.data(), steps.data(), 4, lr.data(), decay.data(),
                         seeds.data(), factors.data(), status.data(), l.data(), g.data(),
                         record.data(), 2, hl.data(), hg.data(), int64_t(B)});
  // Minibatches go on from there.
  hp.batch_size = std::min<int64_t>(512, call.data.n - 1);
  hp.last_step = 7;
  factors.resize(7, 1.0);
  edt::train<T>(
      call, hp,
      edt::TrainState<T>{p.data(), m.data(), v.data(), steps.data(), 7, lr.data(), decay.data(),
                         seeds.data(), factors.data(), status.data(), l.data(), g.data(),
                         record.data(), 2, hl.data(), hg.data(), int64_t(B)});
  std::vector<T> low = theta;
  edt::lbfgs<T>(call, {low.data(), 4, 3, 1e-12, done.data(), status.data(), l.data(), g.data()});
  // Dense factorisations, for small networks alone.
  std::vector<uint8_t> few(B);
  for (size_t b = 0; b < B; ++b) few[b] = call.plan.nets[b].n_coords <= 64;
  const edt::Call small{call.plan, call.data, call.task_index, call.act, few.data(), call.poll};
  std::vector<T> moved = theta, lowest = theta;
  if (call.data.get<T>().loss == edt::Loss::mse) {
    const std::vector<double> shares{1e-2, 1e-4}, scale(B, 1.0);
    std::vector<double> best = loss, mark = loss;
    std::vector<int64_t> since(B), tried(B), share(B), taken(B);
    std::vector<int8_t> phase(B);
    const edt::ExcursionRule rule{shares.data(), 2, false, 2, 1e-12, 0.1, 2.0, 1e-18, 1e-27};
    edt::excursions<T>(
        small, rule,
        {moved.data(), theta.data(), lowest.data(), scale.data(), best.data(), mark.data(),
         since.data(), tried.data(), share.data(), taken.data(), 5, phase.data(), 3});
  }
  std::vector<T> down = theta, slope = grad, bent(total), reach(B, T(0.1));
  edt::second_directional<T>(call, theta.data(), grad.data(), reach.data(), bent.data());
  {
    const std::vector<double> scale(B, 1.0);
    std::vector<double> at = loss, steepest(B, 1.0), moving(B), mu(B, -1.0), growth(B, 2.0);
    std::vector<double> best_grad(B, 1e300), best_loss(B, 1e300), last(B, 1e300);
    std::vector<int64_t> left(B, 9), iterations(B), polish(B, 2), since(B);
    std::vector<int8_t> scaled(B), failed(B), ended(B);
    const edt::NewtonRule rule{8,   2,    1e-9, 1e-3, 1e-18, 1e-8, 0.75,
                               0.1, 1e-3, 1e-8, 0.95, 1e3,   1e-3};
    edt::newton<T>(small, rule,
                   {down.data(), slope.data(), scale.data(), at.data(), steepest.data(),
                    moving.data(), mu.data(), growth.data(), best_grad.data(), best_loss.data(),
                    last.data(), left.data(), iterations.data(), polish.data(), since.data(),
                    scaled.data(), failed.data(), ended.data(), 3});
  }
  std::vector<T> out(theta);
  for (const auto* part : {&predicted, &grad, &pulled, &product, &hessian, &jacobian, &p, &low,
                           &moved, &lowest, &bent, &down, &slope})
    out.insert(out.end(), part->begin(), part->end());
  for (const auto* part : {&alone, &loss, &hl, &hg, &l})
    for (double value : *part) out.push_back(T(value));
  return out;
}

}  // namespace
