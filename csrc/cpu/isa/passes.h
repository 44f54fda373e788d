// Forward and backward passes of one network over one block, and sums over blocks.
#pragma once
#include "cpu/isa/affine.h"
#include "cpu/isa/losses.h"
#include "cpu/isa/narrow.h"
#include "cpu/isa/vectors.h"

namespace edt::EDT_ISA_NS {

// Range k of `parts` about equal ones of rows, of whole tiles each.
inline Rows tile_range(int rows, int tile, int64_t k, int parts) {
  const int tiles = (rows + tile - 1) / tile;
  const auto at = [&](int64_t part) {
    return int(std::min<int64_t>(rows, tiles * part / parts * tile));
  };
  return {at(k), at(k + 1)};
}

// Ranges of a layer's rows, of whole tiles each, that threads without work may share: body(rows).
// One range where nobody is free, or the layer has too little work.
template <class Body>
EDT_INLINE void share_rows(Crew* crew, int rows, int tile, double work, const Body& body) {
  const int tiles = (rows + tile - 1) / tile;
  const int parts = crew && crew->idle() ? crew->parts(work, tiles, kSharedRows) : 1;
  if (parts <= 1) return body(Rows{0, rows});
  crew->share(parts, 0, [&](int64_t k, int, Scratch&) { body(tile_range(rows, tile, k, parts)); });
}

// With a crew, wide layers are shared by rows.
template <class T>
void forward(Block<T>& b, const T* p, const Samples<T>& in, Crew* crew = nullptr) {
  if (b.narrow) return narrow_forward(b, p, in);
  const T* x = in.x;
  int64_t ldx = in.ldx;
  for (int l = 0; l < b.n_layers; ++l) {
    const Layer& ly = b.net.layers[l];
    const bool last = l + 1 == b.n_layers;
    T* z = last ? b.f : b.a[l + 1];
    share_rows(crew, ly.n_out, kTileRows, double(ly.nnz()) * double(in.n), [&](Rows rows) {
      affine_forward(ly, rows, p, x, ldx, z, b.ld, in.n);
      for (int j = rows.from; !last && j < rows.to; ++j) {
        const int64_t at = j * b.ld;
        T* out[4] = {z + at, b.order >= 1 ? b.d1[l + 1] + at : nullptr,
                     b.order >= 2 ? b.d2[l + 1] + at : nullptr, nullptr};
        b.act(z + at, out, in.n);
      }
    });
    x = z;
    ldx = b.ld;
  }
}

constexpr int kGradientRows = 4;  // rows of a gradient that one tile forms

// What a layer of a block takes in; rows are ld apart.
template <class T>
struct LayerInput {
  const T* x;
  int64_t ld;
};
template <class T>
LayerInput<T> layer_input(const Block<T>& b, int l, const Samples<T>& in) {
  return l == 0 ? LayerInput<T>{in.x, in.ldx} : LayerInput<T>{b.a[l], b.ld};
}

// dst = a * b over n entries of each row.
template <class T>
EDT_INLINE void multiply_rows(const T* a, const T* b, T* dst, int rows, int64_t ld, int64_t n) {
  using V = Vec<T>;
  for (int r = 0; r < rows; ++r)
    for (int64_t s = 0; s < n; s += V::L)
      (V::load(a + r * ld + s) * V::load(b + r * ld + s)).store(dst + r * ld + s);
}

// The gradient of layer l. With a crew, wide layers are shared by rows.
template <class T>
void gradient_of_layer(const Block<T>& b, int l, const Samples<T>& in, T* g, Crew* crew) {
  const Layer& ly = b.net.layers[l];
  const LayerInput<T> a = layer_input(b, l, in);
  const double work = double(ly.nnz()) * double(in.n);
  const int outer = outer_columns_of<T>(ly, in.n);
  if (outer)
    share_rows(crew, outer, kOuterVecs * Vec<T>::L, work, [&](Rows columns) {
      outer_gradient(ly, columns, b.delta[l + 1], b.ld, a.x, a.ld, in.n, g);
    });
  // What outer products leave is little.
  share_rows(outer ? nullptr : crew, ly.n_out, kGradientRows, work, [&](Rows rows) {
    gradient_of_rows(ly, rows, outer, b.delta[l + 1], b.ld, a.x, a.ld, in.n, g, true);
  });
}

// delta (and da = dL/da when kept) at the inputs of layer l > 0. With a crew, as above.
template <class T>
void delta_below(Block<T>& b, int l, const T* p, const Samples<T>& in, Crew* crew) {
  const Layer& ly = b.net.layers[l];
  T* da = b.da[l] ? b.da[l] : b.delta[l];
  share_rows(crew, ly.n_in, kTileRows, double(ly.nnz()) * double(in.n), [&](Rows rows) {
    affine_backward(ly, rows, p, b.delta[l + 1], b.ld, da, in.n);
    const int64_t at = rows.from * b.ld;
    multiply_rows(da + at, b.d1[l] + at, b.delta[l] + at, rows.to - rows.from, b.ld, in.n);
  });
}

// From delta at the outputs: delta of every layer (and da = dL/da when kept), g += gradient. With a
// crew, wide layers are shared by rows.
template <class T>
void backward(Block<T>& b, const T* p, const Samples<T>& in, T* g, Crew* crew = nullptr) {
  if (b.narrow) return narrow_backward(b, p, in, g);
  for (int l = b.n_layers - 1; l >= 0; --l) {
    if (g) gradient_of_layer(b, l, in, g, crew);
    if (l > 0) delta_below(b, l, p, in, crew);
  }
}

template <class T>
Samples<T> samples_of(const Problem<T>& pr) {
  const auto& d = *pr.data;
  return {d.x + pr.task * d.d_in * d.ld, d.y + pr.task * d.d_out * d.ld, d.coef + pr.task * d.ld,
          d.ld, d.n_pad};
}

// body(in, s) for one block of the samples after the other; s is where it starts.
template <class T, class Body>
EDT_INLINE void for_blocks(const Samples<T>& all, int64_t ld, const Body& body) {
  for (int64_t s = 0; s < all.n; s += ld) body(slice(all, s, ld), s);
}

// body(first, in, scratch) for every chunk of the samples; `first` is where it starts.
template <class T, class Body>
void for_chunks(const Net& net, const Samples<T>& all, Crew& crew, const Body& body) {
  const Chunks chunks(net, all.n);
  if (chunks.count == 1) return body(int64_t(0), all, crew.scratch);
  crew.share(chunks.count, 0, [&](int64_t k, int, Scratch& ws) {
    body(chunks.begin(k), slice(all, chunks.begin(k), chunks.length), ws);
  });
}

// Sums of `size` entries over chunks of samples: part(k, to, scratch) adds those of chunk k to
// zeros. A single chunk goes straight into `sums`.
template <class T, class Part>
void sum_parts(const Chunks& chunks, T* sums, int64_t size, Crew& crew, const Part& part) {
  std::fill(sums, sums + size, T(0));
  if (chunks.count == 1) return part(int64_t(0), sums, crew.scratch);
  const Scratch::Hold hold{crew.scratch};
  const int64_t ld = (size + Vec<T>::L - 1) / Vec<T>::L * Vec<T>::L;
  const int slots = crew.slots(size_t(ld) * sizeof(T));
  T* partial = crew.scratch.take<T>(size_t(slots) * ld);
  crew.share(
      chunks.count, slots,
      [&](int64_t k, int slot, Scratch& ws) {
        T* to = partial + slot * ld;
        std::fill(to, to + size, T(0));
        part(k, to, ws);
      },
      [&](int64_t, int slot) {
        const T* from = partial + slot * ld;
        for (int64_t i = 0; i < size; ++i) sums[i] += from[i];
      });
}

// The same with the samples of the chunk: part(first, in, to, scratch).
template <class T, class Part>
void sum_chunks(const Net& net, const Samples<T>& all, T* sums, int64_t size, Crew& crew,
                const Part& part) {
  const Chunks chunks(net, all.n);
  sum_parts(chunks, sums, size, crew, [&](int64_t k, T* to, Scratch& ws) {
    part(chunks.begin(k), slice(all, chunks.begin(k), chunks.length), to, ws);
  });
}

}  // namespace edt::EDT_ISA_NS
