// Sums of the gradient and the loss of a network in registers (shallow.cuh): from lanes to warps,
// from two halves of the samples to their sum, from warps to the block.
//
// Halves. Networks whose lanes fill half a warp or more have their samples cut in two where they
// are enough, whether one block takes both halves or two blocks of a cluster take one each: a
// warp's sums of the second are added to those of the same warp of the first, and then those of the
// warps in order. So nobody can tell from the bits which of the two it was.
#pragma once
#include "cuda/cluster.cuh"
#include "cuda/shallow.cuh"

namespace edt::cuda {

//! Which samples of an evaluation a block takes: those of halves [first, end), `cut` samples each
//! but the last, which has the rest. Found from the item wherever it is asked for: registers are
//! scarce.
struct Halves {
  int first, end, cut, count;
  EDT_DEVICE Halves(const Item& item, int count_, int piece) : count(count_) {
    const bool two = (item.extra & kTwoHalves) != 0;
    first = item.split;
    end = first + (two && item.splits == 1 ? 2 : 1);
    // Whole pieces: a warp's lanes all have a pack.
    cut = two ? int(round_up((count + 1) / 2, piece)) : count;
  }
  EDT_DEVICE int samples(int half) const { return smaller(cut, count - half * cut); }
  // Whether the block holds all of its samples at once, one half behind the other.
  EDT_DEVICE bool held(int tile) const {
    return smaller(count - first * cut, (end - first) * cut) <= tile;
  }
};

//! g [kShallowWarps, n_math]: sums of warps. Paired: there may be another block with the other
//! half, which reads them, so that their sum over the warps goes behind them.
template <class T, bool Paired>
struct ShallowSums {
  T* g;
  unsigned char* reserved;
  const Item& item;
  bool read = false;  // the other block may be reading this one's

  EDT_DEVICE ShallowSums(T* g_, unsigned char* reserved_, const Item& item_)
      : g(g_), reserved(reserved_), item(item_) {}

  EDT_DEVICE bool pair() const { return Paired && item.splits > 1; }
  EDT_DEVICE double* losses() const {  // of warps; behind what block_reduce leaves
    return reinterpret_cast<double*>(reserved + kReserved / 4);
  }
  EDT_DEVICE T* total(int n_math) const { return Paired ? g + kShallowWarps * n_math : g; }

  // Padding is nobody's and read in packs.
  EDT_DEVICE void clear(int n_math) {
    for (int k = int(threadIdx.x); k < n_math * kShallowWarps; k += int(blockDim.x)) g[k] = T(0);
  }
  // Before the first of an evaluation's sums are stored.
  EDT_DEVICE void open() {
    if (Paired && read) cluster_wait();
    read = false;
  }
  // After the last: all of them are there.
  EDT_DEVICE void close() {
    if (pair()) {
      cluster_arrive();
      cluster_wait();
    } else {
      __syncthreads();
    }
  }
  EDT_DEVICE double loss() const {
    Pack<double> a = load(losses()), b = load(losses() + 2);
    if (pair()) {
      add(a, load_from_block(losses(), cluster_rank() ^ 1));
      add(b, load_from_block(losses() + 2, cluster_rank() ^ 1));
    }
    return a.v[0] + a.v[1] + b.v[0] + b.v[1];
  }
  // Sums of all entries, 0 where nothing is trained, to `total`; returns the largest of this
  // thread's, infinite where one is no number.
  EDT_DEVICE T add_up(int n_math, const int* source) {
    T top = T(0);
    for (int k = int(threadIdx.x) * Pack<T>::N; k < n_math; k += int(blockDim.x) * Pack<T>::N) {
      Pack<T> warps[kShallowWarps], sum;
      EDT_UNROLL
      for (int c = 0; c < kShallowWarps; ++c) warps[c] = load(g + c * n_math + k);
      if (pair()) {
        // All under way at once: the other multiprocessor is far.
        Pack<T> others[kShallowWarps];
        EDT_UNROLL
        for (int c = 0; c < kShallowWarps; ++c)
          others[c] = load_from_block(g + c * n_math + k, cluster_rank() ^ 1);
        EDT_UNROLL
        for (int c = 0; c < kShallowWarps; ++c) add(warps[c], others[c]);
      }
      sum = warps[0];
      EDT_UNROLL
      for (int c = 1; c < kShallowWarps; ++c) add(sum, warps[c]);
      EDT_UNROLL
      for (int e = 0; e < Pack<T>::N; ++e) {
        if (source[k + e] < 0) sum.v[e] = T(0);
        top = Largest{}(top, is_finite(sum.v[e]) ? T(fabs(sum.v[e])) : T(HUGE_VAL));
      }
      store(total(n_math) + k, sum);
    }
    if (pair()) {
      cluster_arrive();
      read = true;
    }
    return top;
  }
  // When nothing of this block is read any more. Returns whether anything was evaluated: if so, the
  // other one has also read what it began with.
  EDT_DEVICE bool leave() {
    const bool evaluated = read;
    open();
    return evaluated;
  }

 private:
  template <class V>
  EDT_DEVICE static void add(Pack<V>& a, const Pack<V>& b) {
    EDT_UNROLL
    for (int e = 0; e < Pack<V>::N; ++e) a.v[e] += b.v[e];
  }
};

// Loss and gradient of the samples given, as `sums` are afterwards. loaded: `place` has this
// block's, from the time before. Returns whether it holds them all.
template <class T, bool Paired>
EDT_DEVICE bool pass_in_registers(const Problem<T>& pr, const Item& item, const Samples& all,
                                  T scale, const T* p, T* place, bool loaded,
                                  ShallowSums<T, Paired>& sums) {
  constexpr int kPiece = kShallowPiece<T>;
  Shallow<T> net(Net<T>(pr, held(item.net)), p, item.extra_count);
  int half = item.split, at = 0;  // of its samples
  EDT_NO_UNROLL
  for (;;) {
    const Halves halves(item, all.count, kPiece);
    const int count = smaller(item.tile, halves.samples(half) - at);
    T* here = place;
    if (halves.held(item.tile)) here += (half - halves.first) * halves.cut * kShallowRows;
    if (!loaded) {
      const Samples samples{all.order, all.first + half * halves.cut + at, count};
      load_samples(Net<T>(pr, held(item.net)), pr.data, samples, scale, here);
      __syncthreads();
    }
    if (at == 0) net.begin_sums();
    net.tile(pr.act, pr.data.loss, here, count);
    const Halves again(item, held(all.count), kPiece);
    at += item.tile;
    if (at >= again.samples(half)) {
      if (half == again.first) sums.open();
      net.store(Net<T>(pr, held(item.net)), sums.g, sums.losses(), half > again.first);
      if (++half == again.end) break;
      at = 0;
    }
    if (!again.held(item.tile)) __syncthreads();
  }
  sums.close();
  return Halves(item, all.count, kPiece).held(item.tile);
}

}  // namespace edt::cuda
