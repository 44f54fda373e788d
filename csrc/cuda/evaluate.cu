#include "cuda/evaluate.cuh"

#include "cuda/engine.h"

namespace edt::cuda {
namespace {

template <class T>
EDT_KERNEL(256)
activation_kernel(int act, int order, int64_t n, const T* in, T* out) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  with_activation(act, [&](auto tag) {
    T s[4];
    activation<decltype(tag)::act, 3>(in[i], s);
    EDT_UNROLL
    for (int k = 0; k < 4; ++k)
      if (k <= order) out[k * n + i] = s[k];
  });
}

// Partial losses are numbered through all launches.
template <class T>
Results<T> shifted(Results<T> out, int items) {
  out.partial_loss += items;
  return out;
}

template <class T, bool Grad>
void run(const Call& c, const Problem<T>& pr, const Results<T>& out) {
  const auto* items = reinterpret_cast<const Item*>(c.schedule_block);
  for (const Launch& l : c.schedule.launches())
    launch("evaluate", evaluate_kernel<T, Grad>, l.grid, l.threads, l.shared, c.stream, pr,
           items + l.first, l.count, shifted(out, l.first));
  const auto* merges = reinterpret_cast<const Merge*>(c.schedule_block + c.schedule.merges_at());
  launch("merge", merge_kernel<T>, int(c.schedule.merges().size()), 256, int64_t(0), c.stream, pr,
         merges, out);
}

}  // namespace

template <class T>
void evaluate_narrow(const Call& c, const Data<T>& data, T* predict, const T* cotangent,
                     double* loss, T* grad) {
  const Problem<T> pr = problem_of(c, data);
  const Results<T> out = results_of(c, predict, cotangent, loss, grad, 0);
  if (grad) run<T, true>(c, pr, out);
  else run<T, false>(c, pr, out);
}

template <class T>
void evaluate(const Call& c, const Data<T>& data, T* predict, const T* cotangent, double* loss,
              T* grad) {
  evaluate_narrow(c, data, predict, cotangent, loss, grad);
  wide_evaluate(c, data, predict, cotangent, loss, grad);
}

template <class T>
void activation(int act, int order, int64_t n, const T* in, T* out, void* stream) {
  launch("activation", activation_kernel<T>, int((n + 255) / 256), 256, int64_t(0), stream, act,
         order, n, in, out);
}

template void evaluate<float>(const Call&, const Data<float>&, float*, const float*, double*,
                              float*);
template void evaluate<double>(const Call&, const Data<double>&, double*, const double*, double*,
                               double*);
template void evaluate_narrow<float>(const Call&, const Data<float>&, float*, const float*, double*,
                                     float*);
template void evaluate_narrow<double>(const Call&, const Data<double>&, double*, const double*,
                                      double*, double*);
template void activation<float>(int, int, int64_t, const float*, float*, void*);
template void activation<double>(int, int, int64_t, const double*, double*, void*);

}  // namespace edt::cuda
