// Gradients of wide layers: sums over samples of dz_j a_i, or of the two terms Rd_j a_i + d_j Ra_i
// of curvature. A block takes some edges of a sparse layer, or a rectangle of a dense one, by all
// samples of the chunk.
//
// Per multiply-add of a sparse layer 1/4 wide load of samples (the row of dz stays in registers
// along the edges of a unit) and nothing else; of a dense one 1/8 from shared memory. Dense layers
// in float64 go through the tensor cores (tensor.cuh).
#pragma once
#include "cuda/wide.cuh"

namespace edt::cuda {

// What is multiplied: one or two pairs of rows.
template <class T>
struct WidePairs {
  Rows<const T> d0, a0, d1, a1;
  int count;
  EDT_DEVICE Rows<const T> d(int term) const { return {term ? d1.p : d0.p, term ? d1.ld : d0.ld}; }
  EDT_DEVICE Rows<const T> a(int term) const { return {term ? a1.p : a0.p, term ? a1.ld : a0.ld}; }
};

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

// Edges [first, first + count) of a sparse layer: a warp takes eight at a time, its lanes packs of
// samples. dL/dz of a unit is loaded once for neighbouring edges of it.
template <class T, class Sink>
EDT_DEVICE void wide_edges(const LayerRecord& ly, const int* ints, const WidePairs<T>& pairs,
                           int first, int count, int packs, const Sink& sink) {
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
    for (int term = 0; term < pairs.count; ++term) {
      const Rows<const T> dz = pairs.d(term), a = pairs.a(term);
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
    }
    const T sum = eight_sums(acc);
    const int q = eight_sums_entry(lane);
    if (lane < E && e + q < count) sink(ly.w + first + e + q, sum);
  }
}

// Sums of dz of units [first, first + count): the gradient of their biases. A warp takes a unit.
template <class T, class Sink>
EDT_DEVICE void wide_biases(const LayerRecord& ly, Rows<const T> dz, int first, int count,
                            int packs, const Sink& sink) {
  constexpr int K = kPack<T>;
  const int lane = int(threadIdx.x) % kWarp, warps = int(blockDim.x) / kWarp;
  for (int j = first + int(threadIdx.x) / kWarp; j < first + count; j += warps) {
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
EDT_DEVICE void wide_rectangle(const LayerRecord& ly, const WideItem& item,
                               const WidePairs<T>& pairs, int samples, unsigned char* memory,
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
  EDT_NO_UNROLL
  for (int term = 0; term < pairs.count; ++term) {
    const Rows<const T> dz = pairs.d(term), a = pairs.a(term);
    for (int s = 0; s < samples; s += S) {
      __syncthreads();
      stage(Rows<const T>{dz.at(item.first, s), dz.ld}, d, item.count, samples - s, S);
      stage(Rows<const T>{a.at(item.column, s), a.ld}, in, item.columns, samples - s, S);
      __syncthreads();
      dense_gradient<T, 4, false>(part, read(d), read(in), static_cast<const T*>(nullptr), tile,
                                  Share{0, 1}, AddTo<T>{g, term == 0});
    }
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

// The same on the tensor cores; the sums stay in registers.
template <class Sink>
EDT_DEVICE void wide_rectangle(const LayerRecord& ly, const WideItem& item,
                               const WidePairs<double>& pairs, int samples, unsigned char* memory,
                               const Sink& sink) {
  tensor_product(
      item.count, item.columns, from_zero,
      [&](auto& sums, int j, int i) {
        EDT_NO_UNROLL
        for (int term = 0; term < pairs.count; ++term) {
          const Rows<const double> dz = pairs.d(term), a = pairs.a(term);
          sums.add(Factor<true>{dz.at(item.first, 0), dz.ld, item.count}.from(j),
                   Factor<true>{a.at(item.column, 0), a.ld, item.columns}.from(i), samples,
                   reinterpret_cast<double*>(memory));
        }
      },
      [&](int j, int i, const double (&x)[2]) {
        const int k = ly.w + (item.first + j) * ly.ld_w + item.column + i;
        sink(k, x[0]);
        if (i + 1 < item.columns) sink(k + 1, x[1]);
      });
  if (item.column == 0 && ly.bias >= 0)
    wide_biases(ly, pairs.d0, item.first, item.count, samples / kPack<double>, sink);
}

//! Bytes of shared memory of the gradient kernel: what every device gives.
template <class T>
constexpr int64_t wide_gradient_bytes() {
  if (std::is_same_v<T, double>) return kTensorBytes;
  return kReserved + int64_t(sizeof(T)) *
                         ((kWideGradRows + kWideGradColumns) *
                          (kWideGradSamples<T> + kPack<T>)+kWideGradRows * (kWideGradColumns + 1));
}
static_assert(wide_gradient_bytes<float>() <= 48 * 1024);

// An item's part of a gradient.
template <class T, class Sink>
EDT_DEVICE void wide_piece(const LayerRecord& ly, const int* ints, const WideItem& item,
                           const WidePairs<T>& pairs, int samples, unsigned char* memory,
                           const Sink& sink) {
  if (ly.dense) {
    wide_rectangle(ly, item, pairs, samples, memory, sink);
    return;
  }
  const int packs = samples / kPack<T>;
  wide_edges(ly, ints, pairs, item.first, item.count, packs, sink);
  if (item.first == 0 && ly.bias >= 0) wide_biases(ly, pairs.d0, 0, ly.n_out, packs, sink);
}

template <class T>
EDT_KERNEL_BLOCKS(kWideThreads, 2)
wide_gradient_kernel(Problem<T> pr, Wide<T> wide, WideWho who, WideChunk chunk) {
  EDT_SHARED(memory);
  const WideItem item = wide.items[blockIdx.x];
  const WideWork<T> work(pr, wide, item.wide);
  if (!who(work.w.net)) return;
  const Net<T>& n = work.n;
  const LayerRecord& ly = n.layers[item.layer];
  const Rows<const T> dz = read(work.delta(work.w.d, item.layer, 0));
  const Rows<const T> a = work.below(pr, chunk, item.layer, 0);
  T top = T(0);
  const WideSink<T> sink{wide.numbers + work.w.g, n.ints + n.net.source, chunk.accumulate != 0,
                         &top};
  wide_piece(ly, n.ints, item, WidePairs<T>{dz, a, dz, a, 1}, chunk.tiles * chunk.tile, memory,
             sink);
  top = block_reduce(top, memory, Largest{});
  if (threadIdx.x == 0) wide.tops[blockIdx.x] = top;
}

// Compressed results of a piece of a flat slice to their places; one block an item and result, of
// `count` that lie `stride` entries apart.
template <class T>
EDT_KERNEL(kWideThreads)
wide_flat_kernel(Problem<T> pr, Wide<T> wide, WideWho who, T* out, int64_t stride, int count) {
  const WideItem item = wide.items[int(blockIdx.x) / count];
  const int vector = int(blockIdx.x) % count;
  const WideWork<T> work(pr, wide, item.wide);
  if (!who(work.w.net)) return;
  const NetRecord& net = work.n.net;
  const int* target = work.n.ints + net.target;
  const T* g = wide.numbers + work.w.g + int64_t(vector) * net.n_math;
  T* to = out + vector * stride + net.flat;
  for (int k = item.first + int(threadIdx.x); k < item.first + item.count; k += int(blockDim.x)) {
    const int from = target[k];
    to[k] = from >= 0 && from < net.n_math ? g[from] : T(0);
  }
}

}  // namespace edt::cuda
