// Rows of exact Hessians: those of one unit's parameters, after the pass with its tangent (see
// curvature.cuh). sum_n a_i [Rd_q a_r + d_q Ra_r] for every parameter i of the unit and every later
// one (q, r): a product over the samples, whose right factor is made on the way.
//
// P: a pass. What the functions ask of it: n, ggn, samples(), ones(), tangent(l), below(l),
// delta(l), below_tangent(l).
#pragma once
#include "cuda/tangents.cuh"
#include "cuda/tensor.cuh"

namespace edt::cuda {

// What a column of the Hessian is made of, in one pass: sum_n a_i (rd a + d ra).
template <class T>
struct Column {
  const T *rd, *a, *d, *ra;  // ra null: without the second term
};

template <class T, class P>
EDT_DEVICE Column<T> column_of(const P& cu, int from, int k, bool valid) {
  const T* ones = cu.ones();
  if (!valid) return {ones, ones, ones, nullptr};
  const Net<T>& n = cu.n;
  int l = from;
  while (l < n.last() && k >= n.layers[l + 1].w) ++l;
  const LayerRecord& ly = n.layers[l];
  if (ly.bias >= 0 && k >= ly.bias) return {cu.tangent(l).at(k - ly.bias, 0), ones, ones, nullptr};
  const int e = k - ly.w, q = ly.dense ? e / ly.ld_w : n.ints[ly.row + e];
  const int r = ly.dense ? e % ly.ld_w : n.ints[ly.col + e];
  return {cu.tangent(l).at(q, 0), cu.below(l).at(r, 0), cu.delta(l).at(q, 0),
          l > from && !cu.ggn ? cu.below_tangent(l).at(r, 0) : nullptr};
}

// The parameters that enter unit j of layer l: its edges, then its bias.
struct UnitRows {
  int first, edges, count;  // first edge, as the layer counts them
  template <class T>
  EDT_DEVICE UnitRows(const Net<T>& n, const LayerRecord& ly, int j)
      : first(ly.dense ? j * ly.ld_w : n.ints[ly.row_ptr + j]),
        edges(ly.dense ? ly.n_in : n.ints[ly.row_ptr + j + 1] - first),
        count(edges + (ly.bias >= 0)) {}
  // Compressed index of a row.
  EDT_DEVICE int index(const LayerRecord& ly, int j, int e) const {
    return e == edges ? ly.bias + j : ly.w + first + e;
  }
  // What it is multiplied with.
  template <class T, class P>
  EDT_DEVICE const T* input(const P& cu, const LayerRecord& ly, int l, int e) const {
    if (e == edges) return cu.ones();
    return cu.below(l).at(ly.dense ? e : cu.n.ints[ly.col + first + e], 0);
  }
};

// Adds to the rows of unit j of layer l, on and right of the diagonal: groups of 8 columns `part`,
// `part` + `parts`, ... of them, a warp each, on the tensor cores.
template <class P>
EDT_DEVICE void add_unit(const P& cu, int l, int j, double* h, const int* coord, int part,
                         int parts) {
  constexpr int kTiles = 8;
  const Net<double>& n = cu.n;
  const LayerRecord& ly = n.layers[l];
  const int lane = int(threadIdx.x) % kWarp;
  const UnitRows rows(n, ly, j);
  // Columns before the first row lie left of the diagonal.
  const int start = ly.w + rows.first, groups = (n.net.n_math - start + 7) / 8;
  EDT_NO_UNROLL
  for (int r0 = 0; r0 < rows.count; r0 += 8 * kTiles) {
    const int tiles = smaller((rows.count - r0 + 7) / 8, kTiles);
    const double* a[kTiles];
    EDT_UNROLL
    for (int t = 0; t < kTiles; ++t)
      a[t] = rows.template input<double>(cu, ly, l, smaller(r0 + 8 * t + lane / 4, rows.count - 1));
    EDT_NO_UNROLL
    for (int g = part; g < groups; g += parts) {
      const int k = start + 8 * g + lane / 4;
      const Column<double> c = column_of<double>(cu, l, k, k < n.net.n_math && coord[k] >= 0);
      double acc[kTiles][2] = {};
      EDT_NO_UNROLL
      for (int first = 0; first < cu.samples(); first += 4) {
        const int s = first + lane % 4;
        double b = c.rd[s] * c.a[s];
        if (c.ra) b = fma(c.d[s], c.ra[s], b);
        converge();
        EDT_UNROLL
        for (int t = 0; t < kTiles; ++t)
          if (t < tiles) multiply_tile(acc[t], a[t][s], b);
      }
      EDT_UNROLL
      for (int t = 0; t < kTiles; ++t) {
        const int e = r0 + 8 * t + lane / 4;
        const int row = e < rows.count ? coord[rows.index(ly, j, e)] : -1;
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
}

// The same in float32, whose tensor cores would round: a warp takes 8 rows and 2 columns, its lanes
// packs of samples.
template <class P>
EDT_DEVICE void add_unit(const P& cu, int l, int j, float* h, const int* coord, int part,
                         int parts) {
  constexpr int E = 8, C = 2, K = kPack<float>;
  const Net<float>& n = cu.n;
  const LayerRecord& ly = n.layers[l];
  const int lane = int(threadIdx.x) % kWarp, packs = cu.samples() / K;
  const UnitRows rows(n, ly, j);
  const int start = ly.w + rows.first, groups = (n.net.n_math - start + C - 1) / C;
  EDT_NO_UNROLL
  for (int r0 = 0; r0 < rows.count; r0 += E) {
    // Places of the inputs, -1 for the bias: pointers would take twice the registers.
    const Rows<const float> below = cu.below(l);
    int a[E];
    EDT_UNROLL
    for (int q = 0; q < E; ++q) {
      const int e = smaller(r0 + q, rows.count - 1);
      a[q] = e == rows.edges ? -1 : (ly.dense ? e : n.ints[ly.col + rows.first + e]) * below.ld;
    }
    EDT_NO_UNROLL
    for (int g = part; g < groups; g += parts) {
      Column<float> c[C];
      EDT_UNROLL
      for (int i = 0; i < C; ++i) {
        const int k = start + C * g + i;
        c[i] = column_of<float>(cu, l, k, k < n.net.n_math && coord[k] >= 0);
      }
      float acc[C][E] = {};
      EDT_NO_UNROLL
      for (int v = lane; v < packs; v += kWarp) {
        Pack<float> b[C];
        EDT_UNROLL
        for (int i = 0; i < C; ++i) {
          const Pack<float> rd = load(c[i].rd + v * K), in = load(c[i].a + v * K);
          EDT_UNROLL
          for (int s = 0; s < K; ++s) b[i].v[s] = rd.v[s] * in.v[s];
          if (!c[i].ra) continue;
          const Pack<float> d = load(c[i].d + v * K), ra = load(c[i].ra + v * K);
          EDT_UNROLL
          for (int s = 0; s < K; ++s) b[i].v[s] = fma(d.v[s], ra.v[s], b[i].v[s]);
        }
        EDT_UNROLL
        for (int q = 0; q < E; ++q) {
          const Pack<float> in = a[q] < 0 ? splat(1.0f) : load(below.p + a[q] + v * K);
          EDT_UNROLL
          for (int i = 0; i < C; ++i) {
            EDT_UNROLL
            for (int s = 0; s < K; ++s) acc[i][q] = fma(b[i].v[s], in.v[s], acc[i][q]);
          }
        }
      }
      EDT_UNROLL
      for (int i = 0; i < C; ++i) {
        const float sum = eight_sums(acc[i]);
        const int e = r0 + eight_sums_entry(lane), at = start + C * g + i;
        if (lane >= E || e >= rows.count || at >= n.net.n_math) continue;
        const int row = coord[rows.index(ly, j, e)], column = coord[at];
        if (row >= 0 && column >= row) h[int64_t(row) * n.net.n_coords + column] += sum;
      }
    }
  }
}

}  // namespace edt::cuda
