// What a training call is given.
#pragma once
#include <cstdint>

namespace edt::cuda {

struct Hyper {
  int optimizer;  // 0 sgd, 1 adam, 2 adamw
  int nesterov;
  double momentum, dampening, beta1, beta2, eps;
  int64_t batch_size;  // 0: full batch
  double tol, loss_target;
  int64_t last_step;  // of the run: a call that ends before leaves its last evaluation to the next
};

enum class Status : int8_t { running = 0, converged = 1, diverged = 2, target = 3 };

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
