// The table of kernels one instruction set provides. Each works on one network; the engine spreads
// networks over threads. Vectors named "flat" are the network's slice of the ensemble's flat
// vector.
#pragma once
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "cpu/scratch.h"
#include "layout/dataset.h"
#include "layout/plan.h"
#include "layout/training.h"

namespace edt {

// Derivatives of the activations that are compiled: two for the passes, a third for tests alone.
#if !defined(EDT_MAX_ORDER)
#define EDT_MAX_ORDER 3
#endif
constexpr int kMaxOrder = EDT_MAX_ORDER;

template <class T>
struct Problem {
  const DatasetT<T>* data;
  int64_t task;
  int act;
};

// One network's share of a training call.
template <class T>
struct TrainJob {
  const HyperParameters* hp;
  T* theta;      // flat, in/out
  T* m;          // flat, in/out: first moment or momentum (null when unused)
  T* v;          // flat, in/out: second moment (null when unused)
  int64_t step;  // in/out
  int64_t until;
  double lr, weight_decay;
  uint64_t seed;
  const double* schedule;  // multiplier of step s at schedule[s - schedule_start]
  int64_t schedule_start;
  Status status;
  double loss, grad_max;
  const int64_t* record;  // sorted steps
  int64_t n_record;
  double *hist_loss, *hist_grad;  // stride hist_stride a record
  int64_t hist_stride;
  const std::atomic<bool>* cancel;
};

enum class LbfgsStatus : int8_t { max_iter = 0, converged = 1, diverged = 2, stalled = 3 };

template <class T>
struct LbfgsJob {
  T* theta;  // flat, in/out
  int memory, max_iter;
  double gtol;
  int64_t iterations;
  LbfgsStatus status;
  double loss, grad_max;
  const std::atomic<bool>* cancel;
};

template <class T>
struct KernelTable {
  void (*predict)(const Net&, const Problem<T>&, const T* theta, T* out, Scratch&);
  double (*loss)(const Net&, const Problem<T>&, const T* theta, Scratch&);
  double (*loss_and_grad)(const Net&, const Problem<T>&, const T* theta, T* grad, Scratch&);
  // k vectors, `stride` entries apart
  void (*hvp)(const Net&, const Problem<T>&, const T* theta, int k, const T* v, T* out,
              int64_t stride, bool ggn, Scratch&);
  void (*hessian)(const Net&, const Problem<T>&, const T* theta, T* out, bool ggn, Scratch&);
  void (*jacobian)(const Net&, const Problem<T>&, const T* theta, T* out, bool weighted, Scratch&);
  void (*train)(const Net&, const Problem<T>&, TrainJob<T>&, Scratch&);
  void (*lbfgs)(const Net&, const Problem<T>&, LbfgsJob<T>&, Scratch&);
  void (*activation)(int act, int order, int64_t n, const T* in, T* out);
  double (*fma_peak)(double seconds);  // GFLOP/s of one thread
};

struct Isa {
  const char* name;
  bool (*supported)();
  const KernelTable<float>* f32;
  const KernelTable<double>* f64;
  template <class T>
  const KernelTable<T>& table() const;
};
template <>
inline const KernelTable<float>& Isa::table<float>() const {
  return *f32;
}
template <>
inline const KernelTable<double>& Isa::table<double>() const {
  return *f64;
}

// Compiled instruction sets, best first; and the one in use.
const std::vector<const Isa*>& compiled_isas();
const Isa& current_isa();
void select_isa(const std::string& name);

}  // namespace edt
