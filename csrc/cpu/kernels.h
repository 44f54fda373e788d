// The table of kernels one instruction set provides. Each works on one network; the engine spreads
// networks over threads. Vectors named "flat" are the network's slice of the ensemble's flat
// vector.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "cpu/chunks.h"
#include "cpu/crew.h"
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

// What is done beside every 24 vectors of multiply-adds while their rate is taken.
enum class Beside { nothing, division, look_up };

// What a step of an optimiser reads and moves, each n numbers in whole vectors, zeros at the end.
template <class T>
struct Moving {
  T *p, *g, *m, *v;  // moments null where the optimiser has none
  const T* scale;    // of the learning rate; null: 1
  int n;
};

template <class T>
struct KernelTable {
  void (*predict)(const Net&, const Problem<T>&, const T* theta, T* out, Crew&);
  double (*loss)(const Net&, const Problem<T>&, const T* theta, Crew&);
  double (*loss_and_grad)(const Net&, const Problem<T>&, const T* theta, T* grad, Crew&);
  // J^T u; u: [N, d_out]
  void (*vjp)(const Net&, const Problem<T>&, const T* theta, const T* u, T* grad, Crew&);
  // second directional derivative of the outputs along a step, probed at this share of it
  void (*second_directional)(const Net&, const Problem<T>&, const T* theta, const T* step, T reach,
                             T* out, Crew&);
  // k vectors, `stride` entries apart
  void (*hvp)(const Net&, const Problem<T>&, const T* theta, int k, const T* v, T* out,
              int64_t stride, bool ggn, Crew&);
  void (*hessian)(const Net&, const Problem<T>&, const T* theta, T* out, bool ggn, Crew&);
  void (*jacobian)(const Net&, const Problem<T>&, const T* theta, T* out, bool weighted, Crew&);
  // network b of the call
  void (*train)(const Net&, const Problem<T>&, const HyperParameters&, const TrainState<T>&,
                int64_t b, Crew&);
  // A step of the optimiser, from step to step + 1, with the network's learning rate, weight decay
  // and largest norm of a gradient (null: any); false, and none is taken: g is not finite.
  bool (*step)(const HyperParameters&, const Moving<T>&, int64_t step, double lr, double decay,
               const double* clip, Crew&);
  void (*lbfgs)(const Net&, const Problem<T>&, const LbfgsState<T>&, int64_t b, Crew&);
  void (*levenberg)(const Net&, const Problem<T>&, const LevenbergRule&, const LevenbergState<T>&,
                    int64_t b, Crew&);
  void (*excursion)(const Net&, const Problem<T>&, const ExcursionRule&, const ExcursionState<T>&,
                    int64_t b, Crew&);
  void (*newton)(const Net&, const Problem<T>&, const NewtonRule&, const NewtonState<T>&, int64_t b,
                 Crew&);
  void (*activation)(int act, int order, int64_t n, const T* in, T* out);
  // GFLOP/s of one thread in fused multiply-adds
  double (*fma_peak)(double seconds, Beside beside);
};

template <class T>
struct TapTable;  // tap_kernels.h
template <class T>
struct ChainTable;  // chain_kernels.h

struct Isa {
  const char* name;
  bool (*supported)();
  const KernelTable<float>* f32;
  const KernelTable<double>* f64;
  const TapTable<float>* taps_f32;
  const TapTable<double>* taps_f64;
  const ChainTable<float>* chain_f32;
  const ChainTable<double>* chain_f64;
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
