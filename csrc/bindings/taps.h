// Sparse layers in Python: see layout/taps.h.
#pragma once
#include <pybind11/pybind11.h>

namespace edt {

void bind_taps(pybind11::module_& m);

}  // namespace edt
