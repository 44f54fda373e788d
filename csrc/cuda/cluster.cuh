// Thread-block clusters (sm_90 and newer): blocks that run at once, wait for one another and read
// one another's shared memory.
//
// What a thread has done before it arrives is seen by every thread of the cluster that has waited.
// Between the two it may do other work, so that the wait is over when it comes.
#pragma once
#include "cuda/rows.cuh"

namespace edt::cuda {

#if defined(__CUDACC__)
EDT_DEVICE int cluster_rank() {
  int rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
EDT_DEVICE void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
EDT_DEVICE void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// Where a place of this block's shared memory lies in the block of that rank.
EDT_DEVICE unsigned place_in_block(const void* here, int rank) {
  unsigned there;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(there)
               : "r"(unsigned(__cvta_generic_to_shared(here))), "r"(rank));
  return there;
}
EDT_DEVICE Pack<float> load_from_block(const float* here, int rank) {
  Pack<float> x;
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(x.v[0]), "=f"(x.v[1]), "=f"(x.v[2]), "=f"(x.v[3])
               : "r"(place_in_block(here, rank)));
  return x;
}
EDT_DEVICE Pack<double> load_from_block(const double* here, int rank) {
  Pack<double> x;
  asm volatile("ld.shared::cluster.v2.f64 {%0, %1}, [%2];"
               : "=d"(x.v[0]), "=d"(x.v[1])
               : "r"(place_in_block(here, rank)));
  return x;
}
#else
EDT_DEVICE int cluster_rank() { return edt_shim::cluster_rank(); }
EDT_DEVICE void cluster_arrive() { edt_shim::cluster_arrive(); }
EDT_DEVICE void cluster_wait() { edt_shim::cluster_wait(); }
template <class T>
EDT_DEVICE Pack<T> load_from_block(const T* here, int rank) {
  return load(static_cast<const T*>(edt_shim::in_block(here, rank)));
}
#endif

}  // namespace edt::cuda
