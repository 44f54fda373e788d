#include "cuda/curvature.cuh"

#include "cuda/engine.h"

namespace edt::cuda {

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

template void hessian<float>(const Call&, const Data<float>&, float*, const int64_t*, bool);
template void hessian<double>(const Call&, const Data<double>&, double*, const int64_t*, bool);

}  // namespace edt::cuda
