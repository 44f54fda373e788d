// The R-operator's pointwise steps (curvature.cuh says what they belong to), on rows of a tile of
// samples, wherever these lie. Rows: a activations, d1 = s', c = s'' dA, ra, r: Rz and then Rd.
#pragma once
#include "cuda/passes.cuh"

namespace edt::cuda {

// body(row, sample) for some rows of a tile, by all threads.
template <class Body>
EDT_DEVICE void for_entries(int rows, Tile tile, const Body& body) {
  for (int j = 0; j < rows; ++j)
    for (int s = int(threadIdx.x); s < tile.samples; s += int(blockDim.x)) body(j, s);
}

// From dA: d, and c, which held s''.
template <class T>
EDT_DEVICE void bend(Rows<T> da, Rows<T> d, Rows<T> d1, Rows<T> c, int rows, Tile tile) {
  for_entries(rows, tile, [&](int j, int s) {
    const T slope = *da.at(j, s);
    *d.at(j, s) = slope * *d1.at(j, s);
    *c.at(j, s) *= slope;
  });
}

// Ra = s' Rz.
template <class T>
EDT_DEVICE void push_through(Rows<T> rz, Rows<T> d1, Rows<T> ra, int rows, Tile tile) {
  for_entries(rows, tile, [&](int j, int s) { *ra.at(j, s) = *d1.at(j, s) * *rz.at(j, s); });
}

// Rd in place of Rz, from the product of weights and tangents above.
template <class T>
EDT_DEVICE void pull_through(Rows<T> product, Rows<T> d1, Rows<T> c, Rows<T> r, int rows, bool ggn,
                             Tile tile) {
  for_entries(rows, tile, [&](int j, int s) {
    const T rd = *product.at(j, s) * *d1.at(j, s);
    *r.at(j, s) = ggn ? rd : fma(*c.at(j, s), *r.at(j, s), rd);
  });
}

// Tangents of the outputs times the loss's own curvature.
template <class T>
EDT_DEVICE void pull_outputs(const Net<T>& n, const Data<T>& data, const Samples& samples,
                             Rows<T> prob, Rows<T> rf, Tile tile) {
  const T* coef = data.coef + int64_t(n.task) * data.n_pad;
  for (int s = int(threadIdx.x); s < tile.samples; s += int(blockDim.x)) {
    const T c = s < samples.count ? coef[samples(s)] : T(0);
    if (data.loss == int(Loss::mse)) {
      for (int o = 0; o < data.d_out; ++o) *rf.at(o, s) *= c + c;
    } else if (!is_softmax(Loss(data.loss))) {
      for (int o = 0; o < data.d_out; ++o) *rf.at(o, s) *= c * *prob.at(o, s);
    } else {
      T mean = T(0);
      for (int o = 0; o < data.d_out; ++o) mean = fma(*prob.at(o, s), *rf.at(o, s), mean);
      for (int o = 0; o < data.d_out; ++o)
        *rf.at(o, s) = c * *prob.at(o, s) * (*rf.at(o, s) - mean);
    }
  }
}

}  // namespace edt::cuda
