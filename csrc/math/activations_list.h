// The activations; the order is that of their codes.
#pragma once
#include "math/codes.h"

namespace edt {

// clang-format off
#define EDT_ACTIVATIONS(X) \
  X(identity)   \
  X(relu)       \
  X(leaky_relu) \
  X(tanh)       \
  X(sigmoid)    \
  X(softplus)   \
  X(gelu)       \
  X(silu)       \
  X(elu)        \
  X(selu)       \
  X(erf)        \
  X(sin)        \
  X(square)     \
  X(cube)       \
  X(g)
// clang-format on
EDT_CODES(Act, int, EDT_ACTIVATIONS)
constexpr int kActivations = sizeof(kActNames) / sizeof(kActNames[0]);

}  // namespace edt
