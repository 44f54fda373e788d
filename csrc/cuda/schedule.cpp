#include "cuda/schedule.h"

#include <algorithm>
#include <cstring>

namespace edt::cuda {
namespace {

// Shares of an SM's shared memory a block may take, and its threads: small blocks leave room for
// others, whose barriers then do not stop the SM. The registers of the kernels (at most 168 a
// thread) allow 384 threads on an SM either way. Networks with layers in squares (squares.cuh) want
// tiles that give every thread one of 32 or 64 units, and twice the registers.
struct Level {
  int share, threads;
  bool squares;
};
constexpr Level kLevels[] = {
    {2, 128, true}, {1, kSquareThreads, true}, {3, 128, false}, {1, kMaxThreads, false}};
constexpr int kLevelCount = 4, kSmallBlocks = 2;  // the level of small blocks for any network
constexpr int kNoLevel = kLevelCount;             // no block can hold it
constexpr int kLargestTile = 1024, kSmallestTile = 8;
// What the driver keeps of each block's shared memory, and the pieces it is given in.
constexpr int64_t kSystemShared = 1024, kSharedUnit = 128;
// Blocks wanted on every multiprocessor.
constexpr int kBlocksPerSm = 4;
// Flat entries one block of the merging kernel adds up.
constexpr int kMergeEntries = 4096;
// Fewer samples than this are not worth launches of their own every step.
constexpr int kSplitSamples = 8192;
// Where multiprocessors would stay idle, tiles smaller than this are not worth a block of their
// own.
constexpr int kShortTile = 32;

// Networks in registers whose samples are summed in two halves, for bits that do not depend on how
// many blocks a network has: so many lanes of a warp or more, samples in steps of all. With fewer
// lanes a second sum over lanes costs more than what it may save.
constexpr int kHalvesLanes = 16, kHalvesSamples = 256;

int power_of_two(int64_t n) {
  int p = 1;
  while (p < n) p *= 2;
  return p;
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

Schedule::Schedule(const DevicePlan& plan, Job job, bool is_double, int n_samples,
                   const Limits& limits, const ScheduleOptions& options)
    : is_double_(is_double),
      n_(n_samples),
      plan_nets_(int64_t(plan.nets().size())),
      limits_(limits) {
  const int B = int(plan_nets_);
  auto shape_all = [&](Job j) {
    shapes_.clear();
    for (int b = 0; b < B; ++b) {
      shapes_.push_back(shape(plan, b, j, options.moments));
      Shape& s = shapes_.back();
      s.halves = s.lanes >= kHalvesLanes && n_ >= kHalvesSamples && options.batch_size == 0;
    }
  };
  shape_all(job);
  std::vector<int> wide;
  for (int b = 0; b < B; ++b) {
    Shape& s = shapes_[b];
    s.wide = s.level == kNoLevel || (B < limits_.sms && s.tile < std::min(kShortTile, n_));
    if (s.wide) wide.push_back(b);
  }
  std::stable_sort(wide.begin(), wide.end(),
                   [&](int a, int b) { return plan.costs()[a] > plan.costs()[b]; });
  wide_ =
      WideSchedule(plan, wide, is_double_, n_, limits_.sms,
                   {job == Job::train, options.moments, options.batch_size, limits_.shared_block,
                    job == Job::curvature, job == Job::curvature ? options.vectors : 1});
  const int narrow = B - wide_.networks();
  if (job == Job::train && options.batch_size == 0 && narrow > 0) {
    split_training_ = B < limits_.sms && n_ >= kSplitSamples;
    if (split_training_) {
      shape_all(job = Job::gradient);
      for (int b : wide) shapes_[b].wide = true;
    }
  }
  if (job == Job::train) pair_blocks(plan);
  make_items(plan, job, options);
  make_launches(plan);
  lay_out(plan, options);
}

Schedule::Shape Schedule::shape(const DevicePlan& plan, int b, Job job, bool moments) const {
  const NetRecord& net = plan.nets()[b];
  const LayerRecord* layers = plan.layers().data() + net.first_layer;
  int lanes = job != Job::train ? 0
              : is_double_      ? shallow_lanes<double>(net, layers)
                                : shallow_lanes<float>(net, layers);
  int pieces = 1, widest = 1;
  bool squares = false;
  for (int l = 0; l < net.n_layers; ++l) {
    const LayerRecord& ly = layers[l];
    pieces =
        std::max(pieces, ly.dense ? int(ceil_div(ly.n_out, 4) * ceil_div(ly.n_in, 4)) : ly.nnz);
    widest = std::max(widest, ly.n_out);
    squares |= !is_double_ && job == Job::train && ly.dense && in_squares(ly);
  }
  auto room = [&](int level) {
    const int64_t share = limits_.shared_sm / kLevels[level].share / kSharedUnit * kSharedUnit;
    return std::min(limits_.shared_block, share - kSystemShared);
  };
  auto bytes = [&](int tile, int groups, bool twice, bool keep) {
    return is_double_ ? arena_bytes<double>(job, net, tile, groups, twice, keep, lanes > 0)
                      : arena_bytes<float>(job, net, tile, groups, twice, keep, lanes > 0);
  };
  if (lanes > 0) {
    // A tile has a pack of samples for every lane of a warp, or repeats its last.
    static_assert(kLevels[kSmallBlocks].threads == kShallowWarps * kWarp);
    const int least = kWarp * 16 / (is_double_ ? 8 : 4), groups = kShallowWarps;
    for (int tile = std::clamp(power_of_two(n_), least, kLargestTile); tile >= least; tile /= 2)
      if (const int64_t size = bytes(tile, groups, false, moments); size <= room(kSmallBlocks))
        return {kSmallBlocks, tile, groups, lanes, false, moments, size, false};
    lanes = 0;
  }
  const int all = std::max(kSmallestTile, power_of_two(n_));
  const int most = std::min(all, kLargestTile);
  // Enough pieces of rows by samples for all threads, if there are so many samples.
  const int enough = std::min(all, std::clamp(power_of_two(2048 / widest), 32, 512));
  for (int level = 0; level < kLevelCount; ++level) {
    const auto& [share, threads, for_squares] = kLevels[level];
    if (for_squares) {
      if (!squares || all < kSquareTile) continue;
      // Samples that are more than a tile are brought every step in any case.
      const bool again = kSquareTile < n_ && fit_twice(net, layers);
      for (int keep = moments; keep >= (share == 1 ? 0 : int(moments)); --keep)
        for (int twice = 0; twice <= int(again); ++twice)
          if (const int64_t size = bytes(kSquareTile, 1, twice, keep); size <= room(level))
            return {level, kSquareTile, 1, 0, twice != 0, keep != 0, size, false};
      continue;
    }
    int groups = 1;
    if (job == Job::gradient || job == Job::train)
      while (groups < 4 && pieces * 8 * groups <= threads) groups *= 2;
    const bool last = level + 1 == kLevelCount;
    for (int keep = moments; keep >= (last ? 0 : int(moments)); --keep)
      for (int tile = most; tile >= (last ? kSmallestTile : enough); tile /= 2)
        if (const int64_t size = bytes(tile, groups, false, keep); size <= room(level))
          return {level, tile, groups, 0, false, keep != 0, size, false};
  }
  return {kNoLevel, 0, 0, 0, false, moments, 0, false};
}

// Two blocks for networks that would take longer than all others together, shared out evenly.
void Schedule::pair_blocks(const DevicePlan& plan) {
  if (!limits_.clusters) return;
  double all = 0;
  for (int64_t b = 0; b < plan_nets_; ++b) all += plan.costs()[size_t(b)];
  // Beside what one block holds: the sum of both gradients (shallow_sums.cuh), and moments in any
  // case.
  const auto bytes = [&](int64_t b) {
    const Shape& s = shapes_[size_t(b)];
    const NetRecord& net = plan.nets()[size_t(b)];
    return s.bytes +
           int64_t(net.n_math + (s.moments ? 0 : 2 * net.n_params)) * (is_double_ ? 8 : 4);
  };
  for (int64_t b = 0; b < plan_nets_; ++b)
    if (shapes_[size_t(b)].lanes > 0 && bytes(b) > limits_.shared_block) return;
  for (int64_t b = 0; b < plan_nets_; ++b) {
    Shape& s = shapes_[size_t(b)];
    s.pair = s.halves && !s.wide && plan.costs()[size_t(b)] * limits_.sms > all;
    pairs_ |= s.pair;
  }
  for (int64_t b = 0; b < plan_nets_ && pairs_; ++b)
    if (shapes_[size_t(b)].lanes > 0) shapes_[size_t(b)].bytes = bytes(b);
}

Training Schedule::Shape::kind(bool pairs) const {
  return lanes > 0                                    ? pairs ? Training::pairs : Training::shallow
         : level < kNoLevel && kLevels[level].squares ? Training::squares
                                                      : Training::general;
}

void Schedule::make_items(const DevicePlan& plan, Job job, const ScheduleOptions& options) {
  const int64_t B = std::max<int64_t>(plan_nets_ - wide_.networks(), 1);
  const bool hessian = job == Job::curvature && options.vectors == 0;
  const int64_t vectors = job == Job::curvature && !hessian ? options.vectors : 1;
  const int64_t wanted = int64_t(limits_.sms) * kBlocksPerSm;
  int64_t units = 0;
  for (const NetRecord& net : plan.nets()) units += net.n_hidden + net.d_out;
  std::vector<int> order;
  for (int b = 0; b < plan_nets_; ++b)
    if (!shapes_[b].wide) order.push_back(b);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return plan.costs()[a] > plan.costs()[b]; });
  for (int b : order) {
    const NetRecord& net = plan.nets()[b];
    const Shape& sh = shapes_[b];
    Item item{};
    item.net = b;
    item.tile = sh.tile;
    item.groups = sh.groups;
    item.splits = 1;
    item.count = n_;
    if (job == Job::train) {
      item.extra = (sh.moments ? kMoments : 0) + (sh.twice ? kInputsTwice : 0) +
                   (sh.halves ? kTwoHalves : 0);
      item.extra_count = sh.lanes;
      item.partial = orders_;
      if (options.batch_size > 0) orders_ += 2 * int64_t(n_);
      item.splits = sh.pair ? 2 : 1;
      for (item.split = 0; item.split < item.splits; ++item.split) items_.push_back(item);
      continue;
    }
    if (hessian) {
      const int own = net.n_hidden + net.d_out;
      const int each = int(std::clamp<int64_t>(units / (4 * wanted), 1, own));
      for (int u = 0; u < own; u += each) {
        item.extra = u;
        item.extra_count = std::min(each, own - u);
        items_.push_back(item);
      }
      continue;
    }
    const int64_t most = ceil_div(n_, sh.tile);
    const int64_t splits = std::clamp<int64_t>(wanted / (B * vectors), 1, most);
    const int64_t each = ceil_div(most, splits) * sh.tile;
    item.splits = int(ceil_div(n_, each));
    for (int v = 0; v < vectors; ++v) {
      item.extra = v;
      if (item.splits > 1 && job != Job::forward)
        for (int f = 0; f < net.n_flat; f += kMergeEntries)
          merges_.push_back({b, item.splits, f, std::min(kMergeEntries, net.n_flat - f),
                             int(items_.size()), v, partial_, int64_t(net.n_math)});
      else if (item.splits > 1)
        merges_.push_back({b, item.splits, 0, 0, int(items_.size()), v, 0, 0});
      for (int s = 0; s < item.splits; ++s) {
        item.split = s;
        item.first = int(s * each);
        item.count = int(std::min<int64_t>(each, n_ - s * each));
        item.partial = partial_;
        if (item.splits > 1 && job != Job::forward) partial_ += net.n_math;
        items_.push_back(item);
      }
    }
  }
}

// Items by level, keeping their order; the merges follow the items they name.
void Schedule::make_launches(const DevicePlan&) {
  std::vector<Item> sorted;
  std::vector<int> moved(items_.size());
  for (int which = 0; which < kTrainings * kLevelCount; ++which) {
    const int level = which / kTrainings;
    Launch launch{};
    launch.first = int(sorted.size());
    launch.threads = kLevels[level].threads;
    launch.kind = Training(which % kTrainings);
    launch.shallow = launch.kind == Training::shallow || launch.kind == Training::pairs;
    // Blocks of one network first: they have to be neighbours from an even number on.
    for (bool pair : {true, false})
      for (size_t i = 0; i < items_.size(); ++i) {
        const Shape& sh = shapes_[items_[i].net];
        if (sh.level != level || sh.kind(pairs_) != launch.kind || sh.pair != pair) continue;
        moved[i] = int(sorted.size());
        sorted.push_back(items_[i]);
        launch.shared = std::max(launch.shared, sh.bytes);
      }
    launch.count = int(sorted.size()) - launch.first;
    if (launch.count == 0) continue;
    if (launch.kind == Training::pairs && launch.count % 2 != 0) {
      Item none = sorted.back();
      none.net = -1;
      sorted.push_back(none);
      ++launch.count;
    }
    launch.grid = launch.count;
    launches_.push_back(launch);
  }
  for (Merge& m : merges_) m.item = moved[m.item];
  items_ = std::move(sorted);
}

void Schedule::lay_out(const DevicePlan& plan, const ScheduleOptions& options) {
  const int64_t scalar = is_double_ ? 8 : 4;
  int64_t at = 0;
  auto take = [&](int64_t bytes) {
    const int64_t here = at;
    at += (bytes + 255) / 256 * 256;
    return here;
  };
  WorkspaceLayout& w = workspace_;
  w.partial = take(partial_ * scalar);
  w.partial_loss = take(merges_.empty() ? 0 : int64_t(items_.size()) * 8);
  w.orders = take(orders_ * 4);
  int64_t total = 0, coords = 1;
  for (const NetRecord& net : plan.nets()) coords = std::max<int64_t>(coords, net.n_coords);
  // A block for 64 or more rows of the largest, as long as that is not many more than run at once.
  mirror_parts_ = int(std::clamp<int64_t>(
      int64_t(limits_.sms) * 16 / std::max<int64_t>(plan_nets_, 1), 1, ceil_div(coords, 64)));
  for (const NetRecord& net : plan.nets()) total += net.n_flat;
  w.grad = take(split_training_ ? total * scalar : 0);
  w.loss = take(split_training_ ? plan_nets_ * 8 : 0);
  w.active = take(split_training_ ? plan_nets_ : 0);
  w.wide.numbers = take(wide_.numbers() * scalar);
  w.wide.losses = take(wide_.networks() * wide_.tiles() * 8);
  w.wide.tops = take(wide_.tops() * scalar);
  w.wide.sizes = take(wide_.networks() * scalar);
  w.wide.squares = take(wide_.vectors().count * scalar);
  w.wide.orders = take(options.batch_size > 0 ? int64_t(wide_.networks()) * 2 * n_ * 4 : 0);
  w.wide.go = take(wide_.networks());
  w.size = at;
}

int64_t Schedule::merges_at() const {
  return (int64_t(items_.size() * sizeof(Item)) + 63) / 64 * 64;
}

int64_t Schedule::is_wide_at() const {
  return merges_at() + (int64_t(merges_.size() * sizeof(Merge)) + 63) / 64 * 64;
}

int64_t Schedule::wide_at() const { return is_wide_at() + (plan_nets_ + 63) / 64 * 64; }

int64_t Schedule::block_bytes() const { return wide_at() + wide_.block_bytes(); }

void Schedule::write(unsigned char* to) const {
  std::memset(to, 0, size_t(block_bytes()));
  if (!items_.empty()) std::memcpy(to, items_.data(), items_.size() * sizeof(Item));
  if (!merges_.empty())
    std::memcpy(to + merges_at(), merges_.data(), merges_.size() * sizeof(Merge));
  for (int64_t b = 0; b < plan_nets_; ++b) to[is_wide_at() + b] = shapes_[b].wide;
  wide_.write(to + wide_at());
}

}  // namespace edt::cuda
