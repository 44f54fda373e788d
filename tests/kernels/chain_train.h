// Training steps of random chains against plain ones: the optimisers by index on gradients of
// chain_gradient, which chain.h compares with plain sums.
#pragma once
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "cases.h"
#include "chain.h"
#include "cpu/chain_train.h"
#include "cpu/pool.h"
#include "math/philox.h"

// What a training call reads and leaves of its networks.
template <class T>
struct ChainRun {
  std::vector<T> theta, m, v;
  std::vector<int64_t> steps;
  std::vector<int8_t> status;
  std::vector<double> loss, grad_norm;
  bool operator==(const ChainRun& o) const {
    return theta == o.theta && m == o.m && v == o.v && steps == o.steps && status == o.status;
  }
};

template <class T>
void test_chain_train(std::mt19937& rng, const std::string& name) {
  const auto pick = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(rng);
  };
  edt::Chain chain = random_chain(rng);
  while (chain.parameters == 0) chain = random_chain(rng);
  const int64_t P = chain.parameters, d = chain.d_out, B = pick(1, 4), n = pick(1, 150);
  const int64_t batch = pick(0, 2) ? pick(1, n) : 0, steps = 3;
  std::normal_distribution<double> normal;
  const auto fill = [&](int64_t size) {
    std::vector<T> out;
    for (int64_t k = 0; k < size; ++k) out.push_back(T(normal(rng)));
    return out;
  };
  auto theta = fill(B * P);
  for (T& w : theta) w *= T(0.1);  // products of three layers train without diverging
  const auto x = fill(n * chain.d_in), y = fill(n * d);
  auto weights = fill(n);
  for (T& w : weights) w = std::abs(w) / T(n);
  std::vector<uint8_t> state(theta.size(), 1);
  std::vector<edt::ChainMask> masks;
  masks.reserve(size_t(B));
  const bool masked = pick(0, 3) > 0;
  for (int64_t b = 0; b < B; ++b) {
    uint8_t* mine = state.data() + b * P;
    if (masked) random_mask(pick, mine, P);
    for (int64_t k = 0; k < P; ++k)
      if (mine[k] == 0) theta[size_t(b * P + k)] = 0;
    if (masked) masks.emplace_back(chain, mine);
    else masks.emplace_back(chain);
  }
  edt::HyperParameters hp;
  hp.optimizer = pick(0, 1) ? edt::Optimizer::adam : edt::Optimizer::sgd;
  hp.momentum = 0.9;
  hp.eps = 0.1;  // so that a gradient's error is one of the step
  hp.batch_size = batch;
  const std::vector<double> factors{1.0, 0.5, 2.0};
  std::vector<double> lr, decay, most;
  std::vector<uint64_t> seeds;
  for (int64_t b = 0; b < B; ++b) {
    lr.push_back(2e-3 / double(b + 1));
    decay.push_back(0.1 * double(b));
    most.push_back(b == 1 ? 1e9 : 0.5);
    seeds.push_back(uint64_t(b + 11));
  }
  const bool clips = pick(0, 1);
  const edt::ChainSamples<T> data{n, x.data(), y.data(), weights.data(), edt::Loss::mse};

  const auto run = [&](const std::vector<T>& from, const std::vector<int64_t>& stops, int threads) {
    edt::set_num_threads(threads);
    const std::vector<T> none(from.size(), T(0));
    ChainRun<T> r{from,
                  none,
                  none,
                  std::vector<int64_t>(size_t(B)),
                  std::vector<int8_t>(size_t(B)),
                  std::vector<double>(size_t(B)),
                  std::vector<double>(size_t(B))};
    for (int64_t until : stops) {
      edt::TrainState<T> st{};
      st.theta = r.theta.data();
      st.m = r.m.data();
      st.v = hp.optimizer == edt::Optimizer::adam ? r.v.data() : nullptr;
      st.steps = r.steps.data();
      st.until = until;
      st.lr = lr.data();
      st.weight_decay = decay.data();
      st.seeds = seeds.data();
      st.clip_norm = clips ? most.data() : nullptr;
      st.factors = factors.data();
      st.status = r.status.data();
      st.loss = r.loss.data();
      st.grad_norm = r.grad_norm.data();
      st.networks = B;
      edt::ChainTraining<T> call{chain, {}, hp, st, never};
      for (int64_t b = 0; b < B; ++b) call.networks.push_back({b, b * P, &masks[size_t(b)], &data});
      check(edt::chain_train(call), name + " training is not stopped");
    }
    return r;
  };

  std::vector<double> known;
  for (int64_t b = 0; b < B; ++b) {
    std::vector<T> at(theta.begin() + b * P, theta.begin() + (b + 1) * P), g(at.size());
    std::vector<double> m(at.size()), v(at.size());
    const int64_t size = batch ? batch : n, per_epoch = (n + size - 1) / size;
    std::vector<int> order(size_t(n), 0);
    std::iota(order.begin(), order.end(), 0);
    for (int64_t step = 0; step < steps; ++step) {
      if (batch) edt::shuffle(seeds[size_t(b)], uint64_t(step / per_epoch), int(n), order.data());
      const int64_t first = step % per_epoch * size, count = std::min(size, n - first);
      std::vector<T> mine, f(size_t(count * d)), u(f.size());
      for (int64_t i = 0; i < count; ++i) {
        const auto row = x.begin() + order[size_t(first + i)] * chain.d_in;
        mine.insert(mine.end(), row, row + chain.d_in);
      }
      edt::ChainCall<T> call{chain, 1, count, at.data(), mine.data(), 0, never, {}};
      if (masked) call.masks.push_back(&masks[size_t(b)]);
      edt::chain_outputs<T>(call, f.data());
      for (int64_t i = 0; i < count * d; ++i) {
        const int64_t sample = order[size_t(first + i / d)];
        u[size_t(i)] = T(2 * double(n) / double(count) * double(weights[size_t(sample)]) *
                         (double(f[size_t(i)]) - double(y[size_t(sample * d + i % d)])));
      }
      edt::chain_gradient<T>(call, u.data(), g.data());
      double norm = 0;
      for (T slope : g) norm += double(slope) * double(slope);
      const double bound = most[size_t(b)] / (std::sqrt(norm) + 1e-6);
      const double share = clips && bound < 1 ? bound : 1;
      for (size_t k = 0; k < at.size(); ++k) {
        if (state[size_t(b * P) + k] != 1) continue;
        const double slope = share * double(g[k]) + decay[size_t(b)] * double(at[k]);
        const double rate = lr[size_t(b)] * factors[size_t(step)];
        if (hp.optimizer == edt::Optimizer::sgd) {
          m[k] = 0.9 * m[k] + slope;
          at[k] = T(double(at[k]) - rate * m[k]);
          continue;
        }
        m[k] = 0.9 * m[k] + 0.1 * slope;
        v[k] = 0.999 * v[k] + 0.001 * slope * slope;
        const double root = std::sqrt(v[k] / (1 - std::pow(0.999, step + 1)));
        at[k] = T(double(at[k]) - rate * m[k] / (1 - std::pow(0.9, step + 1)) / (root + hp.eps));
      }
    }
    known.insert(known.end(), at.begin(), at.end());
  }
  const ChainRun<T> whole = run(theta, {steps}, 3);
  check(close(whole.theta, known), name + " training");
  check(whole == run(theta, {1, steps}, 1), name + " training cut into calls");
  bool kept = true;
  for (size_t k = 0; k < theta.size(); ++k) kept &= state[k] == 1 || whole.theta[k] == theta[k];
  check(kept, name + " training keeps pruned and frozen parameters");

  // A network that is lost stays as it was, and the others as they would be.
  std::vector<T> lost = theta;
  const auto there = std::find_if(state.begin(), state.begin() + P, [](int s) { return s != 0; });
  if (there == state.begin() + P) return;
  lost[size_t(there - state.begin())] = std::numeric_limits<T>::infinity();
  const ChainRun<T> found = run(lost, {steps}, 2);
  // Where the weight meets only margins, and zeros of other weights, nothing is lost, or later.
  if (edt::Status(found.status[0]) != edt::Status::diverged || found.steps[0] > 0) return;
  check(std::equal(lost.begin(), lost.begin() + P, found.theta.begin()),
        name + " a lost network ends before its step");
  check(std::equal(whole.theta.begin() + P, whole.theta.end(), found.theta.begin() + P),
        name + " a lost network harms no other");
}
