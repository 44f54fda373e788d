// Powers with whole exponents.
#pragma once
#include <cstdint>

#include "math/host_device.h"

namespace edt {

// x^n by squaring: the same bits with any math library.
EDT_HOST_DEVICE inline double integer_power(double x, int64_t n) {
  double r = 1.0;
  for (; n > 0; n >>= 1, x *= x)
    if (n & 1) r *= x;
  return r;
}

}  // namespace edt
