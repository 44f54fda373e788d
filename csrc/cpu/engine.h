// Calls over whole ensembles: one network is one item of work, the most expensive first.
#pragma once
#include <functional>

#include "cpu/kernels.h"

namespace edt {

// What every call needs. Pointers are borrowed for the duration of the call.
struct Call {
  const Plan& plan;
  const Dataset& data;
  const int64_t* task_index;  // [B]
  int act;
  const uint8_t* active;       // [B], or null for all
  std::function<bool()> poll;  // true: stop
};

// Each returns false if it was stopped before the end. T is the type of the dataset.
template <class T>
bool predict(const Call&, const T* theta, T* out);
template <class T>
bool loss(const Call&, const T* theta, double* out);
template <class T>
bool loss_and_grad(const Call&, const T* theta, double* loss, T* grad);
// J^T u of the outputs; u: [B, N, d_out]
template <class T>
bool vjp(const Call&, const T* theta, const T* u, T* grad);
// Second directional derivative of the outputs along a step, pulled back; reach: [B].
template <class T>
bool second_directional(const Call&, const T* theta, const T* step, const T* reach, T* out);
template <class T>
bool hvp(const Call&, const T* theta, int k, const T* v, T* out, int64_t stride, bool ggn);
template <class T>
bool hessian(const Call&, const T* theta, T* out, const int64_t* offsets, bool ggn);
// Jacobians of the outputs, [n_coords, N * d_out] at out + offsets[b]; weighted: of the residuals.
template <class T>
bool jacobian(const Call&, const T* theta, T* out, const int64_t* offsets, bool weighted);

template <class T>
bool train(const Call&, const HyperParameters&, const TrainState<T>&);
template <class T>
bool lbfgs(const Call&, const LbfgsState<T>&);
template <class T>
bool newton(const Call&, const NewtonRule&, const NewtonState<T>&);
// Squared error only.
template <class T>
bool levenberg(const Call&, const LevenbergRule&, const LevenbergState<T>&);
template <class T>
bool excursions(const Call&, const ExcursionRule&, const ExcursionState<T>&);

}  // namespace edt
