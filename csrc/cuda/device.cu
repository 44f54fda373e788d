// The host's view of devices.
#include <mutex>
#include <set>
#include <utility>

#include "cuda/launch.h"

namespace edt::cuda {
namespace {

// Errors of kernels reach the host later, by whatever call comes next.
bool of_earlier_work(cudaError_t error) {
  switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
      return true;
    default:
      return false;
  }
}

int attribute(cudaDeviceAttr what, int device) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, what, device),
        "reading attributes of device " + std::to_string(device));
  return value;
}

}  // namespace

void fail(cudaError_t error, const std::string& what) {
  cudaGetLastError();
  std::string text = std::string(cudaGetErrorString(error)) + " (" + cudaGetErrorName(error) + ")";
  if (of_earlier_work(error))
    throw std::runtime_error("edt: the device reports at " + what +
                             " what an earlier kernel, of edt or another library, did: " + text +
                             "; with CUDA_LAUNCH_BLOCKING=1 the error comes at that kernel");
  throw std::runtime_error("edt: " + what + " failed: " + text);
}

Runtime runtime() {
  Runtime out;
  // No driver or no device is not an error here.
  if (cudaRuntimeGetVersion(&out.runtime) != cudaSuccess) out.runtime = 0;
  if (cudaDriverGetVersion(&out.driver) != cudaSuccess) out.driver = 0;
  const cudaError_t error = cudaGetDeviceCount(&out.devices);
  if (error != cudaSuccess) {
    out.devices = 0;
    out.error = cudaGetErrorString(error);
  }
  cudaGetLastError();
  return out;
}

int capability_of(int device) {
  return 10 * attribute(cudaDevAttrComputeCapabilityMajor, device) +
         attribute(cudaDevAttrComputeCapabilityMinor, device);
}

Limits limits_of(int device) {
  return {attribute(cudaDevAttrMultiProcessorCount, device),
          attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
          attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor, device),
          capability_of(device) >= kClusterCapability};
}

cudaError_t allow_shared(const void* kernel) {
  static std::mutex guard;
  static std::set<std::pair<const void*, int>> done;
  int device = 0, most = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error != cudaSuccess) return error;
  const std::lock_guard<std::mutex> lock(guard);
  if (done.count({kernel, device})) return cudaSuccess;
  error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (error == cudaSuccess)
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
  if (error == cudaSuccess)
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                 cudaSharedmemCarveoutMaxShared);
  if (error == cudaSuccess) done.insert({kernel, device});
  return error;
}

}  // namespace edt::cuda
