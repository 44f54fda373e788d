// Products of a chain's affine layers, forward and back (ChainProduct): whole layers by tiles in
// registers, layers of few weights by their taps.
//
// A warp has a tile of rows (channels) by 64 packs of positions and samples, a lane R rows by P
// packs. For every weight of the tile's rows it loads its P packs from where the tap stands, which
// is the first-level cache's work, as neighbouring taps read the same lines, and R weights that
// all lanes share: R P multiply-adds of packs for P wide loads and R numbers. A row of taps takes
// one wide load a multiply-add of a pack, and a pair (offset, weight) for P of them.
//
// Sums go by channel, row and column of the kernel, whatever the tiles; the second of two products
// (tangents: v x + w Rx) follows the first.
#pragma once
#include "cuda/chain_rows.cuh"

namespace edt::cuda {

constexpr int kChainProductThreads = 128;

//! A tap as kernels read it: what a thread reads lies so many entries on.
template <class T>
struct alignas(2 * sizeof(T)) Tap {
  std::conditional_t<sizeof(T) == 4, int, int64_t> offset;
  T weight;
};

// Weights in the order of products.
constexpr int kChainWeightBlocks = 8;
template <class T>
EDT_KERNEL(kChainThreads)
chain_weights_kernel(ChainTables t, Lines<const T> theta, Lines<T> rooms, int vectors, int S) {
  const ChainPlace at(vectors, t.count * kChainWeightBlocks);
  const int n = at.block / kChainWeightBlocks;
  const ChainStage& stage = t.stages[n];
  if (stage.kind != ChainStage::Kind::affine) return;
  const T* w = theta.at(at.b, at.v) + stage.weight;
  const int first = at.block % kChainWeightBlocks * int(blockDim.x) + int(threadIdx.x);
  const int step = kChainWeightBlocks * int(blockDim.x), square = stage.kh * stage.kw;
  const ChainNet* net = t.nets ? t.nets + int64_t(at.b) * t.count + n : nullptr;
  for (int back = 0; back < (n > t.first ? 2 : 1); ++back) {
    const ChainProduct& p = back ? stage.back : stage.forward;
    T* to = rooms.at(at.b, at.v) + p.at;
    if (net && net->listed) {
      const ChainTaps& taps = back ? net->back : net->forward;
      Tap<T>* pairs = reinterpret_cast<Tap<T>*>(to);
      for (int k = first; k < taps.count; k += step)
        pairs[k] = {t.ints[taps.offset + k] * S, w[t.ints[taps.weight + k]]};
      continue;
    }
    // A thread has all rows of a tile for one place of the kernel.
    const int depth = p.channels * square;
    for (int e = first; e < p.tiles * depth; e += step) {
      const int tile = e / depth, k = e - tile * depth, c = k / square, tap = k - c * square;
      // What goes back meets a kernel turned by half a turn.
      const int from = back ? c * stage.taps + square - 1 - tap : k;
      const int apart = back ? square : stage.taps;
      for (int r = 0; r < p.height; ++r) {
        const int row = tile * p.height + r;
        to[e * p.height + r] = row < p.rows ? w[row * apart + from] : T(0);
      }
    }
  }
}

//! A product's factors: weights (null: there is none) and the image that they meet.
template <class T>
struct ChainFactors {
  Lines<const T> w, x;
};
template <class T>
struct ChainAffine {
  ChainProduct p;
  int kh, kw, stage;
  ChainFactors<T> factors[2];
  Lines<const T> bias;  // null: none
  ChainSink<T> sink;
  const ChainNet* nets;  // null: nothing is listed
  int stages, ints_back;
  const int* ints;
  int vectors, blocks, S;
  int channels, step;  // of the loops of whole layers: kw taps are `step` entries apart
};

// A lane's packs of an image of h x w: where it reads, and which position and sample they are.
template <class T, int P>
struct ChainLane {
  int from[P], position[P], s[P];
  EDT_DEVICE ChainLane(const ChainProduct& p, int group, int S) {
    const int packs = S / kPack<T>, all = p.h * p.w * packs;
    EDT_UNROLL
    for (int q = 0; q < P; ++q) {
      const int at = (group * P + q) * kWarp + int(threadIdx.x) % kWarp;
      // Lanes past the end do the last pack again.
      const int pack = smaller(at, all - 1);
      position[q] = pack / packs;
      s[q] = (pack - position[q] * packs) * kPack<T>;
      const int y = position[q] / p.w, x = position[q] - y * p.w;
      from[q] = ((y * p.sy + p.y0) * p.pitch + x * p.sx + p.x0) * S + s[q];
      if (at >= all) position[q] = -1;
    }
  }
};

template <class T, int P>
EDT_DEVICE void chain_end(const ChainAffine<T>& a, const ChainPlace& at,
                          const ChainLane<T, P>& lane, int row, int q, const Pack<T>& x) {
  const ChainImage& image = a.sink.image;
  const int number = row * a.p.h * a.p.w + lane.position[q];
  int place = number;
  if (!image.bare()) {
    if (image.h == a.p.h && image.w == a.p.w) {
      const int y = lane.position[q] / a.p.w;
      place = row * image.plane() + image.place(y, lane.position[q] - y * a.p.w);
    } else {
      place = image.place(number);
    }
  }
  finish(a.sink, at.b, at.v, number, place, lane.s[q], a.S, x);
}

// R weights of one tap of a tile.
template <class T, int R>
EDT_DEVICE void load_weights(const T* p, T (&w)[R]) {
  if constexpr (R * sizeof(T) % 16 == 0) {
    EDT_UNROLL
    for (int r = 0; r < R; r += kPack<T>) {
      const Pack<T> some = load(p + r);
      EDT_UNROLL
      for (int e = 0; e < kPack<T>; ++e) w[r + e] = some.v[e];
    }
  } else {
    EDT_UNROLL
    for (int r = 0; r < R; r += 2) {
      const Two<T> some = two(p + r);
      w[r] = some.v[0];
      w[r + 1] = some.v[1];
    }
  }
}

template <class T, int R, int P>
EDT_KERNEL(kChainProductThreads)
chain_dense_kernel(ChainAffine<T> a) {
  const ChainPlace at(a.vectors, a.blocks);
  if (a.nets && a.nets[int64_t(at.b) * a.stages + a.stage].listed) return;
  const int item = at.block * (kChainProductThreads / kWarp) + int(threadIdx.x) / kWarp;
  const int tile = item % a.p.tiles, group = item / a.p.tiles;
  if (group * P * kWarp >= a.p.h * a.p.w * (a.S / kPack<T>)) return;
  const ChainLane<T, P> lane(a.p, group, a.S);
  const int row0 = tile * R, S = a.S;
  Pack<T> sum[R][P];
  EDT_UNROLL
  for (int r = 0; r < R; ++r) {
    const bool biased = a.bias.p && row0 + r < a.p.rows;
    const T start = biased ? a.bias.at(at.b, at.v)[row0 + r] : T(0);
    EDT_UNROLL
    for (int q = 0; q < P; ++q) sum[r][q] = splat(start);
  }
  EDT_NO_UNROLL
  for (int f = 0; f < 2; ++f) {
    const ChainFactors<T>& factors = a.factors[f];
    if (!factors.w.p) break;
    const T* w = factors.w.at(at.b, at.v) + a.p.at + tile * (R * a.kh * a.kw) * a.channels;
    const T* x = factors.x.at(at.b, at.v);
    EDT_NO_UNROLL
    for (int c = 0; c < a.channels; ++c, x += a.p.plane * S) {
      const T* line = x;
      EDT_NO_UNROLL
      for (int i = 0; i < a.kh; ++i, line += a.p.pitch * S) {
        const T* from = line;
        const auto add = [&](const T* from, const T* w) {
          Pack<T> in[P];
          EDT_UNROLL
          for (int q = 0; q < P; ++q) in[q] = load(from + lane.from[q]);
          T weight[R];
          load_weights<T, R>(w, weight);
          EDT_UNROLL
          for (int r = 0; r < R; ++r) {
            EDT_UNROLL
            for (int q = 0; q < P; ++q) add_scaled(sum[r][q], weight[r], in[q]);
          }
        };
        int j = 0;
        if constexpr (R * P < 8) {
          // Loads of four taps do not wait for one another.
          EDT_NO_UNROLL
          for (; j + 4 <= a.kw; j += 4, from += 4 * a.step, w += 4 * R) {
            EDT_UNROLL
            for (int u = 0; u < 4; ++u) add(from + u * a.step, w + u * R);
          }
        }
        EDT_NO_UNROLL
        for (; j < a.kw; ++j, from += a.step, w += R) add(from, w);
      }
    }
  }
  EDT_UNROLL
  for (int r = 0; r < R; ++r) {
    EDT_UNROLL
    for (int q = 0; q < P; ++q)
      if (row0 + r < a.p.rows && lane.position[q] >= 0)
        chain_end(a, at, lane, row0 + r, q, sum[r][q]);
  }
}

template <class T, int P>
EDT_KERNEL(kChainProductThreads)
chain_taps_kernel(ChainAffine<T> a) {
  const ChainPlace at(a.vectors, a.blocks);
  const ChainNet& net = a.nets[int64_t(at.b) * a.stages + a.stage];
  if (!net.listed) return;
  const int item = at.block * (kChainProductThreads / kWarp) + int(threadIdx.x) / kWarp;
  const int row = item % a.p.rows, group = item / a.p.rows;
  if (group * P * kWarp >= a.p.h * a.p.w * (a.S / kPack<T>)) return;
  const ChainLane<T, P> lane(a.p, group, a.S);
  const int* start = a.ints + (a.ints_back ? net.back.start : net.forward.start) + row;
  const int first = start[0], end = start[1];
  Pack<T> sum[P];
  EDT_UNROLL
  for (int q = 0; q < P; ++q) sum[q] = splat(a.bias.p ? a.bias.at(at.b, at.v)[row] : T(0));
  EDT_NO_UNROLL
  for (int f = 0; f < 2; ++f) {
    const ChainFactors<T>& factors = a.factors[f];
    if (!factors.w.p) break;
    const Tap<T>* taps = reinterpret_cast<const Tap<T>*>(factors.w.at(at.b, at.v) + a.p.at);
    const T* x = factors.x.at(at.b, at.v);
    const auto add = [&](const Tap<T>& tap) {
      EDT_UNROLL
      for (int q = 0; q < P; ++q)
        add_scaled(sum[q], tap.weight, load(x + tap.offset + lane.from[q]));
    };
    int k = first;
    EDT_NO_UNROLL
    for (; k + 4 <= end; k += 4) {
      EDT_UNROLL
      for (int u = 0; u < 4; ++u) add(taps[k + u]);
    }
    EDT_NO_UNROLL
    for (; k < end; ++k) add(taps[k]);
  }
  EDT_UNROLL
  for (int q = 0; q < P; ++q)
    if (lane.position[q] >= 0) chain_end(a, at, lane, row, q, sum[q]);
}

}  // namespace edt::cuda
