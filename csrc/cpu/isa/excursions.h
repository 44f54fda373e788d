// Levenberg-Marquardt near loss 0, let loose and kept where it is lower, one network at a time;
// what it is for and its rules are in edt/training/excursions.py, which also has the form for
// networks too large for this one.
#pragma once
#include "cpu/isa/factorise.h"

namespace edt::EDT_ISA_NS {

template <class T>
class ExcursionOf {
 public:
  ExcursionOf(const Net& net, const Problem<T>& pr, const ExcursionRule& rule,
              const ExcursionState<T>& state, int64_t b, Crew& crew)
      : net_(net),
        pr_(pr),
        rule_(rule),
        s_(state),
        b_(b),
        crew_(crew),
        n_(net.n_params()),
        p_(compress(net, state.theta + net.offset, crew.scratch)),
        start_(compress(net, state.start + net.offset, crew.scratch)),
        lowest_(compress(net, state.lowest + net.offset, crew.scratch)),
        step_(crew.scratch.take<T>(size_t(net.n_coords) + 1)),
        factor_(net.n_coords + 1, crew.scratch),
        damped_(net.n_coords + 1, crew.scratch) {}

  void run() {
    bool known = false;
    double loss = 0;
    if (phase() == Excursion::fresh) {
      loss = factorise(net_, pr_, p_, factor_, crew_);
      known = true;
      set(promising(loss) ? Excursion::going : Excursion::hopeless);
    }
    for (int64_t k = 0; k < s_.budget && phase() == Excursion::going; ++k) {
      if (crew_.cancel.load(std::memory_order_relaxed)) break;
      if (!known) loss = factorise(net_, pr_, p_, factor_, crew_);
      known = false;
      ++s_.taken[b_];
      iterate(loss);
      if (s_.best[b_] <= rule_.floor * s_.scale[b_] || s_.tried[b_] >= rule_.count ||
          s_.taken[b_] >= s_.most)
        set(Excursion::over);
    }
    scatter(net_, p_, s_.theta + net_.offset);
    scatter(net_, lowest_, s_.lowest + net_.offset);
  }

 private:
  Excursion phase() const { return Excursion(s_.phase[b_]); }
  void set(Excursion to) { s_.phase[b_] = int8_t(to); }

  // Whether the linear model promises a lower loss.
  bool promising(double loss) {
    damp(rule_.least);
    return damped_.rest() <= rule_.hopeless * loss || loss <= rule_.deep * s_.scale[b_];
  }

  // The triangle of the Jacobian on top of the damping.
  void damp(double share) {
    damped_.copy(factor_);
    const double mu = std::max(share * factor_.norm2(), 1e-300);
    damped_.add_diagonal(T(std::sqrt(mu)), crew_.scratch);
  }

  void give_up() {
    s_.since[b_] = 0;
    ++s_.tried[b_];
    s_.share[b_] = (s_.share[b_] + 1) % rule_.count;
  }

  void iterate(double loss) {
    ++s_.since[b_];
    if (loss < s_.best[b_]) {
      s_.best[b_] = loss;
      std::copy(p_, p_ + n_, lowest_);
    }
    if (s_.best[b_] <= rule_.brisk * s_.mark[b_]) {
      s_.mark[b_] = s_.best[b_];
      s_.since[b_] = s_.tried[b_] = 0;
    }
    const bool failed = s_.since[b_] >= rule_.patience;
    if (failed) give_up();
    if (failed && rule_.back) {
      std::copy(start_, start_ + n_, p_);
    } else if (std::isfinite(loss)) {
      damp(std::max(rule_.shares[s_.share[b_]] * loss / s_.scale[b_], rule_.least));
      damped_.solve(step_);
      for (int k = 0; k < n_; ++k)
        if (net_.coord[k] >= 0) p_[k] -= step_[net_.coord[k]];
    } else {
      give_up();
      std::copy(lowest_, lowest_ + n_, p_);
    }
  }

  const Net& net_;
  const Problem<T>& pr_;
  const ExcursionRule& rule_;
  const ExcursionState<T>& s_;
  const int64_t b_;
  Crew& crew_;
  const int n_;
  T *p_, *start_, *lowest_, *step_;
  Triangle<T> factor_, damped_;
};

template <class T>
void excursion(const Net& net, const Problem<T>& pr, const ExcursionRule& rule,
               const ExcursionState<T>& state, int64_t b, Crew& crew) {
  crew.scratch.reset();
  ExcursionOf<T>(net, pr, rule, state, b, crew).run();
}

}  // namespace edt::EDT_ISA_NS
