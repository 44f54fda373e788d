// What the walks of docs/contributing.md add to the core, without the rest: the names of the codes,
// and values of formulas at points that Python knows (tests/docs/test_walks.py). The formulas for a
// GPU stand beside those for vectors.
#include <cstdio>

#include "cpu/isa/losses.h"
#include "cpu/isa/train.h"
#include "cuda/losses.cuh"
#include "cuda/optimizer.cuh"

using namespace edt;
using V = EDT_ISA_NS::Vec<double>;
constexpr int kPoints = 16 * V::L;

static double at(int i) { return double((i * 7919) % 2003 - 1001) / 256; }

template <class F>
static void rows(const char* name, int count, const F& f) {
  for (int k = 0; k < count; ++k) {
    std::printf("%s %d", name, k);
    for (int i = 0; i < kPoints; ++i) std::printf(" %.17g", f(k, i));
    std::printf("\n");
  }
}

template <int N>
static void names(const char* of, const char* const (&list)[N]) {
  std::printf("names %s", of);
  for (const char* name : list) std::printf(" %s", name);
  std::printf("\n");
}

int main() {
  names("activation", kActNames);
  names("loss", kLossNames);
  names("optimizer", kOptimizerNames);
  names("training", kStatusNames);
  alignas(64) double z[kPoints], y[kPoints], out[4][kPoints];
  for (int i = 0; i < kPoints; ++i) z[i] = at(i), y[i] = at(3 * i + 2);

  for (int i = 0; i < kPoints; i += V::L) {
    V s[4];
    EDT_ISA_NS::Activation<Act::WALK_ACTIVATION>::f<3>(V::load(z + i), s);
    for (int k = 0; k < 4; ++k) s[k].store(out[k] + i);
  }
  rows("activation", 4, [&](int k, int i) { return out[k][i]; });
  rows("activation-gpu", 4, [&](int k, int i) {
    double s[4];
    cuda::activation<Act::WALK_ACTIVATION, 3>(z[i], s);
    return s[k];
  });

  for (int i = 0; i < kPoints; i += V::L) {
    V s[3];
    EDT_ISA_NS::with_scalar_loss(
        Loss::WALK_LOSS, [&](auto loss) { loss.template f<2>(V::load(z + i), V::load(y + i), s); });
    for (int k = 0; k < 3; ++k) s[k].store(out[k] + i);
  }
  rows("loss", 3, [&](int k, int i) { return out[k][i]; });
  rows("loss-gpu", 3, [&](int k, int i) {
    double s[3];
    cuda::scalar_loss<2>(Loss::WALK_LOSS, z[i], y[i], s);
    return s[k];
  });

  // Three steps from z with gradients that change.
  HyperParameters hp;
  hp.optimizer = Optimizer::WALK_OPTIMIZER;
  const double lr = 0.05, decay = 0.1, factors[] = {1, 1, 1};
  TrainState<double> st{};
  st.lr = &lr, st.weight_decay = &decay, st.factors = factors;
  alignas(64) double p[kPoints], g[kPoints], m[kPoints] = {}, v[kPoints] = {};
  double p1[kPoints], m1[kPoints] = {}, v1[kPoints] = {};
  for (int i = 0; i < kPoints; ++i) p[i] = p1[i] = z[i];
  EDT_ISA_NS::Stepper<double> stepper{hp, p, g, m, v, nullptr, kPoints};
  for (int step = 0; step < 3; ++step) {
    for (int i = 0; i < kPoints; ++i) g[i] = (step + 1) * y[i];
    stepper.move<false>({0, kPoints}, step, lr, decay);
    const cuda::Rule<double> rule(hp, st, 0, step, 1 - integer_power(hp.beta1, step + 1),
                                  1 - integer_power(hp.beta2, step + 1));
    for (int i = 0; i < kPoints; ++i)
      rule(p1[i], g[i], m1 + i, v1 + i, static_cast<const double*>(nullptr));
  }
  rows("optimizer", 1, [&](int, int i) { return p[i]; });
  rows("optimizer-gpu", 1, [&](int, int i) { return p1[i]; });
}
