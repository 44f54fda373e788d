// Chains of layers: many networks on their samples, forward and back.
#pragma once
#include <functional>
#include <vector>

#include "cpu/chain_kernels.h"
#include "layout/chain_mask.h"

namespace edt {

template <class T>
struct ChainCall {
  const Chain& chain;
  int64_t networks, samples;
  const T* theta;  // [networks, parameters]
  const T* x;      // [samples, d_in] of every network, `x_step` entries apart (0: the same)
  int64_t x_step;
  std::function<bool()> poll;                // true: stop
  std::vector<const ChainMask*> masks = {};  // of each network; empty: everything is there
};

// Each returns false if it was stopped before the end. A network's bits depend neither on threads
// nor on the other networks.
template <class T>
bool chain_outputs(const ChainCall<T>&, T* out);  // [networks, samples, d_out]
// From slopes [networks, samples, d_out] to grad [networks, parameters]; 0 where no layer is, and
// where a mask has nothing or asks for nothing.
template <class T>
bool chain_gradient(const ChainCall<T>&, const T* slopes, T* grad);
// Products with the Hessian of sum_n l_n or with J^T A J. Its derivatives in the outputs are given,
// [networks, samples, ...], or those of a loss on targets that all networks share. Vectors, 0 where
// a mask has nothing, and out lie alike: `many` of each network, of one network steps.vectors
// apart, of the next steps.networks.
struct VectorSteps {
  int64_t networks, vectors;
};
template <class T>
bool chain_products(const ChainCall<T>&, const OutputDerivatives<T>&, const T* vectors,
                    int64_t many, VectorSteps steps, T* out);

}  // namespace edt
