// Outputs, losses and gradients: one block an item (a network and a share of its samples).
//
// Per sample and active weight: 2 FLOPs forward, 4 more for the gradient (2 in the first layer).
// Global memory: parameters once an item, samples once an item, results once; the rest is shared.
// Networks that do not fit shared memory are not here but in wide.cuh.
#pragma once
#include "cuda/passes.cuh"

namespace edt::cuda {

template <class T>
EDT_DEVICE void write_outputs(Rows<T> f, int net, const Data<T>& data, int first, int count,
                              T* out) {
  for (int t = int(threadIdx.x); t < count * data.d_out; t += int(blockDim.x)) {
    const int s = t / data.d_out, o = t % data.d_out;
    out[(int64_t(net) * data.n + first + s) * data.d_out + o] = *f.at(o, s);
  }
}

// A compressed vector to its place in the flat one, or to the partial results of the item.
template <class T>
EDT_DEVICE void write_flat(const Net<T>& n, const Item& item, const T* g, const Results<T>& out,
                           int vector) {
  if (item.splits > 1) {
    for (int k = int(threadIdx.x); k < n.net.n_math; k += int(blockDim.x))
      out.partial[item.partial + k] = group_sum(g, n.net.n_math, item.groups, k);
    return;
  }
  const int* target = n.ints + n.net.target;
  T* to = out.grad + vector * out.stride + n.net.flat;
  for (int k = int(threadIdx.x); k < n.net.n_flat; k += int(blockDim.x)) {
    const int from = target[k];
    // Parameters behind those of the last layer have no gradient.
    to[k] = from >= 0 && from < n.net.n_math ? group_sum(g, n.net.n_math, item.groups, from) : T(0);
  }
}

template <class T>
EDT_DEVICE void read_cotangent(Rows<T> f, int net, const Data<T>& data, int first, int count,
                               const T* from, Tile tile) {
  for (int o = 0; o < data.d_out; ++o)
    for (int s = int(threadIdx.x); s < tile.samples; s += int(blockDim.x))
      *f.at(o, s) = s < count ? from[(int64_t(net) * data.n + first + s) * data.d_out + o] : T(0);
}

template <bool Grad, class T>
EDT_DEVICE void evaluate(const Problem<T>& pr, const Item& item, int index, const Results<T>& out,
                         unsigned char* memory) {
  const Net<T> n(pr, item.net);
  const Tile tile = tile_of<T>(item.tile);
  Arena<T> arena(memory);
  T* p = arena.vector(n.net.n_math);
  T* g = Grad ? arena.vector(n.net.n_math * item.groups) : nullptr;
  const Rows<T> x = arena.rows(n.net.d_in, tile.samples);
  const Rows<T> a = arena.rows(n.net.n_hidden, tile.samples);
  const Rows<T> d = Grad ? arena.rows(n.net.n_hidden, tile.samples) : a;
  const Rows<T> f = arena.rows(n.net.d_out, tile.samples);
  gather(n, pr.theta, p, n.net.n_math, true);
  if constexpr (Grad)
    for (int64_t k = threadIdx.x; k < int64_t(n.net.n_math) * item.groups; k += blockDim.x)
      g[k] = T(0);
  double loss = 0;
  for (int at = 0; at < item.count; at += item.tile) {
    const Samples samples{nullptr, item.first + at, smaller(item.tile, item.count - at)};
    load_inputs(n, pr.data, samples, x, tile);
    __syncthreads();
    forward<Grad ? 1 : 0>(n, pr.act, p, x, a, d, d, f, tile);
    if (out.predict) {
      write_outputs(f, item.net, pr.data, item.first + at, samples.count, out.predict);
      __syncthreads();
    }
    if (out.cotangent)
      read_cotangent(f, item.net, pr.data, item.first + at, samples.count, out.cotangent, tile);
    if (out.loss) loss += loss_pass<Grad, false>(n, pr.data, samples, T(1), f, f, tile);
    __syncthreads();
    if constexpr (Grad) backward(n, p, x, a, d, f, tile, share_of(item.groups), g, [] {});
  }
  if (out.loss) {
    loss = block_reduce(loss, memory, Sum{});
    if (threadIdx.x == 0) {
      if (item.splits == 1) out.loss[item.net] = loss;
      else out.partial_loss[index] = loss;
    }
  }
  if constexpr (Grad) write_flat(n, item, g, out, 0);
}

template <class T, bool Grad>
EDT_KERNEL(kMaxThreads)
evaluate_kernel(Problem<T> pr, const Item* items, int n_items, Results<T> out) {
  EDT_SHARED(memory);
  for (int i = int(blockIdx.x); i < n_items; i += int(gridDim.x)) {
    const Item item = items[i];
    if (pr.active && !pr.active[item.net]) continue;
    evaluate<Grad>(pr, item, i, out, memory);
    __syncthreads();
  }
}

// Adds the partial results of networks whose samples several items shared, first to last.
template <class T>
EDT_KERNEL(256)
merge_kernel(Problem<T> pr, const Merge* merges, Results<T> out) {
  const Merge m = merges[blockIdx.x];
  if (pr.active && !pr.active[m.net]) return;
  const Net<T> n(pr, m.net);
  if (out.loss && m.first == 0 && threadIdx.x == 0) {
    double sum = 0;
    for (int s = 0; s < m.splits; ++s) sum += out.partial_loss[m.item + s];
    out.loss[m.net] = sum;
  }
  if (!out.grad) return;
  const int* target = n.ints + n.net.target;
  for (int k = m.first + int(threadIdx.x); k < m.first + m.count; k += int(blockDim.x)) {
    const int from = target[k];
    T sum = T(0);
    if (from >= 0 && from < n.net.n_math)
      for (int s = 0; s < m.splits; ++s) sum += out.partial[m.partial + s * m.step + from];
    out.grad[m.vector * out.stride + n.net.flat + k] = sum;
  }
}

}  // namespace edt::cuda
