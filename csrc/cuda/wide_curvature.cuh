// Products with Hessians and Gauss-Newton matrices, and exact Hessians, of wide networks: the
// R-operator of curvature.cuh layer by layer, one launch a layer for all networks, for several
// vectors (or units, for Hessians) at once.
//
// Rows of tangents hold the samples of one vector after those of another, so a tile belongs to one
// vector and the products of weights and tangents are those of the forward and the backward pass;
// activations, their derivatives, d and c = s'' dA are made once for all vectors. Vectors and
// results are compressed. Per vector, sample and active weight: 4 FLOPs up, 4 down, 4 in the
// gradient (Gauss-Newton: 4, 2, 2).
#pragma once
#include "cuda/hessian_rows.cuh"
#include "cuda/wide_gradient.cuh"

namespace edt::cuda {

//! Vectors, or units of one layer, done at once.
struct WideGroup {
  int first, count;
  int ggn;
  int64_t ld;  // distance of rows of tangents
};

// One network's rows and vectors.
template <class T>
struct WideCurvature {
  const WideWork<T>& work;
  const WideChunk& chunk;
  const WideGroup& group;
  int vector;  // of the group

  // Rows of this vector's tangents.
  EDT_DEVICE Rows<T> rows(int64_t at, int sample) const {
    return {work.numbers + at + int64_t(vector) * work.ld + sample, int(group.ld)};
  }
  // Rz, then Rd, of layer l's outputs.
  EDT_DEVICE Rows<T> tangent(int l, int sample) const {
    return choose(l == work.n.last(), rows(work.w.rf, sample),
                  work.n.hidden(rows(work.w.r, sample), l + 1));
  }
  // Ra of what enters layer l.
  EDT_DEVICE Rows<T> below_tangent(int l, int sample) const {
    return work.n.hidden(rows(work.w.ra, sample), l);
  }
  // Derivatives of the units that enter layer l.
  EDT_DEVICE Rows<T> derivative(int64_t at, int l, int sample) const {
    return work.n.hidden(work.rows(at, sample), l);
  }
  EDT_DEVICE int64_t entry() const { return int64_t(group.first + vector) * work.n.net.n_math; }
  EDT_DEVICE const T* weights() const { return work.numbers + work.w.v + entry(); }
  EDT_DEVICE T* result() const { return work.numbers + work.w.g + entry(); }
};

// Compressed vectors of a piece of a network; one block an item and vector of all.
template <class T>
EDT_KERNEL(kWideThreads)
wide_vectors_kernel(Problem<T> pr, Wide<T> wide, WideWho who, const T* vectors, int64_t stride,
                    int count) {
  const WideItem item = wide.items[int(blockIdx.x) / count];
  const int vector = int(blockIdx.x) % count;
  const WideWork<T> work(pr, wide, item.wide);
  if (!who(work.w.net)) return;
  const NetRecord& net = work.n.net;
  const int* source = work.n.ints + net.source;
  const T* from = vectors + vector * stride + net.flat;
  T* to = wide.numbers + work.w.v + int64_t(vector) * net.n_math;
  const int end = smaller(item.first + item.count, net.n_math);
  for (int k = item.first + int(threadIdx.x); k < end; k += int(blockDim.x))
    to[k] = source[k] >= 0 ? from[source[k]] : T(0);
}

// dL/dz of some units below a layer, and c = s'' dA there.
template <class T>
EDT_KERNEL_BLOCKS(kWideThreads, 2)
wide_bend_kernel(Problem<T> pr, Wide<T> wide, WideWho who, WideChunk chunk) {
  EDT_SHARED(memory);
  const WideFrame<T> at(pr, wide, WidePlace(chunk));
  const WideWork<T>& work = at.work;
  if (!who(work.w.net)) return;
  const int l = at.item.layer;
  const Tile tile = tile_of<T>(chunk.tile);
  const Rows<T> d = at.rows(work.w.e, l);
  wide_down<false>(inputs_of(work.n.layers[l], at.item), work.n.ints, work.parameters(),
                   read(work.delta(work.w.e, l, at.sample)), d, tile, false, memory);
  __syncthreads();
  bend(d, d, at.rows(work.w.d, l), at.rows(work.w.c, l), at.item.count, tile);
}

// Not inlined: the products' registers are not its own.
template <class T>
EDT_CALLED void wide_push_through(T* rz, int ld, T* d1, int ld1, T* ra, int units, int samples) {
  push_through(Rows<T>{rz, ld}, Rows<T>{d1, ld1}, Rows<T>{ra, ld}, units, tile_of<T>(samples));
}

// Tangents of some units of a layer: Rz = V a + W Ra and, of hidden ones, Ra. given: V is there.
template <class T>
EDT_KERNEL_BLOCKS(kWideThreads, 2)
wide_push_kernel(Problem<T> pr, Wide<T> wide, WideWho who, WideChunk chunk, WideGroup group,
                 int given) {
  EDT_SHARED(memory);
  const WideFrame<T> at(pr, wide, WidePlace(chunk, group.count));
  const WideWork<T>& work = at.work;
  if (!who(work.w.net)) return;
  const WideCurvature<T> cu{work, chunk, group, at.vector};
  const int l = at.item.layer, first = at.item.first;
  const Tile tile = tile_of<T>(chunk.tile);
  const LayerRecord kept = outputs_of(work.n.layers[l], at.item);
  // Products on the tensor cores leave no registers to keep it in.
  const auto ly = [&] {
    if constexpr (std::is_same_v<T, double>) return outputs_of(work.n.layers[l], at.item);
    else return kept;
  };
  const Rows<T> z = cu.tangent(l, at.sample).row(first);
  if (given)
    wide_up(ly(), work.n.ints, cu.weights(), work.below(pr, chunk, l, at.sample), z, tile, Terms{},
            memory);
  if (l > 0)
    wide_up(ly(), work.n.ints, work.parameters(), read(cu.below_tangent(l, at.sample)), z, tile,
            Terms{given != 0, false}, memory);
  if (l == work.n.last()) return;
  __syncthreads();
  if constexpr (std::is_same_v<T, double>) {
    // Nor what else the block belongs to, which is found anew.
    const WideFrame<T> again(pr, wide, WidePlace(chunk, group.count));
    const WideCurvature<T> to{again.work, chunk, group, again.vector};
    const int above = again.item.layer + 1, unit = again.item.first;
    const Rows<T> rz = to.tangent(above - 1, again.sample).row(unit);
    wide_push_through(rz.p, rz.ld, again.rows(again.work.w.d, above).p, again.work.ld,
                      to.below_tangent(above, again.sample).row(unit).p, again.item.count,
                      chunk.tile);
  } else {
    wide_push_through(z.p, z.ld, at.rows(work.w.d, l + 1).p, work.ld,
                      cu.below_tangent(l + 1, at.sample).row(first).p, at.item.count, chunk.tile);
  }
}

// Tangents of the outputs times the loss's curvature; one block a network, vector and tile.
template <class T>
EDT_KERNEL(kWideTile)
wide_curve_kernel(Problem<T> pr, Wide<T> wide, WideWho who, WideChunk chunk, WideGroup group) {
  const WidePlace place(chunk, group.count);
  const WideWork<T> work(pr, wide, place.item);
  if (!who(work.w.net)) return;
  const WideCurvature<T> cu{work, chunk, group, place.vector};
  pull_outputs(work.n, pr.data, samples_of(wide, chunk, place.item, pr.data.n, place.sample),
               work.rows(work.w.prob, place.sample), cu.tangent(work.n.last(), place.sample),
               tile_of<T>(chunk.tile));
}

// Goes on with what a block has multiplied: Rd, where Rz stands.
template <class T>
EDT_DEVICE void wide_pull_on(const WideFrame<T>& at, const WideChunk& chunk,
                             const WideGroup& group) {
  const WideCurvature<T> cu{at.work, chunk, group, at.vector};
  const int l = at.item.layer, first = at.item.first;
  pull_through(cu.rows(at.work.w.s, at.sample).row(first), at.rows(at.work.w.d, l),
               at.rows(at.work.w.c, l), cu.tangent(l - 1, at.sample).row(first), at.item.count,
               group.ggn != 0, tile_of<T>(chunk.tile));
}

// Rd of some units below a layer: s' (W^T Rd + V^T d) + c Rz.
template <class T>
EDT_KERNEL_BLOCKS(kWideThreads, 2)
wide_pull_kernel(Problem<T> pr, Wide<T> wide, WideWho who, WideChunk chunk, WideGroup group,
                 int given) {
  EDT_SHARED(memory);
  const WideFrame<T> at(pr, wide, WidePlace(chunk, group.count));
  const WideWork<T>& work = at.work;
  if (!who(work.w.net)) return;
  const WideCurvature<T> cu{work, chunk, group, at.vector};
  const int l = at.item.layer, first = at.item.first;
  const Tile tile = tile_of<T>(chunk.tile);
  const LayerRecord ly = inputs_of(work.n.layers[l], at.item);
  const Rows<T> product = cu.rows(work.w.s, at.sample).row(first);
  wide_down<false>(ly, work.n.ints, work.parameters(), read(cu.tangent(l, at.sample)), product,
                   tile, false, memory);
  if (given && !group.ggn)
    wide_down<false>(ly, work.n.ints, cu.weights(), read(work.delta(work.w.e, l, at.sample)),
                     product, tile, true, memory);
  __syncthreads();
  if constexpr (std::is_same_v<T, double>)  // as in wide_push_kernel
    wide_pull_on(WideFrame<T>(pr, wide, WidePlace(chunk, group.count)), chunk, group);
  else wide_pull_on(at, chunk, group);
}

// Writes or adds entries of a compressed vector.
template <class T>
struct WideResult {
  T* g;
  bool accumulate;
  EDT_DEVICE void operator()(int k, T sum) const { g[k] = accumulate ? g[k] + sum : sum; }
};

// Rd a^T + d Ra^T: some edges, or a rectangle of a dense layer, of one vector.
template <class T>
EDT_KERNEL_BLOCKS(kWideThreads, 2)
wide_product_kernel(Problem<T> pr, Wide<T> wide, WideWho who, WideChunk chunk, WideGroup group) {
  EDT_SHARED(memory);
  const WideItem item = wide.items[int(blockIdx.x) / group.count];
  const WideWork<T> work(pr, wide, item.wide);
  if (!who(work.w.net)) return;
  const WideCurvature<T> cu{work, chunk, group, int(blockIdx.x) % group.count};
  const int l = item.layer;
  const WidePairs<T> pairs{read(cu.tangent(l, 0)), work.below(pr, chunk, l, 0),
                           read(work.delta(work.w.e, l, 0)), read(cu.below_tangent(l, 0)),
                           l > 0 && !group.ggn ? 2 : 1};
  wide_piece(work.n.layers[l], work.n.ints, item, pairs, chunk.tiles * chunk.tile, memory,
             WideResult<T>{cu.result(), chunk.accumulate != 0});
}

// The tangent of a unit of layer l, which its own pre-activation is 1 in; one block a network, unit
// of the group and tile.
template <class T>
EDT_KERNEL(kWideTile)
wide_start_kernel(Problem<T> pr, Wide<T> wide, WideWho who, WideChunk chunk, WideGroup group,
                  int l) {
  const WidePlace place(chunk, group.count);
  const WideWork<T> work(pr, wide, place.item);
  const Net<T>& n = work.n;
  if (!who(work.w.net)) return;
  const WideCurvature<T> cu{work, chunk, group, place.vector};
  const int unit = group.first + place.vector, units = n.layers[l].n_out;
  const Tile tile = tile_of<T>(chunk.tile);
  const Rows<T> z = cu.tangent(l, place.sample);
  for_entries(units, tile, [&](int q, int s) { *z.at(q, s) = q == unit ? T(1) : T(0); });
  if (l == n.last()) return;
  __syncthreads();
  push_through(z, cu.derivative(work.w.d, l + 1, place.sample),
               cu.below_tangent(l + 1, place.sample), units, tile);
}

// What hessian_rows.cuh asks of a pass.
template <class T>
struct WidePass {
  const WideCurvature<T>& cu;
  const Net<T>& n;
  Rows<const T> x;  // what enters the first layer
  bool ggn;

  EDT_DEVICE int samples() const { return cu.chunk.tiles * cu.chunk.tile; }
  EDT_DEVICE const T* ones() const { return cu.work.numbers + cu.work.w.ones; }
  EDT_DEVICE Rows<const T> tangent(int l) const { return read(cu.tangent(l, 0)); }
  EDT_DEVICE Rows<const T> delta(int l) const { return read(cu.work.delta(cu.work.w.e, l, 0)); }
  EDT_DEVICE Rows<const T> below(int l) const {
    return choose_any(l == 0, x, read(cu.derivative(cu.work.w.a, l, 0)));
  }
  EDT_DEVICE Rows<const T> below_tangent(int l) const { return read(cu.below_tangent(l, 0)); }
};

// Adds a unit's rows to the Hessian after its pass; `parts` blocks a network and unit of the group,
// each some groups of columns.
template <class T>
EDT_KERNEL(kWideThreads)
wide_unit_kernel(Problem<T> pr, Wide<T> wide, WideWho who, WideChunk chunk, WideGroup group, int l,
                 T* out, const int64_t* offsets, int parts) {
  const int part = int(blockIdx.x) % parts, vector = int(blockIdx.x) / parts % group.count;
  const WideWork<T> work(pr, wide, int(blockIdx.x) / parts / group.count);
  const Net<T>& n = work.n;
  const int unit = group.first + vector, warps = int(blockDim.x) / kWarp;
  if (!who(work.w.net) || unit >= n.layers[l].n_out) return;
  const WideCurvature<T> cu{work, chunk, group, vector};
  const WidePass<T> pass{cu, n, work.below(pr, chunk, 0, 0), group.ggn != 0};
  add_unit(pass, l, unit, out + offsets[work.w.net], n.ints + n.net.coord,
           part * warps + int(threadIdx.x) / kWarp, parts * warps);
}

}  // namespace edt::cuda
