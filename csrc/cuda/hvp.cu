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

template void hvp<float>(const Call&, const Data<float>&, const float*, float*, int64_t, bool);
template void hvp<double>(const Call&, const Data<double>&, const double*, double*, int64_t, bool);

}  // namespace edt::cuda
