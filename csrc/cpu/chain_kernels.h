// The kernels of chains that one instruction set provides: each works on one block of samples.
#pragma once
#include "cpu/kernels.h"
#include "layout/chain_mask.h"

namespace edt {

// Samples of a block, whose sums are added up before those of other blocks: four vectors of 64
// bytes.
template <class T>
constexpr int kChainSamples = 4 * 64 / int(sizeof(T));

template <class T>
struct ChainTable {
  // Outputs [count, d_out] of count <= kChainSamples samples [count, d_in].
  void (*outputs)(const Chain&, const ChainMask&, const T* theta, const T* x, int count, T* out,
                  Scratch&);
  // Adds the gradient of sum(slopes * outputs) to grad [mask.size]; slopes [count, d_out].
  void (*gradient)(const Chain&, const ChainMask&, const T* theta, const T* x, int count,
                   const T* slopes, T* grad, Scratch&);
  // Adds the products of the Hessian of sum_n l_n with `many` vectors, `step` apart, to out
  // [many, mask.size]; slopes [count, d_out] and curvature [count, d_out, d_out] are those of l in
  // the outputs. Without slopes: of the Gauss-Newton matrix.
  void (*products)(const Chain&, const ChainMask&, const T* theta, const T* x, int count,
                   const T* slopes, const T* curvature, const T* vectors, int64_t step,
                   int64_t many, T* out, Scratch&);
};

// Those of the instruction set in use.
template <class T>
const ChainTable<T>& chain_table();

}  // namespace edt
