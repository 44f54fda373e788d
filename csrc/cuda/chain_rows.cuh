// What lies between the stages of a chain: laid out, pooled, bent by activations, and margins.
//
// A thread has one pack of samples of one number of an image (turning: of a square of 32 numbers by
// 32 samples in shared memory). Everything is read and written once: bytes are the cost.
#pragma once
#include <type_traits>

#include "cuda/activations.cuh"
#include "cuda/chain_plan.h"
#include "cuda/rows.cuh"

namespace edt::cuda {

constexpr int kChainThreads = 256;

//! Rooms of networks and of their vectors: entries from one to the next.
template <class T>
struct Lines {
  T* p;
  int64_t net, vec;
  EDT_DEVICE T* at(int b, int v) const { return p + b * net + v * vec; }
};

//! What becomes of a result: numbers of an image, and of the stage before or behind it.
enum class ChainEnd : int {
  plain,
  bent,     // z: sigma(z), and its derivatives where they have a place
  slope,    // dL/dsigma: times s'; s'' becomes s'' times it
  tangent,  // Rz, which is kept where it has a place: times s'
  r_slope,  // R dL/dsigma: times s', and s'' dL/dsigma Rz
};
template <class T>
struct ChainSink {
  ChainEnd end;
  int act;
  ChainImage image;  // at 0
  Lines<T> out, first, second, rz;
};

// Not inlined: the registers of products are not those of activations.
template <class T>
EDT_CALLED void chain_activate(int act, T* z, T* first, T* second) {
  with_activation(act, [&](auto tag) {
    Pack<T> out[3];
    const Pack<T> in = load(z);
    EDT_UNROLL
    for (int e = 0; e < Pack<T>::N; ++e) {
      T v[3];
      activation<decltype(tag)::act, 2>(in.v[e], v);
      EDT_UNROLL
      for (int k = 0; k < 3; ++k) out[k].v[e] = v[k];
    }
    store(z, out[0]);
    if (first) store(first, out[1]);
    if (second) store(second, out[2]);
  });
}

template <class T>
EDT_DEVICE void multiply(Pack<T>& x, const Pack<T>& by) {
  EDT_UNROLL
  for (int e = 0; e < Pack<T>::N; ++e) x.v[e] *= by.v[e];
}

// number: of a sample's; place: its position in the image; s: the pack's first sample.
template <class T>
EDT_DEVICE void finish(const ChainSink<T>& sink, int b, int v, int number, int place, int s, int S,
                       Pack<T> x) {
  T* to = sink.out.at(b, v) + int64_t(place) * S + s;
  const int64_t at = int64_t(number) * S + s;
  const auto beside = [&](const Lines<T>& lines) {
    return lines.p ? lines.at(b, v) + at : static_cast<T*>(nullptr);
  };
  if (sink.end == ChainEnd::bent) {
    if (sink.act == int(Act::relu) && !sink.second.p) {
      // The most frequent one.
      Pack<T> slope;
      EDT_UNROLL
      for (int e = 0; e < Pack<T>::N; ++e) {
        slope.v[e] = x.v[e] > T(0) ? T(1) : T(0);
        x.v[e] = at_least(x.v[e], T(0));
      }
      store(to, x);
      if (T* first = beside(sink.first)) store(first, slope);
      return;
    }
    store(to, x);
    if (sink.act >= 0) chain_activate(sink.act, to, beside(sink.first), beside(sink.second));
    return;
  }
  if (sink.end == ChainEnd::slope) {
    if (T* second = beside(sink.second)) {
      Pack<T> bend = load(second);
      multiply(bend, x);
      store(second, bend);
    }
  }
  if (sink.end == ChainEnd::tangent)
    if (T* rz = beside(sink.rz)) store(rz, x);
  if (T* first = beside(sink.first); first && sink.end != ChainEnd::plain) multiply(x, load(first));
  if (sink.end == ChainEnd::r_slope && sink.second.p)
    if (const T* rz = beside(sink.rz)) {
      Pack<T> more = load(rz);
      multiply(more, load(beside(sink.second)));
      EDT_UNROLL
      for (int e = 0; e < Pack<T>::N; ++e) x.v[e] += more.v[e];
    }
  store(to, x);
}

// The block's network and vector, and which of its blocks it is.
struct ChainPlace {
  int b, v, block;
  EDT_DEVICE ChainPlace(int vectors, int blocks) {
    const int at = int(blockIdx.x) / blocks;
    block = int(blockIdx.x) - at * blocks;
    b = at / vectors;
    v = at - b * vectors;
  }
};

// The thread's pack of n numbers: which number, and its first sample.
struct ChainPackOf {
  int number, s;
  bool real;
  template <class T>
  EDT_DEVICE static ChainPackOf of(int block, int n, int S) {
    const int packs = S / kPack<T>, q = block * int(blockDim.x) + int(threadIdx.x);
    ChainPackOf p{};
    p.number = q / packs;
    p.s = (q - p.number * packs) * kPack<T>;
    p.real = p.number < n;
    return p;
  }
};

// The larger, or a NaN of either.
template <class T>
EDT_DEVICE bool above(T next, T best) {
  return !(next <= best) && best == best;
}

//! Pooling of fields of kh x kw numbers of an image of c x h x w.
struct ChainField {
  ChainImage in;
  int kh, kw, h, w;  // and its results'
  bool largest;
};

// Maxima (and of each field which it is, `where`), what stands there (`given`: where is read), or
// means.
template <class T>
EDT_KERNEL(kChainThreads)
chain_pool_kernel(ChainField f, Lines<const T> in, Lines<uint8_t> where, int given,
                  ChainSink<T> sink, int vectors, int blocks, int S) {
  const ChainPlace at(vectors, blocks);
  const ChainPackOf p = ChainPackOf::of<T>(at.block, f.in.c * f.h * f.w, S);
  if (!p.real) return;
  const int row = p.number / f.w, x = p.number - row * f.w, c = row / f.h, y = row - c * f.h;
  const T* from =
      in.at(at.b, at.v) + int64_t(c * f.in.plane() + f.in.place(y * f.kh, x * f.kw)) * S + p.s;
  const int64_t spot = int64_t(p.number) * S + p.s;
  constexpr int K = kPack<T>;
  uint8_t at_field[K] = {};
  Pack<T> out = splat(T(0));
  if (given) {
    memcpy(at_field, where.at(at.b, 0) + spot, K);
    EDT_UNROLL
    for (int e = 0; e < K; ++e) {
      const int i = at_field[e] / f.kw, j = at_field[e] - i * f.kw;
      out.v[e] = from[int64_t(i * f.in.pitch() + j) * S + e];
    }
  } else {
    if (f.largest) out = load(from);
    int k = 0;
    for (int i = 0; i < f.kh; ++i)
      for (int j = 0; j < f.kw; ++j, ++k) {
        const Pack<T> next = load(from + int64_t(i * f.in.pitch() + j) * S);
        EDT_UNROLL
        for (int e = 0; e < K; ++e) {
          if (!f.largest) {
            out.v[e] += next.v[e];
          } else if (above(next.v[e], out.v[e])) {
            out.v[e] = next.v[e];
            at_field[e] = uint8_t(k);
          }
        }
      }
    if (!f.largest) multiply(out, splat(T(1) / T(f.kh * f.kw)));
    else if (where.p) memcpy(where.at(at.b, 0) + spot, at_field, K);
  }
  finish(sink, at.b, at.v, p.number, sink.image.place(p.number), p.s, S, out);
}

// Slopes at a field's numbers, from that at its result; fields that are cut off have none.
template <class T>
EDT_KERNEL(kChainThreads)
chain_unpool_kernel(ChainField f, Lines<const T> slope, Lines<uint8_t> where, ChainSink<T> sink,
                    int vectors, int blocks, int S) {
  const ChainPlace at(vectors, blocks);
  const int down = (f.in.h + f.kh - 1) / f.kh, across = (f.in.w + f.kw - 1) / f.kw;
  const ChainPackOf p = ChainPackOf::of<T>(at.block, f.in.c * down * across, S);
  if (!p.real) return;
  const int row = p.number / across, x = p.number - row * across, c = row / down,
            y = row - c * down;
  constexpr int K = kPack<T>;
  Pack<T> given = splat(T(0));
  uint8_t at_field[K] = {};
  if (y < f.h && x < f.w) {
    const int64_t spot = int64_t((c * f.h + y) * f.w + x) * S + p.s;
    given = load(slope.at(at.b, at.v) + spot);
    if (f.largest) memcpy(at_field, where.at(at.b, 0) + spot, K);
    else multiply(given, splat(T(1) / T(f.kh * f.kw)));
  }
  int k = 0;
  EDT_NO_UNROLL
  for (int i = 0; i < f.kh; ++i) {
    EDT_NO_UNROLL
    for (int j = 0; j < f.kw; ++j, ++k) {
      const int up = y * f.kh + i, left = x * f.kw + j;
      if (up >= f.in.h || left >= f.in.w) continue;
      Pack<T> out = given;
      if (f.largest) {
        EDT_UNROLL
        for (int e = 0; e < K; ++e) out.v[e] = at_field[e] == k ? out.v[e] : T(0);
      }
      const int number = (c * f.in.h + up) * f.in.w + left;
      finish(sink, at.b, at.v, number, sink.image.place(number), p.s, S, out);
    }
  }
}

// Of every sample a matrix [n, n] times what stands in n numbers.
template <class T>
EDT_KERNEL(kChainThreads)
chain_curvature_kernel(Lines<const T> matrix, Lines<const T> in, int n, ChainSink<T> sink,
                       int vectors, int blocks, int S) {
  const ChainPlace at(vectors, blocks);
  const ChainPackOf p = ChainPackOf::of<T>(at.block, n, S);
  if (!p.real) return;
  const T* row = matrix.at(at.b, 0) + int64_t(p.number) * n * S + p.s;
  const T* x = in.at(at.b, at.v) + p.s;
  Pack<T> sum = splat(T(0));
  for (int k = 0; k < n; ++k) {
    const Pack<T> a = load(row + int64_t(k) * S), b = load(x + int64_t(k) * S);
    EDT_UNROLL
    for (int e = 0; e < kPack<T>; ++e) sum.v[e] = fma(a.v[e], b.v[e], sum.v[e]);
  }
  finish(sink, at.b, at.v, p.number, sink.image.place(p.number), p.s, S, sum);
}

constexpr int kChainMarginBlocks = 8;
// Zeros around images, and between numbers that lie apart. Tangents: those of a vector's room.
template <class T>
EDT_KERNEL(kChainThreads)
chain_margins_kernel(ChainTables t, Lines<T> x, Lines<T> rooms, int tangents, int vectors, int S) {
  const ChainPlace at(vectors, 2 * t.count * kChainMarginBlocks);
  const int turn = at.block % kChainMarginBlocks, image_of = at.block / kChainMarginBlocks;
  const ChainStage& stage = t.stages[image_of / 2];
  const bool slope = image_of % 2 != 0, input = image_of == 0;
  const ChainImage image = slope ? stage.slope : stage.in;
  if (image.bare() || (input && (tangents || (x.net == 0 && at.b > 0)))) return;
  const int64_t before = !tangents ? image.at : slope ? stage.r_slope : stage.r_in;
  if (before < 0) return;
  T* to = input ? x.at(at.b, 0) : rooms.at(at.b, at.v) + before * S;
  const int packs = S / kPack<T>, pitch = image.pitch(), rows = image.rows();
  for (int q = turn * int(blockDim.x) + int(threadIdx.x); q < image.positions() * packs;
       q += kChainMarginBlocks * int(blockDim.x)) {
    const int position = q / packs, row = position / pitch, column = position - row * pitch;
    const int y = row % rows - image.top, x = column - image.left;
    if (y < 0 || y % image.sy != 0 || y / image.sy >= image.h || x < 0 || x % image.sx != 0 ||
        x / image.sx >= image.w)
      store(to + int64_t(q) * kPack<T>, splat(T(0)));
  }
}

constexpr int kChainTurn = 32;
template <class T>
constexpr int64_t kChainTurnBytes = kChainTurn * (kChainTurn + 1) * int64_t(sizeof(T));

// Samples first, `count` of them of n numbers, to an image; what lies behind the last sample is its
// copy, or 0.
template <class T>
EDT_KERNEL(kChainThreads)
chain_turn_kernel(Lines<const T> from, int n, int count, int repeat, ChainSink<T> sink, int blocks,
                  int S) {
  EDT_SHARED(memory);
  T* square = reinterpret_cast<T*>(memory);  // [number][sample]
  const ChainPlace at(1, blocks);
  const int across = (n + kChainTurn - 1) / kChainTurn;
  const int d0 = at.block % across * kChainTurn, s0 = at.block / across * kChainTurn;
  for (int t = int(threadIdx.x); t < kChainTurn * kChainTurn; t += int(blockDim.x)) {
    const int d = d0 + t % kChainTurn, s = s0 + t / kChainTurn;
    const bool real = d < n && (repeat || s < count);
    square[t % kChainTurn * (kChainTurn + 1) + t / kChainTurn] =
        real ? from.at(at.b, 0)[int64_t(smaller(s, count - 1)) * n + d] : T(0);
  }
  __syncthreads();
  constexpr int K = kPack<T>, kPacks = kChainTurn / K;
  for (int t = int(threadIdx.x); t < kChainTurn * kPacks; t += int(blockDim.x)) {
    const int d = t / kPacks, s = t % kPacks * K;
    if (d0 + d >= n || s0 + s >= S) continue;
    Pack<T> x;
    EDT_UNROLL
    for (int e = 0; e < K; ++e) x.v[e] = square[d * (kChainTurn + 1) + s + e];
    finish(sink, at.b, 0, d0 + d, sink.image.place(d0 + d), s0 + s, S, x);
  }
}

// n numbers of S samples to samples first.
template <class T>
EDT_KERNEL(kChainThreads)
chain_return_kernel(Lines<const T> from, int n, int count, Lines<T> out, int blocks, int S) {
  EDT_SHARED(memory);
  T* square = reinterpret_cast<T*>(memory);  // [number][sample]
  const ChainPlace at(1, blocks);
  const int across = (n + kChainTurn - 1) / kChainTurn;
  const int d0 = at.block % across * kChainTurn, s0 = at.block / across * kChainTurn;
  for (int t = int(threadIdx.x); t < kChainTurn * kChainTurn; t += int(blockDim.x)) {
    const int d = t / kChainTurn, s = t % kChainTurn;
    if (d0 + d < n && s0 + s < S)
      square[d * (kChainTurn + 1) + s] = from.at(at.b, 0)[int64_t(d0 + d) * S + s0 + s];
  }
  __syncthreads();
  for (int t = int(threadIdx.x); t < kChainTurn * kChainTurn; t += int(blockDim.x)) {
    const int d = t % kChainTurn, s = t / kChainTurn;
    if (d0 + d < n && s0 + s < count)
      out.at(at.b, 0)[int64_t(s0 + s) * n + d0 + d] = square[d * (kChainTurn + 1) + s];
  }
}

}  // namespace edt::cuda
