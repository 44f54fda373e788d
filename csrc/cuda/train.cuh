// First-order training: many optimiser steps a launch.
//
// Fused: one block owns a network; parameters, gradient and, where they fit, the moments stay in
// its shared memory from the first step to the last. Split: where few networks have many samples,
// every step is three launches (shares of the gradient, their sum, the update).
//
// The meaning is that of cpu/isa/train.h: the state between calls is (theta, moments, step); at
// step s loss and gradient at theta_s decide whether the network stops there, then theta_{s+1}
// follows; the run ends with an evaluation at last_step, a call that ends before leaves the
// evaluation at its last step to the next one. Minibatches: epoch e visits the samples in an order
// drawn from (seed, e); a batch's coefficients are scaled by N / (batch size).
#pragma once
#include "cuda/evaluate.cuh"
#include "cuda/optimizer.cuh"
#include "cuda/shallow_sums.cuh"

namespace edt::cuda {

// First recorded step that is not before `step`.
EDT_DEVICE int64_t next_record(const int64_t* record, int64_t n, int64_t step) {
  int64_t low = 0, high = n;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (record[middle] < step) low = middle + 1;
    else high = middle;
  }
  return low;
}

template <class T, Training kind>
EDT_DEVICE void train_network(const Problem<T>& pr, const Item& item, const HyperParameters& hp,
                              const TrainState<T>& st, int* orders, unsigned char* memory) {
  constexpr bool kPairs = kind == Training::pairs, kShallow = kPairs || kind == Training::shallow,
                 kSquares = kind == Training::squares;
  const int b = item.net;
  if (kPairs && b < 0) return;  // no second network for this block
  if (st.status[b] != int8_t(Status::running)) return;
  const Net<T> n(pr, b);
  const Tile tile = kSquares ? Tile{kSquareTile, kSquareShift} : tile_of<T>(item.tile);
  // The moments are in the arena; those of two blocks have to be.
  const bool own = kPairs || (item.extra & kMoments) != 0;
  Arena<T> arena(memory);
  T* p = arena.vector(n.net.n_params);
  T* m = arena.vector(own ? n.net.n_params : 0);
  T* v = arena.vector(own ? n.net.n_params : 0);
  T* g = arena.vector(n.net.n_math * item.groups);
  if constexpr (kPairs) arena.vector(n.net.n_math);  // behind g: the sums of both blocks
  T* own_samples = arena.vector(kShallow ? kShallowRows * tile.samples : 0);
  const bool twice = kSquares && (item.extra & kInputsTwice) != 0;
  const Rows<T> x = arena.rows(twice ? 0 : n.net.d_in, tile.samples);
  const Rows<T> a = arena.rows(n.net.n_hidden, tile.samples);
  const Rows<T> d = arena.rows(n.net.n_hidden, tile.samples);
  const Rows<T> f = arena.rows(n.net.d_out, tile.samples);
  // Inputs that are brought for each pass: where the last hidden layer's derivatives will be, and
  // for the way back where its activations were.
  const auto inputs = [&](bool back) {
    if constexpr (kSquares) return choose(twice, n.hidden(back ? a : d, n.last()), x);
    else return x;
  };
  const int* source = n.ints + n.net.source;
  gather(n, st.theta, p, n.net.n_params, true);
  if (own && st.m) gather(n, st.m, m, n.net.n_params, false);
  if (own && st.v) gather(n, st.v, v, n.net.n_params, false);

  ShallowSums<T, kPairs> sums(g, memory, item);
  T* const total = sums.total(n.net.n_math);
  if constexpr (kShallow) {
    sums.clear(n.net.n_math);
    __syncthreads();
  }

  const int N = pr.data.n;
  const bool batches = hp.batch_size > 0;
  const int batch = batches ? int(hp.batch_size) : N;
  const int per_epoch = (N + batch - 1) / batch;
  const auto order = [&] { return orders + item.partial; };
  const bool writes = !kPairs || item.split == 0;  // of two blocks that know the same
  bool ordered = false;                            // `order` is that of an epoch
  bool loaded = false;                             // x holds all samples

  int64_t s = st.steps[b];
  int row = int(next_record(st.record, st.n_record, s));
  Status status = Status::running;
  bool minibatch = false;  // this evaluation is of a minibatch, which only makes the step
  for (;;) {
    const bool last = s >= st.until, recorded = row < st.n_record && st.record[row] == s;
    if (last && s < hp.last_step) break;
    // Only evaluations that do not depend on where the calls are cut may stop a network.
    const bool decides = !batches || recorded || (wants_target(hp) && s % per_epoch == 0);
    if (!minibatch && !decides && !last) minibatch = true;
    int first = 0, count = N;
    if (minibatch) {
      const int turn = int(s % per_epoch);
      if (!ordered || turn == 0)
        shuffle_block(st.seeds[b], uint64_t(s / per_epoch), N, order(), order() + N);
      ordered = true;
      first = turn * batch;
      count = smaller(batch, N - first);
    }
    const T scale = minibatch ? T(double(N) / double(count)) : T(1);

    // g: the gradient, then summed over the groups and 0 where nothing is trained.
    if (!last) make_rule(rule_in<T>(memory), hp, st, b, s);
    double found = 0;
    if constexpr (kShallow) {
      const Samples samples{minibatch ? order() : nullptr, first, count};
      const bool held = pass_in_registers(pr, item, samples, scale, p, own_samples, loaded, sums);
      loaded = held && !batches;
      found = sums.loss();
    } else {
      const auto tiles = [&](const auto& load, const auto& body) {
        EDT_NO_UNROLL
        for (int at = 0; at < count; at += item.tile) {
          const Samples samples{minibatch ? order() : nullptr, first + at,
                                smaller(item.tile, count - at)};
          if (!loaded) load(samples);
          loaded = !batches && N <= item.tile && !twice;
          __syncthreads();
          body(samples);
        }
      };
      for (int64_t k = threadIdx.x; k < int64_t(n.net.n_math) * item.groups; k += blockDim.x)
        g[k] = T(0);
      tiles([&](const Samples& samples) { load_inputs(n, pr.data, samples, inputs(false), tile); },
            [&](const Samples& samples) {
              forward<1, kSquares>(n, pr.act, p, inputs(false), a, d, d, f, tile);
              found += loss_pass<true, false>(n, pr.data, samples, scale, f, f, tile);
              __syncthreads();
              backward<kSquares>(n, p, inputs(true), a, d, f, tile, share_of(item.groups), g, [&] {
                if (twice) load_inputs(n, pr.data, samples, inputs(true), tile);
              });
            });
    }
    T top = T(0);
    if constexpr (kShallow) {
      top = sums.add_up(n.net.n_math, source);
    } else {
      for (int k = int(threadIdx.x); k < n.net.n_math; k += int(blockDim.x)) {
        const T sum = source[k] >= 0 ? group_sum(g, n.net.n_math, item.groups, k) : T(0);
        g[k] = sum;
        top = Largest{}(top, is_finite(sum) ? T(fabs(sum)) : T(HUGE_VAL));
      }
      found = block_reduce(found, memory, Sum{});
    }
    const T big = block_reduce(top, memory, Largest{});
    const bool finite = is_finite(found) && is_finite(big);

    if (minibatch) {
      minibatch = false;
      if (!finite) {
        status = Status::diverged;
        if (threadIdx.x == 0 && writes) st.loss[b] = st.grad_norm[b] = double(NAN);
        break;
      }
    } else {
      const double grad_max = finite ? double(big) : double(NAN);
      if (threadIdx.x == 0 && writes) {
        st.loss[b] = found;
        st.grad_norm[b] = grad_max;
        if (recorded) {
          st.history_loss[row * st.networks + b] = found;
          st.history_grad[row * st.networks + b] = grad_max;
        }
      }
      row += recorded;
      if (decides) status = verdict(hp, found, grad_max);
      if (last || status != Status::running) break;
      if (batches) {
        minibatch = true;
        continue;
      }
    }
    T clip = T(1);
    if (st.clip_norm && big > T(0)) {
      T squares = T(0);
      for (int k = int(threadIdx.x); k < n.net.n_math; k += int(blockDim.x))
        squares = add_square(squares, total[k], big);
      clip = clip_factor(st.clip_norm[b], big, block_reduce(squares, memory, Sum{}));
    }
    const Rule<T>& rule = *rule_in<T>(memory);
    // Two loops, so that the compiler sees where the moments lie.
    if (own) {
      for (int k = int(threadIdx.x); k < n.net.n_params; k += int(blockDim.x))
        if (source[k] >= 0)
          rule(p[k], k < n.net.n_math ? clip * total[k] : T(0), m + k, v + k,
               entry_of(st.lr_scale, n.net.flat + source[k]));
    } else {
      for (int k = int(threadIdx.x); k < n.net.n_params; k += int(blockDim.x)) {
        if (source[k] < 0) continue;
        const int64_t place = n.net.flat + source[k];
        rule(p[k], k < n.net.n_math ? clip * total[k] : T(0), entry_of(st.m, place),
             entry_of(st.v, place), entry_of(st.lr_scale, place));
      }
    }
    __syncthreads();
    ++s;
  }

  // Nothing to write where nothing was evaluated.
  if constexpr (kPairs)
    if (sums.pair() && (!sums.leave() || !writes)) return;
  for (int k = int(threadIdx.x); k < n.net.n_params; k += int(blockDim.x)) {
    const int at = source[k];
    if (at < 0) continue;
    st.theta[n.net.flat + at] = p[k];
    if (own && st.m) st.m[n.net.flat + at] = m[k];
    if (own && st.v) st.v[n.net.flat + at] = v[k];
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    st.steps[b] = s;
    st.status[b] = int8_t(status);
  }
}

template <class T, Training kind>
EDT_KERNEL(kind == Training::squares ? kSquareThreads : kMaxThreads)
train_kernel(Problem<T> pr, const Item* items, int n_items, HyperParameters hp, TrainState<T> st,
             int* orders) {
  EDT_SHARED(memory);
  for (int i = int(blockIdx.x); i < n_items; i += int(gridDim.x)) {
    train_network<T, kind>(pr, items[i], hp, st, orders, memory);
    __syncthreads();
  }
}

// The step up to which a call evaluates.
EDT_DEVICE int64_t last_evaluation(int64_t until, const HyperParameters& hp) {
  return until < hp.last_step ? until - 1 : until;
}

// Split training, before the first step: which networks still run. Wide ones have their own way.
template <class T>
EDT_KERNEL(256)
begin_kernel(HyperParameters hp, TrainState<T> st, const uint8_t* is_wide, uint8_t* active) {
  const int64_t b = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (b < st.networks)
    active[b] = st.status[b] == int8_t(Status::running) &&
                st.steps[b] <= last_evaluation(st.until, hp) && !is_wide[b];
}

// Split training: decide and update, one block a network. loss and grad hold the evaluation at the
// network's step; a network that stops here leaves the active set.
template <class T>
EDT_KERNEL(kMaxThreads)
step_kernel(Problem<T> pr, HyperParameters hp, TrainState<T> st, const double* loss, const T* grad,
            uint8_t* active) {
  EDT_SHARED(memory);
  const int b = int(blockIdx.x);
  if (!active[b]) return;
  const Net<T> n(pr, b);
  const int* target = n.ints + n.net.target;
  const T* g = grad + n.net.flat;
  const int64_t s = st.steps[b], row = next_record(st.record, st.n_record, s);
  if (s < st.until) make_rule(rule_in<T>(memory), hp, st, b, s);
  T top = T(0);
  for (int k = int(threadIdx.x); k < n.net.n_flat; k += int(blockDim.x))
    if (target[k] >= 0) top = Largest{}(top, is_finite(g[k]) ? T(fabs(g[k])) : T(HUGE_VAL));
  const T big = block_reduce(top, memory, Largest{});
  const double found = loss[b];
  const double grad_max = is_finite(found) && is_finite(big) ? double(big) : double(NAN);
  const Status status = verdict(hp, found, grad_max);
  const bool stop = s >= st.until || status != Status::running;
  T clip = T(1);
  if (st.clip_norm && !stop && big > T(0)) {
    T squares = T(0);
    for (int k = int(threadIdx.x); k < n.net.n_flat; k += int(blockDim.x))
      if (target[k] >= 0) squares = add_square(squares, g[k], big);
    clip = clip_factor(st.clip_norm[b], big, block_reduce(squares, memory, Sum{}));
  }
  const Rule<T>& rule = *rule_in<T>(memory);
  if (!stop)
    for (int k = int(threadIdx.x); k < n.net.n_flat; k += int(blockDim.x))
      if (target[k] >= 0)
        rule(st.theta[n.net.flat + k], clip * g[k], entry_of(st.m, n.net.flat + k),
             entry_of(st.v, n.net.flat + k), entry_of(st.lr_scale, n.net.flat + k));
  __syncthreads();
  if (threadIdx.x == 0) {
    if (row < st.n_record && st.record[row] == s) {
      st.history_loss[row * st.networks + b] = found;
      st.history_grad[row * st.networks + b] = grad_max;
    }
    st.status[b] = int8_t(status);
    st.loss[b] = found;
    st.grad_norm[b] = grad_max;
    if (!stop) st.steps[b] = s + 1;
    if (stop || s + 1 > last_evaluation(st.until, hp)) active[b] = 0;
  }
}

}  // namespace edt::cuda
