// Gradients of a chain's weights and biases: dot products of slopes and inputs over positions and
// samples, for all stages in one launch.
//
// Lanes hold packs of samples along the rows of an image, as they lie. A warp has R channels out by
// 8 taps (or 8 taps of a list, or 8 biases): for R + 8 wide loads 8 R products of packs. Rows of an
// image are shared among parts, so that layers of few weights and many positions occupy the
// machine; eight sums are reduced together (rows.cuh). Parts are added in order. How many there are
// follows from the layer and the samples, so sums depend on nothing else; there are no atomics.
#pragma once
#include "cuda/chain_products.cuh"

namespace edt::cuda {

//! Where slopes and inputs lie; tangents: R slopes by inputs, and (`both`) slopes by R inputs.
template <class T>
struct ChainGradient {
  ChainTables t;
  Lines<const T> x, rooms, r_rooms;
  Lines<T> partial;
  int tangents, both, vectors, blocks, S;
};

// A stage's slopes and inputs of one of the products that add up; null: it has none.
template <class T>
struct ChainPair {
  const T *slope, *in;
};
template <class T>
EDT_DEVICE ChainPair<T> pair_of(const ChainGradient<T>& g, const ChainPlace& at,
                                const ChainStage& s, int index) {
  const bool of_slopes = g.tangents && index == 0, of_inputs = g.tangents && index == 1;
  if (index == 1 && (!g.tangents || !g.both || s.r_in < 0)) return {nullptr, nullptr};
  const T* slope = of_slopes ? g.r_rooms.at(at.b, at.v) + s.r_slope * g.S
                             : g.rooms.at(at.b, at.v) + s.slope.at * g.S;
  const T* in = of_inputs          ? g.r_rooms.at(at.b, at.v) + s.r_in * g.S
                : &s == g.t.stages ? g.x.at(at.b, at.v)
                                   : g.rooms.at(at.b, at.v) + s.in.at * g.S;
  return {slope + (s.slope.top * s.slope.pitch() + s.slope.left) * g.S, in};
}

// Where slopes and inputs of the lines of a row lie, and how many entries of them
// (ChainStage::lines).
struct ChainLines {
  int count, span, slope_row, slope_step, in_row, in_step;
  EDT_DEVICE ChainLines(const ChainStage& s, int S)
      : count(s.lines()),
        span(s.w / count * S),
        slope_row(s.slope.sy * s.slope.pitch() * S),
        slope_step(s.slope.sx * S),
        in_row(s.forward.sy * s.in.pitch() * S),
        in_step(s.forward.sx * S) {}
  EDT_DEVICE int slope(int line) const {
    return line / count * slope_row + line % count * slope_step;
  }
  EDT_DEVICE int in(int line) const { return line / count * in_row + line % count * in_step; }
};

// The warp's item of one kind (ChainStage::items): which stage, part, and item of the part.
struct ChainShare {
  int stage = 0, part = 0, item = 0;
  int first = 0, end = 0;  // rows of the image
  EDT_DEVICE ChainShare(const ChainTables& t, int block, int kind) {
    int left = block * (kChainProductThreads / kWarp) + int(threadIdx.x) / kWarp;
    EDT_NO_UNROLL
    for (; stage < t.count; ++stage) {
      const int all = t.stages[stage].items[kind];
      if (left < all) {
        const ChainStage& s = t.stages[stage];
        const int each = all / s.parts;
        part = left / each;
        item = left - part * each;
        first = part * s.h / s.parts;
        end = (part + 1) * s.h / s.parts;
        break;
      }
      left -= all;
    }
  }
};

template <class T>
EDT_DEVICE T dot(T sum, const Pack<T>& a, const Pack<T>& b) {
  EDT_UNROLL
  for (int e = 0; e < Pack<T>::N; ++e) sum = fma(a.v[e], b.v[e], sum);
  return sum;
}

// Eight sums of the warp's lanes: each to the place that to(entry) says.
template <class T, class To>
EDT_DEVICE void put_sums(T (&sums)[kChainTaps], int count, const To& to) {
  static_assert(kChainTaps == 8);
  const int lane = int(threadIdx.x) % kWarp, entry = eight_sums_entry(lane);
  const T sum = eight_sums(sums);
  if (lane < 8 && entry < count) *to(entry) = sum;
}

// Blocks of a multiprocessor, which say how many registers there are: without the number ptxas
// takes some more and so leaves room for one block less.
template <class T, int R>
constexpr int kChainGradientBlocks = sizeof(T) == 4 ? (R == 8   ? 2
                                                       : R == 6 ? 3
                                                                : 4)
                                                    : (R == 2 ? 3 : 2);

template <class T, int R>
EDT_KERNEL_BLOCKS(kChainProductThreads, (kChainGradientBlocks<T, R>))
chain_gradient_kernel(ChainGradient<T> g) {
  const ChainPlace at(g.vectors, g.blocks);
  const ChainShare share(g.t, at.block, R == 8 ? 0 : R == 6 ? 1 : 2);
  if (share.stage == g.t.count) return;
  if (g.t.nets && g.t.nets[int64_t(at.b) * g.t.count + share.stage].listed) return;
  const ChainStage& s = g.t.stages[share.stage];
  const int row0 = share.item % s.tiles * R, tap0 = share.item / s.tiles * kChainTaps, S = g.S;
  const int pitch = s.in.pitch();
  const ChainLines lines(s, S);
  int tap[kChainTaps], rows[R];
  // Taps past the last one read where the first stands.
  int line = tap0 / s.kw, c = line / s.kh, column = tap0 - line * s.kw, i = line - c * s.kh;
  EDT_UNROLL
  for (int k = 0; k < kChainTaps; ++k) {
    tap[k] = tap0 + k < s.taps ? (c * s.in.plane() + i * pitch + column) * S : 0;
    if (++column == s.kw) {
      column = 0;
      if (++i == s.kh) {
        i = 0;
        ++c;
      }
    }
  }
  EDT_UNROLL
  for (int r = 0; r < R; ++r) rows[r] = smaller(row0 + r, s.c - 1) * s.slope.plane() * S;
  T sum[R][kChainTaps] = {};
  EDT_NO_UNROLL
  for (int f = 0; f < 2; ++f) {
    const ChainPair<T> pair = pair_of(g, at, s, f);
    if (!pair.slope) break;
    EDT_NO_UNROLL
    for (int l = lines.count * share.first; l < lines.count * share.end; ++l) {
      const T *slope = pair.slope + lines.slope(l), *in = pair.in + lines.in(l);
      EDT_NO_UNROLL
      for (int q = int(threadIdx.x) % kWarp * kPack<T>; q < lines.span; q += kWarp * kPack<T>) {
        Pack<T> slopes[R];
        EDT_UNROLL
        for (int r = 0; r < R; ++r) slopes[r] = load(slope + rows[r] + q);
        EDT_UNROLL
        for (int k = 0; k < kChainTaps; ++k) {
          const Pack<T> x = load(in + tap[k] + q);
          EDT_UNROLL
          for (int r = 0; r < R; ++r) sum[r][k] = dot(sum[r][k], slopes[r], x);
        }
      }
    }
  }
  T* out = g.partial.at(at.b, at.v) + s.partial + int64_t(share.part) * s.c * (s.taps + 1);
  EDT_UNROLL
  for (int r = 0; r < R; ++r) {
    const int count = row0 + r < s.c ? s.taps - tap0 : 0;
    put_sums(sum[r], count, [&](int k) { return out + (row0 + r) * s.taps + tap0 + k; });
  }
}

template <class T>
EDT_KERNEL(kChainProductThreads)
chain_list_kernel(ChainGradient<T> g) {
  const ChainPlace at(g.vectors, g.blocks);
  const ChainShare share(g.t, at.block, 3);
  if (share.stage == g.t.count) return;
  const ChainStage& s = g.t.stages[share.stage];
  const int S = g.S;
  const ChainLines lines(s, S);
  const int lane = int(threadIdx.x) % kWarp;
  T* out = g.partial.at(at.b, at.v) + s.partial + int64_t(share.part) * s.c * (s.taps + 1);
  T sum[kChainTaps] = {};
  if (share.item >= s.groups) {
    const int row0 = (share.item - s.groups) * kChainTaps;
    const T* from = pair_of(g, at, s, 0).slope;
    for (int l = lines.count * share.first; l < lines.count * share.end; ++l)
      for (int q = lane * kPack<T>; q < lines.span; q += kWarp * kPack<T>) {
        EDT_UNROLL
        for (int k = 0; k < kChainTaps; ++k) {
          const int row = smaller(row0 + k, s.c - 1);
          const Pack<T> x = load(from + row * s.slope.plane() * S + lines.slope(l) + q);
          EDT_UNROLL
          for (int e = 0; e < kPack<T>; ++e) sum[k] += x.v[e];
        }
      }
    put_sums(sum, s.c - row0, [&](int k) { return out + s.c * s.taps + row0 + k; });
    return;
  }
  const ChainNet& net = g.t.nets[int64_t(at.b) * g.t.count + share.stage];
  if (share.item >= net.group_count) return;
  const int* group = g.t.ints + net.groups + 3 * share.item;
  const int row = group[0], first = group[1], count = group[2];
  int tap[kChainTaps];
  EDT_UNROLL
  for (int k = 0; k < kChainTaps; ++k)
    tap[k] = g.t.ints[net.forward.offset + first + smaller(k, count - 1)] * S;
  EDT_NO_UNROLL
  for (int f = 0; f < 2; ++f) {
    const ChainPair<T> pair = pair_of(g, at, s, f);
    if (!pair.slope) break;
    EDT_NO_UNROLL
    for (int l = lines.count * share.first; l < lines.count * share.end; ++l) {
      const T* slope = pair.slope + row * s.slope.plane() * S + lines.slope(l);
      const T* in = pair.in + lines.in(l);
      EDT_NO_UNROLL
      for (int q = lane * kPack<T>; q < lines.span; q += kWarp * kPack<T>) {
        const Pack<T> d = load(slope + q);
        EDT_UNROLL
        for (int k = 0; k < kChainTaps; ++k) sum[k] = dot(sum[k], d, load(in + tap[k] + q));
      }
    }
  }
  put_sums(sum, count, [&](int k) { return out + g.t.ints[net.forward.weight + first + k]; });
}

// Sums of parts to their places in out, 0 where nothing is asked for.
template <class T>
EDT_KERNEL(kChainThreads)
chain_sums_kernel(ChainTables t, Lines<const T> partial, Lines<T> out, int parameters,
                  int accumulate, int vectors, int blocks) {
  const ChainPlace at(vectors, blocks);
  const int p = at.block * int(blockDim.x) + int(threadIdx.x);
  if (p >= parameters) return;
  T* to = out.at(at.b, at.v) + p;
  T sum = T(0);
  if (!t.asked || t.asked[int64_t(at.b) * parameters + p])
    for (int n = t.first; n < t.count; ++n) {
      const ChainStage& s = t.stages[n];
      if (s.kind != ChainStage::Kind::affine) continue;
      const int weights = s.c * s.taps, w = p - int(s.weight), o = p - int(s.bias);
      const bool of_weights = w >= 0 && w < weights;
      if (!of_weights && (s.bias < 0 || o < 0 || o >= s.c)) continue;
      if (accumulate) sum = *to;
      const T* from = partial.at(at.b, at.v) + s.partial + (of_weights ? w : weights + o);
      for (int part = 0; part < s.parts; ++part) sum += from[part * (weights + s.c)];
      break;
    }
  *to = sum;
}

}  // namespace edt::cuda
