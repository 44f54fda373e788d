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
template <class T>
bool hvp(const Call&, const T* theta, int k, const T* v, T* out, int64_t stride, bool ggn);
template <class T>
bool hessian(const Call&, const T* theta, T* out, const int64_t* offsets, bool ggn);
// Jacobians of the outputs, [n_coords, N * d_out] at out + offsets[b]; weighted: of the residuals.
template <class T>
bool jacobian(const Call&, const T* theta, T* out, const int64_t* offsets, bool weighted);

struct TrainArrays {
  int64_t* steps;
  int64_t until;
  HyperParameters hp;
  const double *lr, *weight_decay;
  const uint64_t* seeds;
  const double* schedule;
  int64_t schedule_start;
  int8_t* status;
  double *loss, *grad_norm;
  const int64_t* record;
  int64_t n_record;
  double *history_loss, *history_grad;  // [n_record, B]
};
template <class T>
bool train(const Call&, T* theta, T* m, T* v, const TrainArrays&);

struct LbfgsArrays {
  int memory, max_iter;
  double gtol;
  int64_t* iterations;
  int8_t* status;
  double *loss, *grad_max;
};
template <class T>
bool lbfgs(const Call&, T* theta, const LbfgsArrays&);

}  // namespace edt
