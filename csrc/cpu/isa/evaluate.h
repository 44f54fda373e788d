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

// A part of one layer's gradient that one thread forms for all blocks.
struct GradientPart {
  enum What { columns, rows, all };
  int layer;
  What what;
  Rows range;
};

template <class T>
class SharedBlocks {
 public:
  // Whether it is worth it: a free thread, more blocks than one, and enough work in each.
  static bool worth(const Block<T>& block, const Samples<T>& all, const Crew& crew) {
    if (block.narrow || all.n <= block.ld || !crew.idle()) return false;
    const int64_t count = (all.n + block.ld - 1) / block.ld;
    return size_t(count * block.ld) * size_t(block.n_rows) * sizeof(T) <= kBytes &&
           double(block.net.n_params()) * double(all.n) >= 4 * kSharedWork;
  }

  SharedBlocks(const Block<T>& like, int act, const Samples<T>& all, Crew& crew)
      : net_(like.net), all_(all), ld_(like.ld), crew_(crew) {
    for (int64_t s = 0; s < all.n; s += ld_)
      blocks_.emplace_back(net_, act, like.order, true, false, all.n, 0, crew.scratch);
    const int64_t tail = samples(int64_t(blocks_.size()) - 1).n;
    for (int l = 0; l < int(net_.layers.size()); ++l) add_parts(l, tail);
  }

  double operator()(const T* p, Loss kind, T* g) {
    std::vector<double> losses(blocks_.size());
    crew_.share(int64_t(blocks_.size()), 0, [&](int64_t k, int, Scratch&) {
      Block<T>& b = blocks_[size_t(k)];
      const Samples<T> in = samples(k);
      forward(b, p, in);
      losses[size_t(k)] = loss_block<true>(kind, b.f, b.ld, in, net_.d_out, b.delta[b.n_layers]);
      for (int l = b.n_layers - 1; l > 0; --l) delta_below(b, l, p, in, nullptr);
    });
    crew_.share(int64_t(parts_.size()), 0, [&](int64_t k, int, Scratch&) {
      for (int64_t i = 0; i < int64_t(blocks_.size()); ++i) add(parts_[size_t(k)], i, g);
    });
    return std::accumulate(losses.begin(), losses.end(), 0.0);
  }

 private:
  static constexpr size_t kBytes = size_t(64) << 20;

  Samples<T> samples(int64_t k) const { return slice(all_, k * ld_, ld_); }

  void add_parts(int l, int64_t tail) {
    const Layer& ly = net_.layers[l];
    const double work = double(ly.nnz()) * double(all_.n);
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
    const int count = std::max(crew_.parts(work, tiles), 1);
    for (int k = 0; k < count; ++k) {
      const auto at = [&](int64_t part) {
        return int(std::min<int64_t>(rows, tiles * part / count * tile));
      };
      parts_.push_back({l, what, {at(k), at(k + 1)}});
    }
  }

  void add(const GradientPart& part, int64_t k, T* g) const {
    const Block<T>& b = blocks_[size_t(k)];
    const Samples<T> in = samples(k);
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
  const Samples<T> all_;
  const int64_t ld_;
  Crew& crew_;
  std::vector<Block<T>> blocks_;
  std::vector<GradientPart> parts_;
};

// Loss and compressed gradient over `all` samples. The block serves where they are one chunk.
template <class T>
double evaluate(Block<T>& block, int act, const T* p, Loss kind, const Samples<T>& all, T* g,
                Crew& crew) {
  const Net& net = block.net;
  const int n = padded<T>(net.n_params());
  const Chunks chunks(net, all.n);
  if (chunks.count == 1) {
    std::fill(g, g + n, T(0));
    if (!SharedBlocks<T>::worth(block, all, crew))
      return evaluate_samples(block, p, kind, all, g, &crew);
    const Scratch::Hold hold{crew.scratch};
    return SharedBlocks<T>(block, act, all, crew)(p, kind, g);
  }
  const Scratch::Hold hold{crew.scratch};
  double* losses = crew.scratch.take<double>(size_t(chunks.count));
  sum_chunks(net, all, g, n, crew, [&](int64_t first, const Samples<T>& in, T* to, Scratch& ws) {
    Block<T> b(net, act, 1, true, false, in.n, 0, ws);
    losses[first / chunks.length] = evaluate_samples(b, p, kind, in, to);
  });
  return std::accumulate(losses, losses + chunks.count, 0.0);
}

}  // namespace edt::EDT_ISA_NS
