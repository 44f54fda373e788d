// Answers for the CUDA runtime; see runtime.h. Also compiled against CUDA's own header, under the
// PTX machine (tests/cuda/ptx).
#include "runtime.h"

#include <algorithm>
#include <utility>

#include "shim.h"

namespace edt_shim {

Card& card() {
  static Card c;
  return c;
}

bool tall_products() { return card().capability >= 90; }

bool admits(const void* kernel, int grid, int threads, int64_t shared, int cluster) {
  Card& c = card();
  const cudaError_t met = std::exchange(c.next_launch, cudaSuccess);
  // Tests change the device under the kernels: what was the most before is the most now.
  const int64_t asked = c.allowed[{kernel, c.current}].bytes, most = settings().shared_block;
  const int64_t allowed = asked > 48 * 1024 ? std::max<int64_t>(most, 48 * 1024) : asked;
  if (met != cudaSuccess) c.pending = met;
  else if (threads < 1 || threads > 1024 || shared > allowed) c.pending = cudaErrorInvalidValue;
  // Eight blocks are portable; older devices know no clusters.
  else if (cluster < 1 || cluster > (c.capability >= 90 ? 8 : 1) || grid % cluster != 0)
    c.pending = cudaErrorInvalidClusterSize;
  else return true;
  return false;
}

void launch(const void* kernel, const std::string& what, int grid, int threads, int64_t shared,
            const std::function<void()>& body, int cluster) {
  if (!admits(kernel, grid, threads, shared, cluster)) return;
  ++card().launches[what.substr(0, what.find('<'))];
  run(what, grid, threads, shared, body, cluster);
}

}  // namespace edt_shim

using edt_shim::card;

extern "C" {
cudaError_t cudaGetLastError() { return std::exchange(card().pending, cudaSuccess); }
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    default:
      return "another error";
  }
}
const char* cudaGetErrorString(cudaError_t error) {
  if (!card().last.empty()) return card().last.c_str();
  return error == cudaErrorInsufficientDriver
             ? "CUDA driver version is insufficient for CUDA runtime version"
             : cudaGetErrorName(error);
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = card().driver;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = card().runtime;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  const auto& c = card();
  *count = c.devices;
  if (c.driver / 1000 < c.runtime / 1000) return card().pending = cudaErrorInsufficientDriver;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = card().current;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr what, int device) {
  const auto& s = edt_shim::settings();
  if (device < 0 || device >= card().devices) return card().pending = cudaErrorInvalidDevice;
  switch (what) {
    case cudaDevAttrMultiProcessorCount:
      *value = s.sms;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = int(s.shared_block);
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = int(s.shared_sm);
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = card().capability / 10;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = card().capability % 10;
      break;
    default:
      return card().pending = cudaErrorInvalidValue;
  }
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute what, int value) {
  auto& c = card();
  ++c.allowed[{kernel, c.current}].calls;
  const cudaError_t met = std::exchange(c.next_attribute, cudaSuccess);
  if (met != cudaSuccess) return c.pending = met;
  auto& allowed = c.allowed[{kernel, c.current}];
  // 48 KiB are there without asking.
  if (what == cudaFuncAttributePreferredSharedMemoryCarveout) allowed.carveout = value;
  else if (value > std::max<int64_t>(edt_shim::settings().shared_block, 48 * 1024))
    return c.pending = cudaErrorInvalidValue;
  else allowed.bytes = std::max(value, 48 * 1024);
  return cudaSuccess;
}
}
