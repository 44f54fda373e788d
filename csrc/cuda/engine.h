// Calls over whole ensembles on a device. Nothing here allocates or waits: memory comes from the
// caller (sizes: DevicePlan, Schedule), work goes to the caller's stream on the current device.
#pragma once
#include "cuda/schedule.h"
#include "layout/training.h"

namespace edt::cuda {

//! What every call needs. All pointers are device memory.
struct Call {
  const DevicePlan& plan;
  const Schedule& schedule;
  const unsigned char *plan_block, *schedule_block;
  unsigned char* workspace;
  const int64_t* task;
  const uint8_t* active;  // or null
  const void* theta;
  int act;
  void* stream;
};

//! Outputs [B, n, d_out], losses [B], gradients (flat); null: not wanted. The gradient is that of
//! the loss, or of <cotangent [B, n, d_out], outputs> if that is given (without a loss).
template <class T>
void evaluate(const Call&, const Data<T>&, T* predict, const T* cotangent, double* loss, T* grad);
//! Products with `vectors`, `stride` entries apart; the schedule knows how many.
template <class T>
void hvp(const Call&, const Data<T>&, const T* vectors, T* out, int64_t stride, bool ggn);
//! Matrices of trainable parameters at out + offsets[b], zeroed by the caller.
template <class T>
void hessian(const Call&, const Data<T>&, T* out, const int64_t* offsets, bool ggn);
//! Runs every network with status 0 to step `until`; first: the least step of those; record: the
//! recorded steps on the host. The last two only matter where the schedule counts steps.
template <class T>
void train(const Call&, const Data<T>&, const HyperParameters&, const TrainState<T>&, int64_t first,
           const int64_t* record);

//! The parts of the calls that are the other networks', those of pairs of blocks (train_pairs.cu)
//! and the wide ones' (wide.cu, wide_curvature.cu).
template <class T>
void evaluate_narrow(const Call&, const Data<T>&, T* predict, const T* cotangent, double* loss,
                     T* grad);
template <class T>
void train_pairs(const Call&, const Problem<T>&, const HyperParameters&, const TrainState<T>&,
                 const Launch&);
template <class T>
void wide_evaluate(const Call&, const Data<T>&, T* predict, const T* cotangent, double* loss,
                   T* grad);
template <class T>
void wide_hvp(const Call&, const Data<T>&, const T* vectors, T* out, int64_t stride, bool ggn);
template <class T>
void wide_hessian(const Call&, const Data<T>&, T* out, const int64_t* offsets, bool ggn);
template <class T>
void wide_train(const Call&, const Data<T>&, const HyperParameters&, const TrainState<T>&,
                int64_t first, const int64_t* record);

//! The activation and its derivatives up to `order` at n numbers; out [order + 1, n].
template <class T>
void activation(int act, int order, int64_t n, const T* in, T* out, void* stream);

//! The problem the kernels see.
template <class T>
Problem<T> problem_of(const Call& c, const Data<T>& data) {
  const PlanBlock block = c.plan.block();
  Problem<T> pr{};
  pr.nets = reinterpret_cast<const NetRecord*>(c.plan_block);
  pr.layers = reinterpret_cast<const LayerRecord*>(c.plan_block + block.layers);
  pr.ints = reinterpret_cast<const int*>(c.plan_block + block.ints);
  pr.data = data;
  pr.task = c.task;
  pr.active = c.active;
  pr.theta = static_cast<const T*>(c.theta);
  pr.act = c.act;
  return pr;
}

//! What a call on blocks that own networks writes.
template <class T>
Results<T> results_of(const Call& c, T* predict, const T* cotangent, double* loss, T* grad,
                      int64_t stride) {
  const WorkspaceLayout& w = c.schedule.workspace();
  return {predict,
          cotangent,
          loss,
          grad,
          stride,
          reinterpret_cast<T*>(c.workspace + w.partial),
          reinterpret_cast<double*>(c.workspace + w.partial_loss)};
}

}  // namespace edt::cuda
