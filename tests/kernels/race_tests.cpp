// Many threads call the core at once, as Python threads do: every call must give the bits it gives
// alone, while others run, change the number of threads, stop, fail or fork. ThreadSanitizer
// watches.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <stdexcept>
#include <thread>

#include "cases.h"
#include "cpu/pool.h"

namespace {

constexpr int kCallers = 4;

void at_once(const std::function<void(int)>& body) {
  std::vector<std::thread> callers;
  for (int t = 0; t < kCallers; ++t) callers.emplace_back(body, t);
  for (auto& caller : callers) caller.join();
}

// One dense case with work enough that the pool does it, not the calling thread.
Case large_case() {
  std::mt19937 rng(3);
  std::normal_distribution<double> normal;
  Case c;
  c.d_in = 3;
  c.d_out = 1;
  c.data.n = 1500;
  for (int b = 0; b < 6; ++b) {
    reference::Network net;
    net.bias = true;
    net.act = reference::Act::tanh;
    net.widths = {c.d_in, int64_t(6 + b), c.d_out};
    c.widths.insert(c.widths.end(), net.widths.begin(), net.widths.end());
    c.offset.push_back(c.theta.size());
    for (size_t k = 0; k < net.size(); ++k) c.theta.push_back(0.5 * normal(rng));
    net.state.assign(net.size(), 1);
    c.state.insert(c.state.end(), net.state.begin(), net.state.end());
    c.index.push_back(0);
    c.nets.push_back(net);
  }
  for (int64_t n = 0; n < c.data.n; ++n) {
    for (int64_t i = 0; i < c.d_in; ++i) c.data.x.push_back(normal(rng));
    c.data.y.push_back(normal(rng));
    c.data.coef.push_back(1.0 / double(c.data.n));
  }
  return c;
}

// All that the calls compute, end to end.
template <class T>
std::vector<T> everything(const edt::Call& call, const std::vector<T>& theta, size_t B) {
  const size_t total = theta.size();
  std::vector<T> out(theta);
  std::vector<double> loss(B);
  std::vector<T> grad(total), product(2 * total), vectors(2 * total, T(1));
  edt::loss_and_grad<T>(call, theta.data(), loss.data(), grad.data());
  edt::hvp<T>(call, theta.data(), 2, vectors.data(), product.data(), int64_t(total), false);
  std::vector<int64_t> starts;
  int64_t need = 0;
  for (const edt::Net& net : call.plan.nets) {
    starts.push_back(need);
    need += int64_t(net.n_coords) * net.n_coords;
  }
  std::vector<T> hessian(size_t(need), T(0));
  edt::hessian<T>(call, theta.data(), hessian.data(), starts.data(), false);

  std::vector<T> p = theta, m(total), v(total);
  std::vector<int64_t> steps(B, 0), record{0, 4};
  std::vector<double> lr(B, 0.01), decay(B, 0.0), factors(4, 1.0), l(B), g(B), hl(2 * B), hg(2 * B);
  std::vector<uint64_t> seeds(B, 1);
  std::vector<int8_t> status(B, 0);
  edt::HyperParameters hp;
  hp.loss_target = -std::numeric_limits<double>::infinity();
  hp.last_step = 4;
  edt::train<T>(call, p.data(), m.data(), v.data(),
                {steps.data(), 4, hp, lr.data(), decay.data(), seeds.data(), factors.data(), 0,
                 status.data(), l.data(), g.data(), record.data(), 2, hl.data(), hg.data()});
  for (const auto* part : {&grad, &product, &hessian, &p})
    out.insert(out.end(), part->begin(), part->end());
  for (double value : loss) out.push_back(T(value));
  return out;
}

template <class T>
void test_calls(const std::string& name) {
  const Case c = large_case();
  const edt::Plan plan(c.widths.data(), c.B(), c.depth + 2, true, c.state.data(),
                       int64_t(c.total()));
  const edt::Dataset data = make_data<T>(c);
  const edt::Call call{plan, data, c.index.data(), code_of(c.nets[0].act), nullptr, never};
  const std::vector<T> theta = as<T>(c.theta);
  edt::set_num_threads(1);
  const auto alone = everything<T>(call, theta, c.nets.size());
  std::atomic<int> different{0};
  at_once([&](int t) {
    for (int k = 0; k < 3; ++k) {
      edt::set_num_threads(1 + (t + k) % 3);
      if (everything<T>(call, theta, c.nets.size()) != alone) ++different;
    }
  });
  check(different == 0, name + ": callers at once get the bits of one alone");
}

void test_pool() {
  std::atomic<int> wrong{0};
  at_once([&](int t) {
    for (int k = 0; k < 20; ++k) {
      std::vector<int> hits(50, 0);
      const auto item = [&](int64_t i, edt::Scratch&, const edt::CancelFlag&) {
        ++hits[size_t(i)];
      };
      const bool done = edt::parallel_for(50, k % 2 ? 1e12 : 1.0, item, never);
      wrong += !done || std::any_of(hits.begin(), hits.end(), [](int h) { return h != 1; });
      try {
        edt::parallel_for(
            50, 1e12,
            [t](int64_t i, edt::Scratch&, const edt::CancelFlag&) {
              if (i == t) throw std::runtime_error(std::to_string(t));
            },
            never);
        ++wrong;
      } catch (const std::runtime_error& e) {
        wrong += e.what() != std::to_string(t);
      }
    }
  });
  check(wrong == 0, "each caller gets its own items and exceptions");

  // One caller stops (poll asks 0.1 s later); the others go on.
  std::atomic<int> stopped{0}, finished{0};
  at_once([&](int t) {
    const bool whole = edt::parallel_for(
        8, 1e12,
        [&](int64_t, edt::Scratch&, const edt::CancelFlag& cancel) {
          for (int k = 0; t == 0 && k < 3000 && !cancel.load(); ++k) usleep(1000);
        },
        [t] { return t == 0; });
    (whole ? finished : stopped) += 1;
  });
  check(stopped == 1 && finished == kCallers - 1, "a stop is for the caller that asked");
}

// A child is forked while other threads use the pool; it starts a pool of its own.
void test_fork() {
  std::atomic<bool> over{false};
  std::thread busy([&] {
    while (!over)
      edt::parallel_for(
          4, 1e12, [](int64_t, edt::Scratch&, const edt::CancelFlag&) { usleep(200); }, never);
  });
  bool well = true;
  for (int k = 0; k < 5; ++k) {
    const pid_t child = fork();
    if (child == 0) {
      std::atomic<int> sum{0};
      edt::parallel_for(
          10, 1e12, [&](int64_t i, edt::Scratch&, const edt::CancelFlag&) { sum += int(i); },
          never);
      _exit(sum == 45 ? 0 : 1);
    }
    int code = -1;
    waitpid(child, &code, 0);
    well &= WIFEXITED(code) && WEXITSTATUS(code) == 0;
  }
  over = true;
  busy.join();
  check(well, "children forked while the pool works have one of their own");
}

}  // namespace

int main() {
  test_pool();
  test_fork();
  test_calls<double>("float64");
  test_calls<float>("float32");
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
