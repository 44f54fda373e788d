// Hessian- and Gauss-Newton-vector products, and exact Hessians, by the R-operator (Pearlmutter
// 1994): with tangents Rz of the pre-activations,
//   Ra = s' Rz,  Rd_out = l'' Rf,  Rd = s' (W^T Rd_next + V^T d_next) + s'' dA Rz,
//   R(gradient) = Rd a^T + d Ra^T;  the Gauss-Newton product drops the terms in d and s''.
//
// Product with v: V is v, the tangent starts from Rz = V a + W Ra. One block a network, vector and
// share of the samples.
//
// Hessian: the parameters (j, i) that enter unit j of a layer act on its pre-activation alone,
// dz_j / dw_ji = a_i. So one pass with the tangent e_j (V = 0) serves all their rows:
//   H[(j, i), :] = sum_n a_i [Rd a^T + d Ra^T],
// a rank-N product; as many passes as units, not as parameters. Rows of earlier layers take the
// columns of their own and later layers; the rest follows by symmetry. In float64 a warp multiplies
// 8 columns by up to 64 rows of the unit on the tensor cores: a column's Rd a + d Ra is made once
// for all rows, four loads for 8 to 64 multiply-adds. float32 uses the register tiles of gradients.
#pragma once
#include "cuda/evaluate.cuh"
#include "cuda/hessian_rows.cuh"

namespace edt::cuda {

// The rows one tile needs. `c` is s'' dA, `r` first Rz and then Rd of the hidden layers, `rf` the
// same of the outputs.
template <class T>
struct CurvatureRows {
  Rows<T> x, a, d1, c, delta, ra, r, f, prob, rf, scratch, ones;
  EDT_DEVICE CurvatureRows(Arena<T>& arena, const NetRecord& net, int tile)
      : x(arena.rows(net.d_in, tile)),
        a(arena.rows(net.n_hidden, tile)),
        d1(arena.rows(net.n_hidden, tile)),
        c(arena.rows(net.n_hidden, tile)),
        delta(arena.rows(net.n_hidden, tile)),
        ra(arena.rows(net.n_hidden, tile)),
        r(arena.rows(net.n_hidden, tile)),
        f(arena.rows(net.d_out, tile)),
        prob(arena.rows(net.d_out, tile)),
        rf(arena.rows(net.d_out, tile)),
        scratch(arena.rows(net.widest, tile)),
        ones(arena.rows(1, tile)) {}
};

template <class T>
struct Curvature {
  const Problem<T>& pr;
  const Net<T>& n;
  const T* p;
  CurvatureRows<T> w;
  Tile tile;
  bool ggn;

  // Rd or Rz, and d, of layer l's outputs.
  EDT_DEVICE Rows<T> tangent(int l) const {
    return choose(l == n.last(), w.rf, n.hidden(w.r, l + 1));
  }
  EDT_DEVICE Rows<const T> delta(int l) const {
    return read(choose(l == n.last(), w.f, n.hidden(w.delta, l + 1)));
  }
  EDT_DEVICE Rows<const T> below(int l) const {
    return read(choose(l == 0, w.x, n.hidden(w.a, l)));
  }
  EDT_DEVICE Rows<const T> below_tangent(int l) const { return read(n.hidden(w.ra, l)); }
  EDT_DEVICE const T* ones() const { return w.ones.p; }
  EDT_DEVICE int samples() const { return tile.samples; }

  // What does not depend on the tangent.
  EDT_DEVICE void prepare(const Samples& samples) const {
    load_inputs(n, pr.data, samples, w.x, tile);
    for (int s = int(threadIdx.x); s < tile.samples; s += int(blockDim.x)) *w.ones.at(0, s) = T(1);
    __syncthreads();
    forward<2>(n, pr.act, p, w.x, w.a, w.d1, w.c, w.f, tile);
    loss_pass<true, true>(n, pr.data, samples, T(1), w.f, w.prob, tile);
    __syncthreads();
    if (ggn) return;
    for (int l = n.last(); l > 0; --l) {
      const LayerRecord& ly = n.layers[l];
      affine_backward<false>(ly, n.ints, p, delta(l), w.scratch, tile, false);
      __syncthreads();
      bend(w.scratch, n.hidden(w.delta, l), n.hidden(w.d1, l), n.hidden(w.c, l), ly.n_in, tile);
      __syncthreads();
    }
  }

  // Rz of all layers: with V from the inputs on, else from the layer above `from`, whose tangent is
  // there.
  EDT_DEVICE void push(int from, const T* v) const {
    for (int l = from;; ++l) {
      const LayerRecord& ly = n.layers[l];
      if (v || l > from) {
        // V a + b_V, then + W Ra.
        EDT_NO_UNROLL
        for (int term = v ? 0 : 1; term < (l > from ? 2 : 1); ++term)
          affine_forward(ly, n.ints, term ? p : v,
                         choose(term != 0, read(n.hidden(w.ra, l)), below(l)), tangent(l), tile,
                         Terms{term == 1 && v, term == 0});
        __syncthreads();
      }
      if (l == n.last()) return;
      push_through(tangent(l), n.hidden(w.d1, l + 1), n.hidden(w.ra, l + 1), ly.n_out, tile);
      __syncthreads();
    }
  }

  // Rd of all layers down to `to`, from Rf and Rz.
  EDT_DEVICE void pull(int to, const T* v, const Samples& samples) const {
    pull_outputs(n, pr.data, samples, w.prob, w.rf, tile);
    __syncthreads();
    for (int l = n.last(); l > to; --l) {
      const LayerRecord& ly = n.layers[l];
      // W^T Rd, then + V^T d.
      EDT_NO_UNROLL
      for (int term = 0; term < (v && !ggn ? 2 : 1); ++term)
        affine_backward<false>(ly, n.ints, term ? v : p,
                               choose(term != 0, delta(l), read(tangent(l))), w.scratch, tile,
                               term == 1);
      __syncthreads();
      pull_through(w.scratch, n.hidden(w.d1, l), n.hidden(w.c, l), tangent(l - 1), ly.n_in, ggn,
                   tile);
      __syncthreads();
    }
  }

  // sink += Rd a^T + d Ra^T of layers `from` and above (Ra is 0 at the inputs of `from`).
  template <bool Weighted, class Sink>
  EDT_DEVICE void contract(int from, const Sink& sink, const T* weight) const {
    Sink now = sink;
    EDT_NO_UNROLL
    for (int term = 0; term < (ggn ? 1 : 2); ++term) {
      now.bias = term == 0;
      EDT_NO_UNROLL
      for (int l = from + term; l < n.net.n_layers; ++l)
        affine_gradient<T, Weighted>(
            n.layers[l], n.ints, choose(term != 0, delta(l), read(tangent(l))),
            choose(term != 0, read(n.hidden(w.ra, l)), below(l)), tile, share_of(1), now, weight);
      __syncthreads();
    }
  }
};

template <class T>
EDT_DEVICE void hvp(const Problem<T>& pr, const Item& item, const T* vectors, bool ggn,
                    const Results<T>& out, unsigned char* memory) {
  const Net<T> n(pr, item.net);
  const Tile tile = tile_of<T>(item.tile);
  Arena<T> arena(memory);
  T* p = arena.vector(n.net.n_math);
  T* v = arena.vector(n.net.n_math);
  T* g = arena.vector(n.net.n_math);
  const Curvature<T> cu{pr, n, p, CurvatureRows<T>(arena, n.net, tile.samples), tile, ggn};
  gather(n, pr.theta, p, n.net.n_math, true);
  gather(n, vectors + item.extra * out.stride, v, n.net.n_math, false);
  for (int k = int(threadIdx.x); k < n.net.n_math; k += int(blockDim.x)) g[k] = T(0);
  for (int at = 0; at < item.count; at += item.tile) {
    const Samples samples{nullptr, item.first + at, smaller(item.tile, item.count - at)};
    cu.prepare(samples);
    cu.push(0, v);
    cu.pull(0, v, samples);
    cu.template contract<false>(0, AddTo<T>{g, true}, nullptr);
  }
  write_flat(n, item, g, out, item.extra);
}

template <class T>
EDT_KERNEL(kMaxThreads)
hvp_kernel(Problem<T> pr, const Item* items, int n_items, const T* vectors, int ggn,
           Results<T> out) {
  EDT_SHARED(memory);
  for (int i = int(blockIdx.x); i < n_items; i += int(gridDim.x)) {
    if (pr.active && !pr.active[items[i].net]) continue;
    hvp(pr, items[i], vectors, ggn != 0, out, memory);
    __syncthreads();
  }
}

// The rows of unit j of layer l after its pass: the tensor cores in float64 ...
EDT_DEVICE void add_rows(const Curvature<double>& cu, int l, int j, double* h, const int* coord) {
  add_unit(cu, l, j, h, coord, int(threadIdx.x) / kWarp, int(blockDim.x) / kWarp);
  __syncthreads();
}

// Adds to the entries of one row of a matrix that lie on or right of the diagonal.
template <class T>
struct AddToRow {
  T* h;
  const int* coord;
  int row;
  bool bias;
  EDT_DEVICE void operator()(int k, T sum) const {
    const int column = coord[k];
    if (column >= row) h[column] += sum;
  }
};

// ... in float32 a row at a time, on the register tiles of gradients: tiles of few samples would
// leave most lanes of `add_unit` idle.
EDT_DEVICE void add_rows(const Curvature<float>& cu, int l, int j, float* h, const int* coord) {
  const Net<float>& n = cu.n;
  const LayerRecord& ly = n.layers[l];
  const UnitRows rows(n, ly, j);
  for (int e = 0; e < rows.count; ++e) {
    const int row = coord[rows.index(ly, j, e)];
    if (row < 0) continue;
    cu.template contract<true>(l,
                               AddToRow<float>{h + int64_t(row) * n.net.n_coords, coord, row, true},
                               rows.template input<float>(cu, ly, l, e));
  }
}

template <class T>
EDT_DEVICE void hessian(const Problem<T>& pr, const Item& item, bool ggn, T* out,
                        const int64_t* offsets, unsigned char* memory) {
  const Net<T> n(pr, item.net);
  const Tile tile = tile_of<T>(item.tile);
  Arena<T> arena(memory);
  T* p = arena.vector(n.net.n_math);
  const Curvature<T> cu{pr, n, p, CurvatureRows<T>(arena, n.net, tile.samples), tile, ggn};
  T* h = out + offsets[item.net];
  const int* coord = n.ints + n.net.coord;
  gather(n, pr.theta, p, n.net.n_math, true);
  for (int at = 0; at < item.count; at += item.tile) {
    const Samples samples{nullptr, item.first + at, smaller(item.tile, item.count - at)};
    cu.prepare(samples);
    for (int u = item.extra; u < item.extra + item.extra_count; ++u) {
      int l = 0;
      while (l < n.last() && u >= n.layers[l + 1].inputs + n.layers[l].n_out) ++l;
      const LayerRecord& ly = n.layers[l];
      const int j = u - (l < n.last() ? n.layers[l + 1].inputs : n.net.n_hidden);
      const Rows<T> start = cu.tangent(l);
      for (int q = 0; q < ly.n_out; ++q)
        for (int s = int(threadIdx.x); s < tile.samples; s += int(blockDim.x))
          *start.at(q, s) = q == j ? T(1) : T(0);
      __syncthreads();
      cu.push(l, nullptr);
      cu.pull(l, nullptr, samples);
      add_rows(cu, l, j, h, coord);
    }
  }
}

template <class T>
EDT_KERNEL(kMaxThreads)
hessian_kernel(Problem<T> pr, const Item* items, int n_items, int ggn, T* out,
               const int64_t* offsets) {
  EDT_SHARED(memory);
  for (int i = int(blockIdx.x); i < n_items; i += int(gridDim.x)) {
    if (pr.active && !pr.active[items[i].net]) continue;
    hessian(pr, items[i], ggn != 0, out, offsets, memory);
    __syncthreads();
  }
}

//! Side of the squares in which triangles are mirrored.
constexpr int kMirror = 32;
template <class T>
constexpr int64_t mirror_bytes() {
  return int64_t(sizeof(T)) * kMirror * (kMirror + 1);
}

// The lower triangles from the upper ones, square by square through shared memory, so that rows are
// read and written whole; `parts` blocks a network.
template <class T>
EDT_KERNEL(256)
mirror_kernel(Problem<T> pr, T* out, const int64_t* offsets, int parts) {
  EDT_SHARED(memory);
  T* square = reinterpret_cast<T*>(memory);
  const int b = int(blockIdx.x) / parts;
  if (pr.active && !pr.active[b]) return;
  T* h = out + offsets[b];
  const int64_t size = pr.nets[b].n_coords, side = (size + kMirror - 1) / kMirror;
  const int lane = int(threadIdx.x) % kMirror, first = int(threadIdx.x) / kMirror;
  const int step = int(blockDim.x) / kMirror;
  for (int64_t t = int(blockIdx.x) % parts; t < side * side; t += parts) {
    const int64_t row = t / side * kMirror, column = t % side * kMirror;
    if (column > row) continue;  // the same for all threads
    for (int r = first; r < kMirror; r += step)
      if (column + r < size && row + lane < size)
        square[r * (kMirror + 1) + lane] = h[(column + r) * size + row + lane];
    __syncthreads();
    for (int r = first; r < kMirror; r += step)
      if (row + r < size && column + lane < row + r)
        h[(row + r) * size + column + lane] = square[lane * (kMirror + 1) + r];
    __syncthreads();
  }
}

}  // namespace edt::cuda
