// Jacobian of the outputs of one network over its coordinates: a forward pass, and for every output
// o one backward pass from e_o. With D_l = df_o / dz_l, the column of weight (j, i) of layer l is
// D_l[j] a_{l-1}[i], that of a bias D_l[j].
#pragma once
#include "cpu/isa/passes.h"

namespace edt::EDT_ISA_NS {

// One column, for the samples of a block: entry (n, o) at out[n * d_out + o].
template <class Product, class T>
EDT_INLINE void jacobian_column(const Product& product, int64_t count, int d_out, T* out) {
  using V = Vec<T>;
  int64_t s = 0;
  if (d_out == 1)
    for (; s + V::L <= count; s += V::L) product(s).storeu(out + s);
  alignas(64) T lanes[V::L];
  for (; s < count; s += V::L) {
    product(s).store(lanes);
    const int64_t m = std::min<int64_t>(V::L, count - s);
    for (int64_t k = 0; k < m; ++k) out[(s + k) * d_out] = lanes[k];
  }
}

// Whether some coordinates belong to units that no output hears: the layers do not list them.
inline bool unheard(const Net& net) {
  int heard = 0;
  for (const Layer& ly : net.layers) {
    for (int b : ly.bias) heard += b >= 0 && net.coord[b] >= 0;
    for (int j = 0; j < ly.n_out; ++j)
      for (int k = ly.row_ptr[j]; k < ly.row_ptr[j + 1]; ++k)
        heard += net.coord[ly.row_start[j] + k - ly.row_ptr[j]] >= 0;
  }
  return heard < net.n_coords;
}

// Rows of ld samples that `jacobian_of_output` works in beside the block.
inline int jacobian_rows(const Net& net) {
  int widest = net.d_out;
  for (const Layer& ly : net.layers) widest = std::max({widest, ly.n_out, ly.n_in});
  return 2 * widest;
}

// column(c, product) for coordinates c that output o of the block depends on, after a forward pass;
// product(s) are the derivatives for the vector of samples at s, times the root. `room` holds
// `jacobian_rows` rows.
template <class T, class Column>
EDT_INLINE void jacobian_of_output(const Block<T>& b, const T* p, const Samples<T>& in, int o,
                                   const T* root, T* room, const Column& column) {
  using V = Vec<T>;
  const Net& net = b.net;
  const int64_t ld = b.ld;
  T *cur = room, *next = room + jacobian_rows(net) / 2 * ld;
  std::fill(cur, cur + net.d_out * ld, T(0));
  std::copy(root, root + in.n, cur + o * ld);
  for (int l = b.n_layers - 1; l >= 0; --l) {
    const Layer& ly = net.layers[l];
    const bool top = l == b.n_layers - 1;
    const T* x = l ? b.a[l] : in.x;
    const int64_t ldx = l ? ld : in.ldx;
    for (int j = top ? o : 0; j < (top ? o + 1 : ly.n_out); ++j) {
      const T* d = cur + j * ld;
      const int bias = ly.bias[j] < 0 ? -1 : net.coord[ly.bias[j]];
      if (bias >= 0) column(bias, [d](int64_t s) { return V::load(d + s); });
      for (int k = ly.row_ptr[j]; k < ly.row_ptr[j + 1]; ++k) {
        const int c = net.coord[ly.row_start[j] + k - ly.row_ptr[j]];
        const T* xi = x + ly.col[k] * ldx;
        if (c >= 0) column(c, [d, xi](int64_t s) { return V::load(d + s) * V::load(xi + s); });
      }
    }
    if (l == 0) break;
    affine_backward(ly, p, cur, ld, next, in.n);
    multiply_rows(next, b.d1[l], next, ly.n_in, ld, in.n);
    std::swap(cur, next);
  }
}

// out: [n_coords, N * d_out], row n * d_out + o of the Jacobian contiguous in a coordinate's row.
// The rows of samples are multiplied by the root of their coefficient if `weighted`: the Jacobian
// of the residuals of squared error.
template <class T>
void jacobian(const Net& net, const Problem<T>& pr, const T* theta, T* out, bool weighted,
              Crew& crew) {
  using V = Vec<T>;
  crew.scratch.reset();
  const T* p = compress(net, theta, crew.scratch);
  const int d_out = net.d_out;
  const int64_t rows = pr.data->n * d_out;
  // Coordinates of units that no output hears, and weights of other outputs, are written by nobody.
  if (d_out > 1 || unheard(net)) std::fill(out, out + net.n_coords * rows, T(0));
  const int room = jacobian_rows(net);
  for_chunks(net, samples_of(pr), crew, [&](int64_t first, const Samples<T>& chunk, Scratch& ws) {
    Block<T> b(net, pr.act, 1, false, false, chunk.n, room + 1, ws);
    const int64_t ld = b.ld;
    T *root = ws.take<T>(ld), *slopes = ws.take<T>(size_t(room) * ld);
    for_blocks(chunk, ld, [&](const Samples<T>& in, int64_t at) {
      const int64_t s0 = first + at, count = std::min(in.n, pr.data->n - s0);
      forward(b, p, in);
      for (int64_t s = 0; s < in.n; s += V::L)
        (weighted ? sqrt(V::load(in.coef + s)) : V::set1(T(1))).store(root + s);
      for (int o = 0; o < d_out; ++o)
        jacobian_of_output(b, p, in, o, root, slopes, [&](int c, const auto& product) {
          jacobian_column(product, count, d_out, out + c * rows + s0 * d_out + o);
        });
    });
  });
}

}  // namespace edt::EDT_ISA_NS
