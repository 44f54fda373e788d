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
      const Rows<T> to = n.hidden(w.delta, l), d1 = n.hidden(w.d1, l), c = n.hidden(w.c, l);
      for (int j = 0; j < ly.n_in; ++j)
        for (int s = int(threadIdx.x); s < tile.samples; s += int(blockDim.x)) {
          const T da = *w.scratch.at(j, s);
          *to.at(j, s) = da * *d1.at(j, s);
          *c.at(j, s) *= da;
        }
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
      const Rows<T> to = n.hidden(w.ra, l + 1), d1 = n.hidden(w.d1, l + 1), rz = tangent(l);
      for (int j = 0; j < ly.n_out; ++j)
        for (int s = int(threadIdx.x); s < tile.samples; s += int(blockDim.x))
          *to.at(j, s) = *d1.at(j, s) * *rz.at(j, s);
      __syncthreads();
    }
  }

  // Rd of all layers down to `to`, from Rf and Rz.
  EDT_DEVICE void pull(int to, const T* v, const Samples& samples) const {
    const Data<T>& data = pr.data;
    const T* coef = data.coef + int64_t(n.task) * data.n_pad;
    for (int s = int(threadIdx.x); s < tile.samples; s += int(blockDim.x)) {
      const T c = s < samples.count ? coef[samples(s)] : T(0);
      if (data.loss == int(Loss::mse)) {
        for (int o = 0; o < data.d_out; ++o) *w.rf.at(o, s) *= c + c;
      } else {
        T mean = T(0);
        for (int o = 0; o < data.d_out; ++o) mean = fma(*w.prob.at(o, s), *w.rf.at(o, s), mean);
        for (int o = 0; o < data.d_out; ++o)
          *w.rf.at(o, s) = c * *w.prob.at(o, s) * (*w.rf.at(o, s) - mean);
      }
    }
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
      const Rows<T> r = tangent(l - 1), d1 = n.hidden(w.d1, l), c = n.hidden(w.c, l);
      for (int j = 0; j < ly.n_in; ++j)
        for (int s = int(threadIdx.x); s < tile.samples; s += int(blockDim.x)) {
          const T rd = *w.scratch.at(j, s) * *d1.at(j, s);
          *r.at(j, s) = ggn ? rd : fma(*c.at(j, s), *r.at(j, s), rd);
        }
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

template <class T, bool Global>
EDT_KERNEL(kMaxThreads)
hvp_kernel(Problem<T> pr, const Item* items, int n_items, const T* vectors, int ggn, Results<T> out,
           unsigned char* arenas, int64_t arena_step) {
  EDT_SHARED(shared);
  unsigned char* memory = Global ? arenas + int64_t(blockIdx.x) * arena_step : shared;
  for (int i = int(blockIdx.x); i < n_items; i += int(gridDim.x)) {
    if (pr.active && !pr.active[items[i].net]) continue;
    hvp(pr, items[i], vectors, ggn != 0, out, memory);
    __syncthreads();
  }
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

// c += a b for 8 rows, 8 columns and 4 samples of a warp, by the float64 tensor core (sm_80 and
// newer): lane l holds a[l / 4][l % 4], b[l % 4][l / 4] and c[l / 4][2 (l % 4) + {0, 1}].
EDT_DEVICE void multiply_tile(double (&c)[2], double a, double b) {
#if defined(__CUDACC__)
  asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
      : "+d"(c[0]), "+d"(c[1])
      : "d"(a), "d"(b));
#else
  const double* all = edt_shim::warp_pairs(a, b);
  const int lane = int(threadIdx.x) % kWarp;
  for (int k = 0; k < 4; ++k)
    for (int q = 0; q < 2; ++q)
      c[q] = fma(all[2 * (lane / 4 * 4 + k)], all[2 * ((lane % 4 * 2 + q) * 4 + k) + 1], c[q]);
#endif
}

// What a column of the Hessian is made of, in one pass: sum_n a_i (rd a + d ra).
struct Column {
  const double *rd, *a, *d, *ra;  // ra null: without the second term
};

EDT_DEVICE Column column_of(const Curvature<double>& cu, int from, int k, bool valid) {
  const double* ones = cu.w.ones.p;
  if (!valid) return {ones, ones, ones, nullptr};
  const Net<double>& n = cu.n;
  int l = from;
  while (l < n.last() && k >= n.layers[l + 1].w) ++l;
  const LayerRecord& ly = n.layers[l];
  if (ly.bias >= 0 && k >= ly.bias) return {cu.tangent(l).at(k - ly.bias, 0), ones, ones, nullptr};
  const int e = k - ly.w, q = ly.dense ? e / ly.ld_w : n.ints[ly.row + e];
  const int r = ly.dense ? e % ly.ld_w : n.ints[ly.col + e];
  return {cu.tangent(l).at(q, 0), cu.below(l).at(r, 0), cu.delta(l).at(q, 0),
          l > from && !cu.ggn ? n.hidden(cu.w.ra, l).at(r, 0) : nullptr};
}

// Adds to the rows of unit j of layer l, on and right of the diagonal, after its pass.
EDT_DEVICE void add_unit(const Curvature<double>& cu, int l, int j, double* h, const int* coord) {
  constexpr int kTiles = 8;
  const Net<double>& n = cu.n;
  const LayerRecord& ly = n.layers[l];
  const int lane = int(threadIdx.x) % kWarp, warps = int(blockDim.x) / kWarp;
  const int first = ly.dense ? j * ly.ld_w : n.ints[ly.row_ptr + j];
  const int edges = ly.dense ? ly.n_in : n.ints[ly.row_ptr + j + 1] - first;
  const int rows = edges + (ly.bias >= 0);
  // Compressed index of a row, the last of them the bias; columns before the first lie left of the
  // diagonal.
  auto index = [&](int e) { return e == edges ? ly.bias + j : ly.w + first + e; };
  const int start = ly.w + first, groups = (n.net.n_math - start + 7) / 8;
  EDT_NO_UNROLL
  for (int r0 = 0; r0 < rows; r0 += 8 * kTiles) {
    const int tiles = smaller((rows - r0 + 7) / 8, kTiles);
    const double* a[kTiles];
    EDT_UNROLL
    for (int t = 0; t < kTiles; ++t) {
      const int e = smaller(r0 + 8 * t + lane / 4, rows - 1);
      a[t] =
          e == edges ? cu.w.ones.p : cu.below(l).at(ly.dense ? e : n.ints[ly.col + first + e], 0);
    }
    EDT_NO_UNROLL
    for (int g = int(threadIdx.x) / kWarp; g < groups; g += warps) {
      const int k = start + 8 * g + lane / 4;
      const Column c = column_of(cu, l, k, k < n.net.n_math && coord[k] >= 0);
      double acc[kTiles][2] = {};
      EDT_NO_UNROLL
      for (int s = lane % 4; s < cu.tile.samples; s += 4) {
        double b = c.rd[s] * c.a[s];
        if (c.ra) b = fma(c.d[s], c.ra[s], b);
        EDT_UNROLL
        for (int t = 0; t < kTiles; ++t)
          if (t < tiles) multiply_tile(acc[t], a[t][s], b);
      }
      EDT_UNROLL
      for (int t = 0; t < kTiles; ++t) {
        const int e = r0 + 8 * t + lane / 4;
        const int row = e < rows ? coord[index(e)] : -1;
        if (row < 0) continue;
        EDT_UNROLL
        for (int q = 0; q < 2; ++q) {
          const int at = start + 8 * g + lane % 4 * 2 + q;
          const int column = at < n.net.n_math ? coord[at] : -1;
          if (column >= row) h[int64_t(row) * n.net.n_coords + column] += acc[t][q];
        }
      }
    }
  }
  __syncthreads();
}

// The same in float32: a row at a time, on the register tiles of gradients.
EDT_DEVICE void add_unit(const Curvature<float>& cu, int l, int j, float* h, const int* coord) {
  const Net<float>& n = cu.n;
  const LayerRecord& ly = n.layers[l];
  const int first = ly.dense ? 0 : n.ints[ly.row_ptr + j];
  const int edges = ly.dense ? ly.n_in : n.ints[ly.row_ptr + j + 1] - first;
  for (int e = 0; e <= edges; ++e) {  // the last is the bias
    if (e == edges && ly.bias < 0) break;
    const int k = e == edges ? ly.bias + j : ly.w + (ly.dense ? j * ly.ld_w + e : first + e);
    const int row = coord[k];
    if (row < 0) continue;
    const Rows<const float> a = cu.below(l);
    const float* weight =
        e == edges ? cu.w.ones.p : a.at(ly.dense ? e : n.ints[ly.col + first + e], 0);
    cu.template contract<true>(
        l, AddToRow<float>{h + int64_t(row) * n.net.n_coords, coord, row, true}, weight);
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
      add_unit(cu, l, j, h, coord);
    }
  }
}

template <class T, bool Global>
EDT_KERNEL(kMaxThreads)
hessian_kernel(Problem<T> pr, const Item* items, int n_items, int ggn, T* out,
               const int64_t* offsets, unsigned char* arenas, int64_t arena_step) {
  EDT_SHARED(shared);
  unsigned char* memory = Global ? arenas + int64_t(blockIdx.x) * arena_step : shared;
  for (int i = int(blockIdx.x); i < n_items; i += int(gridDim.x)) {
    if (pr.active && !pr.active[items[i].net]) continue;
    hessian(pr, items[i], ggn != 0, out, offsets, memory);
    __syncthreads();
  }
}

// The lower triangles from the upper ones; one block a network.
template <class T>
EDT_KERNEL(256)
mirror_kernel(Problem<T> pr, T* out, const int64_t* offsets) {
  const int b = int(blockIdx.x);
  if (pr.active && !pr.active[b]) return;
  T* h = out + offsets[b];
  const int64_t size = pr.nets[b].n_coords;
  for (int64_t t = threadIdx.x; t < size * size; t += blockDim.x) {
    const int64_t row = t / size, column = t % size;
    if (column < row) h[t] = h[column * size + row];
  }
}

}  // namespace edt::cuda
