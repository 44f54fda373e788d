// The shim as a Python module: the functions of edt._core.cuda, on CPU memory.
#include <pybind11/stl.h>
#include "bindings/cuda.h"
#include "cuda/tensor.cuh"

#include <utility>
#include <vector>

#include "runtime.h"
#include "shim.h"

namespace py = pybind11;

namespace {

// Kernels with one mistake each: the shim must notice.
void half_a_barrier() {
  if (threadIdx.x < 16) __syncthreads();
}
void shuffle_of_some() {
  if (threadIdx.x % 2 == 0) __shfl_xor_sync(0xffffffffu, 1.0f, 2);
}
void product_of_some() {
  double c[2] = {};
  if (threadIdx.x % 2 == 0) edt::cuda::multiply_tile(c, 1.0, 2.0);
}
// c += a b, of 16 x 4 and 4 x 8 row by row, with numbers where the PTX ISA's "Matrix Fragments for
// mma.m16n8k4" put them: group = lane / 4, thread = lane % 4.
void one_tile(const double* a, const double* b, double* c) {
  const int lane = int(threadIdx.x), group = lane / 4, thread = lane % 4;
  double* at[2] = {c + group * 8 + 2 * thread, c + (group + 8) * 8 + 2 * thread};
  const double rows[2] = {a[group * 4 + thread], a[(group + 8) * 4 + thread]};
  double sums[2][2] = {{at[0][0], at[0][1]}, {at[1][0], at[1][1]}};
  edt::cuda::multiply_tiles(sums, rows, b[thread * 8 + group]);
  for (int h = 0; h < 2; ++h)
    for (int q = 0; q < 2; ++q) at[h][q] = sums[h][q];
}
// Thread 0's copy, which the others read after a barrier; with or without its having waited for it.
void copy(const double* from, double* out, bool wait) {
  double* board = reinterpret_cast<double*>(edt_shim::shared_memory());
  if (threadIdx.x == 0) edt_shim::copy_async(board, from, true);
  if (wait) edt_shim::await_copies();
  __syncthreads();
  out[threadIdx.x] = board[1];
}
void unwritten_memory(double* out) {
  if (threadIdx.x == 0) *out = reinterpret_cast<double*>(edt_shim::shared_memory())[3];
}
// Every block of a cluster of two sums 64 numbers of its own and of the other's, twice over; `skip`
// leaves out the barrier before they are read (1) or the one before they are written again (2).
void pair(int* out, int skip) {
  int* board = reinterpret_cast<int*>(edt_shim::shared_memory());
  const int t = int(threadIdx.x), rank = edt_shim::cluster_rank();
  const auto arrive = [&](int which) {
    if (which != skip) edt_shim::cluster_arrive();
  };
  const auto wait = [&](int which) {
    if (which != skip) edt_shim::cluster_wait();
  };
  int sum = 0;
  for (int turn = 0; turn < 2; ++turn) {
    if (turn > 0) wait(2);
    board[t] = 1000 * turn + 100 * int(blockIdx.x) + t;
    arrive(1);
    wait(1);
    for (int r = 0; r < 2; ++r)
      sum += *static_cast<const int*>(edt_shim::in_block(board + (t ^ 1), rank ^ r));
    arrive(2);
  }
  wait(2);
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}
void half_a_cluster() {
  if (blockIdx.x == 1) return;
  edt_shim::cluster_arrive();
  edt_shim::cluster_wait();
}
void waits_where_it_has_not_arrived() { edt_shim::cluster_wait(); }
void beyond_the_cluster() { edt_shim::in_block(edt_shim::shared_memory(), 2); }
// Thread 0's number, which the others read with or without waiting for it.
void race(int* out, bool wait) {
  int* board = reinterpret_cast<int*>(edt_shim::shared_memory());
  if (threadIdx.x == 5) *board = 42;
  if (wait) __syncthreads();
  out[threadIdx.x] = *board;
}

}  // namespace

PYBIND11_MODULE(edt_cuda_shim, m) {
  m.def("half_a_barrier", [] { edt_shim::run("half_a_barrier", 1, 32, 0, half_a_barrier); });
  m.def("shuffle_of_some", [] { edt_shim::run("shuffle_of_some", 1, 32, 0, shuffle_of_some); });
  m.def("product_of_some", [] { edt_shim::run("product_of_some", 1, 32, 0, product_of_some); });
  m.def("one_tile", [](std::vector<double> a, std::vector<double> b, std::vector<double> c) {
    if (a.size() != 64 || b.size() != 32 || c.size() != 128) throw py::value_error("sizes");
    edt_shim::run("one_tile", 1, 32, 0, [&] { one_tile(a.data(), b.data(), c.data()); });
    return c;
  });
  m.def("unwritten_memory", [] {
    double out = 0;
    edt_shim::run("unwritten_memory", 1, 32, 64, [&] { unwritten_memory(&out); });
    return out;
  });
  m.def("copy", [](bool wait, bool aligned) {
    alignas(16) const double from[4] = {1, 2, 3, 4};
    std::vector<double> out(32);
    edt_shim::run("copy", 1, 32, 64, [&] { copy(from + !aligned, out.data(), wait); });
    return out;
  });
  m.def("pair", [](int skip) {
    std::vector<int> out(4 * 64);
    edt_shim::run("pair", 4, 64, 256, [&] { pair(out.data(), skip); }, 2);
    return out;
  });
  m.def("broken_cluster", [](const std::string& how) {
    const auto body = how == "half"   ? half_a_cluster
                      : how == "wait" ? waits_where_it_has_not_arrived
                                      : beyond_the_cluster;
    edt_shim::run(how, 2, 32, 64, body, 2);
  });
  m.def("race", [](bool wait) {
    std::vector<int> out(32);
    edt_shim::run("race", 1, 32, 64, [&] { race(out.data(), wait); });
    return out;
  });
  edt::bind_cuda(m);
  // Products of 8 x 8 x 4 since the last call, and the instructions that they were.
  m.def("tensor_products", [] {
    const auto counts = std::exchange(edt_shim::tensor_products(), {});
    return std::make_pair(counts.low + 2 * counts.tall, counts.low + counts.tall);
  });
  m.def("set_card", [](const py::kwargs& what) {
    auto& c = edt_shim::card();
    const auto allowed = c.allowed;  // the engine asks once
    c = {};
    c.allowed = allowed;
    for (const auto& [key, value] : what) {
      const auto name = key.cast<std::string>();
      const int v = value.cast<int>();
      if (name == "devices") c.devices = v;
      else if (name == "current") c.current = v;
      else if (name == "capability") c.capability = v;
      else if (name == "driver") c.driver = v;
      else if (name == "pending") c.pending = cudaError_t(v);
      else if (name == "next_launch") c.next_launch = cudaError_t(v);
      else if (name == "next_attribute") c.next_attribute = cudaError_t(v);
      else throw py::key_error(name);
    }
  });
  // [(bytes, carve-out, calls)] of the kernels that asked for shared memory, and launches by name.
  m.def("allowed", [] {
    std::vector<std::tuple<int, int, int>> out;
    for (const auto& [key, a] : edt_shim::card().allowed)
      if (a.calls) out.emplace_back(a.bytes, a.carveout, a.calls);
    return out;
  });
  m.def("launches", [] { return std::exchange(edt_shim::card().launches, {}); });
  m.def("set_order", [](const std::string& order, uint64_t seed) {
    auto& s = edt_shim::settings();
    s.order = order == "forward"    ? edt_shim::Order::forward
              : order == "backward" ? edt_shim::Order::backward
                                    : edt_shim::Order::shuffled;
    s.seed = seed;
  });
  m.def("set_limits", [](int sms, int64_t shared_block, int64_t shared_sm) {
    auto& s = edt_shim::settings();
    s.sms = sms;
    s.shared_block = shared_block;
    s.shared_sm = shared_sm;
  });
}
