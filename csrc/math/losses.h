// The losses, as numbers that Python knows too (edt/ops/losses.py has their formulas).
#pragma once
#include "math/codes.h"
#include "math/host_device.h"

namespace edt {

// With outputs f and targets y of a sample:
//   mse                 sum_o (f_o - y_o)^2
//   cross_entropy       log sum_o exp(f_o) - f_y, y a class
//   soft_cross_entropy  log sum_o exp(f_o) - sum_o y_o f_o, y shares that add up to 1
// and, one output at a time and added over them:
//   bce                 log(1 + exp(f)) - y f
//   logistic            log(1 + exp(-y f))
//   squared_hinge       max(0, 1 - y f)^2
//   huber               r^2 / 2 where |r| <= 1, else |r| - 1/2; r = f - y
// clang-format off
#define EDT_SCALAR_LOSSES(X) \
  X(bce)           \
  X(logistic)      \
  X(squared_hinge) \
  X(huber)
// clang-format on
#define EDT_LOSSES(X) X(mse) X(cross_entropy) X(soft_cross_entropy) EDT_SCALAR_LOSSES(X)
EDT_CODES(Loss, int, EDT_LOSSES)

EDT_HOST_DEVICE inline bool is_softmax(Loss kind) {
  return kind == Loss::cross_entropy || kind == Loss::soft_cross_entropy;
}

}  // namespace edt
