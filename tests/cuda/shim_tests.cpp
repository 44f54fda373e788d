// The CUDA kernels over the shim, without Python, for AddressSanitizer and
// UndefinedBehaviorSanitizer: random ensembles through every call, in exact-size heap memory,
// against the CPU engine. Argument: number of random cases.
//
// Tolerance: both engines round sums of at most N * width terms in different orders; they agree to
// about 1e-11 (float64) and 1e-3 (float32) of the largest entry.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>

#include "cpu/engine.h"
#include "cuda/engine.h"
#include "math/activations_list.h"
#include "shim.h"

namespace {

using namespace edt;

int checks = 0, failures = 0;

template <class T>
void close(const char* what, int seed, const std::vector<T>& found, const std::vector<T>& wanted) {
  double scale = 1e-3, worst = 0;
  for (T w : wanted)
    if (std::isfinite(w)) scale = std::max(scale, std::fabs(double(w)));
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (std::isnan(wanted[i]) && std::isnan(found[i])) continue;
    const double off = std::fabs(double(found[i]) - double(wanted[i]));
    worst = std::isfinite(off) ? std::max(worst, off) : 1e300;
  }
  ++checks;
  if (worst > scale * (sizeof(T) == 8 ? 1e-11 : 1e-3)) {
    ++failures;
    std::printf("FAILED: case %d, %s: off by %.3g of %.3g\n", seed, what, worst, scale);
  }
}

struct Draw {
  std::mt19937_64 engine;
  int whole(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine); }
  double normal() { return std::normal_distribution<double>()(engine); }
  double chance() { return std::uniform_real_distribution<double>()(engine); }
};

// Exact-size copies on the heap, as the device's memory.
template <class T>
struct Device {
  std::unique_ptr<T[]> p;
  explicit Device(const std::vector<T>& v) : p(new T[v.size()]) {
    std::copy(v.begin(), v.end(), p.get());
  }
};

template <class T>
void one_case(int seed) {
  Draw draw{std::mt19937_64(uint64_t(seed))};
  // Now and then layers and samples beyond the tiles of the tensor cores.
  const bool large = seed % 5 == 4;
  // And one hidden layer of few inputs, whose training stays in registers.
  const bool shallow = seed % 3 == 1;
  // Whose samples are enough for two blocks.
  const bool pairs = large && shallow;
  const int depth = shallow ? 1 : draw.whole(1, large ? 2 : 3), B = draw.whole(1, large ? 2 : 3);
  const int N = pairs ? draw.whole(256, 300) : draw.whole(1, large ? 140 : 70);
  const int d_in = draw.whole(1, shallow ? 4 : large ? 40 : 6);
  const int d_out = shallow ? 1 : draw.whole(2, 3), loss = shallow ? 0 : draw.whole(0, 1);
  const bool bias = draw.chance() < 0.7;
  const int act = draw.whole(0, kActivations - 1);
  std::vector<int64_t> widths;
  int64_t total = 0;
  for (int b = 0; b < B; ++b) {
    int64_t before = d_in;
    widths.push_back(d_in);
    for (int l = 0; l <= depth; ++l) {
      const int64_t h = l == depth ? d_out : draw.whole(1, large ? 140 : depth == 1 ? 20 : 6);
      widths.push_back(h);
      total += (before + bias) * h;
      before = h;
    }
  }
  const double pruned = draw.whole(0, 2) * 0.4, frozen = draw.whole(0, 1) * 0.2;
  std::vector<uint8_t> state(total);
  // More vectors than wide networks take at once, now and then.
  const int K = draw.chance() < 0.2 ? 11 : 2;
  std::vector<T> theta(total), vectors(K * total);
  for (int64_t k = 0; k < total; ++k) {
    state[k] = draw.chance() < pruned ? kPruned : draw.chance() < frozen ? kFrozen : kTrainable;
    theta[k] = state[k] == kPruned ? T(0) : T(0.4 * draw.normal());
  }
  for (T& v : vectors) v = T(draw.normal());
  std::vector<T> x(N * d_in), y(N * d_out), coef(N, T(1.0 / N));
  std::vector<int64_t> classes(N);
  for (T& v : x) v = T(draw.normal());
  for (T& v : y) v = T(draw.normal());
  for (int64_t& c : classes) c = draw.whole(0, d_out - 1);
  const std::vector<int64_t> task(B, 0);

  // The CPU engine.
  const Plan plan(widths.data(), B, depth + 2, bias, state.data(), total);
  Dataset data;
  data.is_double = sizeof(T) == 8;
  data.n_tasks = 1;
  data.n = N;
  data.d_in = d_in;
  data.d_out = d_out;
  const void* targets = loss ? static_cast<const void*>(classes.data()) : y.data();
  auto made =
      std::make_unique<DatasetT<T>>(1, N, d_in, d_out, Loss(loss), x.data(), targets, coef.data());
  if constexpr (sizeof(T) == 8) data.f64 = std::move(made);
  else data.f32 = std::move(made);
  const edt::Call host{plan, data, task.data(), act, nullptr, [] { return false; }};

  // The kernels' view of the same.
  const cuda::DevicePlan device_plan(plan);
  std::vector<unsigned char> plan_block(size_t(device_plan.block().size));
  device_plan.write(plan_block.data());
  const Device<unsigned char> plan_memory(plan_block);
  const int n_pad = (N + 31) / 32 * 32;
  std::vector<T> xs(n_pad * d_in), ys(n_pad * d_out), cs(n_pad);
  std::vector<int> labels(n_pad);
  for (int s = 0; s < n_pad; ++s) {
    const int from = std::min(s, N - 1);
    for (int i = 0; i < d_in; ++i) xs[i * n_pad + s] = x[from * d_in + i];
    for (int o = 0; o < d_out; ++o) ys[o * n_pad + s] = y[from * d_out + o];
    cs[s] = coef[from];
    labels[s] = int(classes[from]);
  }
  const Device<T> xd(xs), yd(ys), cd(cs), thetad(theta), vd(vectors);
  const Device<int> ld(labels);
  const Device<int64_t> taskd(task);
  const cuda::Data<T> samples{xd.p.get(), yd.p.get(), ld.p.get(), cd.p.get(), n_pad,
                              N,          d_in,       d_out,      loss};
  auto& settings = edt_shim::settings();
  settings.order = edt_shim::Order(draw.whole(0, 2));
  settings.seed = uint64_t(seed);
  settings.sms = draw.whole(1, 8);
  settings.shared_block = pairs                          ? 227 * 1024
                          : large || draw.chance() < 0.3 ? 1500
                          : draw.chance() < 0.5          ? 8000
                                                         : 227 * 1024;
  settings.shared_sm = 3 * settings.shared_block;
  auto with = [&](cuda::Job job, const cuda::ScheduleOptions& options, const void* parameters,
                  const auto& body) {
    const cuda::Schedule schedule(device_plan, job, sizeof(T) == 8, N, cuda::limits_of(0), options);
    std::vector<unsigned char> block(size_t(schedule.block_bytes()));
    schedule.write(block.data());
    const Device<unsigned char> memory(block);
    const Device<unsigned char> workspace(
        std::vector<unsigned char>(size_t(schedule.workspace().size), 0xff));
    body(cuda::Call{device_plan, schedule, plan_memory.p.get(), memory.p.get(), workspace.p.get(),
                    taskd.p.get(), nullptr, parameters, act, nullptr});
  };

  std::vector<T> found(size_t(B) * N * d_out), wanted = found;
  predict<T>(host, theta.data(), wanted.data());
  with(cuda::Job::forward, {}, thetad.p.get(), [&](const cuda::Call& c) {
    cuda::evaluate<T>(c, samples, found.data(), nullptr, nullptr, nullptr);
  });
  close("predict", seed, found, wanted);

  std::vector<double> losses(B), losses_wanted(B);
  found.assign(total, T(7));
  wanted.assign(total, T(7));
  loss_and_grad<T>(host, theta.data(), losses_wanted.data(), wanted.data());
  with(cuda::Job::gradient, {}, thetad.p.get(), [&](const cuda::Call& c) {
    cuda::evaluate<T>(c, samples, nullptr, nullptr, losses.data(), found.data());
  });
  close("gradient", seed, found, wanted);
  close("loss", seed, std::vector<T>(losses.begin(), losses.end()),
        std::vector<T>(losses_wanted.begin(), losses_wanted.end()));

  const bool ggn = draw.chance() < 0.5;
  found.assign(K * total, T(7));
  wanted = found;
  hvp<T>(host, theta.data(), K, vectors.data(), wanted.data(), total, ggn);
  with(cuda::Job::curvature, {K, false, 0}, thetad.p.get(), [&](const cuda::Call& c) {
    cuda::hvp<T>(c, samples, vd.p.get(), found.data(), total, ggn);
  });
  close("hvp", seed, found, wanted);

  std::vector<int64_t> offsets;
  int64_t size = 0;
  for (const Net& net : plan.nets) {
    offsets.push_back(size);
    size += int64_t(net.n_coords) * net.n_coords;
  }
  if (size < 3000) {
    found.assign(size, T(0));
    wanted = found;
    hessian<T>(host, theta.data(), wanted.data(), offsets.data(), ggn);
    with(cuda::Job::curvature, {0, false, 0}, thetad.p.get(), [&](const cuda::Call& c) {
      cuda::hessian<T>(c, samples, found.data(), offsets.data(), ggn);
    });
    close("hessian", seed, found, wanted);
  }

  // Ten steps of training.
  const int64_t steps = 10, batch = draw.chance() < 0.5 ? 0 : draw.whole(1, N);
  HyperParameters hyper;
  hyper.optimizer = Optimizer(draw.whole(0, 2));
  hyper.momentum = 0.5;
  hyper.beta2 = 0.99;
  hyper.eps = 1e-6;
  hyper.batch_size = batch >= N ? 0 : batch;
  hyper.loss_target = -HUGE_VAL;
  hyper.last_step = steps;
  const std::vector<double> rate(B, 0.01), decay(B, 0.02), factors(steps, 1.0);
  const std::vector<uint64_t> seeds(B, uint64_t(seed));
  const std::vector<int64_t> record{0, 3, steps};
  struct Run {
    std::vector<T> theta, m, v;
    std::vector<int64_t> steps;
    std::vector<int8_t> status;
    std::vector<double> loss, grad, history_loss, history_grad;
  };
  auto start = [&] {
    return Run{theta,
               std::vector<T>(total),
               std::vector<T>(total),
               std::vector<int64_t>(B),
               std::vector<int8_t>(B),
               std::vector<double>(B),
               std::vector<double>(B),
               std::vector<double>(3 * B),
               std::vector<double>(3 * B)};
  };
  Run a = start(), b = start();
  const auto state_of = [&](Run& r) {
    return TrainState<T>{r.theta.data(),
                         r.m.data(),
                         r.v.data(),
                         r.steps.data(),
                         steps,
                         rate.data(),
                         decay.data(),
                         seeds.data(),
                         factors.data(),
                         r.status.data(),
                         r.loss.data(),
                         r.grad.data(),
                         record.data(),
                         3,
                         r.history_loss.data(),
                         r.history_grad.data(),
                         B};
  };
  train<T>(host, hyper, state_of(a));
  with(cuda::Job::train, {1, hyper.optimizer != Optimizer::sgd, hyper.batch_size}, b.theta.data(),
       [&](const cuda::Call& c) {
         const TrainState<T> st = state_of(b);
         cuda::train<T>(c, samples, hyper, st, 0, record.data());
       });
  close("training", seed, b.theta, a.theta);
  close("steps", seed, std::vector<T>(b.steps.begin(), b.steps.end()),
        std::vector<T>(a.steps.begin(), a.steps.end()));
}

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 20;
  for (int seed = 0; seed < cases; ++seed) {
    if (seed % 2) one_case<float>(seed);
    else one_case<double>(seed);
  }
  std::printf("%d checks of %d cases, %d failed\n", checks, cases, failures);
  return failures > 0;
}
