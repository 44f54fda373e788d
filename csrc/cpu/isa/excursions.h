// Levenberg-Marquardt near loss 0, let loose and kept where it is lower, one network at a time;
// what it is for and its rules are in edt/training/excursions.py, which also has the form for
// networks too large for this one. The Jacobian is factorised block by block as it is made and
// never stored.
#pragma once
#include <numeric>

#include "cpu/isa/jacobian.h"
#include "cpu/isa/triangle.h"

namespace edt::EDT_ISA_NS {

// R of [J r] at p, J the Jacobian of the residuals r of squared error; returns |r|^2.
template <class T>
double factorise(const Net& net, const Problem<T>& pr, const T* p, Triangle<T>& out, Crew& crew) {
  using V = Vec<T>;
  const int n = net.n_coords + 1, room = jacobian_rows(net), d_out = net.d_out;
  const Samples<T> all = samples_of(pr);
  const Chunks chunks(net, all.n);
  const Scratch::Hold hold{crew.scratch};
  double* losses = crew.scratch.take<double>(size_t(chunks.count));
  std::vector<Triangle<T>> parts;
  if (chunks.count > 1)
    for (int64_t k = 0; k < chunks.count; ++k) parts.emplace_back(n, crew.scratch);
  out.clear();
  const bool holes = d_out > 1 || unheard(net);
  for_chunks(net, all, crew, [&](int64_t first, const Samples<T>& chunk, Scratch& ws) {
    const Scratch::Hold own{ws};
    const int64_t number = first / chunks.length;
    Triangle<T>& to = chunks.count > 1 ? parts[size_t(number)] : out;
    Block<T> b(net, pr.act, 1, false, false, chunk.n, room + 1 + n, ws);
    // Columns a power of two apart would share their place in the cache.
    const int64_t ld = b.ld, apart = ld + V::L;
    T *root = ws.take<T>(ld), *slopes = ws.take<T>(size_t(room) * ld);
    T* block = ws.take<T>(size_t(n) * apart);
    V sum = V::zero();
    for_blocks(chunk, ld, [&](const Samples<T>& in, int64_t) {
      forward(b, p, in);
      for (int64_t s = 0; s < in.n; s += V::L) sqrt(V::load(in.coef + s)).store(root + s);
      for (int o = 0; o < d_out; ++o) {
        if (holes) std::fill(block, block + size_t(n) * apart, T(0));
        jacobian_of_output(b, p, in, o, root, slopes, [&](int c, const auto& product) {
          T* column = block + c * apart;
          for (int64_t s = 0; s < in.n; s += V::L) product(s).store(column + s);
        });
        T* residual = block + (n - 1) * apart;
        for (int64_t s = 0; s < in.n; s += V::L) {
          const V miss = V::load(b.f + o * ld + s) - V::load(in.y + o * in.ldx + s);
          const V r = V::load(root + s) * miss;
          sum = fma(r, r, sum);
          r.store(residual + s);
        }
        to.add(block, apart, in.n);
      }
    });
    losses[number] = double(hsum(sum));
  });
  for (const Triangle<T>& part : parts) out.add(part, crew.scratch);
  return std::accumulate(losses, losses + chunks.count, 0.0);
}

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
