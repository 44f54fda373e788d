// The activations, in the order of their codes in the Python package.
#pragma once

namespace edt {

enum class Act : int {
  identity,
  relu,
  leaky_relu,
  tanh,
  sigmoid,
  softplus,
  gelu,
  silu,
  elu,
  selu,
  erf,
  sin,
  square,
  cube,
  g,
  count
};
constexpr int kActivations = int(Act::count);

}  // namespace edt
