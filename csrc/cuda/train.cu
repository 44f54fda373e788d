#include "cuda/train.cuh"

#include "cuda/engine.h"

namespace edt::cuda {
namespace {

template <class T>
void train_fused(const Call& c, const Problem<T>& pr, const HyperParameters& hp,
                 const TrainState<T>& st) {
  const auto* items = reinterpret_cast<const Item*>(c.schedule_block);
  int* orders = reinterpret_cast<int*>(c.workspace + c.schedule.workspace().orders);
  for (const Launch& l : c.schedule.launches()) {
    if (l.kind == Training::pairs) {
      train_pairs(c, pr, hp, st, l);
      continue;
    }
    auto kernel = l.kind == Training::shallow ? train_kernel<T, Training::shallow>
                                              : train_kernel<T, Training::general>;
    if constexpr (sizeof(T) == 4)
      if (l.kind == Training::squares) kernel = train_kernel<T, Training::squares>;
    launch("train", kernel, l.grid, l.threads, l.shared, c.stream, pr, items + l.first, l.count, hp,
           st, orders);
  }
}

template <class T>
void train_split(const Call& call, const Data<T>& data, const HyperParameters& hp,
                 const TrainState<T>& st, int64_t first) {
  const WorkspaceLayout& w = call.schedule.workspace();
  T* grad = reinterpret_cast<T*>(call.workspace + w.grad);
  double* loss = reinterpret_cast<double*>(call.workspace + w.loss);
  uint8_t* active = call.workspace + w.active;
  Call c = call;
  c.active = active;
  const int blocks = int((st.networks + 255) / 256);
  launch("begin", begin_kernel<T>, blocks, 256, int64_t(0), c.stream, hp, st,
         c.schedule_block + c.schedule.is_wide_at(), active);
  const int64_t end = st.until < hp.last_step ? st.until - 1 : st.until;
  for (int64_t s = first; s <= end; ++s) {
    evaluate_narrow<T>(c, data, nullptr, nullptr, loss, grad);
    launch("step", step_kernel<T>, int(st.networks), 256, int64_t(kReserved), c.stream,
           problem_of(c, data), hp, st, static_cast<const double*>(loss),
           static_cast<const T*>(grad), active);
  }
}

}  // namespace

template <class T>
void train(const Call& c, const Data<T>& data, const HyperParameters& hp, const TrainState<T>& st,
           int64_t first, const int64_t* record) {
  if (c.schedule.split_training()) train_split(c, data, hp, st, first);
  else train_fused(c, problem_of(c, data), hp, st);
  wide_train(c, data, hp, st, first, record);
}

template void train<float>(const Call&, const Data<float>&, const HyperParameters&,
                           const TrainState<float>&, int64_t, const int64_t*);
template void train<double>(const Call&, const Data<double>&, const HyperParameters&,
                            const TrainState<double>&, int64_t, const int64_t*);

}  // namespace edt::cuda
