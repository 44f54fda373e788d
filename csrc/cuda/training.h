// Where a training call finds and leaves its numbers.
#pragma once
#include <cstdint>

#include "layout/training.h"

namespace edt::cuda {

template <class T>
struct TrainState {
  T *theta, *m, *v;  // flat; moments may be null
  int64_t* steps;    // [B]
  int64_t until;
  const double *lr, *weight_decay;  // [B]
  const uint64_t* seeds;            // [B]
  const double* factors;            // of step s at s - factors_start
  int64_t factors_start;
  int8_t* status;            // [B]
  double *loss, *grad_norm;  // [B]
  const int64_t* record;     // sorted steps
  int64_t n_record;
  double *history_loss, *history_grad;  // [n_record, B]
  int64_t networks;                     // B
};

}  // namespace edt::cuda
