// Damped Newton with exact Hessians, bent along with the outputs, one network at a time; what it
// does and why is in edt/training/newton.py, which also has the form for networks too large for
// this one and for other objectives. Rules and order of decisions are the same there.
#pragma once
#include "cpu/isa/eigen.h"
#include "cpu/isa/evaluate.h"
#include "cpu/isa/hessian.h"
#include "cpu/isa/second_directional.h"

namespace edt::EDT_ISA_NS {

template <class T>
class NewtonOf {
 public:
  NewtonOf(const Net& net, const Problem<T>& pr, const NewtonRule& rule,
           const NewtonState<T>& state, int64_t b, Crew& crew)
      : net_(net),
        pr_(pr),
        rule_(rule),
        s_(state),
        b_(b),
        crew_(crew),
        n_(padded<T>(net.n_params())),
        coords_(net.n_coords),
        theta_(state.theta + net.offset),
        norm_(net, theta_),
        p_(compress(net, theta_, crew.scratch)),
        g_(compress(net, state.grad + net.offset, crew.scratch)),
        trial_(crew.scratch.take<T>(n_)),
        trial_g_(crew.scratch.take<T>(n_)),
        line_(crew.scratch.take<T>(n_)),
        force_(crew.scratch.take<T>(n_)),
        hess_(crew.scratch.take<T>(size_t(coords_) * coords_)),
        basis_(coords_, crew.scratch),
        all_(samples_of(pr)),
        block_(net, pr.act, 1, true, false, all_.n, 0, crew.scratch) {
    for (T** v : {&scale_, &slope_, &size_, &along_, &step_, &turn_, &packed_}) {
      *v = crew.scratch.take<T>(size_t(basis_.ld));
      std::fill(*v, *v + basis_.ld, T(0));
    }
    for (int k : net.fixed) g_[k] = T(0);
  }

  void run() {
    for (int64_t k = 0; k < s_.budget && status() == Descent::running; ++k) {
      if (crew_.cancel.load(std::memory_order_relaxed)) break;
      iterate();
      judge();
    }
    scatter(net_, p_, theta_);
    expand(net_, g_, s_.grad + net_.offset);
  }

 private:
  Descent status() const { return Descent(s_.status[b_]); }
  void end(Descent how) { s_.status[b_] = int8_t(how); }

  double norm() const { return norm_(p_); }
  void pack(const T* from, T* to) const { to_coordinates(net_, from, to, basis_.ld); }
  void unpack(const T* step, T* to) const { from_coordinates(net_, step, to, n_); }

  // Rounding error to expect in a loss; edt/objectives/noise.py.
  double noise(double loss) const {
    const double unit = std::ldexp(1.0, -50), scale = s_.scale[b_], size = std::abs(loss);
    return unit * (size + 2.0 * std::sqrt(size * scale)) + unit * unit * scale;
  }

  // The Hessian in the basis of its eigenvectors, parameters scaled or not.
  bool decompose() {
    const bool scaled = s_.scaled[b_] != 0;
    hessian_at(net_, pr_, p_, theta_, hess_, false, crew_);
    T largest = T(0);
    for (int i = 0; i < coords_; ++i) {
      scale_[i] = scaled ? std::sqrt(std::abs(hess_[size_t(i) * coords_ + i])) : T(1);
      largest = std::max(largest, scale_[i]);
    }
    if (scaled)
      for (int i = 0; i < coords_; ++i)
        scale_[i] = std::max(scale_[i], T(rule_.range) * largest + T(1e-300));
    std::fill(basis_.matrix, basis_.matrix + coords_ * basis_.ld, T(0));
    for (int i = 0; i < coords_; ++i)
      for (int j = 0; j < coords_; ++j) {
        const T h = hess_[size_t(i) * coords_ + j];
        basis_.matrix[i * basis_.ld + j] = scaled ? h / (scale_[i] * scale_[j]) : h;
      }
    if (!basis_.run()) return false;
    pack(g_, packed_);
    for (int i = 0; i < coords_; ++i) packed_[i] /= scale_[i];
    basis_.onto(packed_, slope_);
    largest_ = max_abs(basis_.values, basis_.n);
    const T floor = T(4) * std::numeric_limits<T>::epsilon() * largest_;
    for (int k = 0; k < coords_; ++k)
      size_[k] = std::max(std::abs(basis_.values[k]), floor) + T(1e-300);
    return true;
  }

  // out = D^-1 V (|lam| + mu)^-1 V^T D^-1 x
  void solve(const T* x, T mu, T* out) {
    for (int i = 0; i < coords_; ++i) packed_[i] = x[i] / scale_[i];
    basis_.onto(packed_, along_);
    for (int k = 0; k < coords_; ++k) along_[k] /= size_[k] + mu;
    to_parameters(out);
  }
  void to_parameters(T* out) {
    basis_.back(along_, out);
    for (int i = 0; i < coords_; ++i) out[i] /= scale_[i];
  }
  double scaled_norm(const T* x) const {
    double sum = 0;
    for (int i = 0; i < coords_; ++i) {
      const double v = double(x[i]) * double(scale_[i]);
      sum += v * v;
    }
    return std::sqrt(sum);
  }

  // The straight step of one damping.
  void propose(T mu) {
    double predicted = 0;
    for (int k = 0; k < coords_; ++k) {
      const T q = -slope_[k] / (size_[k] + mu);
      predicted -=
          double(slope_[k]) * double(q) + 0.5 * double(basis_.values[k]) * double(q) * double(q);
      along_[k] = q;
    }
    predicted_ = predicted;
    to_parameters(step_);
    length_ = std::sqrt(double(dot(step_, step_, int(basis_.ld))));
  }

  // Adds the second directional derivative to the step; false if it is not small against it.
  bool straighten(T mu) {
    unpack(step_, line_);
    // A step of no length has no direction to probe, and nothing to follow.
    const double reach =
        length_ > 1e-150 ? std::max(rule_.reach / std::max(length_, 1e-300), rule_.probe) : 1.0;
    pull_second(net_, pr_, p_, line_, T(reach), force_, crew_);
    pack(force_, turn_);
    solve(turn_, mu, turn_);
    for (int i = 0; i < coords_; ++i) turn_[i] *= T(-0.5);
    const double size = scaled_norm(step_);
    if (!(2.0 * scaled_norm(turn_) <= rule_.bent * size || size <= 1e-150)) return false;
    for (int i = 0; i < coords_; ++i) step_[i] += turn_[i];
    return true;
  }

  void iterate() {
    --s_.left[b_];
    ++s_.iterations[b_];
    if (!decompose()) {
      s_.failed[b_] = 1;
      return;
    }
    double& mu = s_.mu[b_];
    if (mu < 0) mu = rule_.first * double(largest_);
    mu = std::max(mu, rule_.least * double(largest_));
    for (int64_t k = 0; k < rule_.tries; ++k) {
      propose(T(mu));
      if (straighten(T(mu))) {
        unpack(step_, line_);
        add_scaled(p_, T(1), line_, trial_, n_);
        const double loss =
            evaluate(block_, pr_.act, trial_, pr_.data->loss, all_, trial_g_, crew_);
        for (int i : net_.fixed) trial_g_[i] = T(0);
        if (accept(loss)) {
          take(loss);
          return;
        }
      }
      if (s_.failed[b_]) return;
      mu *= s_.growth[b_];
      s_.growth[b_] *= 2.0;
    }
    s_.failed[b_] = 1;
  }

  // Whether the trial is better; lowers the damping if so.
  bool accept(double loss) {
    const double before = s_.loss[b_], error = noise(before), now = s_.grad_max[b_];
    const double steepest = double(max_abs(trial_g_, n_));
    const bool finite = std::isfinite(loss) && all_finite(trial_g_, n_);
    if (predicted_ <= 16.0 * error) {
      const double limit = now <= rule_.tol ? 0.5 * now : now;
      if (finite && loss <= before + error && steepest < limit) {
        s_.mu[b_] *= 0.1;
        s_.growth[b_] = 2.0;
        return true;
      }
      if (now <= rule_.tol || length_ <= 1e-14 * std::max(norm(), 1.0)) s_.failed[b_] = 1;
      return false;
    }
    const double ratio = finite ? (before - loss) / predicted_ : -1.0;
    if (!(ratio > 1e-4)) return false;
    s_.mu[b_] *= relief(ratio);
    s_.growth[b_] = 2.0;
    return true;
  }

  // Factor on the damping after a step with this ratio of actual to predicted decrease.
  static double relief(double ratio) {
    // Where the model is as good as exact, damping only delays.
    if (std::abs(1.0 - ratio) < 0.01) return 1e-2;
    const double x = 2.0 * std::min(ratio, 1.5) - 1.0;
    return std::max(0.2, 1.0 - x * x * x);
  }

  void take(double loss) {
    std::swap(p_, trial_);
    std::swap(g_, trial_g_);
    scatter(net_, p_, theta_);
    s_.loss[b_] = loss;
    s_.grad_max[b_] = double(max_abs(g_, n_));
    s_.moving[b_] = length_ / std::max(norm(), 1e-300);
  }

  // Whether the network is finished, and how.
  void judge() {
    const double loss = s_.loss[b_], steepest = s_.grad_max[b_];
    if (!std::isfinite(loss) || !std::isfinite(steepest)) return end(Descent::diverged);
    const double size = norm();
    const bool drifting = size > rule_.channel_norm && s_.moving[b_] > rule_.drift;
    if (steepest <= rule_.tol) {
      // On the way to zero loss, however degenerate: there is nothing to stop for.
      const bool deep = loss <= rule_.zero_soon * s_.scale[b_] && pr_.data->loss == Loss::mse;
      if (!(deep && loss <= rule_.falling * s_.last_loss[b_])) --s_.polish[b_];
      s_.last_loss[b_] = loss;
      if (s_.polish[b_] < 0 || s_.failed[b_] || s_.left[b_] <= 0)
        end(drifting ? Descent::channel : Descent::converged);
      return;
    }
    if (s_.failed[b_]) return end(drifting ? Descent::channel : Descent::stalled);
    if (s_.left[b_] <= 0)
      return end(size > rule_.channel_norm ? Descent::channel : Descent::max_steps);
    if (steepest <= 0.5 * s_.best_grad[b_] || loss <= 0.9 * s_.best_loss[b_]) {
      s_.best_grad[b_] = std::min(s_.best_grad[b_], steepest);
      s_.best_loss[b_] = std::min(s_.best_loss[b_], loss);
      s_.since[b_] = 0;
      return;
    }
    if (++s_.since[b_] % rule_.patience == 0) {
      s_.scaled[b_] = !s_.scaled[b_];
      // Eigenvalues change their unit with the scaling: start the damping afresh.
      s_.mu[b_] = -1.0;
      s_.growth[b_] = 2.0;
    }
    if (drifting && s_.since[b_] >= rule_.patience) end(Descent::channel);
  }

  const Net& net_;
  const Problem<T>& pr_;
  const NewtonRule& rule_;
  const NewtonState<T>& s_;
  const int64_t b_;
  Crew& crew_;
  const int n_, coords_;
  T* theta_;
  const WholeNorm<T> norm_;
  // Compressed vectors; then those over coordinates.
  T *p_, *g_, *trial_, *trial_g_, *line_, *force_;
  T *hess_, *scale_, *slope_, *size_, *along_, *step_, *turn_, *packed_;
  Eigensystem<T> basis_;
  const Samples<T> all_;
  Block<T> block_;
  double predicted_ = 0, length_ = 0;
  T largest_ = T(0);
};

template <class T>
void newton(const Net& net, const Problem<T>& pr, const NewtonRule& rule,
            const NewtonState<T>& state, int64_t b, Crew& crew) {
  crew.scratch.reset();
  NewtonOf<T>(net, pr, rule, state, b, crew).run();
}

}  // namespace edt::EDT_ISA_NS
