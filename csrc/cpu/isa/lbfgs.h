// L-BFGS for one network, full batch, until max|grad| <= gtol.
//
// Two-loop recursion over the last `memory` pairs, H0 = (s.y / y.y) I; line search for the strong
// Wolfe conditions by bracketing and safeguarded cubic interpolation. A trial is accepted only if
// it does not raise the loss. A failed search drops the memory and tries steepest descent once;
// if that fails too the network has stalled (no descent left in floating point).
//
// J. Nocedal, S. Wright, "Numerical Optimization", 2006, algorithms 7.4, 3.5 and 3.6.
#pragma once
#include "cpu/isa/evaluate.h"
#include "cpu/isa/vectors.h"

namespace edt::EDT_ISA_NS {

constexpr double kArmijo = 1e-4;    // sufficient decrease
constexpr double kCurvature = 0.9;  // quasi-Newton steps need no accurate search
constexpr int kTrials = 30;         // evaluations one search may take

// Loss and slope along a direction.
struct Point {
  double t, f, slope;
};

// Minimiser of the cubic through two points, kept away from the ends of their interval.
inline double cubic_minimum(const Point& a, const Point& b) {
  const double d1 = a.slope + b.slope - 3.0 * (a.f - b.f) / (a.t - b.t);
  const double square = d1 * d1 - a.slope * b.slope;
  const double low = std::min(a.t, b.t), high = std::max(a.t, b.t), width = high - low;
  double t = 0.5 * (low + high);
  if (square >= 0) {
    const double d2 = std::copysign(std::sqrt(square), b.t - a.t);
    const double c = b.t - (b.t - a.t) * (b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2);
    if (std::isfinite(c)) t = c;
  }
  return std::clamp(t, low + 0.1 * width, high - 0.1 * width);
}

template <class T>
class Lbfgs {
 public:
  // Network b of the call.
  Lbfgs(const Net& net, const Problem<T>& pr, const LbfgsState<T>& state, int64_t b, Crew& crew)
      : net_(net),
        pr_(pr),
        state_(state),
        b_(b),
        crew_(crew),
        n_(padded<T>(net.n_params())),
        p_(compress(net, state.theta + net.offset, crew.scratch)),
        g_(crew.scratch.take<T>(n_)),
        d_(crew.scratch.take<T>(n_)),
        trial_(crew.scratch.take<T>(n_)),
        trial_g_(crew.scratch.take<T>(n_)),
        all_(samples_of(pr)),
        block_(net, pr.act, 1, true, false, all_.n, 0, crew.scratch) {
    for (int k = 0; k < state.memory; ++k) {
      s_.push_back(crew.scratch.take<T>(n_));
      y_.push_back(crew.scratch.take<T>(n_));
    }
    rho_.resize(state.memory);
    alpha_.resize(state.memory);
  }

  void run() {
    f_ = evaluate_at(p_, g_);
    if (!std::isfinite(f_) || !all_finite(g_, n_)) status_ = LbfgsStatus::diverged;
    while (status_ == LbfgsStatus::max_iter) {
      if (max_abs(g_, n_) <= state_.gtol) {
        status_ = LbfgsStatus::converged;
        break;
      }
      if (iterations_ >= state_.max_iter || crew_.cancel.load(std::memory_order_relaxed)) break;
      iterate();
    }
    state_.iterations[b_] = iterations_;
    state_.status[b_] = int8_t(status_);
    state_.loss[b_] = f_;
    state_.grad_norm[b_] = all_finite(g_, n_) ? double(max_abs(g_, n_)) : double(NAN);
    scatter(net_, p_, state_.theta + net_.offset);
  }

 private:
  double evaluate_at(const T* p, T* g) {
    const double f = evaluate(block_, pr_.act, p, pr_.data->loss, all_, g, crew_);
    for (int k : net_.fixed) g[k] = T(0);
    return f;
  }

  void iterate() {
    direction();
    double slope = double(dot(g_, d_, n_));
    if (!(slope < 0)) {
      count_ = 0;
      direction();
      slope = double(dot(g_, d_, n_));
    }
    // Without curvature information the first step is short.
    double first = 1.0;
    if (count_ == 0) first = std::min(1.0, 1.0 / std::sqrt(double(dot(g_, g_, n_))));
    ++iterations_;
    if (!search(slope, first)) {
      if (count_ == 0) status_ = LbfgsStatus::stalled;
      count_ = 0;
    }
  }

  // d = -H g
  void direction() {
    for (int i = 0; i < n_; i += Vec<T>::L) (-Vec<T>::load(g_ + i)).store(d_ + i);
    for (int k = 0; k < count_; ++k) {
      const int at = slot(k);
      alpha_[at] = rho_[at] * double(dot(s_[at], d_, n_));
      axpy(T(-alpha_[at]), y_[at], d_, n_);
    }
    if (count_ == 0) return;
    const int newest = slot(0);
    const T scale = T(1.0 / (rho_[newest] * double(dot(y_[newest], y_[newest], n_))));
    const Vec<T> k = Vec<T>::set1(scale);
    for (int i = 0; i < n_; i += Vec<T>::L) (k * Vec<T>::load(d_ + i)).store(d_ + i);
    for (int j = count_ - 1; j >= 0; --j) {
      const int at = slot(j);
      const double beta = rho_[at] * double(dot(y_[at], d_, n_));
      axpy(T(alpha_[at] - beta), s_[at], d_, n_);
    }
  }

  // k-th newest pair
  int slot(int k) const { return (next_ - 1 - k + 2 * state_.memory) % state_.memory; }

  Point probe(double t) {
    add_scaled(p_, T(t), d_, trial_, n_);
    const double f = evaluate_at(trial_, trial_g_);
    const double slope = double(dot(trial_g_, d_, n_));
    // Beyond the finite range a loss counts as infinite, so that the bracket closes below it.
    if (!std::isfinite(f) || !std::isfinite(slope) || !all_finite(trial_g_, n_))
      return {t, std::numeric_limits<double>::infinity(), 0.0};
    return {t, f, slope};
  }

  bool search(double slope0, double first) {
    const Point start{0.0, f_, slope0};
    Point low = start, high{};
    bool bracketed = false;
    double t = first;
    for (int trial = 0; trial < kTrials; ++trial) {
      const Point here = probe(t);
      const bool armijo = here.f <= f_ + kArmijo * t * slope0;
      if (armijo && here.f <= f_ && std::abs(here.slope) <= -kCurvature * slope0) {
        take(here.f);
        return true;
      }
      if (!armijo || (here.f >= low.f && low.t > 0)) {
        high = here;
        bracketed = true;
      } else if (here.slope * (bracketed ? high.t - low.t : 1.0) >= 0) {
        high = low;
        low = here;
        bracketed = true;
      } else {
        low = here;
      }
      if (!bracketed) {
        t *= 4.0;
      } else {
        if (std::abs(high.t - low.t) <= 1e-14 * std::max(high.t, low.t)) break;
        t = std::isfinite(high.f) ? cubic_minimum(low, high) : 0.5 * (low.t + high.t);
      }
    }
    // No point with a small slope: the best decrease seen will do.
    if (low.t > 0 && low.f < f_) {
      const Point again = probe(low.t);
      take(again.f);
      return true;
    }
    return false;
  }

  void take(double f) {
    T *s = s_[next_], *y = y_[next_];
    for (int i = 0; i < n_; i += Vec<T>::L) {
      (Vec<T>::load(trial_ + i) - Vec<T>::load(p_ + i)).store(s + i);
      (Vec<T>::load(trial_g_ + i) - Vec<T>::load(g_ + i)).store(y + i);
    }
    std::swap(p_, trial_);
    std::swap(g_, trial_g_);
    f_ = f;
    const double sy = double(dot(s, y, n_));
    if (sy > 1e-12 * double(dot(y, y, n_)) * std::numeric_limits<T>::epsilon() && sy > 0) {
      rho_[next_] = 1.0 / sy;
      next_ = (next_ + 1) % state_.memory;
      count_ = std::min(count_ + 1, state_.memory);
    }
  }

  const Net& net_;
  const Problem<T>& pr_;
  const LbfgsState<T>& state_;
  int64_t b_;
  Crew& crew_;
  int n_;
  T *p_, *g_, *d_, *trial_, *trial_g_;
  Samples<T> all_;
  Block<T> block_;
  std::vector<T*> s_, y_;
  std::vector<double> rho_, alpha_;
  int next_ = 0, count_ = 0;
  double f_ = 0;
  int64_t iterations_ = 0;
  LbfgsStatus status_ = LbfgsStatus::max_iter;
};

template <class T>
void lbfgs(const Net& net, const Problem<T>& pr, const LbfgsState<T>& state, int64_t b,
           Crew& crew) {
  crew.scratch.reset();
  Lbfgs<T>(net, pr, state, b, crew).run();
}

}  // namespace edt::EDT_ISA_NS
