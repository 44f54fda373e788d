#include "cuda/curvature.cuh"
#include "cuda/engine.h"

namespace edt::cuda {

template <class T>
void hvp(const Call& c, const Data<T>& data, const T* vectors, T* result, int64_t stride,
         bool ggn) {
  const Problem<T> pr = problem_of(c, data);
  const Results<T> out = results_of<T>(c, nullptr, nullptr, nullptr, result, stride);
  const auto* items = reinterpret_cast<const Item*>(c.schedule_block);
  for (const Launch& l : c.schedule.launches())
    launch("hvp", hvp_kernel<T>, l.grid, l.threads, l.shared, c.stream, pr, items + l.first,
           l.count, vectors, int(ggn), out);
  const auto* merges = reinterpret_cast<const Merge*>(c.schedule_block + c.schedule.merges_at());
  launch("merge", merge_kernel<T>, int(c.schedule.merges().size()), 256, int64_t(0), c.stream, pr,
         merges, out);
  wide_hvp(c, data, vectors, result, stride, ggn);
}

template void hvp<float>(const Call&, const Data<float>&, const float*, float*, int64_t, bool);
template void hvp<double>(const Call&, const Data<double>&, const double*, double*, int64_t, bool);

}  // namespace edt::cuda
