// Adds the calls of the CUDA engine to a module.
#pragma once
#include <pybind11/pybind11.h>

namespace edt {
void bind_cuda(pybind11::module_& m);
void bind_cuda_chain(pybind11::module_& m);  // part of it
}  // namespace edt
