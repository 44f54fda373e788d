// The PTX machine under the engine's own host code, as a Python module: the functions of
// edt._core.cuda, whose kernels run as PTX. nvcc's host stubs register kernels and launch them by
// name through the runtime's functions below; the rest of the runtime is shim/runtime.cpp.
#include <cuda_runtime.h>
#include <pybind11/stl.h>

#include <cstring>
#include <utility>
#include <vector>

#include "bindings/cuda.h"
#include "machine.h"
#include "memory.h"
#include "runtime.h"
#include "shim.h"

namespace py = pybind11;

namespace {

std::map<const void*, std::string>& names() {
  static std::map<const void*, std::string> n;
  return n;
}
struct Configuration {
  dim3 grid, block;
  size_t shared;
  void* stream;
};
std::vector<Configuration> configurations;

cudaError_t start(const void* kernel, dim3 grid, dim3 block, void** arguments, size_t shared,
                  int cluster = 1) {
  auto& card = edt_shim::card();
  if (!edt_shim::admits(kernel, int(grid.x), int(block.x), int64_t(shared), cluster))
    return card.pending;
  card.last.clear();
  try {
    if (grid.y * grid.z * block.y * block.z != 1)
      throw std::runtime_error("grids have one dimension");
    ptx::launch(names().at(kernel), int(grid.x), int(block.x), int64_t(shared), arguments, cluster);
  } catch (const std::exception& e) {
    card.last = e.what();
    return card.pending = cudaErrorInvalidValue;
  }
  return cudaSuccess;
}

}  // namespace

extern "C" {
static void* handle;
void** __cudaRegisterFatBinary(void*) { return &handle; }
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 1; }
void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, uint3*, uint3*,
                            dim3*, dim3*, int*) {
  names()[host] = name;
}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, CUstream_st* stream) {
  configurations.push_back({grid, block, shared, stream});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  const Configuration c = configurations.back();
  configurations.pop_back();
  *grid = c.grid;
  *block = c.block;
  *shared = c.shared;
  std::memcpy(stream, &c.stream, sizeof(void*));
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host) {
  *kernel = cudaKernel_t(const_cast<void*>(host));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                               size_t shared, cudaStream_t) {
  return start(reinterpret_cast<const void*>(kernel), grid, block, arguments, shared);
}
cudaError_t cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void** arguments,
                             size_t shared, cudaStream_t) {
  return start(kernel, grid, block, arguments, shared);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* kernel,
                                void** arguments) {
  int cluster = 1;
  for (unsigned i = 0; i < config->numAttrs; ++i)
    if (config->attrs[i].id == cudaLaunchAttributeClusterDimension)
      cluster = int(config->attrs[i].val.clusterDim.x);
  return start(kernel, config->gridDim, config->blockDim, arguments, config->dynamicSmemBytes,
               cluster);
}
}

PYBIND11_MODULE(edt_cuda_ptx, m) {
  edt::bind_cuda(m);
  m.def("load", &ptx::load, py::arg("path"), py::arg("capability") = 80);
  m.def("allow", &ptx::allow);
  m.def("forget", &ptx::forget);
  m.def("set_checks", [](bool checks, int skip_barrier) {
    ptx::settings().checks = checks;
    ptx::settings().skip_barrier = skip_barrier;
  });
  m.def(
      "set_counts",
      [](bool counts, int every) {
        ptx::settings().counts = counts;
        ptx::settings().every = every;
      },
      py::arg("counts"), py::arg("every") = 1);
  // A launch of a kernel of the program, on addresses: for kernels without host code.
  m.def(
      "launch",
      [](const std::string& name, int grid, int threads, int64_t shared,
         std::vector<uint64_t> arguments, int cluster) {
        std::vector<void*> places;
        for (uint64_t& a : arguments) places.push_back(&a);
        ptx::launch(name, grid, threads, shared, places.data(), cluster);
      },
      py::arg("name"), py::arg("grid"), py::arg("threads"), py::arg("shared"), py::arg("arguments"),
      py::arg("cluster") = 1);
  // {kernel: counts} and [(kernel, threads, shared bytes, grid, pipes [blocks, schedulers *
  // pipes])] since the last call.
  m.def("take", [] {
    py::dict kernels;
    for (auto& [name, t] : std::exchange(ptx::tallies(), {})) {
      py::dict d;
      d["launches"] = t.launches;
      d["blocks"] = t.blocks;
      d["warps"] = t.warps;
      d["barriers"] = t.barriers;
      d["shared_requests"] = t.shared_requests;
      d["shared_wavefronts"] = t.shared_wavefronts;
      d["global_requests"] = t.global_requests;
      d["global_wavefronts"] = t.global_wavefronts;
      d["global_sectors"] = t.global_sectors;
      d["hits"] = t.hits;
      kernels[py::str(name)] = d;
    }
    py::list launches;
    for (const auto& l : std::exchange(ptx::launched(), {}))
      launches.append(py::make_tuple(l.name, l.threads, l.shared, l.grid, l.blocks));
    return py::make_tuple(kernels, launches);
  });
  m.def(
      "set_card",
      [](int next_launch, int capability) {
        edt_shim::card().next_launch = cudaError_t(next_launch);
        edt_shim::card().pending = cudaSuccess;
        edt_shim::card().capability = ptx::settings().capability = capability;
      },
      py::arg("next_launch") = 0, py::arg("capability") = 90);
  m.def("tensor_products", [] {
    const auto counts = std::exchange(ptx::products(), {});
    return std::make_pair(counts.eights, counts.instructions);
  });
  // As the shim's; the order of threads is the machine's own.
  m.def("set_order", [](const std::string&, uint64_t) {});
  m.def("set_limits", [](int sms, int64_t shared_block, int64_t shared_sm) {
    auto& s = edt_shim::settings();
    s.sms = sms;
    s.shared_block = shared_block;
    s.shared_sm = shared_sm;
  });
}
