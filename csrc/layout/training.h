// What training is told and says, on every engine.
#pragma once
#include <cstdint>

#include "math/codes.h"

namespace edt {

#define EDT_OPTIMIZERS(X) X(sgd) X(adam) X(adamw)
EDT_CODES(Optimizer, int, EDT_OPTIMIZERS)

struct HyperParameters {
  Optimizer optimizer = Optimizer::adam;
  double momentum = 0, dampening = 0;
  bool nesterov = false;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  int64_t batch_size = 0;  // 0: full batch
  double tol = 0;          // stop when max|grad| <= tol (full batch)
  double loss_target = 0;  // stop when loss <= loss_target (-inf: off)
  // Of the run. A call that ends before it leaves the evaluation at its end to the next call.
  int64_t last_step = 0;
};

// stopped: by whoever watches a validation loss; the core leaves such a network alone.
#define EDT_STATUSES(X) X(running) X(converged) X(diverged) X(target) X(stopped)
EDT_CODES(Status, int8_t, EDT_STATUSES)

// Where a training call of B networks finds and leaves its numbers.
template <class T>
struct TrainState {
  T *theta, *m, *v;  // flat, in and out; moments are null where the optimiser has none
  int64_t* steps;    // [B], in and out
  int64_t until;
  const double *lr, *weight_decay;  // [B]
  const uint64_t* seeds;            // [B], of the minibatches
  const double* factors;            // of the learning rate, at every step
  int8_t* status;                   // [B], in and out
  double *loss, *grad_norm;         // [B], in and out: at the last evaluation
  const int64_t* record;            // [n_record], sorted steps
  int64_t n_record;
  double *history_loss, *history_grad;  // [n_record, B]
  int64_t networks;                     // B
  const T* lr_scale = nullptr;          // flat, factors of the learning rate; null: 1
  const double* clip_norm = nullptr;    // [B], largest norm of a step's gradient; null: none
};

#define EDT_LBFGS_STATUSES(X) X(max_iter) X(converged) X(diverged) X(stalled)
EDT_CODES(LbfgsStatus, int8_t, EDT_LBFGS_STATUSES)

// The same of a call of L-BFGS.
template <class T>
struct LbfgsState {
  T* theta;  // flat, in and out
  int memory;
  int64_t max_iter;
  double gtol;
  int64_t* iterations;       // [B]
  int8_t* status;            // [B]
  double *loss, *grad_norm;  // [B]
};

// Where an excursion (cpu/isa/excursions.h) stands: fresh ones have not been looked at, hopeless
// ones are not worth setting out on.
#define EDT_EXCURSIONS(X) X(fresh) X(going) X(over) X(hopeless)
EDT_CODES(Excursion, int8_t, EDT_EXCURSIONS)

// Numbers that rule excursions; edt/training/excursions.py says what they mean.
struct ExcursionRule {
  const double* shares;
  int64_t count;  // of shares
  bool back;
  int64_t patience;
  double least, brisk, hopeless, deep, floor;
};

// Where a call of excursions of B networks finds and leaves its numbers.
template <class T>
struct ExcursionState {
  T* theta;                                // flat, in and out: where they stand
  const T* start;                          // flat: where they set out
  T* lowest;                               // flat, in and out
  const double* scale;                     // [B], size of the targets
  double *best, *mark;                     // [B]
  int64_t *since, *tried, *share, *taken;  // [B]; share: index of the damping in use
  int64_t most;                            // Jacobians each may take in all
  int8_t* phase;                           // [B], Excursion
  int64_t budget;                          // Jacobians of each network in this call
};

// Numbers that rule Levenberg-Marquardt; edt/training/levenberg.py says what they mean.
struct LevenbergRule {
  int64_t tries, lost, corrections, patience;
  double tol, switch_to, zero_soon, first, least, up, far, down, wary, close, shrink, bent, ratio;
  double slow, brisk;
};

// Where a call of Levenberg-Marquardt on B networks finds and leaves its numbers.
template <class T>
struct LevenbergState {
  T *theta, *grad;                   // flat, in and out
  const double *scale, *goal;        // [B], size of the targets; share of it to reach
  double *loss, *grad_max, *moving;  // [B], in and out, like all that follow
  double *mu, *best, *decade;
  int64_t *left, *iterations, *since, *since_decade;
  int8_t *failed, *over;
  int64_t budget;  // iterations of each network in this call
};

// How a descent to a critical point stands; edt/training/descent.py.
#define EDT_DESCENTS(X)                                                                            \
  X(running) X(converged) X(stalled) X(diverged) X(max_steps) X(channel) X(interrupted)
EDT_CODES(Descent, int8_t, EDT_DESCENTS)

// Numbers that rule Newton's method; edt/training/newton.py says what they mean.
struct NewtonRule {
  int64_t tries, patience;
  double tol, first, least, range, bent, probe, reach, zero_soon, falling, channel_norm, drift;
};

// Where a call of Newton's method on B networks finds and leaves its numbers.
template <class T>
struct NewtonState {
  T *theta, *grad;                   // flat, in and out
  const double* scale;               // [B], size of the targets
  double *loss, *grad_max, *moving;  // [B], in and out, like all that follow
  double *mu, *growth, *best_grad, *best_loss, *last_loss;
  int64_t *left, *iterations, *polish, *since;
  int8_t *scaled, *failed;
  int8_t* status;  // Descent
  int64_t budget;  // iterations of each network in this call
};

}  // namespace edt
