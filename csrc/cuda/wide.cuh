// One layer of many wide networks a launch: forward, loss, backward. The products are those of
// affine.cuh, on rows in global memory instead of shared memory. Gradients: wide_gradient.cuh,
// training: wide_train.cuh, curvature: wide_curvature.cuh.
//
// A block does one item: some units of one layer by one tile of samples. Neighbouring threads hold
// neighbouring packs of samples, so loads of rows are whole lines; a layer's inputs are read once
// a block of 64 units from the second-level cache and again from the first. Per multiply-add of a
// dense layer 1/32 wide load of samples and as many of weights; sparse layers 1/4 each. Dense
// layers in float64 go through the tensor cores (tensor.cuh).
//
// Sums have a fixed order: packs by lane, shuffle tree, tiles, chunks. There are no atomics.
#pragma once
#include <type_traits>

#include "cuda/evaluate.cuh"
#include "cuda/tensor.cuh"
#include "cuda/wide.h"
#include "layout/training.h"

namespace edt::cuda {

//! What the kernels share: the lists and the workspace.
template <class T>
struct Wide {
  const WideNet* nets;
  const WideItem* items;
  T* numbers;
  double* losses;  // [nets, tiles], one a tile of samples
  T* tops;         // [gradient items], largest entry of each
  T* sizes;        // [nets], largest entry of the gradient, and
  T* squares;      // [vector items], of its pieces: what clipping adds up
  int* orders;     // [nets, 2 n], minibatches
  uint8_t* go;     // [nets], whether the network takes the step
  int64_t tiles;
  int ld;
};

//! Samples of a launch: `tiles` of `tile`, `count` of them real, from `first` of the order on.
struct WideChunk {
  int first, count, tile, tiles;
  int slot;        // of its first tile among the partial losses
  int ordered;     // minibatch: each network in its own order
  int gathered;    // inputs stand in the rows x
  int accumulate;  // add to the gradient
};

//! Which networks take part: the active ones (or all), or those running at one step.
struct WideWho {
  const uint8_t* active;
  const int8_t* status;
  const int64_t* steps;
  int64_t step;
  EDT_DEVICE bool operator()(int b) const {
    if (status) return status[b] == int8_t(Status::running) && steps[b] == step;
    return !active || active[b];
  }
};

template <class T>
struct WideWork {
  const WideNet& w;  // not copied: registers are scarce
  const Net<T> n;
  T* numbers;
  int ld;

  EDT_DEVICE WideWork(const Problem<T>& pr, const Wide<T>& wide, int index)
      : w(wide.nets[index]), n(pr, w.net), numbers(wide.numbers), ld(wide.ld) {}
  EDT_DEVICE Rows<T> rows(int64_t at, int sample) const { return {numbers + at + sample, ld}; }
  // What enters layer l.
  EDT_DEVICE Rows<const T> below(const Problem<T>& pr, const WideChunk& chunk, int l,
                                 int sample) const {
    if (l > 0) return read(n.hidden(rows(w.a, sample), l));
    if (chunk.gathered) return read(rows(w.x, sample));
    const Data<T>& data = pr.data;
    return {data.x + int64_t(n.task) * data.d_in * data.n_pad + chunk.first + sample,
            int(data.n_pad)};
  }
  // dL/dz of layer l, of the hidden layers in the rows `at`.
  EDT_DEVICE Rows<T> delta(int64_t at, int l, int sample) const {
    return choose(l == n.last(), rows(w.f, sample), n.hidden(rows(at, sample), l + 1));
  }
  EDT_DEVICE const T* parameters() const { return numbers + w.p; }
};

template <class T>
EDT_DEVICE Samples samples_of(const Wide<T>& wide, const WideChunk& chunk, int index, int n,
                              int sample) {
  return {chunk.ordered ? wide.orders + int64_t(index) * 2 * n : nullptr, chunk.first + sample,
          smaller(chunk.tile, chunk.count - sample)};
}

// What a block of a launch over items and tiles (and vectors, `vectors` an item) does.
struct WidePlace {
  int item, vector, sample;
  EDT_DEVICE explicit WidePlace(const WideChunk& chunk)
      : item(int(blockIdx.x) / chunk.tiles),
        vector(0),
        sample(int(blockIdx.x) % chunk.tiles * chunk.tile) {}
  EDT_DEVICE WidePlace(const WideChunk& chunk, int vectors)
      : item(int(blockIdx.x) / chunk.tiles / vectors),
        vector(int(blockIdx.x) / chunk.tiles % vectors),
        sample(int(blockIdx.x) % chunk.tiles * chunk.tile) {}
};

// A block's part of a layer.
template <class T>
struct WideFrame {
  const int vector, sample;
  const WideItem& item;
  const WideWork<T> work;
  EDT_DEVICE WideFrame(const Problem<T>& pr, const Wide<T>& wide, const WidePlace& place)
      : vector(place.vector),
        sample(place.sample),
        item(wide.items[place.item]),
        work(pr, wide, item.wide) {}
  // The item's rows of those of all units that enter layer l.
  EDT_DEVICE Rows<T> rows(int64_t at, int l) const {
    return work.n.hidden(work.rows(at, sample), l).row(item.first);
  }
};

// A layer's part that an item's units are: outputs ...
EDT_DEVICE LayerRecord outputs_of(LayerRecord ly, const WideItem& item) {
  ly.n_out = item.count;
  if (ly.bias >= 0) ly.bias += item.first;
  if (ly.dense) ly.w += item.first * ly.ld_w;
  else ly.row_ptr += item.first;
  return ly;
}
// ... or inputs.
EDT_DEVICE LayerRecord inputs_of(LayerRecord ly, const WideItem& item) {
  ly.n_in = item.count;
  if (ly.dense) ly.w += item.first;
  else ly.t_ptr += item.first;
  return ly;
}

//! Bytes of shared memory of products with dense layers.
template <class T>
constexpr int64_t kWideProductBytes = std::is_same_v<T, double> ? kTensorBytes : 0;

// z = W a + b of such a part.
template <class T>
EDT_DEVICE void wide_up(const LayerRecord& ly, const int* ints, const T* p, Rows<const T> a,
                        Rows<T> z, Tile tile, Terms terms, unsigned char* memory) {
  if (!ly.dense) sparse_forward<T, false>(ly, ints, p, a, z, tile, terms);
  else if constexpr (std::is_same_v<T, double>)
    tensor_forward(ly, p, a, z, tile, terms, reinterpret_cast<double*>(memory));
  else affine_forward(ly, ints, p, a, z, tile, terms);
}
// da = W^T dz, with Times times what is in da.
template <bool Times, class T>
EDT_DEVICE void wide_down(const LayerRecord& ly, const int* ints, const T* p, Rows<const T> dz,
                          Rows<T> da, Tile tile, bool accumulate, unsigned char* memory) {
  if (!ly.dense) sparse_backward<Times, T, false>(ly, ints, p, dz, da, tile, accumulate);
  else if constexpr (std::is_same_v<T, double>)
    tensor_backward<Times>(ly, p, dz, da, tile, accumulate, reinterpret_cast<double*>(memory));
  else affine_backward<Times>(ly, ints, p, dz, da, tile, accumulate);
}

// Compressed parameters (and moments) of a piece of a network.
template <class T>
EDT_KERNEL(kWideThreads)
wide_gather_kernel(Problem<T> pr, Wide<T> wide, WideWho who, const T* theta, const T* m,
                   const T* v) {
  const WideItem item = wide.items[blockIdx.x];
  const WideWork<T> work(pr, wide, item.wide);
  if (!who(work.w.net)) return;
  const int* source = work.n.ints + work.n.net.source;
  for (int k = item.first + int(threadIdx.x); k < item.first + item.count; k += int(blockDim.x)) {
    const int at = source[k];
    const int64_t from = work.n.net.flat + (at >= 0 ? at : -2 - at);
    wide.numbers[work.w.p + k] = at == -1 ? T(0) : theta[from];
    if (m) wide.numbers[work.w.m + k] = at < 0 ? T(0) : m[from];
    if (v) wide.numbers[work.w.v + k] = at < 0 ? T(0) : v[from];
  }
}

// Inputs of some features by a tile of samples, in the network's own order.
template <class T>
EDT_KERNEL(kWideThreads)
wide_inputs_kernel(Problem<T> pr, Wide<T> wide, WideWho who, WideChunk chunk) {
  const WideFrame<T> at(pr, wide, WidePlace(chunk));
  if (!who(at.work.w.net)) return;
  const Samples samples = samples_of(wide, chunk, at.item.wide, pr.data.n, at.sample);
  const Rows<T> x = at.work.rows(at.work.w.x, at.sample);
  const T* from = pr.data.x + int64_t(at.work.n.task) * pr.data.d_in * pr.data.n_pad;
  for (int t = int(threadIdx.x); t < at.item.count * chunk.tile; t += int(blockDim.x)) {
    const int i = at.item.first + t / chunk.tile, s = t % chunk.tile;
    *x.at(i, s) = from[i * pr.data.n_pad + samples(s)];
  }
}

// Not inlined: the products' registers are not the activations'.
template <int K, class T>
EDT_CALLED void wide_activate(int act, T* a, T* d, T* d2, int ld, int units, int samples) {
  activate<K>(act, Rows<T>{a, ld}, Rows<T>{d, ld}, Rows<T>{d2, ld}, units, tile_of<T>(samples));
}

// Some units of a layer: z, and for hidden layers the activation and its K derivatives.
template <class T, int K>
EDT_KERNEL_BLOCKS(kWideThreads, 2)
wide_forward_kernel(Problem<T> pr, Wide<T> wide, WideWho who, WideChunk chunk) {
  EDT_SHARED(memory);
  const WideFrame<T> at(pr, wide, WidePlace(chunk));
  const WideWork<T>& work = at.work;
  if (!who(work.w.net)) return;
  const int l = at.item.layer;
  const bool last = l == work.n.last();
  const Rows<T> z = choose(last, work.rows(work.w.f, at.sample),
                           work.n.hidden(work.rows(work.w.a, at.sample), l + 1))
                        .row(at.item.first);
  wide_up(outputs_of(work.n.layers[l], at.item), work.n.ints, work.parameters(),
          work.below(pr, chunk, l, at.sample), z, tile_of<T>(chunk.tile), Terms{}, memory);
  if (last) return;
  const Rows<T> d = at.rows(work.w.d, l + 1);
  __syncthreads();
  wide_activate<K>(pr.act, z.p, d.p, K > 1 ? at.rows(work.w.c, l + 1).p : d.p, d.ld, at.item.count,
                   chunk.tile);
}

// Outputs to where the caller wants them, the tile's loss, and dL/df; one block a network and tile.
// For curvature dL/df alone, the probabilities, and a row of ones.
template <class T, bool Curvature>
EDT_KERNEL(kWideTile)
wide_output_kernel(Problem<T> pr, Wide<T> wide, WideWho who, WideChunk chunk, T scale, T* predict,
                   const T* cotangent, int losses) {
  EDT_SHARED(memory);
  const WidePlace place(chunk);
  const WideWork<T> work(pr, wide, place.item);
  if (!who(work.w.net)) return;
  const Samples samples = samples_of(wide, chunk, place.item, pr.data.n, place.sample);
  const Tile tile = tile_of<T>(chunk.tile);
  const Rows<T> f = work.rows(work.w.f, place.sample);
  const int first = chunk.first + place.sample;
  if (predict) write_outputs(f, work.w.net, pr.data, first, samples.count, predict);
  if (cotangent) {
    __syncthreads();
    read_cotangent(f, work.w.net, pr.data, first, samples.count, cotangent, tile);
  }
  if (!losses) return;
  __syncthreads();
  const Rows<T> prob = Curvature ? work.rows(work.w.prob, place.sample) : f;
  double loss = loss_pass<true, Curvature>(work.n, pr.data, samples, scale, f, prob, tile);
  if constexpr (Curvature) {
    T* ones = wide.numbers + work.w.ones + place.sample;
    for (int s = int(threadIdx.x); s < tile.samples; s += int(blockDim.x)) ones[s] = T(1);
    return;
  }
  loss = block_reduce(loss, memory, Sum{});
  if (threadIdx.x == 0)
    wide.losses[place.item * wide.tiles + chunk.slot + place.sample / chunk.tile] = loss;
}

// dL/dz of some units below a layer, where their derivatives stand.
template <class T>
EDT_KERNEL_BLOCKS(kWideThreads, 2)
wide_backward_kernel(Problem<T> pr, Wide<T> wide, WideWho who, WideChunk chunk) {
  EDT_SHARED(memory);
  const WideFrame<T> at(pr, wide, WidePlace(chunk));
  const WideWork<T>& work = at.work;
  if (!who(work.w.net)) return;
  const int l = at.item.layer;
  wide_down<true>(inputs_of(work.n.layers[l], at.item), work.n.ints, work.parameters(),
                  read(work.delta(work.w.d, l, at.sample)), at.rows(work.w.d, l),
                  tile_of<T>(chunk.tile), false, memory);
}

// The sum of a network's partial losses, the same for every thread.
template <class T>
EDT_DEVICE double wide_loss(const Wide<T>& wide, int index, int slots, unsigned char* memory) {
  double sum = 0;
  for (int t = int(threadIdx.x); t < slots; t += int(blockDim.x))
    sum += wide.losses[index * wide.tiles + t];
  return block_reduce(sum, memory, Sum{});
}

// Losses to where the caller wants them; one block a network.
template <class T>
EDT_KERNEL(kWideThreads)
wide_loss_kernel(Problem<T>, Wide<T> wide, WideWho who, int slots, double* out) {
  EDT_SHARED(memory);
  const int b = wide.nets[blockIdx.x].net;
  if (!who(b)) return;
  const double loss = wide_loss(wide, int(blockIdx.x), slots, memory);
  if (threadIdx.x == 0) out[b] = loss;
}

}  // namespace edt::cuda
