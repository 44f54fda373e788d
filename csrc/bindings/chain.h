// Chains of layers in Python: see layout/chain.h.
#pragma once
#include <pybind11/pybind11.h>

namespace edt {

void bind_chain(pybind11::module_& m);

}  // namespace edt
