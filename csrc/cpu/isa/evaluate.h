// Loss and gradient of one network, by as many threads as have nothing else to do.
//
// Many samples are summed in chunks (chunks.h). Within one chunk of many blocks, threads take
// blocks through the network, each in memory of its own, and then ranges of the gradient, each over
// the blocks in their order: two loops a step, and no bit of it differs from one thread's.
#pragma once
#include <numeric>
#include <vector>

#include "cpu/isa/passes.h"

namespace edt::EDT_ISA_NS {

template <class T>
int64_t room_of(const Samples<T>&, int64_t) {
  return 0;
}
template <class T>
Samples<T> block_of(const Samples<T>& all, int64_t first, int64_t count, T*) {
  return slice(all, first, count);
}

// Loss over the samples [first, end) and, added to zeros, its compressed gradient.
template <class T, class Source>
double evaluate_samples(Block<T>& b, const T* p, Loss kind, const Source& source, int64_t first,
                        int64_t end, T* g, Scratch& ws, Crew* crew = nullptr) {
  const Scratch::Hold hold{ws};
  T* store = ws.take<T>(room_of(source, b.ld));
  double loss = 0;
  for (; first < end; first += b.ld) {
    const Samples<T> in = block_of(source, first, std::min(b.ld, end - first), store);
    forward(b, p, in, crew);
    loss += loss_block<true>(kind, b.f, b.ld, in, b.net.d_out, b.delta[b.n_layers]);
    backward(b, p, in, g, crew);
  }
  return loss;
}

// A part of one layer's gradient that one thread forms for all blocks.
struct GradientPart {
  enum What { columns, rows, all };
  int layer;
  What what;
  Rows range;
};

template <class T, class Source>
class SharedBlocks {
 public:
  // Whether it is worth it: a free thread, more blocks than one, and enough work in each.
  static bool worth(const Block<T>& block, const Source& source, const Crew& crew) {
    if (block.narrow || source.n <= block.ld || !crew.idle()) return false;
    const int64_t count = (source.n + block.ld - 1) / block.ld;
    const int64_t entries = block.n_rows * block.ld + room_of(source, block.ld);
    return size_t(count * entries) * sizeof(T) <= kBytes &&
           double(block.net.n_params()) * double(source.n) >= kSharedBlocks;
  }

  SharedBlocks(const Block<T>& like, int act, const Source& source, Crew& crew)
      : net_(like.net), source_(source), ld_(like.ld), crew_(crew) {
    for (int64_t s = 0; s < source.n; s += ld_) {
      blocks_.emplace_back(net_, act, like.order, true, false, source.n, 0, crew.scratch);
      stores_.push_back(crew.scratch.take<T>(room_of(source, ld_)));
    }
    samples_.resize(blocks_.size());
    const int64_t tail = (source.n - 1) % ld_ + 1;
    for (int l = 0; l < int(net_.layers.size()); ++l) add_parts(l, tail);
  }

  double operator()(const T* p, Loss kind, T* g) {
    std::vector<double> losses(blocks_.size());
    crew_.share(int64_t(blocks_.size()), 0, [&](int64_t turn, int, Scratch&) {
      const size_t k = size_t(turn);
      const int64_t first = turn * ld_;
      Block<T>& b = blocks_[k];
      const Samples<T> in = block_of(source_, first, std::min(ld_, source_.n - first), stores_[k]);
      forward(b, p, in);
      losses[k] = loss_block<true>(kind, b.f, b.ld, in, net_.d_out, b.delta[b.n_layers]);
      for (int l = b.n_layers - 1; l > 0; --l) delta_below(b, l, p, in, nullptr);
      samples_[k] = in;
    });
    crew_.share(int64_t(parts_.size()), 0, [&](int64_t k, int, Scratch&) {
      for (size_t i = 0; i < blocks_.size(); ++i) add(parts_[size_t(k)], i, g);
    });
    return std::accumulate(losses.begin(), losses.end(), 0.0);
  }

 private:
  static constexpr size_t kBytes = size_t(64) << 20;

  void add_parts(int l, int64_t tail) {
    const Layer& ly = net_.layers[l];
    const double work = double(ly.nnz()) * double(source_.n);
    const int outer = outer_columns_of<T>(ly, ld_);
    // A last block of another form meets the others' entries: one thread takes them all.
    if (outer != outer_columns_of<T>(ly, tail))
      return parts_.push_back({l, GradientPart::all, {0, ly.n_out}});
    if (outer) cut(l, GradientPart::columns, outer, kOuterVecs * Vec<T>::L, work);
    // What outer products leave is little.
    cut(l, GradientPart::rows, ly.n_out, kGradientRows, outer ? 0 : work);
  }

  void cut(int l, GradientPart::What what, int rows, int tile, double work) {
    const int tiles = (rows + tile - 1) / tile;
    const int count = std::max(crew_.parts(work, tiles, kSharedWork), 1);
    for (int k = 0; k < count; ++k) parts_.push_back({l, what, tile_range(rows, tile, k, count)});
  }

  void add(const GradientPart& part, size_t k, T* g) const {
    const Block<T>& b = blocks_[k];
    const Samples<T>& in = samples_[k];
    const int l = part.layer;
    if (part.what == GradientPart::all) return gradient_of_layer(b, l, in, g, nullptr);
    const Layer& ly = net_.layers[l];
    const LayerInput<T> a = layer_input(b, l, in);
    const T* dz = b.delta[l + 1];
    if (part.what == GradientPart::columns)
      return outer_gradient(ly, part.range, dz, b.ld, a.x, a.ld, in.n, g);
    const int outer = outer_columns_of<T>(ly, in.n);
    gradient_of_rows(ly, part.range, outer, dz, b.ld, a.x, a.ld, in.n, g, true);
  }

  const Net& net_;
  const Source& source_;
  const int64_t ld_;
  Crew& crew_;
  std::vector<Block<T>> blocks_;
  std::vector<T*> stores_;
  std::vector<Samples<T>> samples_;  // of each block
  std::vector<GradientPart> parts_;
};

// The sum over chunks, each in a block of its own.
template <class T, class Source>
double evaluate_chunks(const Net& net, const Chunks& chunks, int act, const T* p, Loss kind,
                       const Source& source, T* g, Crew& crew) {
  const Scratch::Hold hold{crew.scratch};
  double* losses = crew.scratch.take<double>(size_t(chunks.count));
  const int n = padded<T>(net.n_params());
  sum_parts(chunks, g, n, crew, [&](int64_t k, T* to, Scratch& ws) {
    const int64_t first = chunks.begin(k), size = chunks.size(k);
    Block<T> b(net, act, 1, true, false, size, 0, ws);
    losses[k] = evaluate_samples(b, p, kind, source, first, first + size, to, ws);
  });
  return std::accumulate(losses, losses + chunks.count, 0.0);
}

// Whether blocks may be summed as chunks are: each adds but once to an entry of the gradient, so
// that sums of blocks are the same bits, and the sums stay in the second-level cache.
template <class T>
bool sums_of_blocks(const Block<T>& block) {
  constexpr size_t kBytes = size_t(256) << 10;
  return block.ld <= kPanelSamples && size_t(block.net.n_params()) * sizeof(T) <= kBytes;
}

// Loss and compressed gradient over all samples. The block serves where they are one chunk.
template <class T, class Source>
double evaluate(Block<T>& block, int act, const T* p, Loss kind, const Source& source, T* g,
                Crew& crew) {
  const Net& net = block.net;
  Chunks chunks(net, source.n);
  if (chunks.count == 1) {
    const bool share = SharedBlocks<T, Source>::worth(block, source, crew);
    if (share && sums_of_blocks(block)) {
      chunks.cut(block.ld);
    } else {
      std::fill(g, g + padded<T>(net.n_params()), T(0));
      if (!share)
        return evaluate_samples(block, p, kind, source, 0, source.n, g, crew.scratch, &crew);
      const Scratch::Hold hold{crew.scratch};
      return SharedBlocks<T, Source>(block, act, source, crew)(p, kind, g);
    }
  }
  return evaluate_chunks(net, chunks, act, p, kind, source, g, crew);
}

}  // namespace edt::EDT_ISA_NS
