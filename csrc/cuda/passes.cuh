// One block, one network, one tile of samples: loading, forward, loss, backward. Everything lies in
// the block's memory (shared where it fits), rows as in affine.cuh:
//   x [d_in], a [hidden] activations, d [hidden] sigma' and then dL/dz, f [d_out] outputs and then
//   dL/df; vectors p (parameters) and g (gradient), compressed as in plan.h.
#pragma once
#include "cuda/activations.cuh"
#include "cuda/affine.cuh"
#include "cuda/losses.cuh"
#include "cuda/work.h"
#include "layout/dataset.h"

namespace edt::cuda {

// Cuts a block's memory into vectors and rows.
template <class T>
struct Arena {
  unsigned char* memory;
  int used = kReserved;  // bytes: places in shared memory need no more
  EDT_DEVICE explicit Arena(unsigned char* memory_) : memory(memory_) {}
  EDT_DEVICE T* vector(int entries) {
    T* out = reinterpret_cast<T*>(memory + used);
    used += entries * int(sizeof(T));
    return out;
  }
  EDT_DEVICE Rows<T> rows(int n, int tile) {
    const int ld = tile + kPack<T>;
    return {vector(n * ld), ld};
  }
};

// One of two sets of rows. Not `? :` on the structures, which would put them in local memory and
// hide from the compiler that they lie in shared memory.
template <class T>
EDT_DEVICE Rows<T> choose(bool first, Rows<T> a, Rows<T> b) {
  return {first ? a.p : b.p, a.ld};
}

// The same of rows that lie at different distances.
template <class T>
EDT_DEVICE Rows<T> choose_any(bool first, Rows<T> a, Rows<T> b) {
  return {first ? a.p : b.p, first ? a.ld : b.ld};
}

template <class T>
EDT_DEVICE Rows<const T> read(Rows<T> r) {
  return {r.p, r.ld};
}

// Reductions over the block; every thread gets the result, in an order that is always the same.
struct Sum {
  template <class V>
  EDT_DEVICE V operator()(V a, V b) const {
    return a + b;
  }
};
struct Largest {  // of numbers that are not NaN
  template <class V>
  EDT_DEVICE V operator()(V a, V b) const {
    return a < b ? b : a;
  }
};
template <class V, class Op>
EDT_DEVICE V block_reduce(V x, unsigned char* reserved, Op op) {
  V* scratch = reinterpret_cast<V*>(reserved);
  for (int d = kWarp / 2; d > 0; d /= 2) x = op(x, __shfl_xor_sync(kFullMask, x, d));
  const int warps = int(blockDim.x) / kWarp;
  __syncthreads();
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = x;
  __syncthreads();
  x = scratch[0];
  for (int w = 1; w < warps; ++w) x = op(x, scratch[w]);
  return x;
}

// Which samples stand in a tile: `count` real ones, in order or as `order` says, then copies of the
// last one with coefficient 0.
struct Samples {
  const int* order;  // or null
  int first, count;
  EDT_DEVICE int operator()(int s) const {
    const int at = first + (s < count ? s : count - 1);
    return order ? order[at] : at;
  }
  // Whether they come in whole packs of memory: padding repeats the last sample of all.
  template <class T>
  EDT_DEVICE bool in_packs() const {
    return !order && first % kPack<T> == 0;
  }
};

template <class T>
struct Net {
  const NetRecord& net;  // not copied: registers are scarce
  const LayerRecord* layers;
  const int* ints;
  int task;

  EDT_DEVICE Net(const Problem<T>& pr, int b)
      : net(pr.nets[b]),
        layers(pr.layers + net.first_layer),
        ints(pr.ints + net.ints),
        task(int(pr.task[b])) {}
  EDT_DEVICE int last() const { return net.n_layers - 1; }
  // Of the rows of all hidden units those that enter layer l (the first for l = 0 and the outputs).
  template <class V>
  EDT_DEVICE Rows<V> hidden(Rows<V> all, int l) const {
    return all.row(l > last() ? 0 : layers[l].inputs);
  }
};

// n entries of the compressed vector of a flat one; pruned entries are 0, frozen ones only taken
// when `frozen`.
template <class T>
EDT_DEVICE void gather(const Net<T>& n, const T* flat, T* p, int count, bool frozen) {
  const int* source = n.ints + n.net.source;
  const T* from = flat + n.net.flat;
  for (int k = int(threadIdx.x); k < count; k += int(blockDim.x)) {
    const int at = source[k];
    p[k] = at >= 0 ? from[at] : (at == -1 || !frozen ? T(0) : from[-2 - at]);
  }
}

// Every step-th row of samples from `first` on, as V: four loads at a time, which do not wait for
// one another.
template <class V, class T>
EDT_DEVICE void bring_rows(const T* from, int64_t distance, Rows<T> to, int sample, int first,
                           int step, int rows) {
  const auto in = [](const T* p) { return *reinterpret_cast<const V*>(p); };
  const int64_t on = step * distance;
  const int to_on = step * to.ld;
  T* at = to.at(first, sample);
  from += first * distance;
  int i = first;
  EDT_NO_UNROLL
  for (; i + 3 * step < rows; i += 4 * step, from += 4 * on) {
    const V four[4] = {in(from), in(from + on), in(from + 2 * on), in(from + 3 * on)};
    EDT_UNROLL
    for (int q = 0; q < 4; ++q, at += to_on) store_shared(at, four[q]);
  }
  EDT_NO_UNROLL
  for (; i < rows; i += step, from += on, at += to_on) store_shared(at, in(from));
}

// Inputs to shared memory, a pack of samples at a time where there are whole ones.
template <class T>
EDT_DEVICE void load_inputs(const Net<T>& n, const Data<T>& data, const Samples& samples, Rows<T> x,
                            Tile tile) {
  const T* from = data.x + int64_t(n.task) * data.d_in * data.n_pad;
  if (samples.in_packs<T>()) {
    const int last = (samples.count - 1) & -kPack<T>;  // of those that are real
    for_columns(tile.shift, [&](int v, int first, int step) {
      const int s = v * kPack<T>;
      bring_rows<Pack<T>>(from + samples.first + smaller(s, last), data.n_pad, x, s, first, step,
                          data.d_in);
    });
    return;
  }
  int shift = tile.shift;
  while ((1 << shift) < tile.samples) ++shift;
  for_columns(shift, [&](int s, int first, int step) {
    bring_rows<T>(from + samples(s), data.n_pad, x, s, first, step, data.d_in);
  });
}

// a holds z and then sigma(z); d the first, d2 the second derivative (K says how many). Shared:
// they lie in shared memory.
template <int K, bool Shared = false, class T>
EDT_DEVICE void activate(int act, Rows<T> a, Rows<T> d, Rows<T> d2, int rows, Tile tile) {
  with_activation(act, [&](auto tag) {
    for_pieces<T, 1>(rows, tile, [&](int j, int s) {
      Pack<T> out[K + 1];
      const Pack<T> z = load<T>(a.at(j, s));
      EDT_UNROLL
      for (int e = 0; e < Pack<T>::N; ++e) {
        T v[K + 1];
        activation<decltype(tag)::act, K>(z.v[e], v);
        EDT_UNROLL
        for (int k = 0; k <= K; ++k) out[k].v[e] = v[k];
      }
      store<Shared>(a.at(j, s), out[0]);
      if constexpr (K >= 1) store<Shared>(d.at(j, s), out[1]);
      if constexpr (K >= 2) store<Shared>(d2.at(j, s), out[2]);
    });
  });
}

// Fewer inputs than this are not worth their exchange.
constexpr int kThinInputs = 16;

// z of layer l where large layers go by squares; true if that is its activation and derivative
// already.
EDT_DEVICE bool forward_by_squares(const Net<float>& n, int l, int act, const float* p,
                                   Rows<const float> in, Rows<float> z, Rows<float> d, Tile tile) {
  const LayerRecord& ly = n.layers[l];
  const bool squares = ly.dense && in_squares(ly), relu = l != n.last() && act == int(Act::relu);
  if (squares) square_forward(ly, p, in.p, z.p, d.p, relu);
  else if (ly.dense && ly.n_out <= 2 && ly.n_in >= kThinInputs) thin_forward(ly, p, in, z, tile);
  else affine_forward(ly, n.ints, p, in, z, tile);
  return squares && relu;
}

// From x: activations, K derivatives, outputs. Ends with a barrier. Squares: by a kernel that has
// registers for squares.cuh, in a tile that is made for it.
template <int K, bool Squares = false, class T>
EDT_DEVICE void forward(const Net<T>& n, int act, const T* p, Rows<T> x, Rows<T> a, Rows<T> d,
                        Rows<T> d2, Rows<T> f, Tile tile) {
  for (int l = 0;; ++l) {
    const LayerRecord& ly = n.layers[l];
    const bool last = l == n.last();
    const Rows<T> z = choose(last, f, n.hidden(a, l + 1));
    if constexpr (Squares) {
      const Rows<const T> in = read(choose(l == 0, x, n.hidden(a, l)));
      if (forward_by_squares(n, l, act, p, in, z, n.hidden(d, l + 1), tile)) {
        __syncthreads();
        continue;
      }
    } else {
      affine_forward(ly, n.ints, p, read(choose(l == 0, x, n.hidden(a, l))), z, tile);
    }
    __syncthreads();
    if (last) return;
    activate<K, true>(act, z, n.hidden(d, l + 1), n.hidden(d2, l + 1), ly.n_out, tile);
    __syncthreads();
  }
}

// Loss of the tile's samples this thread owns; with Grad f becomes dL/df, with Keep `prob` the
// probabilities (cross-entropy). scale multiplies every coefficient.
template <bool Grad, bool Keep, class T>
EDT_DEVICE double loss_pass(const Net<T>& n, const Data<T>& data, const Samples& samples, T scale,
                            Rows<T> f, Rows<T> prob, Tile tile) {
  const T* coef = data.coef + int64_t(n.task) * data.n_pad;
  double total = 0;
  for (int s = int(threadIdx.x); s < tile.samples; s += int(blockDim.x)) {
    const int at = samples(s);
    const T c = s < samples.count ? scale * coef[at] : T(0);
    if (data.loss == int(Loss::mse)) {
      const T* y = data.y + int64_t(n.task) * data.d_out * data.n_pad + at;
      T sum = T(0);
      for (int o = 0; o < data.d_out; ++o) {
        const T r = *f.at(o, s) - y[o * data.n_pad];
        sum = fma(r, r, sum);
        if constexpr (Grad) *f.at(o, s) = (c + c) * r;
      }
      total += double(c * sum);
    } else if (data.loss != int(Loss::cross_entropy)) {
      const T* y = data.y + int64_t(n.task) * data.d_out * data.n_pad + at;
      total += double(other_loss<Grad, Keep>(Loss(data.loss), data.d_out, y, data.n_pad, c,
                                             f.at(0, s), f.ld, prob.at(0, s), prob.ld));
    } else {
      const int label = data.labels[int64_t(n.task) * data.n_pad + at];
      T top = *f.at(0, s), z = T(0);
      const T picked = *f.at(label, s);
      for (int o = 1; o < data.d_out; ++o) top = at_least(top, *f.at(o, s));
      for (int o = 0; o < data.d_out; ++o) z += exp_nonpositive(*f.at(o, s) - top).e;
      total += double(c * (top + T(log(z)) - picked));
      if constexpr (Grad) {
        const T inverse = T(1) / z;
        for (int o = 0; o < data.d_out; ++o) {
          const T share = exp_nonpositive(*f.at(o, s) - top).e * inverse;
          if constexpr (Keep) *prob.at(o, s) = share;
          *f.at(o, s) = c * (share - (o == label ? T(1) : T(0)));
        }
      }
    }
  }
  return total;
}

// dL/dz below layer l where large layers go by squares, which also add up the biases there; true
// if those are still to be.
EDT_DEVICE bool backward_by_squares(const Net<float>& n, int l, const float* p,
                                    Rows<const float> dz, Rows<float> below, Tile tile, float* g) {
  const LayerRecord& ly = n.layers[l];
  const bool squares = ly.dense && in_squares(ly);
  const int at = n.layers[l - 1].bias;
  if (squares) square_backward(ly, p, dz.p, below.p, at >= 0 ? g + at : nullptr);
  else affine_backward<true>(ly, n.ints, p, dz, below, tile, false);
  return !squares;
}

// From dL/df in f: dL/dz in d, and g += the gradient. Ends with a barrier. load_again() brings the
// inputs back where they were overwritten: what enters the last layer is free once the gradient of
// its weights has been taken.
template <bool Squares = false, class T, class LoadAgain>
EDT_DEVICE void backward(const Net<T>& n, const T* p, Rows<T> x, Rows<T> a, Rows<T> d, Rows<T> f,
                         Tile tile, Share share, T* g, const LoadAgain& load_again) {
  bool biases = true;  // of this layer, unless the one above has added them up
  for (int l = n.last(); l >= 0; --l) {
    const LayerRecord& ly = n.layers[l];
    const AddTo<T> sink{g + int64_t(share.group) * n.net.n_math, biases};
    biases = true;
    const Rows<const T> dz = read(choose(l == n.last(), f, n.hidden(d, l + 1)));
    affine_gradient<T, false, Squares>(ly, n.ints, dz, read(choose(l == 0, x, n.hidden(a, l))),
                                       tile, share, sink);
    if (l > 0) {
      const Rows<T> below = n.hidden(d, l);
      if constexpr (Squares) biases = backward_by_squares(n, l, p, dz, below, tile, g);
      else affine_backward<true>(ly, n.ints, p, dz, below, tile, false);
    }
    __syncthreads();
    if (l == n.last()) load_again();
  }
}

EDT_DEVICE Share share_of(int groups) {
  return {int(threadIdx.x) / (int(blockDim.x) / groups), groups};
}

// False for NaN and infinities.
template <class V>
EDT_DEVICE bool is_finite(V x) {
  return x - x == V(0);
}

// Sum of the groups' gradients at compressed index k.
template <class T>
EDT_DEVICE T group_sum(const T* g, int n_math, int groups, int k) {
  T sum = g[k];
  for (int c = 1; c < groups; ++c) sum += g[k + int64_t(c) * n_math];
  return sum;
}

}  // namespace edt::cuda
