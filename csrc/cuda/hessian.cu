#include "cuda/curvature.cuh"

#include "cuda/engine.h"

namespace edt::cuda {

template <class T>
void hessian(const Call& c, const Data<T>& data, T* out, const int64_t* offsets, bool ggn) {
  const Problem<T> pr = problem_of(c, data);
  const auto* items = reinterpret_cast<const Item*>(c.schedule_block);
  for (const Launch& l : c.schedule.launches())
    launch("hessian", hessian_kernel<T>, l.grid, l.threads, l.shared, c.stream, pr, items + l.first,
           l.count, int(ggn), out, offsets);
  wide_hessian(c, data, out, offsets, ggn);
  const int parts = c.schedule.mirror_parts();
  launch("mirror", mirror_kernel<T>, c.schedule.networks() * parts, 256, mirror_bytes<T>(),
         c.stream, pr, out, offsets, parts);
}

template void hessian<float>(const Call&, const Data<float>&, float*, const int64_t*, bool);
template void hessian<double>(const Call&, const Data<double>&, double*, const int64_t*, bool);

}  // namespace edt::cuda
