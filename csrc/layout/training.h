// What training is told and says, on every engine.
#pragma once
#include <cstdint>

namespace edt {

enum class Optimizer : int { sgd = 0, adam = 1, adamw = 2 };

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

enum class Status : int8_t { running = 0, converged = 1, diverged = 2, target = 3 };

}  // namespace edt
