// Exact Hessian and Gauss-Newton matrix of one network over its trainable coordinates.
#pragma once
#include <cmath>
#include <limits>

#include "cpu/isa/hessian_general.h"
#include "cpu/isa/hessian_shallow.h"
#include "cpu/isa/hvp.h"

namespace edt::EDT_ISA_NS {

// Forms the rows and columns that are not numbers again, as products with unit vectors. Structure
// multiplies inputs with inputs first, and that may overflow where the derivative of a saturated
// unit, 0, comes after; products multiply in the other order.
template <class T>
void mend_rows(const Net& net, const Problem<T>& pr, const T* theta, T* out, bool ggn, Crew& crew) {
  const int64_t n = net.n_coords;
  std::vector<int64_t> broken;
  for (int64_t q = 0; q < n; ++q) {
    int wild = 0;
    for (int64_t c = 0; c < n; ++c)
      wild |= !(std::abs(out[q * n + c]) <= std::numeric_limits<T>::max());
    if (wild) broken.push_back(q);
  }
  const auto finite = [](T w) { return std::isfinite(w); };
  if (broken.empty() || !std::all_of(theta, theta + net.n_flat, finite)) return;
  std::vector<int> place(n, -1);  // in the flat vector; dead units have none, and rows of zeros
  for (int k = 0; k < net.n_params(); ++k)
    if (net.coord[k] >= 0) place[net.coord[k]] = net.flat[k];
  std::vector<T> unit(net.n_flat, T(0)), row(net.n_flat);
  for (const int64_t q : broken) {
    unit[place[q]] = 1;
    hvp_at(net, pr, theta, 1, unit.data(), row.data(), net.n_flat, ggn, crew);
    unit[place[q]] = 0;
    for (int64_t c = 0; c < n; ++c)
      out[q * n + c] = out[c * n + q] = place[c] < 0 ? T(0) : row[place[c]];
  }
}

// out: [n_coords, n_coords], exactly symmetric. Parameters of dead units have zero rows. p: theta,
// compressed.
template <class T>
void hessian_at(const Net& net, const Problem<T>& pr, const T* p, const T* theta, T* out, bool ggn,
                Crew& crew) {
  const Scratch::Hold hold{crew.scratch};
  const int64_t n = net.n_coords;
  const auto part = [&](int64_t, const Samples<T>& in, T* to, Scratch& ws) {
    if (ShallowHessian<T>::applies(net, pr.data->loss))
      ShallowHessian<T>(net, pr, in, p, to, ggn, ws).run();
    else GeneralHessian<T>(net, pr, in, p, to, ggn, ws).run();
  };
  sum_chunks(net, samples_of(pr), out, n * n, crew, part);
  mend_rows(net, pr, theta, out, ggn, crew);
}

template <class T>
void hessian(const Net& net, const Problem<T>& pr, const T* theta, T* out, bool ggn, Crew& crew) {
  crew.scratch.reset();
  hessian_at(net, pr, compress(net, theta, crew.scratch), theta, out, ggn, crew);
}

}  // namespace edt::EDT_ISA_NS
