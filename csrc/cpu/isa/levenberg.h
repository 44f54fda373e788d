// Levenberg-Marquardt downwards, one network at a time; what it does and why is in
// edt/training/levenberg.py, which also has the form for networks too large for this one. Rules and
// order of decisions are the same there; this one solves by QR of the Jacobian on top of the
// damping instead of by singular values.
#pragma once
#include "cpu/isa/evaluate.h"
#include "cpu/isa/factorise.h"

namespace edt::EDT_ISA_NS {

template <class T>
class LevenbergOf {
 public:
  using V = Vec<T>;

  LevenbergOf(const Net& net, const Problem<T>& pr, const LevenbergRule& rule,
              const LevenbergState<T>& state, int64_t b, Crew& crew)
      : net_(net),
        pr_(pr),
        rule_(rule),
        s_(state),
        b_(b),
        crew_(crew),
        n_(padded<T>(net.n_params())),
        coords_(padded<T>(net.n_coords + 1)),
        all_(samples_of(pr)),
        rows_(all_.n * net.d_out),
        apart_(rows_ + V::L),
        norm_(net, state.theta + net.offset),
        p_(compress(net, state.theta + net.offset, crew.scratch)),
        g_(compress(net, state.grad + net.offset, crew.scratch)),
        trial_(crew.scratch.take<T>(n_)),
        line_(crew.scratch.take<T>(n_)),
        jacobian_(crew.scratch.take<T>(size_t(net.n_coords + 1) * apart_)),
        residual_(crew.scratch.take<T>(rows_)),
        goal_(crew.scratch.take<T>(rows_)),
        factor_(net.n_coords + 1, crew.scratch),
        damped_(net.n_coords + 1, crew.scratch),
        block_(net, pr.act, 1, true, false, all_.n, 0, crew.scratch) {
    for (T** v : {&straight_, &step_, &turn_, &best_}) {
      *v = crew.scratch.take<T>(coords_);
      std::fill(*v, *v + coords_, T(0));
    }
    for (int k : net.fixed) g_[k] = T(0);
  }

  void run() {
    for (int64_t k = 0; k < s_.budget; ++k) {
      if (crew_.cancel.load(std::memory_order_relaxed)) break;
      if (!goes_on()) {
        s_.over[b_] = 1;
        break;
      }
      iterate();
    }
    scatter(net_, p_, s_.theta + net_.offset);
    expand(net_, g_, s_.grad + net_.offset);
  }

 private:
  // Takes note of the loss after an iteration.
  bool goes_on() {
    const double loss = s_.loss[b_], scale = s_.scale[b_], steepest = s_.grad_max[b_];
    ++s_.since[b_];
    ++s_.since_decade[b_];
    if (loss <= rule_.slow * s_.best[b_]) {
      s_.best[b_] = loss;
      s_.since[b_] = 0;
    }
    if (loss <= rule_.brisk * s_.decade[b_]) {
      s_.decade[b_] = loss;
      s_.since_decade[b_] = 0;
    }
    const bool there = loss <= s_.goal[b_] * scale;
    const bool handed = steepest <= rule_.switch_to && loss > rule_.zero_soon * scale;
    // The gradient asks for nothing more: go on down the valley only while that is cheap.
    const bool enough = steepest <= rule_.tol && s_.since_decade[b_] > rule_.patience;
    const bool spent = s_.failed[b_] || s_.left[b_] <= 0 || s_.since[b_] > rule_.patience;
    return !(there || handed || spent || enough);
  }

  void iterate() {
    --s_.left[b_];
    ++s_.iterations[b_];
    const double before = factorise(net_, pr_, p_, factor_, crew_, jacobian_, apart_);
    const double size = factor_.norm2();
    double& mu = s_.mu[b_];
    if (mu < 0) mu = rule_.first * size;
    mu = std::max({mu, rule_.least * size, 1e-300});
    int64_t tries = 0;
    bool found = search(T(mu), before);
    while (!found && ++tries < rule_.tries) {
      if (crew_.cancel.load(std::memory_order_relaxed)) return;
      mu *= tries < rule_.lost ? rule_.up : rule_.far;
      found = search(T(mu), before);
    }
    mu *= tries < 2 ? rule_.down : rule_.wary;
    if (!found || !take()) s_.failed[b_] = 1;
  }

  // A step for this damping, in best_; false if none goes down as promised.
  bool search(T mu, double before) {
    damped_.copy(factor_);
    damped_.add_diagonal(std::sqrt(mu), crew_.scratch);
    damped_.solve(straight_);
    for (int64_t i = 0; i < coords_; ++i) straight_[i] = -straight_[i];
    forward_product(straight_, goal_);
    // |r|^2 - |r + J p|^2, without taking large numbers from each other
    const double length2 = square(straight_, coords_);
    const double predicted = square(goal_, rows_) + 2.0 * double(mu) * length2;
    const T* now = jacobian_ + net_.n_coords * apart_;
    for (int64_t s = 0; s < rows_; s += V::L)
      (V::load(goal_ + s) + V::load(now + s)).store(goal_ + s);
    const double small = rule_.close * std::sqrt(square(goal_, rows_));
    const double reach = rule_.bent * std::sqrt(length2);
    std::copy(straight_, straight_ + coords_, step_);
    double missed = std::numeric_limits<double>::infinity(), lowest = missed;
    for (int64_t corrections = 0;; ++corrections) {
      move(step_);
      residuals();
      const double loss = square(residual_, rows_);
      if (!(loss < std::numeric_limits<double>::infinity())) return false;
      if (loss < lowest) {
        lowest = loss;
        std::copy(step_, step_ + coords_, best_);
      }
      for (int64_t s = 0; s < rows_; s += V::L)
        (V::load(residual_ + s) - V::load(goal_ + s)).store(residual_ + s);
      const double miss = std::sqrt(square(residual_, rows_));
      if (miss <= small || miss > rule_.shrink * missed || corrections == rule_.corrections)
        return before - lowest > rule_.ratio * predicted;
      missed = miss;
      for (int c = 0; c < net_.n_coords; ++c)
        turn_[c] = dot(jacobian_ + c * apart_, residual_, int(rows_));
      damped_.solve_normal(turn_);
      double off = 0;
      for (int c = 0; c < net_.n_coords; ++c) {
        step_[c] -= turn_[c];
        off += double(step_[c] - straight_[c]) * double(step_[c] - straight_[c]);
      }
      if (std::sqrt(off) > reach) return false;
    }
  }

  // Moves by best_ where the loss as the objective computes it goes down.
  bool take() {
    move(best_);
    T* slope = line_;
    const double loss = evaluate(block_, pr_.act, trial_, pr_.data->loss, all_, slope, crew_);
    if (!(loss < s_.loss[b_])) return false;
    for (int k : net_.fixed) slope[k] = T(0);
    std::swap(p_, trial_);
    std::swap(g_, line_);
    s_.loss[b_] = loss;
    s_.grad_max[b_] = double(max_abs(g_, n_));
    s_.moving[b_] = std::sqrt(square(best_, coords_)) / std::max(norm_(p_), 1e-300);
    return true;
  }

  static double square(const T* x, int64_t n) { return double(dot(x, x, int(n))); }

  // trial = p + step
  void move(const T* step) {
    from_coordinates(net_, step, line_, n_);
    add_scaled(p_, T(1), line_, trial_, n_);
  }

  // out = J x
  void forward_product(const T* x, T* out) const {
    std::fill(out, out + rows_, T(0));
    for (int c = 0; c < net_.n_coords; ++c) axpy(x[c], jacobian_ + c * apart_, out, int(rows_));
  }

  // Those of the trial, rows as the Jacobian's.
  void residuals() {
    for_chunks(net_, all_, crew_, [&](int64_t first, const Samples<T>& chunk, Scratch& ws) {
      const Scratch::Hold hold{ws};
      Block<T> b(net_, pr_.act, 0, false, false, chunk.n, 0, ws);
      for_blocks(chunk, b.ld, [&](const Samples<T>& in, int64_t start) {
        forward(b, trial_, in);
        for (int o = 0; o < net_.d_out; ++o)
          for (int64_t s = 0; s < in.n; s += V::L) {
            const V miss = V::load(b.f + o * b.ld + s) - V::load(in.y + o * in.ldx + s);
            (sqrt(V::load(in.coef + s)) * miss).store(residual_ + o * all_.n + first + start + s);
          }
      });
    });
  }

  const Net& net_;
  const Problem<T>& pr_;
  const LevenbergRule& rule_;
  const LevenbergState<T>& s_;
  const int64_t b_;
  Crew& crew_;
  const int n_;
  const int64_t coords_;
  const Samples<T> all_;
  const int64_t rows_, apart_;  // columns a power of two apart would share their place in the cache
  const WholeNorm<T> norm_;
  // Compressed vectors; then rows of samples; then those over coordinates.
  T *p_, *g_, *trial_, *line_;
  T *jacobian_, *residual_, *goal_;
  T *straight_, *step_, *turn_, *best_;
  Triangle<T> factor_, damped_;
  Block<T> block_;
};

template <class T>
void levenberg(const Net& net, const Problem<T>& pr, const LevenbergRule& rule,
               const LevenbergState<T>& state, int64_t b, Crew& crew) {
  crew.scratch.reset();
  LevenbergOf<T>(net, pr, rule, state, b, crew).run();
}

}  // namespace edt::EDT_ISA_NS
