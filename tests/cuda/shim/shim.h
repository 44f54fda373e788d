// The CUDA execution model on one CPU thread, for tests: the very kernel sources of csrc/cuda,
// compiled by the host compiler, with the threads of a block as fibers. See tests/cuda/README.md.
//
//   blocks      run one after another, those of a cluster together
//   threads     fibers that run until a barrier or a shuffle, in an order that tests choose: a
//   result
//               that depends on the order betrays a missing barrier
//   barriers    all threads of a block must arrive at the same place in the code, else: divergence;
//               those of a cluster arrive, and wait somewhere after it
//   shared      heap memory of exactly the size of the launch, filled with NaN patterns: what is
//   read
//               before it is written spoils the results, what lies outside trips AddressSanitizer
#pragma once
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

struct EdtShimIndex {
  unsigned x, y, z;
};
extern EdtShimIndex threadIdx, blockIdx, blockDim, gridDim;

namespace edt_shim {

enum class Order { forward, backward, shuffled };
struct Settings {
  Order order = Order::forward;
  uint64_t seed = 0;
  int sms = 2;
  int64_t shared_block = 227 * 1024, shared_sm = 228 * 1024;
};
Settings& settings();

unsigned char* shared_memory();
//! A launch of a kernel, as the runtime (runtime.h) lets it; `cluster` blocks each.
void launch(const void* kernel, const std::string& what, int grid, int threads, int64_t shared,
            const std::function<void()>& body, int cluster = 1);
//! Runs body once for every thread of every block. Throws std::runtime_error on divergence.
void run(const std::string& what, int grid, int threads, int64_t shared,
         const std::function<void()>& body, int cluster = 1);

void block_barrier(const void* site);
//! The barrier of a cluster: a thread that has arrived waits for all of the others to have.
void cluster_arrive();
void cluster_wait();
int cluster_rank();
//! What lies at a place of this block's shared memory in the block of that rank.
const void* in_block(const void* place, int rank);
uint64_t warp_exchange(const void* site, uint64_t value, int lane_xor);
//! c += a b of a warp for `halves` times 8 rows, 8 columns and 4 of k: `own` holds this lane's
//! a[lane / 4 + 8 h][lane % 4] for every half h, then its b[lane % 4][lane / 4]; c its
//! [lane / 4 + 8 h][2 (lane % 4) + q], h by h.
void tensor_product(double* c, const double* own, int halves);
//! Whether the card has instructions of 16 rows.
bool tall_products();
//! How many of 8 and of 16 rows warps have run.
struct TensorProducts {
  int64_t low = 0, tall = 0;
};
TensorProducts& tensor_products();

//! 16 bytes, or zeros, that arrive when the thread waits for them; in shuffled order some at once.
void copy_async(double* to, const double* from, bool real);
void await_copies();

}  // namespace edt_shim

// The place of a barrier is the address it returns to: the same for all threads that run the same
// instruction.
#define __syncthreads() edt_shim::block_barrier(edt_shim_site())
__attribute__((noinline)) inline const void* edt_shim_site() {
  asm volatile("");  // calls must neither be merged nor moved
  return __builtin_return_address(0);
}

template <class T>
inline T __shfl_xor_sync(unsigned, T value, int lane_xor) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = edt_shim::warp_exchange(nullptr, bits, lane_xor);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}
inline uint64_t __umul64hi(uint64_t a, uint64_t b) {
  return uint64_t((unsigned __int128)(a)*b >> 64);
}
