// Launching kernels: one place that knows streams, limits of the device and how errors read. Work
// goes to the current device, which the caller chooses.
//
// The test shim (tests/cuda/shim) gives a launch another body; everything else here runs over it as
// it is, on a runtime that is not there (shim/cuda_runtime.h).
#pragma once
#include <stdexcept>
#include <string>

#include "cuda/platform.h"

#if defined(__CUDACC__) || defined(EDT_CUDA_SHIM)
#include <cuda_runtime.h>
#endif

namespace edt::cuda {

//! What sizes the work: multiprocessors, shared memory of a block and of a multiprocessor (bytes),
//! whether blocks come in clusters.
struct Limits {
  int sms;
  int64_t shared_block, shared_sm;
  bool clusters;
};
Limits limits_of(int device);

//! What the runtime says about this machine. Versions as CUDA spells them: 13000 is 13.0.
struct Runtime {
  int devices = 0;    // kernels can run on; 0 without a driver or a device
  int driver = 0;     // the newest CUDA the driver knows; 0 without one
  int runtime = 0;    // the CUDA this was built with
  std::string error;  // why there are no devices
};
Runtime runtime();
//! Compute capability of a device: 90 is 9.0.
int capability_of(int device);

inline std::string describe(const char* kernel, int grid, int threads, int64_t shared) {
  return std::string(kernel) + "<<<" + std::to_string(grid) + " blocks, " +
         std::to_string(threads) + " threads, " + std::to_string(shared) + " bytes shared>>>";
}

#if defined(__CUDACC__) || defined(EDT_CUDA_SHIM)
//! Bytes of shared memory every kernel may have without asking.
constexpr int64_t kSharedUnasked = 48 * 1024;

//! Throws, and clears the error: the next good call would be blamed for it.
[[noreturn]] void fail(cudaError_t error, const std::string& what);
inline void check(cudaError_t error, const std::string& what) {
  if (error != cudaSuccess) fail(error, what);
}
//! Lets blocks of a kernel have all the shared memory of the current device, as much of it as there
//! is. Once a kernel and device: to the most, because another thread may need more than this one.
cudaError_t allow_shared(const void* kernel);

//! In clusters of so many blocks; 1: without.
template <class... P, class... A>
void launch_clusters(const char* name, void (*kernel)(P...), int cluster, int grid, int threads,
                     int64_t shared, void* stream, A... args) {
  if (grid == 0) return;
  cudaError_t error = cudaSuccess;
  if (shared > kSharedUnasked) error = allow_shared(reinterpret_cast<const void*>(kernel));
  if (error == cudaSuccess) {
    cudaGetLastError();  // somebody else's
#if defined(__CUDACC__)
    if (cluster > 1) {
      cudaLaunchAttribute attribute{};
      attribute.id = cudaLaunchAttributeClusterDimension;
      attribute.val.clusterDim.x = unsigned(cluster);
      attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
      cudaLaunchConfig_t how{};
      how.gridDim = dim3(unsigned(grid));
      how.blockDim = dim3(unsigned(threads));
      how.dynamicSmemBytes = size_t(shared);
      how.stream = static_cast<cudaStream_t>(stream);
      how.attrs = &attribute;
      how.numAttrs = 1;
      cudaLaunchKernelEx(&how, kernel, args...);
    } else {
      kernel<<<grid, threads, size_t(shared), static_cast<cudaStream_t>(stream)>>>(args...);
    }
#else
    edt_shim::launch(
        reinterpret_cast<const void*>(kernel), describe(name, grid, threads, shared), grid, threads,
        shared, [&] { kernel(args...); }, cluster);
    (void)stream;
#endif
    error = cudaGetLastError();
  }
  if (error != cudaSuccess) fail(error, describe(name, grid, threads, shared));
}

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), int grid, int threads, int64_t shared,
            void* stream, A... args) {
  launch_clusters(name, kernel, 1, grid, threads, shared, stream, args...);
}
#endif

}  // namespace edt::cuda
