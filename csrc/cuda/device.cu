// The host's view of devices.
#include "cuda/launch.h"

namespace edt::cuda {

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();  // no driver or no device: not an error here
    return 0;
  }
  return count;
}

Limits limits_of(int device) {
  auto get = [&](cudaDeviceAttr what) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, what, device),
          "reading attributes of device " + std::to_string(device));
    return value;
  };
  return {get(cudaDevAttrMultiProcessorCount), get(cudaDevAttrMaxSharedMemoryPerBlockOptin),
          get(cudaDevAttrMaxSharedMemoryPerMultiprocessor)};
}

DeviceGuard::DeviceGuard(int device) : before_(device), device_(device) {
  check(cudaGetDevice(&before_), "reading the current device");
  if (before_ != device_)
    check(cudaSetDevice(device_), "choosing device " + std::to_string(device));
}

DeviceGuard::~DeviceGuard() {
  if (before_ != device_) cudaSetDevice(before_);
}

void zero_async(void* memory, int64_t bytes, void* stream) {
  if (bytes > 0)
    check(cudaMemsetAsync(memory, 0, size_t(bytes), static_cast<cudaStream_t>(stream)),
          "zeroing " + std::to_string(bytes) + " bytes");
}

}  // namespace edt::cuda
