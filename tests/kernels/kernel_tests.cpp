// The compiled core against plain scalar networks, without Python, so that it can run under
// AddressSanitizer and UndefinedBehaviorSanitizer. Random ensembles of random shapes and masks go
// through every call on every instruction set this machine has.
//
// Tolerances: a result is a sum of at most N * width products; both sides round each of them, so
// they agree to about 1e-12 (float64) and 1e-4 (float32) of the largest entry.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>

#include "cases.h"
#include "chain.h"
#include "chain_train.h"
#include "cpu/pool.h"
#include "cpu/team.h"
#include "math/philox.h"
#include "taps.h"

namespace {

template <class T>
void test_case(const Case& c, std::mt19937& rng, const std::string& name) {
  const edt::Plan plan(c.widths.data(), c.B(), c.depth + 2, c.nets[0].bias, c.state.data(),
                       int64_t(c.total()));
  const edt::Dataset data = make_data<T>(c);
  const edt::Call call{plan, data, c.index.data(), code_of(c.nets[0].act), nullptr, never};
  const std::vector<T> theta = as<T>(c.theta);
  std::normal_distribution<double> normal;

  const int K = 3;
  std::vector<T> vectors;
  for (size_t k = 0; k < K * c.total(); ++k) vectors.push_back(T(normal(rng)));
  std::vector<T> cotangent;
  for (int64_t k = 0; k < c.B() * c.data.n * c.d_out; ++k) cotangent.push_back(T(normal(rng)));
  std::vector<double> loss_want, grad_want, out_want, vjp_want;
  std::vector<double> hvp_want(K * c.total());
  for (int b = 0; b < c.B(); ++b) {
    for (int v = 0; v <= K; ++v) {
      std::vector<Dual> p;
      for (size_t k = 0; k < c.nets[size_t(b)].size(); ++k) {
        const size_t at = c.offset[size_t(b)] + k;
        p.push_back({double(theta[at]), v < K ? double(vectors[size_t(v) * c.total() + at]) : 0.0});
      }
      const auto r = reference::gradient(c.nets[size_t(b)], c.data, p);
      for (size_t k = 0; k < p.size() && v < K; ++k)
        hvp_want[size_t(v) * c.total() + c.offset[size_t(b)] + k] = r.gradient[k].d;
      if (v < K) continue;
      const int64_t row = c.data.n * c.d_out;
      const std::vector<double> u(cotangent.begin() + b * row, cotangent.begin() + (b + 1) * row);
      for (auto& g : reference::gradient(c.nets[size_t(b)], c.data, p, u.data()).gradient)
        vjp_want.push_back(g.v);
      loss_want.push_back(r.loss.v);
      for (auto& g : r.gradient) grad_want.push_back(g.v);
      out_want.insert(out_want.end(), r.outputs.begin(), r.outputs.end());
    }
  }

  std::vector<double> loss(size_t(c.B()), -1.0), loss2(loss);
  std::vector<T> grad(c.total(), T(7)), out(size_t(c.B() * c.data.n * c.d_out));
  edt::predict<T>(call, theta.data(), out.data());
  check(close(out, out_want), name + " predict");
  edt::loss<T>(call, theta.data(), loss.data());
  check(close(as<T>(loss), loss_want), name + " loss");
  edt::loss_and_grad<T>(call, theta.data(), loss2.data(), grad.data());
  check(close(as<T>(loss2), loss_want), name + " loss of loss_and_grad");
  check(close(grad, grad_want), name + " gradient");
  std::vector<T> pulled(c.total(), T(7));
  edt::vjp<T>(call, theta.data(), cotangent.data(), pulled.data());
  check(close(pulled, vjp_want), name + " vector-Jacobian product");
  std::vector<T> products(K * c.total(), T(7));
  edt::hvp<T>(call, theta.data(), K, vectors.data(), products.data(), int64_t(c.total()), false);
  check(close(products, hvp_want), name + " hvp");

  // Hessians: their columns are products with unit vectors, already trusted.
  for (bool ggn : {false, true}) {
    std::vector<int64_t> starts;
    int64_t need = 0;
    for (const edt::Net& net : plan.nets) {
      starts.push_back(need);
      need += int64_t(net.n_coords) * net.n_coords;
    }
    std::vector<T> hess(size_t(need), T(7)), v(c.total()), h(c.total());
    edt::hessian<T>(call, theta.data(), hess.data(), starts.data(), ggn);
    std::vector<double> want(hess.size());
    for (size_t b = 0; b < plan.nets.size(); ++b) {
      const edt::Net& net = plan.nets[b];
      std::vector<size_t> coords;
      for (int k = 0; k < net.n_flat; ++k)
        if (c.state[c.offset[b] + size_t(k)] == 1) coords.push_back(c.offset[b] + size_t(k));
      for (size_t i = 0; i < coords.size(); ++i) {
        std::fill(v.begin(), v.end(), T(0));
        v[coords[i]] = T(1);
        edt::hvp<T>(call, theta.data(), 1, v.data(), h.data(), int64_t(c.total()), ggn);
        for (size_t j = 0; j < coords.size(); ++j)
          want[size_t(starts[b]) + j * coords.size() + i] = double(h[coords[j]]);
      }
      bool symmetric = true;
      for (size_t i = 0; i < coords.size(); ++i)
        for (size_t j = 0; j < i; ++j)
          symmetric &= hess[size_t(starts[b]) + i * coords.size() + j] ==
                       hess[size_t(starts[b]) + j * coords.size() + i];
      check(symmetric, name + " Hessian symmetric");
    }
    check(close(hess, want), name + (ggn ? " Gauss-Newton" : " Hessian"));
    if (!ggn || c.data.loss != edt::Loss::mse) continue;
    // The Gauss-Newton matrix of squared error is 2 J^T J, J the residuals' Jacobian.
    const int64_t rows = c.data.n * c.d_out;
    std::vector<int64_t> at;
    need = 0;
    for (const edt::Net& net : plan.nets) {
      at.push_back(need);
      need += net.n_coords * rows;
    }
    std::vector<T> jacobian(size_t(need), T(7));
    edt::jacobian<T>(call, theta.data(), jacobian.data(), at.data(), true);
    for (size_t b = 0; b < plan.nets.size(); ++b) {
      const int64_t P = plan.nets[b].n_coords;
      for (int64_t i = 0; i < P; ++i)
        for (int64_t j = 0; j < P; ++j) {
          const T *u = jacobian.data() + at[b] + i * rows, *w = jacobian.data() + at[b] + j * rows;
          want[size_t(starts[b] + i * P + j)] = 2 * std::inner_product(u, u + rows, w, 0.0);
        }
    }
    check(close(hess, want), name + " Jacobian");
  }

  // Training in one call and in two, full batch and minibatches: the same bits.
  for (int64_t batch : {int64_t(0), int64_t(7)}) {
    auto run = [&](std::vector<int64_t> stops, int threads) {
      edt::set_num_threads(threads);
      std::vector<T> p = theta, m(c.total()), v(c.total());
      const size_t B = size_t(c.B());
      std::vector<int64_t> steps(B, 0), record{0, 3, 9};
      std::vector<double> lr(B, 0.01), decay(B, 0.001), factors(9, 1.0), l(B), g(B);
      std::vector<double> hist_l(3 * B), hist_g(3 * B);
      std::vector<uint64_t> seeds(B, 42);
      std::vector<int8_t> status(B, 0);
      edt::HyperParameters hp;
      hp.batch_size = batch < c.data.n ? batch : 0;
      hp.loss_target = -std::numeric_limits<double>::infinity();
      hp.last_step = 9;
      for (int64_t until : stops) {
        edt::TrainState<T> state{};
        state.theta = p.data();
        state.m = m.data();
        state.v = v.data();
        state.steps = steps.data();
        state.until = until;
        state.lr = lr.data();
        state.weight_decay = decay.data();
        state.seeds = seeds.data();
        state.factors = factors.data();
        state.status = status.data();
        state.loss = l.data();
        state.grad_norm = g.data();
        state.record = record.data();
        state.n_record = 3;
        state.history_loss = hist_l.data();
        state.history_grad = hist_g.data();
        state.networks = int64_t(B);
        edt::train<T>(call, hp, state);
      }
      for (double value : l) p.push_back(T(value));
      for (double value : hist_l) p.push_back(T(value));
      return p;
    };
    const auto whole = run({9}, 2);
    check(whole == run({2, 3, 9}, 1), name + " training cut into calls");
    bool kept = true;
    for (size_t k = 0; k < c.total(); ++k) kept &= c.state[k] == 1 || whole[k] == theta[k];
    check(kept, name + " pruned and frozen parameters keep their value");
  }

  // L-BFGS never raises the loss.
  std::vector<T> p = theta;
  std::vector<int64_t> done(size_t(c.B()));
  std::vector<int8_t> status(size_t(c.B()));
  std::vector<double> after(size_t(c.B())), steepest(size_t(c.B()));
  edt::lbfgs<T>(call,
                {p.data(), 5, 12, 1e-8, done.data(), status.data(), after.data(), steepest.data()});
  bool lower = true;
  for (int b = 0; b < c.B(); ++b) lower &= after[size_t(b)] <= loss2[size_t(b)];
  check(lower, name + " L-BFGS does not raise the loss");
}

// ThreadSanitizer looks for races: the type of numbers and other counts of threads make none.
#ifdef __SANITIZE_THREAD__
constexpr bool kRaces = true;
constexpr int kThreads[] = {3};
#else
constexpr bool kRaces = false;
constexpr int kThreads[] = {2, 3, 7};
#endif

// Networks with more samples than one chunk: the right numbers, and the same bits on any number of
// threads and in any company.
template <class T>
void test_chunks(const std::string& isa) {
  std::mt19937 rng(5);
  for (const Case& c : {dense_case(4200, {{6}, {3}}, false), dense_case(9000, {{5, 4}}, false),
                        dense_case(9000, {{4, 3}, {5, 2}, {2, 2}}, true)}) {
    const std::string name = isa + " chunks of " + std::to_string(c.data.n) + " samples";
    if (!kRaces) test_case<T>(c, rng, name);
    const edt::Plan plan(c.widths.data(), c.B(), c.depth + 2, true, c.state.data(),
                         int64_t(c.total()));
    const edt::Dataset data = make_data<T>(c);
    const edt::Call call{plan, data, c.index.data(), code_of(c.nets[0].act), nullptr, never};
    const std::vector<T> theta = as<T>(c.theta);
    edt::set_num_threads(1);
    const auto alone = everything<T>(call, theta);
    bool same = true;
    for (int threads : kThreads) {
      edt::set_num_threads(threads);
      same &= everything<T>(call, theta) == alone;
    }
    check(same, name + ": bits do not depend on threads");
    std::vector<T> whole(c.total()), own(c.total());
    std::vector<double> loss(size_t(c.B()));
    edt::loss_and_grad<T>(call, theta.data(), loss.data(), whole.data());
    for (int b = 0; b < c.B(); ++b) {
      std::vector<uint8_t> active(size_t(c.B()), 0);
      active[size_t(b)] = 1;
      edt::Call one = call;
      one.active = active.data();
      edt::loss_and_grad<T>(one, theta.data(), loss.data(), own.data());
    }
    check(own == whole, name + ": bits do not depend on company");
  }
  // One chunk that threads share: sums of blocks, ranges of the gradient over blocks, rows of a
  // block.
  for (const Case& c : {dense_case(700, {{64, 48}}, false), dense_case(3500, {{24, 20}}, true),
                        dense_case(64, {{260, 260}}, false)}) {
    const edt::Plan plan(c.widths.data(), c.B(), c.depth + 2, true, c.state.data(),
                         int64_t(c.total()));
    const edt::Dataset data = make_data<T>(c);
    const edt::Call call{plan, data, c.index.data(), code_of(c.nets[0].act), nullptr, never};
    check(edt::shares(plan.nets[0], c.data.n), isa + " one chunk is shared");
    const std::vector<T> theta = as<T>(c.theta);
    edt::set_num_threads(1);
    const auto alone = everything<T>(call, theta, false);
    bool same = true;
    for (int threads : kThreads) {
      edt::set_num_threads(threads);
      same &= everything<T>(call, theta, false) == alone;
    }
    check(same, isa + " one chunk: bits do not depend on threads");
  }
  edt::set_num_threads(2);
}

// A loop whose turns fail, and one that is longer than its slots.
void test_loops() {
  for (int threads : {1, 2, 5}) {
    edt::set_num_threads(threads);
    std::vector<int> order, slots(3, -1);
    edt::parallel_for(
        1, 1e12, true,
        [&](int64_t, edt::Crew& crew) {
          crew.share(
              500, 3,
              [&](int64_t k, int slot, edt::Scratch& scratch) {
                if (k % 50 == 0) usleep(500);
                *scratch.take<int>(1) = int(k);
                slots[size_t(slot)] = int(k);
              },
              [&](int64_t k, int slot) {
                order.push_back(slots[size_t(slot)] == k ? int(k) : -1);
              });
        },
        never);
    bool in_order = order.size() == 500;
    for (size_t k = 0; in_order && k < order.size(); ++k) in_order = order[k] == int(k);
    check(in_order, "every turn once, merged in order");
    bool caught = false;
    try {
      edt::parallel_for(
          1, 1e12, true,
          [&](int64_t, edt::Crew& crew) {
            crew.share(
                100, 2,
                [](int64_t k, int, edt::Scratch&) {
                  if (k == 13) throw std::runtime_error("thirteen");
                },
                [](int64_t, int) {});
          },
          never);
    } catch (const std::runtime_error& e) {
      caught = std::string(e.what()) == "thirteen";
    }
    check(caught, "an exception of a turn reaches the caller");
  }
}

void test_pool() {
  for (int threads : {1, 2, 5}) {
    edt::set_num_threads(threads);
    std::vector<int> hits(1000, 0);
    const bool done = edt::parallel_for(
        1000, 1e12, false, [&](int64_t i, edt::Crew&) { ++hits[size_t(i)]; }, never);
    check(done && std::all_of(hits.begin(), hits.end(), [](int h) { return h == 1; }),
          "every item once");
  }
  bool caught = false;
  try {
    edt::parallel_for(
        100, 1e12, false,
        [](int64_t i, edt::Crew&) {
          if (i == 13) throw std::runtime_error("thirteen");
        },
        never);
  } catch (const std::runtime_error& e) {
    caught = std::string(e.what()) == "thirteen";
  }
  check(caught, "an exception of a worker reaches the caller");
  std::atomic<int> started{0};
  const bool stopped = !edt::parallel_for(
      1000, 1e12, false,
      [&](int64_t, edt::Crew& crew) {
        ++started;
        while (!crew.cancel.load()) usleep(1000);
      },
      [] { return true; });
  check(stopped && started < 1000, "a stop request ends the work");
  // A child starts its own workers.
  const pid_t child = fork();
  if (child == 0) {
    int sum = 0;
    std::atomic<int> total{0};
    edt::parallel_for(10, 1e12, false, [&](int64_t i, edt::Crew&) { total += int(i); }, never);
    sum = total;
    _exit(sum == 45 ? 0 : 1);
  }
  int code = -1;
  waitpid(child, &code, 0);
  check(WIFEXITED(code) && WEXITSTATUS(code) == 0, "the pool works after a fork");
}

// In place of a runtime's team: the caller is one of the threads.
int teams = 0;
void start_threads(void (*body)(void*), void* data, unsigned threads, unsigned) {
  ++teams;
  std::vector<std::thread> others;
  for (unsigned k = 1; k < threads; ++k) others.emplace_back(body, data);
  body(data);
  for (std::thread& other : others) other.join();
}

// Items on threads that the caller has brought, on its own, and after a fork.
void test_team() {
  edt::set_team(start_threads);
  for (int threads : {1, 3}) {
    edt::set_num_threads(threads);
    for (double work : {1.0, 1e12}) {
      std::vector<int> hits(1000, 0);
      const bool done = edt::team_for(1000, work, [&](int64_t i) { ++hits[size_t(i)]; }, never);
      check(done && std::all_of(hits.begin(), hits.end(), [](int h) { return h == 1; }),
            "a team does every item once");
    }
    std::atomic<int> after{0};
    std::string caught;
    try {
      edt::team_for(
          100000, 1e12,
          [&](int64_t i) {
            if (i == 13) throw std::runtime_error("thirteen");
            if (i > 13) ++after;
          },
          never);
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    check(caught == "thirteen", "an exception in a team reaches the caller");
    check(threads > 1 || after == 0, "no item starts after one has failed");
    std::atomic<int> started{0};
    const bool stopped = !edt::team_for(
        1000, 1e12,
        [&](int64_t) {
          ++started;
          usleep(2000);
        },
        [] { return true; });
    check(stopped && started < 1000, "a stop request ends a team's work");
    const pid_t child = fork();
    if (child == 0) {
      const int before = teams;
      std::atomic<int> total{0};
      edt::team_for(10, 1e12, [&](int64_t i) { total += int(i); }, never);
      _exit(total == 45 && teams == before ? 0 : 1);
    }
    int code = -1;
    waitpid(child, &code, 0);
    check(WIFEXITED(code) && WEXITSTATUS(code) == 0, "a team's loop works after a fork");
  }
  edt::set_team(nullptr);
}

void test_philox() {
  // Known answers of the Random123 distribution.
  const edt::Philox zero(0, 0, 0);
  check(zero.out[0] == 0x6627e8d5u && zero.out[1] == 0xe169c58du && zero.out[2] == 0xbc57ac4cu &&
            zero.out[3] == 0x9b00dbd8u,
        "Philox of zeros");
  const edt::Philox pi(0x299f31d0a4093822u, 0x85a308d3243f6a88u, 0x0370734413198a2eu);
  check(pi.out[0] == 0xd16cfe09u && pi.out[1] == 0x94fdccebu && pi.out[2] == 0x5001e420u &&
            pi.out[3] == 0x24126ea1u,
        "Philox of the digits of pi");
  std::vector<int> order(97), seen(97, 0);
  edt::shuffle(5, 3, 97, order.data());
  for (int i : order) ++seen[size_t(i)];
  check(std::all_of(seen.begin(), seen.end(), [](int s) { return s == 1; }), "a permutation");
}

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 40;
  test_philox();
  test_pool();
  test_loops();
  test_team();
  for (const edt::Isa* isa : edt::compiled_isas()) {
    if (!isa->supported()) continue;
    edt::select_isa(isa->name);
    if (!kRaces) test_chunks<double>(std::string(isa->name) + " float64");
    test_chunks<float>(std::string(isa->name) + " float32");
    std::mt19937 rng(7);
    for (int k = 0; k < cases; ++k) {
      const Case c = random_case(rng);
      const std::string name = std::string(isa->name) + " case " + std::to_string(k);
      test_case<double>(c, rng, name + " float64");
      test_case<float>(c, rng, name + " float32");
      test_taps<double>(rng, name + " taps float64");
      test_taps<float>(rng, name + " taps float32");
      test_chain<double>(rng, name + " chain float64");
      test_chain<float>(rng, name + " chain float32");
      std::mt19937 own{unsigned(k)};
      test_chain_train<double>(own, name + " chain float64");
      test_chain_train<float>(own, name + " chain float32");
    }
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
