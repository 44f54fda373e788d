#include "cuda/curvature.cuh"

#include "cuda/engine.h"

namespace edt::cuda {

template <class T>
void hvp(const Call& c, const Data<T>& data, const T* vectors, T* result, int64_t stride,
         bool ggn) {
  const DeviceGuard guard(c.device);
  const Problem<T> pr = problem_of(c, data);
  const WorkspaceLayout& w = c.schedule.workspace();
  const Results<T> out{nullptr,
                       nullptr,
                       result,
                       stride,
                       reinterpret_cast<T*>(c.workspace + w.partial),
                       reinterpret_cast<double*>(c.workspace + w.partial_loss)};
  const auto* items = reinterpret_cast<const Item*>(c.schedule_block);
  unsigned char* arenas = c.workspace + w.arenas;
  for (const Launch& l : c.schedule.launches()) {
    if (l.global)
      launch("hvp", hvp_kernel<T, true>, l.grid, l.threads, int64_t(0), c.stream, pr,
             items + l.first, l.count, vectors, int(ggn), out, arenas, l.arena);
    else
      launch("hvp", hvp_kernel<T, false>, l.grid, l.threads, l.shared, c.stream, pr,
             items + l.first, l.count, vectors, int(ggn), out, arenas, int64_t(0));
  }
  const auto* merges = reinterpret_cast<const Merge*>(c.schedule_block + c.schedule.merges_at());
  launch("merge", merge_kernel<T>, int(c.schedule.merges().size()), 256, int64_t(0), c.stream, pr,
         merges, out);
}

template <class T>
void hessian(const Call& c, const Data<T>& data, T* out, const int64_t* offsets, bool ggn) {
  const DeviceGuard guard(c.device);
  const Problem<T> pr = problem_of(c, data);
  const auto* items = reinterpret_cast<const Item*>(c.schedule_block);
  unsigned char* arenas = c.workspace + c.schedule.workspace().arenas;
  for (const Launch& l : c.schedule.launches()) {
    if (l.global)
      launch("hessian", hessian_kernel<T, true>, l.grid, l.threads, int64_t(0), c.stream, pr,
             items + l.first, l.count, int(ggn), out, offsets, arenas, l.arena);
    else
      launch("hessian", hessian_kernel<T, false>, l.grid, l.threads, l.shared, c.stream, pr,
             items + l.first, l.count, int(ggn), out, offsets, arenas, int64_t(0));
  }
  launch("mirror", mirror_kernel<T>, c.schedule.networks(), 256, int64_t(0), c.stream, pr, out,
         offsets);
}

#define EDT_INSTANTIATE(T)                                                               \
  template void hvp<T>(const Call&, const Data<T>&, const T*, T*, int64_t, bool);        \
  template void hessian<T>(const Call&, const Data<T>&, T*, const int64_t*, bool);
EDT_INSTANTIATE(float)
EDT_INSTANTIATE(double)
#undef EDT_INSTANTIATE

}  // namespace edt::cuda
