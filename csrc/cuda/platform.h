// What device code is written in: a few spellings that nvcc and the test shim (tests/cuda/shim)
// both give a meaning to. Kernels use threadIdx.x, blockIdx.x, blockDim.x, gridDim.x, __syncthreads
// and
// __shfl_xor_sync, and get their shared memory from EDT_SHARED.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define EDT_DEVICE __device__ __forceinline__
#define EDT_CALLED inline __device__ __noinline__  // seldom run: its registers are not the caller's
#define EDT_HD __host__ __device__ __forceinline__
// One block an SM is enough: without saying so the assembler spills to make room for more.
#define EDT_KERNEL(threads) __global__ void __launch_bounds__(threads, 1)
#define EDT_KERNEL_BLOCKS(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define EDT_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#define EDT_UNROLL _Pragma("unroll")
#define EDT_NO_UNROLL _Pragma("unroll 1")
#elif defined(EDT_CUDA_SHIM)
#include "shim.h"
#define EDT_DEVICE inline
#define EDT_CALLED inline
#define EDT_HD inline
#define EDT_KERNEL(threads) void
#define EDT_KERNEL_BLOCKS(threads, blocks) void
#define EDT_SHARED(name) unsigned char* name = edt_shim::shared_memory()
#define EDT_UNROLL
#define EDT_NO_UNROLL
#else  // host code that shares the layouts
#define EDT_HD inline
#endif

namespace edt::cuda {

#if defined(EDT_CUDA_SHIM)
// Device code has these for float and double without a namespace.
using std::copysign;
using std::fabs;
using std::fma;
using std::log;
using std::sqrt;
#endif

constexpr int kWarp = 32;
//! The least compute capability, that of the architecture CMake compiles for.
constexpr int kLeastCapability = 80;
//! That of blocks in clusters.
constexpr int kClusterCapability = 90;
//! Most threads of a block; with the registers of an SM it bounds a thread's registers to 168.
constexpr int kMaxThreads = 384;
constexpr unsigned kFullMask = 0xffffffffu;

//! Entries of 16 bytes, the widest load.
template <class T>
constexpr int kPack = 16 / int(sizeof(T));

EDT_HD int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

}  // namespace edt::cuda
