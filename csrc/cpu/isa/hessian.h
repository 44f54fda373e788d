// Exact Hessian and Gauss-Newton matrix of one network over its trainable coordinates.
#pragma once
#include "cpu/isa/hessian_general.h"
#include "cpu/isa/hessian_shallow.h"

namespace edt::EDT_ISA_NS {

// out: [n_coords, n_coords], exactly symmetric. Parameters of dead units have zero rows.
template <class T>
void hessian(const Net& net, const Problem<T>& pr, const T* theta, T* out, bool ggn, Crew& crew) {
  crew.scratch.reset();
  const int64_t n = net.n_coords;
  const T* p = compress(net, theta, crew.scratch);
  const auto part = [&](int64_t, const Samples<T>& in, T* to, Scratch& ws) {
    if (ShallowHessian<T>::applies(net, pr.data->loss))
      ShallowHessian<T>(net, pr, in, p, to, ggn, ws).run();
    else GeneralHessian<T>(net, pr, in, p, to, ggn, ws).run();
  };
  sum_chunks(net, samples_of(pr), out, n * n, crew, part);
}

}  // namespace edt::EDT_ISA_NS
