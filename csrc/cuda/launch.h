// Launching kernels: one place that knows streams, limits of the device and how errors read. The
// test shim (tests/cuda/shim) gives the same functions another body.
#pragma once
#include <stdexcept>
#include <string>

#include "cuda/platform.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#endif

namespace edt::cuda {

//! What sizes the work: multiprocessors, shared memory of a block and of a multiprocessor (bytes).
struct Limits {
  int sms;
  int64_t shared_block, shared_sm;
};

//! Devices a kernel can run on; 0 without a driver or a device.
int device_count();
Limits limits_of(int device);

//! Makes `device` current as long as it lives.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int before_, device_;
};

//! Zeroes memory on the stream.
void zero_async(void* memory, int64_t bytes, void* stream);

inline std::string describe(const char* kernel, int grid, int threads, int64_t shared) {
  return std::string(kernel) + "<<<" + std::to_string(grid) + " blocks, " +
         std::to_string(threads) + " threads, " + std::to_string(shared) + " bytes shared>>>";
}

#if defined(__CUDACC__)
inline void check(cudaError_t error, const std::string& what) {
  if (error != cudaSuccess)
    throw std::runtime_error("edt: " + what + " failed: " + cudaGetErrorString(error) + " (" +
                             cudaGetErrorName(error) + ")");
}

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), int grid, int threads, int64_t shared,
            void* stream, A... args) {
  if (grid == 0) return;
  const std::string what = describe(name, grid, threads, shared);
  if (shared > 48 * 1024)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared)),
          what);
  kernel<<<grid, threads, size_t(shared), static_cast<cudaStream_t>(stream)>>>(args...);
  check(cudaGetLastError(), what);
}
#elif defined(EDT_CUDA_SHIM)
template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), int grid, int threads, int64_t shared, void*,
            A... args) {
  if (grid == 0) return;
  edt_shim::run(describe(name, grid, threads, shared), grid, threads, shared,
                [&] { kernel(args...); });
}
#endif

}  // namespace edt::cuda
