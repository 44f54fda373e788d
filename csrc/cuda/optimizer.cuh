// What training on a device shares, however its steps are cut into launches: one parameter's
// update, the verdict on an evaluation, the order of an epoch's samples.
#pragma once
#include "cuda/passes.cuh"
#include "layout/training.h"
#include "math/philox.h"
#include "math/power.h"

namespace edt::cuda {

// One parameter's update, with the numbers of one step. One thread makes it for its block: it
// counts in float64, which some cards do at 1/64 of the speed.
template <class T>
struct Rule {
  T rate, decay, mu, keep, b1, d1, b2, d2, root, eps, shrink, fade;
  int adaptive, heavy, nesterov, none = 0;  // no padding: loads of packs find all bytes written

  // c1, c2: 1 - beta^(step + 1), for adam.
  EDT_DEVICE Rule(const HyperParameters& hp, const TrainState<T>& st, int b, int64_t step,
                  double c1, double c2) {
    const double lr = st.lr[b] * st.factors[step], wd = st.weight_decay[b];
    adaptive = hp.optimizer != Optimizer::sgd;
    heavy = !adaptive && hp.momentum != 0;
    nesterov = hp.nesterov;
    const bool decoupled = hp.optimizer == Optimizer::adamw;
    rate = T(adaptive ? -lr / c1 : -lr);
    decay = T(decoupled ? 0.0 : wd);
    mu = T(hp.momentum);
    // The first step fills the buffer with the gradient itself (torch's convention).
    keep = step == 0 ? T(1) : T(1 - hp.dampening);
    b1 = T(hp.beta1);
    d1 = T(1.0 - hp.beta1);
    b2 = T(hp.beta2);
    d2 = T(1.0 - hp.beta2);
    root = T(adaptive ? 1.0 / sqrt(c2) : 1.0);
    eps = T(hp.eps);
    shrink = T(decoupled ? 1.0 - lr * wd : 1.0);
    fade = T(decoupled ? -lr * wd : 0.0);
  }
  // scale: this parameter's factor of the rate, or null.
  EDT_DEVICE void operator()(T& p, T g, T* m, T* v, const T* scale) const {
    const T d = fma(decay, p, g), rate_here = scale ? rate * *scale : rate;
    if (adaptive) {
      const T mi = fma(d1, d, b1 * *m), vi = fma(d2 * d, d, b2 * *v);
      *m = mi;
      *v = vi;
      const T kept = scale ? fma(fade * *scale, T(1), T(1)) : shrink;
      p = fma(rate_here, mi / fma(T(sqrt(vi)), root, eps), p * kept);
    } else if (heavy) {
      const T b = fma(mu, *m, keep * d);
      *m = b;
      p = fma(rate_here, nesterov ? fma(mu, b, d) : b, p);
    } else {
      p = fma(rate_here, d, p);
    }
  }
};

// Where a block keeps its rule: what block_reduce leaves of the reserved memory.
template <class T>
EDT_DEVICE Rule<T>* rule_in(unsigned char* memory) {
  static_assert(sizeof(Rule<T>) <= kReserved / 2);
  return reinterpret_cast<Rule<T>*>(memory + kReserved / 2);
}

// Makes it by one thread; there for the others after a barrier.
template <class T>
EDT_DEVICE void make_rule(Rule<T>* rule, const HyperParameters& hp, const TrainState<T>& st, int b,
                          int64_t step) {
  if (threadIdx.x != 0) return;
  const bool adaptive = hp.optimizer != Optimizer::sgd;
  const double c1 = adaptive ? 1.0 - integer_power(hp.beta1, step + 1) : 1.0;
  const double c2 = adaptive ? 1.0 - integer_power(hp.beta2, step + 1) : 1.0;
  *rule = Rule<T>(hp, st, b, step, c1, c2);
}

// What a gradient is multiplied by for a norm of at most `most` (torch.nn.utils.clip_grad_norm_).
// squares: the sum of the squares of its entries divided by the largest, `top`: the square of an
// entry itself may not be a number.
template <class T>
EDT_DEVICE T clip_factor(double most, T top, T squares) {
  const double factor = most / (double(top) * sqrt(double(squares)) + 1e-6);
  return factor < 1 ? T(factor) : T(1);
}

// An entry's part of that sum.
template <class T>
EDT_DEVICE T add_square(T sum, T g, T top) {
  const T x = g / top;
  return fma(x, x, sum);
}

// Null stays null.
template <class T>
EDT_DEVICE T* entry_of(T* p, int64_t at) {
  return p ? p + at : nullptr;
}

EDT_HD bool wants_target(const HyperParameters& hp) { return hp.loss_target > -HUGE_VAL; }

// Where the evaluation at one step leaves a network.
EDT_DEVICE Status verdict(const HyperParameters& hp, double loss, double grad_max) {
  if (!is_finite(loss) || !is_finite(grad_max)) return Status::diverged;
  if (hp.batch_size == 0 && hp.tol > 0 && grad_max <= hp.tol) return Status::converged;
  return loss <= hp.loss_target ? Status::target : Status::running;
}

// What entry i is exchanged with.
EDT_DEVICE int draw_of(uint64_t seed, uint64_t epoch, int i) {
  const Philox random(seed, uint64_t(i) >> 1, epoch);
  // Not word(i & 1): an index known only at run time would put the numbers in local memory.
  const uint64_t bits = i & 1 ? random.word(1) : random.word(0);
  return i == 0 ? 0 : int(__umul64hi(bits, uint64_t(i) + 1));
}

// Order of one epoch's samples: Fisher-Yates as math/philox.h, the draws by all threads.
EDT_CALLED void shuffle_block(uint64_t seed, uint64_t epoch, int n, int* order, int* draw) {
  __syncthreads();
  for (int i = int(threadIdx.x); i < n; i += int(blockDim.x)) {
    order[i] = i;
    draw[i] = draw_of(seed, epoch, i);
  }
  __syncthreads();
  if (threadIdx.x == 0)
    for (int i = n - 1; i > 0; --i) {
      const int j = draw[i], t = order[i];
      order[i] = order[j];
      order[j] = t;
    }
  __syncthreads();
}

}  // namespace edt::cuda
