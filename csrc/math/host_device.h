// Functions that the host and CUDA devices share.
#pragma once

#if defined(__CUDACC__)
#define EDT_HOST_DEVICE __host__ __device__
#else
#define EDT_HOST_DEVICE
#endif
