// The shim as a Python module: the functions of edt._core.cuda, on CPU memory.
#include <pybind11/stl.h>
#include "bindings/cuda.h"

#include <utility>
#include <vector>

#include "runtime.h"
#include "shim.h"

namespace py = pybind11;

namespace {

// Kernels with one mistake each: the shim must notice.
void half_a_barrier() {
  if (threadIdx.x < 16) __syncthreads();
}
void shuffle_of_some() {
  if (threadIdx.x % 2 == 0) __shfl_xor_sync(0xffffffffu, 1.0f, 2);
}
void product_of_some() {
  if (threadIdx.x % 2 == 0) edt_shim::warp_pairs(1.0, 2.0);
}
// Thread 0's copy, which the others read after a barrier; with or without its having waited for it.
void copy(const double* from, double* out, bool wait) {
  double* board = reinterpret_cast<double*>(edt_shim::shared_memory());
  if (threadIdx.x == 0) edt_shim::copy_async(board, from, true);
  if (wait) edt_shim::await_copies();
  __syncthreads();
  out[threadIdx.x] = board[1];
}
void unwritten_memory(double* out) {
  if (threadIdx.x == 0) *out = reinterpret_cast<double*>(edt_shim::shared_memory())[3];
}
// Thread 0's number, which the others read with or without waiting for it.
void race(int* out, bool wait) {
  int* board = reinterpret_cast<int*>(edt_shim::shared_memory());
  if (threadIdx.x == 5) *board = 42;
  if (wait) __syncthreads();
  out[threadIdx.x] = *board;
}

}  // namespace

PYBIND11_MODULE(edt_cuda_shim, m) {
  m.def("half_a_barrier", [] { edt_shim::run("half_a_barrier", 1, 32, 0, half_a_barrier); });
  m.def("shuffle_of_some", [] { edt_shim::run("shuffle_of_some", 1, 32, 0, shuffle_of_some); });
  m.def("product_of_some", [] { edt_shim::run("product_of_some", 1, 32, 0, product_of_some); });
  m.def("unwritten_memory", [] {
    double out = 0;
    edt_shim::run("unwritten_memory", 1, 32, 64, [&] { unwritten_memory(&out); });
    return out;
  });
  m.def("copy", [](bool wait, bool aligned) {
    alignas(16) const double from[4] = {1, 2, 3, 4};
    std::vector<double> out(32);
    edt_shim::run("copy", 1, 32, 64, [&] { copy(from + !aligned, out.data(), wait); });
    return out;
  });
  m.def("race", [](bool wait) {
    std::vector<int> out(32);
    edt_shim::run("race", 1, 32, 64, [&] { race(out.data(), wait); });
    return out;
  });
  edt::bind_cuda(m);
  // Since the last call.
  m.def("tensor_products", [] { return std::exchange(edt_shim::tensor_products(), 0); });
  m.def("set_card", [](const py::kwargs& what) {
    auto& c = edt_shim::card();
    const auto allowed = c.allowed;  // the engine asks once
    c = {};
    c.allowed = allowed;
    for (const auto& [key, value] : what) {
      const auto name = key.cast<std::string>();
      const int v = value.cast<int>();
      if (name == "devices") c.devices = v;
      else if (name == "current") c.current = v;
      else if (name == "capability") c.capability = v;
      else if (name == "driver") c.driver = v;
      else if (name == "pending") c.pending = cudaError_t(v);
      else if (name == "next_launch") c.next_launch = cudaError_t(v);
      else if (name == "next_attribute") c.next_attribute = cudaError_t(v);
      else throw py::key_error(name);
    }
  });
  // [(bytes, carve-out, calls)] of the kernels that asked for shared memory, and launches by name.
  m.def("allowed", [] {
    std::vector<std::tuple<int, int, int>> out;
    for (const auto& [key, a] : edt_shim::card().allowed)
      if (a.calls) out.emplace_back(a.bytes, a.carveout, a.calls);
    return out;
  });
  m.def("launches", [] { return std::exchange(edt_shim::card().launches, {}); });
  m.def("set_order", [](const std::string& order, uint64_t seed) {
    auto& s = edt_shim::settings();
    s.order = order == "forward"    ? edt_shim::Order::forward
              : order == "backward" ? edt_shim::Order::backward
                                    : edt_shim::Order::shuffled;
    s.seed = seed;
  });
  m.def("set_limits", [](int sms, int64_t shared_block, int64_t shared_sm) {
    auto& s = edt_shim::settings();
    s.sms = sms;
    s.shared_block = shared_block;
    s.shared_sm = shared_sm;
  });
}
