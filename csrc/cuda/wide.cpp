#include "cuda/wide.h"

#include <algorithm>
#include <cstring>

namespace edt::cuda {
namespace {

// Bytes of all rows together that the chunk of samples is sized for.
constexpr int64_t kRowBytes = int64_t(256) << 20;
constexpr int kLargestChunk = 8192;
// Rows start this many entries further apart than a power of two, on other cache sets.
constexpr int kRowPad = 32;
// Beside the order of samples in shared memory: draws, and what the driver keeps.
constexpr int64_t kOrderReserve = 8 * 1024;
// Blocks wanted on every multiprocessor.
constexpr int64_t kBlocksPerSm = 4;
// An item of a sparse gradient: work for eight warps.
constexpr int64_t kFewestEdges = 256;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

WideSchedule::WideSchedule(const DevicePlan& plan, const std::vector<int>& nets, bool is_double,
                           int n_samples, int sms, const WideOptions& options) {
  for (int b : nets) {
    WideNet w{};
    w.net = b;
    nets_.push_back(w);
  }
  if (empty()) return;
  lay_out(plan, is_double, n_samples, options);
  const int64_t batch = options.batch_size > 0 ? options.batch_size : n_samples;
  const int64_t at_once = std::min<int64_t>(batch, chunk_);
  int tile = 8;
  while (tile < kWideTile && tile < at_once) tile *= 2;
  wanted_ = int64_t(sms) * kBlocksPerSm;
  make_items(plan, is_double, tile, (at_once + tile - 1) / tile * group_);
}

// tile: samples of one; tiles: of the samples done at once, for all vectors.
void WideSchedule::make_items(const DevicePlan& plan, bool is_double, int tile, int64_t tiles) {
  const int depth = plan.nets()[nets_[0].net].n_layers;
  auto launch = [&](const auto& body) {
    WideRange range{int(items_.size()), 0, false};
    for (int w = 0; w < networks(); ++w) body(w, plan.nets()[nets_[w].net]);
    range.count = int(items_.size()) - range.first;
    return range;
  };
  auto dense = [&](int layer) {
    return std::any_of(nets_.begin(), nets_.end(), [&](const WideNet& w) {
      return plan.layers()[plan.nets()[w.net].first_layer + layer].dense != 0;
    });
  };
  // The tensor cores do four small results at half the rate of one of 64 x 128 (tensor.cuh), which
  // pays where fewer than half of the multiprocessors would have one.
  const int64_t large_wanted = wanted_ / kBlocksPerSm / 2;
  // Units of a layer an item takes: as many as leave enough blocks, but work for all threads.
  auto units = [&](int layer, bool inputs) {
    const bool tensor = is_double && dense(layer);
    const int rows_at_once = kWideThreads * (is_double ? 2 : 4) / tile;
    const int least = tensor ? 32 : std::max(8, (dense(layer) ? 4 : 1) * rows_at_once);
    const int64_t wanted = tensor && tile == kWideTile ? large_wanted : wanted_;
    int each = kWideUnits;
    auto blocks = [&] {
      int64_t sum = 0;
      for (const WideNet& w : nets_) {
        const LayerRecord& ly = plan.layers()[plan.nets()[w.net].first_layer + layer];
        sum += ((inputs ? ly.n_in : ly.n_out) + each - 1) / each;
      }
      return sum * tiles;
    };
    while (each / 2 >= least && blocks() < wanted) each /= 2;
    return each;
  };
  int64_t edges = 0;
  for (const WideNet& w : nets_)
    for (int l = 0; l < depth; ++l) edges += plan.layers()[plan.nets()[w.net].first_layer + l].nnz;
  const int each_edges =
      int(std::clamp<int64_t>(edges / wanted_ / 64 * 64, kFewestEdges, kWideEntries));
  auto cut = [&](int w, int layer, int whole, int each) {
    for (int at = 0; at < whole; at += each)
      items_.push_back({w, layer, at, std::min(each, whole - at), 0, 0});
  };
  inputs_ = launch([&](int w, const NetRecord& net) { cut(w, 0, net.d_in, kWideUnits); });
  for (int l = 0; l < depth; ++l) {
    auto layer = [&](const NetRecord& net) { return plan.layers()[net.first_layer + l]; };
    const int up = units(l, false), down = units(l, true);
    most_units_.push_back(0);
    for (const WideNet& w : nets_)
      most_units_[l] = std::max(most_units_[l], layer(plan.nets()[w.net]).n_out);
    forward_.push_back(
        launch([&](int w, const NetRecord& net) { cut(w, l, layer(net).n_out, up); }));
    backward_.push_back(launch([&](int w, const NetRecord& net) {
      if (l > 0) cut(w, l, layer(net).n_in, down);
    }));
    forward_[l].dense = backward_[l].dense = dense(l);
  }
  // Rectangles of the gradients of dense layers.
  auto rectangles = [&](int scale) {
    int64_t sum = 0;
    for (const WideNet& w : nets_)
      for (int l = 0; l < depth; ++l) {
        const LayerRecord& ly = plan.layers()[plan.nets()[w.net].first_layer + l];
        if (ly.dense)
          sum += ceil_div(ly.n_out, scale * kWideGradRows) *
                 ceil_div(ly.n_in, scale * kWideGradColumns);
      }
    return sum * group_;
  };
  const int scale = is_double && rectangles(2) >= large_wanted ? 2 : 1;
  const int height = scale * kWideGradRows, width = scale * kWideGradColumns;
  const int first = int(items_.size());
  gradient_ = launch([&](int w, const NetRecord& net) {
    const int begin = int(items_.size());
    nets_[w].top = begin - first;
    for (int l = 0; l < depth; ++l) {
      const LayerRecord& ly = plan.layers()[net.first_layer + l];
      if (ly.dense) {
        for (int j = 0; j < ly.n_out; j += height)
          for (int i = 0; i < ly.n_in; i += width)
            items_.push_back(
                {w, l, j, std::min(height, ly.n_out - j), i, std::min(width, ly.n_in - i)});
        continue;
      }
      // The biases come with the first edges, if there are any.
      for (int k = 0; k == 0 || k < ly.nnz; k += each_edges)
        items_.push_back({w, l, k, std::min(each_edges, ly.nnz - k), 0, 0});
    }
    nets_[w].tops = int(items_.size()) - begin;
  });
  const int before = int(items_.size());
  vectors_ = launch([&](int w, const NetRecord& net) {
    nets_[w].piece = int(items_.size()) - before;
    cut(w, 0, net.n_params, kWideEntries);
    nets_[w].pieces = int(items_.size()) - before - nets_[w].piece;
  });
  flat_ = launch([&](int w, const NetRecord& net) { cut(w, 0, net.n_flat, kWideEntries); });
}

void WideSchedule::lay_out(const DevicePlan& plan, bool is_double, int n_samples,
                           const WideOptions& options) {
  moments_ = options.moments;
  shared_order_ = int(std::clamp<int64_t>((options.shared_block - kOrderReserve) / 2, 0, 65536));
  const int64_t scalar = is_double ? 8 : 4;
  int64_t rows = 0, tangents = 0, d_in = 0;
  for (const WideNet& w : nets_) d_in = std::max<int64_t>(d_in, plan.nets()[w.net].d_in);
  gathers_ = options.batch_size > 0 || d_in * round_up(n_samples, kWideTile) > INT32_MAX;
  for (const WideNet& w : nets_) {
    const NetRecord& net = plan.nets()[w.net];
    rows += 2 * net.n_hidden + net.d_out + (gathers_ ? net.d_in : 0);
    columns_ = std::max(columns_, net.n_math);
    if (!options.curvature) continue;
    rows += 2 * net.n_hidden + net.d_out + 1;
    tangents += 2 * net.n_hidden + net.d_out + net.widest;
  }
  const int64_t all = round_up(n_samples, kWideTile);
  int64_t fits = std::min<int64_t>(kLargestChunk, all);
  if (options.curvature) {
    given_ = options.vectors;
    group_ = given_ > 0 ? std::min(given_, kWideGroup) : 2 * kWideGroup;
  }
  // Fewer samples first, then fewer vectors.
  while (fits * (rows + group_ * tangents) * scalar > kRowBytes && (fits > kWideTile || group_ > 1))
    if (fits > 8 * kWideTile || group_ == 1) fits = std::max<int64_t>(fits / 2, kWideTile);
    else if (group_ > 1) group_ = (group_ + 1) / 2;
  chunk_ = int(round_up(fits, kWideTile));
  ld_ = chunk_ + kRowPad;
  // Whole chunks, and the last one in tiles of 32 or more (or one tile).
  tiles_ = n_samples / kWideTile + chunk_ / 32 + 1;
  int64_t at = 0;
  auto take = [&](int64_t entries) {
    const int64_t here = at;
    at += round_up(entries, 64);
    return here;
  };
  for (WideNet& w : nets_) {
    const NetRecord& net = plan.nets()[w.net];
    w.p = take(net.n_params);
    w.m = take(options.training ? net.n_params : 0);
    w.v = take(options.moments ? net.n_params : int64_t(net.n_math) * (options.curvature * given_));
    w.g = take(int64_t(net.n_math) * given_);
    w.x = take(gathers_ ? int64_t(net.d_in) * ld_ : 0);
    w.a = take(int64_t(net.n_hidden) * ld_);
    w.d = take(int64_t(net.n_hidden) * ld_);
    w.f = take(int64_t(net.d_out) * ld_);
    if (!options.curvature) continue;
    w.e = take(int64_t(net.n_hidden) * ld_);
    w.c = take(int64_t(net.n_hidden) * ld_);
    w.prob = take(int64_t(net.d_out) * ld_);
    w.ones = take(ld_);
    w.r = take(int64_t(net.n_hidden) * group_ * ld_);
    w.rf = take(int64_t(net.d_out) * group_ * ld_);
    w.ra = take(int64_t(net.n_hidden) * group_ * ld_);
    w.s = take(int64_t(net.widest) * group_ * ld_);
  }
  numbers_ = at;
}

int WideSchedule::parts(int units) const {
  const int64_t most = columns_ / 64 + 1;  // a group of 8 columns for each of 8 warps
  return int(std::clamp<int64_t>(wanted_ / (int64_t(networks()) * units), 1, most));
}

int64_t WideSchedule::items_at() const {
  return round_up(int64_t(nets_.size() * sizeof(WideNet)), 64);
}

int64_t WideSchedule::block_bytes() const {
  return empty() ? 0 : items_at() + int64_t(items_.size() * sizeof(WideItem));
}

void WideSchedule::write(unsigned char* to) const {
  if (empty()) return;
  std::memcpy(to, nets_.data(), nets_.size() * sizeof(WideNet));
  std::memcpy(to + items_at(), items_.data(), items_.size() * sizeof(WideItem));
}

}  // namespace edt::cuda
