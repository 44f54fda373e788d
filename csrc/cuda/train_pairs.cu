// Training of few networks, two blocks of a cluster for one that would hold up all others. Compiled
// for sm_90 and newer alone.
#include "cuda/engine.h"
#include "cuda/train.cuh"

namespace edt::cuda {

template <class T>
void train_pairs(const Call& c, const Problem<T>& pr, const HyperParameters& hp,
                 const TrainState<T>& st, const Launch& l) {
  const auto* items = reinterpret_cast<const Item*>(c.schedule_block) + l.first;
  int* orders = reinterpret_cast<int*>(c.workspace + c.schedule.workspace().orders);
  launch_clusters("train", train_kernel<T, Training::pairs>, 2, l.grid, l.threads, l.shared,
                  c.stream, pr, items, l.count, hp, st, orders);
}

template void train_pairs<float>(const Call&, const Problem<float>&, const HyperParameters&,
                                 const TrainState<float>&, const Launch&);
template void train_pairs<double>(const Call&, const Problem<double>&, const HyperParameters&,
                                  const TrainState<double>&, const Launch&);

}  // namespace edt::cuda
