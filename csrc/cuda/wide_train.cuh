// Training of wide networks: the order of an epoch's samples, what an evaluation decides, the
// update.
#pragma once
#include "cuda/optimizer.cuh"
#include "cuda/wide.cuh"

namespace edt::cuda {

// Back to their places in the flat vectors.
template <class T>
EDT_KERNEL(kWideThreads)
wide_scatter_kernel(Problem<T> pr, Wide<T> wide, T* theta, T* m, T* v) {
  const WideItem item = wide.items[blockIdx.x];
  const WideWork<T> work(pr, wide, item.wide);
  const int* source = work.n.ints + work.n.net.source;
  for (int k = item.first + int(threadIdx.x); k < item.first + item.count; k += int(blockDim.x)) {
    if (source[k] < 0) continue;
    const int64_t to = work.n.net.flat + source[k];
    theta[to] = wide.numbers[work.w.p + k];
    if (m) m[to] = wide.numbers[work.w.m + k];
    if (v) v[to] = wide.numbers[work.w.v + k];
  }
}

//! Draws of a shuffle in shared memory at once, and the bytes of one of n samples there.
constexpr int kOrderDraws = 1024;
EDT_HD int64_t order_bytes(int n) { return round_up(2 * int64_t(n), 16) + 4 * kOrderDraws; }

// The order of a network's samples in one epoch; one block a network. most: samples whose order
// shared memory holds.
template <class T>
EDT_KERNEL(kWideThreads)
wide_order_kernel(Problem<T> pr, Wide<T> wide, const int8_t* status, const uint64_t* seeds,
                  int64_t epoch, int most) {
  EDT_SHARED(memory);
  const int b = wide.nets[blockIdx.x].net, n = pr.data.n;
  // Those ahead of the others, too: their turn comes within the epoch.
  if (status[b] != int8_t(Status::running)) return;
  int* order = wide.orders + int64_t(blockIdx.x) * 2 * n;
  if (n > most) {
    shuffle_block(seeds[b], uint64_t(epoch), n, order, order + n);
    return;
  }
  // The swaps wait for one another: here for shared memory instead of global memory.
  auto* place = reinterpret_cast<uint16_t*>(memory);
  int* draw = reinterpret_cast<int*>(memory + order_bytes(n)) - kOrderDraws;
  for (int i = int(threadIdx.x); i < n; i += int(blockDim.x)) place[i] = uint16_t(i);
  for (int end = n; end > 1; end -= kOrderDraws) {
    const int first = end > kOrderDraws ? end - kOrderDraws : 1;
    __syncthreads();
    for (int i = first + int(threadIdx.x); i < end; i += int(blockDim.x))
      draw[i - first] = draw_of(seeds[b], uint64_t(epoch), i);
    __syncthreads();
    if (threadIdx.x == 0)
      for (int i = end - 1; i >= first; --i) {
        const int j = draw[i - first];
        const uint16_t t = place[i];
        place[i] = place[j];
        place[j] = t;
      }
  }
  __syncthreads();
  for (int i = int(threadIdx.x); i < n; i += int(blockDim.x)) order[i] = place[i];
}

// Training: what the evaluation at the networks' step decides; one block a network. minibatch: the
// evaluation only makes the step. decides: it may stop a network; row: of the history, or -1.
template <class T>
EDT_KERNEL(kWideThreads)
wide_decide_kernel(Problem<T>, Wide<T> wide, WideWho who, HyperParameters hp, TrainState<T> st,
                   int slots, int minibatch, int decides, int last, int64_t row) {
  EDT_SHARED(memory);
  const int index = int(blockIdx.x);
  const WideNet w = wide.nets[index];
  const int b = w.net;
  if (!who(b)) {
    if (threadIdx.x == 0) wide.go[index] = 0;
    return;
  }
  T top = T(0);
  for (int t = int(threadIdx.x); t < w.tops; t += int(blockDim.x))
    top = Largest{}(top, wide.tops[w.top + t]);
  const T big = block_reduce(top, memory, Largest{});
  const double loss = wide_loss(wide, index, slots, memory);
  const bool finite = is_finite(loss) && is_finite(big);
  if (threadIdx.x != 0) return;
  if (st.clip_norm) wide.sizes[index] = big;
  const double grad_max = finite ? double(big) : double(NAN);
  bool go = minibatch ? finite : hp.batch_size == 0 && !last;
  if (!minibatch) {
    st.loss[b] = loss;
    st.grad_norm[b] = grad_max;
    if (row >= 0) {
      st.history_loss[row * st.networks + b] = loss;
      st.history_grad[row * st.networks + b] = grad_max;
    }
    const Status status = decides ? verdict(hp, loss, grad_max) : Status::running;
    st.status[b] = int8_t(status);
    go = go && status == Status::running;
  } else if (!finite) {
    st.status[b] = int8_t(Status::diverged);
    st.loss[b] = st.grad_norm[b] = double(NAN);
  }
  wide.go[index] = go;
  if (go) st.steps[b] = who.step + 1;
}

// Clipping: a piece's part of the sum that `clip_factor` takes; one block an item of the vectors.
template <class T>
EDT_KERNEL(kWideThreads)
wide_squares_kernel(Problem<T> pr, Wide<T> wide) {
  EDT_SHARED(memory);
  const WideItem item = wide.items[blockIdx.x];
  if (!wide.go[item.wide]) return;
  const WideWork<T> work(pr, wide, item.wide);
  const int* source = work.n.ints + work.n.net.source;
  const T* g = wide.numbers + work.w.g;
  const T top = wide.sizes[item.wide];
  const int end = smaller(item.first + item.count, work.n.net.n_math);
  T sum = T(0);
  if (top > T(0))
    for (int k = item.first + int(threadIdx.x); k < end; k += int(blockDim.x))
      if (source[k] >= 0) sum = add_square(sum, g[k], top);
  sum = block_reduce(sum, memory, Sum{});
  if (threadIdx.x == 0) wide.squares[blockIdx.x] = sum;
}

// The optimiser's step on a piece of a network; c1, c2: 1 - beta^(step + 1).
template <class T>
EDT_KERNEL(kWideThreads)
wide_update_kernel(Problem<T> pr, Wide<T> wide, HyperParameters hp, TrainState<T> st, int64_t step,
                   double c1, double c2) {
  EDT_SHARED(memory);
  const WideItem item = wide.items[blockIdx.x];
  if (!wide.go[item.wide]) return;
  const WideWork<T> work(pr, wide, item.wide);
  const NetRecord& net = work.n.net;
  const int* source = work.n.ints + net.source;
  const int b = work.w.net;
  Rule<T>& rule = *rule_in<T>(memory);
  if (threadIdx.x == 0) rule = Rule<T>(hp, st, b, step, c1, c2);
  __syncthreads();
  T clip = T(1);
  if (st.clip_norm && wide.sizes[item.wide] > T(0)) {
    T squares = T(0);
    for (int t = int(threadIdx.x); t < work.w.pieces; t += int(blockDim.x))
      squares += wide.squares[work.w.piece + t];
    squares = block_reduce(squares, memory, Sum{});
    clip = clip_factor(st.clip_norm[b], wide.sizes[item.wide], squares);
  }
  T* p = wide.numbers + work.w.p;
  T* m = st.m ? wide.numbers + work.w.m : nullptr;
  T* v = st.v ? wide.numbers + work.w.v : nullptr;
  const T* g = wide.numbers + work.w.g;
  for (int k = item.first + int(threadIdx.x); k < item.first + item.count; k += int(blockDim.x))
    if (source[k] >= 0)
      rule(p[k], k < net.n_math ? clip * g[k] : T(0), entry_of(m, k), entry_of(v, k),
           entry_of(st.lr_scale, net.flat + source[k]));
}

}  // namespace edt::cuda
