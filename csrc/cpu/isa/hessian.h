// Exact Hessian and Gauss-Newton matrix of one network over its trainable coordinates.
#pragma once
#include "cpu/isa/hessian_general.h"
#include "cpu/isa/hessian_shallow.h"

namespace edt::EDT_ISA_NS {

// out: [n_coords, n_coords], exactly symmetric. Parameters of dead units have zero rows.
template <class T>
void hessian(const Net& net, const Problem<T>& pr, const T* theta, T* out, bool ggn, Scratch& ws) {
  ws.reset();
  const int64_t n = net.n_coords;
  std::fill(out, out + n * n, T(0));
  const T* p = compress(net, theta, ws);
  if (ShallowHessian<T>::applies(net, pr.data->loss))
    ShallowHessian<T>(net, pr, p, out, ggn, ws).run();
  else GeneralHessian<T>(net, pr, p, out, ggn, ws).run();
}

}  // namespace edt::EDT_ISA_NS
