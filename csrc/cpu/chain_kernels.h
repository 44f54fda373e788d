// The kernels of chains that one instruction set provides: each works on one block of samples.
#pragma once
#include "cpu/kernels.h"
#include "layout/chain_mask.h"
#include "math/losses.h"

namespace edt {

// Samples of a block, whose sums are added up before those of other blocks: four vectors of 64
// bytes.
template <class T>
constexpr int kChainSamples = 4 * 64 / int(sizeof(T));

// One target's samples.
template <class T>
struct ChainSamples {
  int64_t count;
  const T* x;        // [count, d_in]
  const void* y;     // [count, d_out]; of cross-entropy classes, int64 [count]
  const T* weights;  // [count]; null: 1 / count each
  Loss loss;
};

template <class T>
struct ChainTable {
  // Outputs [count, d_out] of count <= kChainSamples samples [count, d_in].
  void (*outputs)(const Chain&, const ChainMask&, const T* theta, const T* x, int count, T* out,
                  Scratch&);
  // Adds the gradient of sum(slopes * outputs) to grad [mask.size]; slopes [count, d_out].
  void (*gradient)(const Chain&, const ChainMask&, const T* theta, const T* x, int count,
                   const T* slopes, T* grad, Scratch&);
  // Adds the gradient of sum_n c_n l_n over the samples picked[0..count), to grad [mask.size], and
  // returns that sum; c_n are `scale` times the samples' weights.
  double (*loss_gradient)(const Chain&, const ChainMask&, const T* theta, const ChainSamples<T>&,
                          const int* picked, int count, double scale, T* grad, Scratch&);
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
