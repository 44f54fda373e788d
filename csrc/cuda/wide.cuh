// One layer of many wide networks a launch: forward, loss, backward, gradient, update. The products
// are those of affine.cuh, on rows in global memory instead of shared memory.
//
// A block does one item: some units of one layer by one tile of samples (the gradient: some edges,
// or a rectangle of a dense layer, by all samples of the chunk). Neighbouring threads hold
// neighbouring packs of samples, so loads of rows are whole lines; a layer's inputs are read once
// a block of 64 units from the second-level cache and again from the first. Per multiply-add of a
// dense layer 1/32 wide load of samples and as many of weights; sparse layers 1/4 each (gradient:
// 1/4 of samples, as the row of dL/dz stays in registers along the edges of a unit).
//
// Sums have a fixed order: packs by lane, shuffle tree, tiles, chunks. There are no atomics.
#pragma once
#include "cuda/evaluate.cuh"
#include "cuda/hyper.h"
#include "cuda/optimizer.cuh"
#include "cuda/wide.h"

namespace edt::cuda {

//! What the kernels share: the lists and the workspace.
template <class T>
struct Wide {
  const WideNet* nets;
  const WideItem* items;
  T* numbers;
  double* losses;  // [nets, tiles], one a tile of samples
  T* tops;         // [gradient items], largest entry of each
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
  const WideNet w;
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
  // dL/dz of layer l.
  EDT_DEVICE Rows<T> delta(int l, int sample) const {
    return choose(l == n.last(), rows(w.f, sample), n.hidden(rows(w.d, sample), l + 1));
  }
};

template <class T>
EDT_DEVICE Samples samples_of(const Wide<T>& wide, const WideChunk& chunk, int index, int n,
                              int sample) {
  return {chunk.ordered ? wide.orders + int64_t(index) * 2 * n : nullptr, chunk.first + sample,
          smaller(chunk.tile, chunk.count - sample)};
}

// What a block of a launch over items and tiles does.
struct WidePlace {
  int item, sample;
  EDT_DEVICE explicit WidePlace(const WideChunk& chunk)
      : item(int(blockIdx.x) / chunk.tiles), sample(int(blockIdx.x) % chunk.tiles * chunk.tile) {}
};

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

// Inputs of some features by a tile of samples, in the network's own order.
template <class T>
EDT_KERNEL(kWideThreads)
wide_inputs_kernel(Problem<T> pr, Wide<T> wide, WideWho who, WideChunk chunk) {
  const WidePlace place(chunk);
  const WideItem item = wide.items[place.item];
  const WideWork<T> work(pr, wide, item.wide);
  if (!who(work.w.net)) return;
  const Samples samples = samples_of(wide, chunk, item.wide, pr.data.n, place.sample);
  const Rows<T> x = work.rows(work.w.x, place.sample);
  const T* from = pr.data.x + int64_t(work.n.task) * pr.data.d_in * pr.data.n_pad;
  for (int t = int(threadIdx.x); t < item.count * chunk.tile; t += int(blockDim.x)) {
    const int i = item.first + t / chunk.tile, s = t % chunk.tile;
    *x.at(i, s) = from[i * pr.data.n_pad + samples(s)];
  }
}

// Not inlined: the products' registers are not the activations'.
template <class T>
EDT_CALLED void wide_activate(int act, T* a, T* d, int ld, int units, int samples) {
  activate<1>(act, Rows<T>{a, ld}, Rows<T>{d, ld}, Rows<T>{d, ld}, units, tile_of<T>(samples));
}

// Some units of a layer: z, and for hidden layers the activation and its derivative.
template <class T>
EDT_KERNEL_BLOCKS(kWideThreads, 2)
wide_forward_kernel(Problem<T> pr, Wide<T> wide, WideWho who, WideChunk chunk) {
  const WidePlace place(chunk);
  const WideItem item = wide.items[place.item];
  const WideWork<T> work(pr, wide, item.wide);
  if (!who(work.w.net)) return;
  const Net<T>& n = work.n;
  const int l = item.layer;
  const Tile tile = tile_of<T>(chunk.tile);
  LayerRecord ly = n.layers[l];
  ly.n_out = item.count;
  if (ly.bias >= 0) ly.bias += item.first;
  if (ly.dense) ly.w += item.first * ly.ld_w;
  else ly.row_ptr += item.first;
  const Rows<const T> in = work.below(pr, chunk, l, place.sample);
  const bool last = l == n.last();
  const Rows<T> z = choose(last, work.rows(work.w.f, place.sample),
                           n.hidden(work.rows(work.w.a, place.sample), l + 1))
                        .row(item.first);
  const T* p = wide.numbers + work.w.p;
  if (ly.dense) affine_forward(ly, n.ints, p, in, z, tile);
  else sparse_forward<T, kWideEdges>(ly, n.ints, p, in, z, tile, Terms{});
  if (last) return;
  const Rows<T> d = n.hidden(work.rows(work.w.d, place.sample), l + 1).row(item.first);
  __syncthreads();
  wide_activate(pr.act, z.p, d.p, d.ld, item.count, chunk.tile);
}

// Outputs to where the caller wants them, the tile's loss, and dL/df; one block a network and tile.
template <class T>
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
  double loss = loss_pass<true, false>(work.n, pr.data, samples, scale, f, f, tile);
  loss = block_reduce(loss, memory, Sum{});
  if (threadIdx.x == 0)
    wide.losses[place.item * wide.tiles + chunk.slot + place.sample / chunk.tile] = loss;
}

// dL/dz of some units below a layer.
template <class T>
EDT_KERNEL_BLOCKS(kWideThreads, 2)
wide_backward_kernel(Problem<T> pr, Wide<T> wide, WideWho who, WideChunk chunk) {
  const WidePlace place(chunk);
  const WideItem item = wide.items[place.item];
  const WideWork<T> work(pr, wide, item.wide);
  if (!who(work.w.net)) return;
  const Net<T>& n = work.n;
  const int l = item.layer;
  LayerRecord ly = n.layers[l];
  ly.n_in = item.count;
  if (ly.dense) ly.w += item.first;
  else ly.t_ptr += item.first;
  const Tile tile = tile_of<T>(chunk.tile);
  const Rows<const T> dz = read(work.delta(l, place.sample));
  const Rows<T> da = n.hidden(work.rows(work.w.d, place.sample), l).row(item.first);
  const T* p = wide.numbers + work.w.p;
  if (ly.dense) affine_backward<true>(ly, n.ints, p, dz, da, tile, false);
  else sparse_backward<true, T, kWideEdges>(ly, n.ints, p, dz, da, tile, false);
}

// Writes or adds entries of a gradient and notes the largest of those that are trained.
template <class T>
struct WideSink {
  T* g;
  const int* source;
  bool accumulate;
  T* top;  // the thread's own
  EDT_DEVICE void operator()(int k, T sum) const {
    const T value = accumulate ? g[k] + sum : sum;
    g[k] = value;
    if (source[k] >= 0) *top = Largest{}(*top, is_finite(value) ? T(fabs(value)) : T(HUGE_VAL));
  }
};

// Sums of eight numbers a lane over the warp: lane l gets that of entry (l & 1) * 4 + (l & 2) + (l
// >> 2 & 1), by exchanging halves: 9 shuffles instead of 40.
template <class T>
EDT_DEVICE T eight_sums(T (&x)[8]) {
  const int lane = int(threadIdx.x) % kWarp;
  EDT_UNROLL
  for (int half = 4, bit = 1; half > 0; half /= 2, bit *= 2) {
    const bool upper = (lane & bit) != 0;
    EDT_UNROLL
    for (int q = 0; q < half; ++q) {
      const T mine = upper ? x[q + half] : x[q], other = upper ? x[q] : x[q + half];
      x[q] = mine + __shfl_xor_sync(kFullMask, other, bit);
    }
  }
  T sum = x[0];
  EDT_UNROLL
  for (int d = 8; d < kWarp; d *= 2) sum += __shfl_xor_sync(kFullMask, sum, d);
  return sum;
}

// Edges [first, first + count) of a sparse layer: a warp takes eight at a time, its lanes packs of
// samples. dL/dz of a unit is loaded once for neighbouring edges of it.
template <class T, class Sink>
EDT_DEVICE void wide_edges(const LayerRecord& ly, const int* ints, Rows<const T> dz,
                           Rows<const T> a, int first, int count, int packs, const Sink& sink) {
  constexpr int E = 8, K = kPack<T>;
  const int lane = int(threadIdx.x) % kWarp, warps = int(blockDim.x) / kWarp;
  for (int e = int(threadIdx.x) / kWarp * E; e < count; e += warps * E) {
    int row[E], col[E];
    EDT_UNROLL
    for (int q = 0; q < E; ++q) {
      const int k = first + smaller(e + q, count - 1);
      row[q] = ints[ly.row + k];
      col[q] = ints[ly.col + k];
    }
    T acc[E] = {};
    EDT_NO_UNROLL
    for (int v = lane; v < packs; v += kWarp) {
      Pack<T> d = load(dz.at(row[0], v * K));
      EDT_UNROLL
      for (int q = 0; q < E; ++q) {
        if (q > 0 && row[q] != row[q - 1]) d = load(dz.at(row[q], v * K));
        const Pack<T> in = load(a.at(col[q], v * K));
        EDT_UNROLL
        for (int i = 0; i < K; ++i) acc[q] = fma(d.v[i], in.v[i], acc[q]);
      }
    }
    const T sum = eight_sums(acc);
    const int q = (lane & 1) * 4 + (lane & 2) + (lane >> 2 & 1);
    if (lane < E && e + q < count) sink(ly.w + first + e + q, sum);
  }
}

// Sums of dL/dz of all units: the gradient of the biases. A warp takes a unit.
template <class T, class Sink>
EDT_DEVICE void wide_biases(const LayerRecord& ly, Rows<const T> dz, int packs, const Sink& sink) {
  constexpr int K = kPack<T>;
  const int lane = int(threadIdx.x) % kWarp, warps = int(blockDim.x) / kWarp;
  for (int j = int(threadIdx.x) / kWarp; j < ly.n_out; j += warps) {
    T sum = T(0);
    for (int v = lane; v < packs; v += kWarp) {
      const Pack<T> d = load(dz.at(j, v * K));
      EDT_UNROLL
      for (int i = 0; i < K; ++i) sum += d.v[i];
    }
    sum = lane_sum(sum, kWarp);
    if (lane == 0) sink(ly.bias + j, sum);
  }
}

// Adds to a rectangle of a gradient in shared memory, rows then biases.
template <class T>
struct AddToTile {
  T* g;
  bool bias;
  EDT_DEVICE void operator()(int k, T sum) const { g[k] += sum; }
};

// `count` rows by `samples` entries to shared memory, and zeros up to `most` entries a row.
template <class T>
EDT_DEVICE void stage(Rows<const T> from, Rows<T> to, int count, int samples, int most) {
  constexpr int K = kPack<T>;
  const int across = most / K;
  for (int t = int(threadIdx.x); t < count * across; t += int(blockDim.x)) {
    const int r = t / across, s = t % across * K;
    store(to.at(r, s), s < samples ? load(from.at(r, s)) : splat(T(0)));
  }
}

//! Samples of a rectangle in shared memory at once: 16 packs.
template <class T>
constexpr int kWideGradSamples = 16 * kPack<T>;

// A rectangle of a dense layer's gradient: some samples of its rows and columns at a time in shared
// memory, the sums there too.
template <class T, class Sink>
EDT_DEVICE void wide_rectangle(const LayerRecord& ly, const WideItem& item, Rows<const T> dz,
                               Rows<const T> a, int samples, unsigned char* memory,
                               const Sink& sink) {
  constexpr int S = kWideGradSamples<T>;
  Arena<T> arena(memory);
  const Rows<T> d = arena.rows(kWideGradRows, S), in = arena.rows(kWideGradColumns, S);
  T* g = arena.vector(kWideGradRows * (kWideGradColumns + 1));
  LayerRecord part = ly;
  part.n_out = item.count;
  part.n_in = item.columns;
  part.w = 0;
  part.ld_w = kWideGradColumns;
  part.bias = item.column == 0 && ly.bias >= 0 ? kWideGradRows * kWideGradColumns : -1;
  for (int k = int(threadIdx.x); k < kWideGradRows * (kWideGradColumns + 1); k += int(blockDim.x))
    g[k] = T(0);
  const Tile tile = tile_of<T>(S);
  for (int s = 0; s < samples; s += S) {
    __syncthreads();
    stage(Rows<const T>{dz.at(item.first, s), dz.ld}, d, item.count, samples - s, S);
    stage(Rows<const T>{a.at(item.column, s), a.ld}, in, item.columns, samples - s, S);
    __syncthreads();
    dense_gradient<T, 4, false>(part, read(d), read(in), static_cast<const T*>(nullptr), tile,
                                Share{0, 1}, AddToTile<T>{g, true});
  }
  __syncthreads();
  for (int t = int(threadIdx.x); t < item.count * item.columns; t += int(blockDim.x)) {
    const int j = t / item.columns, i = t % item.columns;
    sink(ly.w + (item.first + j) * ly.ld_w + item.column + i, g[j * kWideGradColumns + i]);
  }
  if (part.bias < 0) return;
  for (int j = int(threadIdx.x); j < item.count; j += int(blockDim.x))
    sink(ly.bias + item.first + j, g[part.bias + j]);
}

//! Bytes of shared memory of the gradient kernel: what every device gives.
template <class T>
constexpr int64_t wide_gradient_bytes() {
  return kReserved + int64_t(sizeof(T)) *
                         ((kWideGradRows + kWideGradColumns) *
                          (kWideGradSamples<T> + kPack<T>)+kWideGradRows * (kWideGradColumns + 1));
}
static_assert(wide_gradient_bytes<float>() <= 48 * 1024);
static_assert(wide_gradient_bytes<double>() <= 48 * 1024);

template <class T>
EDT_KERNEL_BLOCKS(kWideThreads, 2)
wide_gradient_kernel(Problem<T> pr, Wide<T> wide, WideWho who, WideChunk chunk) {
  EDT_SHARED(memory);
  const WideItem item = wide.items[blockIdx.x];
  const WideWork<T> work(pr, wide, item.wide);
  if (!who(work.w.net)) return;
  const Net<T>& n = work.n;
  const LayerRecord& ly = n.layers[item.layer];
  const Rows<const T> dz = read(work.delta(item.layer, 0));
  const Rows<const T> a = work.below(pr, chunk, item.layer, 0);
  const int samples = chunk.tiles * chunk.tile;
  T top = T(0);
  const WideSink<T> sink{wide.numbers + work.w.g, n.ints + n.net.source, chunk.accumulate != 0,
                         &top};
  if (ly.dense) {
    wide_rectangle(ly, item, dz, a, samples, memory, sink);
  } else {
    wide_edges(ly, n.ints, dz, a, item.first, item.count, samples / kPack<T>, sink);
    if (item.first == 0 && ly.bias >= 0) wide_biases(ly, dz, samples / kPack<T>, sink);
  }
  top = block_reduce(top, memory, Largest{});
  if (threadIdx.x == 0) wide.tops[blockIdx.x] = top;
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

// The gradient of a piece of a flat slice.
template <class T>
EDT_KERNEL(kWideThreads)
wide_flat_kernel(Problem<T> pr, Wide<T> wide, WideWho who, T* grad) {
  const WideItem item = wide.items[blockIdx.x];
  const WideWork<T> work(pr, wide, item.wide);
  if (!who(work.w.net)) return;
  const NetRecord& net = work.n.net;
  const int* target = work.n.ints + net.target;
  for (int k = item.first + int(threadIdx.x); k < item.first + item.count; k += int(blockDim.x)) {
    const int from = target[k];
    grad[net.flat + k] = from >= 0 && from < net.n_math ? wide.numbers[work.w.g + from] : T(0);
  }
}

// Training: what the evaluation at the networks' step decides; one block a network. minibatch: the
// evaluation only makes the step. decides: it may stop a network; row: of the history, or -1.
template <class T>
EDT_KERNEL(kWideThreads)
wide_decide_kernel(Problem<T>, Wide<T> wide, WideWho who, Hyper hp, TrainState<T> st, int slots,
                   int minibatch, int decides, int last, int64_t row) {
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

// The optimiser's step on a piece of a network; c1, c2: 1 - beta^(step + 1).
template <class T>
EDT_KERNEL(kWideThreads)
wide_update_kernel(Problem<T> pr, Wide<T> wide, Hyper hp, TrainState<T> st, int64_t step, double c1,
                   double c2) {
  const WideItem item = wide.items[blockIdx.x];
  if (!wide.go[item.wide]) return;
  const WideWork<T> work(pr, wide, item.wide);
  const NetRecord& net = work.n.net;
  const int* source = work.n.ints + net.source;
  const int b = work.w.net;
  const Rule<T> rule(hp, step, st.lr[b] * st.factors[step - st.factors_start], st.weight_decay[b],
                     c1, c2);
  T* p = wide.numbers + work.w.p;
  T* m = st.m ? wide.numbers + work.w.m : nullptr;
  T* v = st.v ? wide.numbers + work.w.v : nullptr;
  const T* g = wide.numbers + work.w.g;
  for (int k = item.first + int(threadIdx.x); k < item.first + item.count; k += int(blockDim.x))
    if (source[k] >= 0) rule(p[k], k < net.n_math ? g[k] : T(0), entry_of(m, k), entry_of(v, k));
}

}  // namespace edt::cuda
