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

// Where products have the first and second derivatives of sum_n l_n in the outputs from: they are
// given, or come of a loss of the table.
template <class T>
struct OutputDerivatives {
  bool gauss_newton;            // the first are left out
  const T *slopes, *curvature;  // [count, d_out], [count, d_out, d_out]
  const ChainSamples<T>* data;  // null: those above
  double scale;                 // c_n are so many times the samples' weights
  int64_t first = 0;            // of data

  static OutputDerivatives given(const T* slopes, const T* curvature) {
    return {slopes == nullptr, slopes, curvature, nullptr, 1};
  }
  static OutputDerivatives of(const ChainSamples<T>& data, double scale, bool gauss_newton) {
    return {gauss_newton, nullptr, nullptr, &data, scale};
  }
  // From a sample on: of all networks' where they are given, else of data.
  OutputDerivatives from(int64_t given, int64_t sample, int64_t d) const {
    OutputDerivatives out = *this;
    if (slopes) out.slopes += given * d;
    if (curvature) out.curvature += given * d * d;
    out.first = sample;
    return out;
  }
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
  // Adds the products of the Hessian of sum_n l_n, or the Gauss-Newton matrix, with `many` vectors,
  // `step` apart, to out [many, mask.size].
  void (*products)(const Chain&, const ChainMask&, const T* theta, const T* x, int count,
                   const OutputDerivatives<T>&, const T* vectors, int64_t step, int64_t many,
                   T* out, Scratch&);
};

// Those of the instruction set in use.
template <class T>
const ChainTable<T>& chain_table();

}  // namespace edt
