// The runtime that is not there: what tests set and look at. Its limits are those of shim.h.
#pragma once
#include <cuda_runtime.h>

#include <map>
#include <string>
#include <utility>

namespace edt_shim {

struct Card {
  int devices = 1, current = 0, capability = 90, driver = 13000, runtime = 13000;
  cudaError_t pending = cudaSuccess;         // left by somebody else's call
  cudaError_t next_launch = cudaSuccess;     // what the next launch meets
  cudaError_t next_attribute = cudaSuccess;  // what the next cudaFuncSetAttribute meets
  std::string last;                          // of a launch that failed: why
  //! Shared memory allowed and asked for on the chip (percent), by kernel and device.
  struct Allowed {
    int bytes = 48 * 1024, carveout = -1, calls = 0;
  };
  std::map<std::pair<const void*, int>, Allowed> allowed;
  std::map<std::string, int> launches;  // of kernels, by name
};
Card& card();

//! Whether the runtime would start this launch; sets the error otherwise.
bool admits(const void* kernel, int grid, int threads, int64_t shared, int cluster);

}  // namespace edt_shim
