#include "cuda/chain_plan.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace edt::cuda {
namespace {

// Share of a layer's weights up to which taps beat whole layers: a tap costs 4.5 cycles of memory
// where a weight of a tile costs one.
constexpr double kListed = 0.2;

// Of samples, and of rooms: a group of networks has so many times what a network may have.
constexpr int kLeastChunk = 32, kRooms = 16;

// Steps of a warp over the positions of a gradient that are worth a part of their own.
constexpr int kPartSteps = 16;

int64_t aligned(int64_t n) { return round_up(n, 4); }

// Rows of a tile: as few as possible beyond the last row; small ones where tall ones leave
// schedulers idle. Sums do not depend on it.
int height_of(int rows, int64_t warps_a_tile, int sms) {
  if (rows <= 2) return 2;
  const int height = round_up(rows, 6) < round_up(rows, 8) ? 6 : 8;
  const int64_t warps = (rows + height - 1) / height * warps_a_tile;
  return warps < 2 * int64_t(sms) ? 2 : height;
}

}  // namespace

ChainPlan::ChainPlan(const Chain& chain, const std::vector<const ChainMask*>& masks,
                     int64_t networks, int64_t samples, bool is_double, int vectors, int sms,
                     int64_t room)
    : networks_(networks),
      samples_(samples),
      parameters_(chain.parameters),
      is_double_(is_double),
      vectors_(vectors),
      sms_(sms),
      d_in_(int(chain.d_in)),
      d_out_(int(chain.d_out)) {
  make_stages(chain);
  lay_out(double(room));
  list(masks);
  for (ChainStage& s : stages_) {
    if (s.kind != ChainStage::Kind::affine) continue;
    const int tiles = s.tiles * ((s.taps + kChainTaps - 1) / kChainTaps);
    s.items[s.height == 8 ? 0 : s.height == 6 ? 1 : 2] = tiles * s.parts;
    s.items[3] = s.parts * (s.groups + (s.bias >= 0 ? (s.c + kChainTaps - 1) / kChainTaps : 0));
  }
}

void ChainPlan::make_stages(const Chain& chain) {
  using Kind = ChainLayer::Kind;
  if (chain.graph)
    throw std::invalid_argument("the CUDA engine has no gains, shortcuts or residual adds");
  for (size_t l = 0; l < chain.layers.size(); ++l) {
    const ChainLayer& layer = chain.layers[l];
    if (layer.kind == Kind::activation) {
      if (layer.act == Act::identity && !stages_.empty()) continue;
      if (!stages_.empty() && stages_.back().act < 0) {
        stages_.back().act = int(layer.act);
        continue;
      }
    }
    if (layer.kind == Kind::pool && layer.kh * layer.kw > 255)
      throw std::invalid_argument("the CUDA engine pools fields of at most 255 numbers");
    ChainStage s{};
    s.kind = layer.kind == Kind::affine ? ChainStage::Kind::affine
             : layer.kind == Kind::pool ? ChainStage::Kind::pool
                                        : ChainStage::Kind::mean;
    // An activation alone is one of means of one number.
    s.act = layer.kind == Kind::activation ? int(layer.act) : -1;
    s.kh = int(layer.kh);
    s.kw = int(layer.kw);
    s.in = {0, int(layer.c_in), int(layer.h), int(layer.w), 0, 0};
    s.c = int(layer.c_out);
    s.h = int(layer.h_out);
    s.w = int(layer.w_out);
    s.slope = {0, s.c, s.h, s.w, 0, 0};
    s.bias = -1;
    if (layer.kind == Kind::affine) {
      s.in.top = int(layer.top);
      s.in.left = int(layer.left);
      s.weight = layer.weight;
      s.bias = layer.bias;
      s.taps = s.in.c * s.kh * s.kw;
      s.forward.sy = int(layer.sh);
      s.forward.sx = int(layer.sw);
    }
    stages_.push_back(s);
    layer_.push_back(int(l));
  }
  while (first_ < int(stages_.size()) && stages_[first_].kind != ChainStage::Kind::affine) ++first_;
  if (first_ == int(stages_.size()))
    throw std::invalid_argument("the CUDA engine has no chains without an affine layer");
}

void ChainPlan::lay_out(double budget) {
  const int64_t each = is_double_ ? 8 : 4, pack = 16 / each;
  const auto take = [](int64_t& room, int64_t n) { return std::exchange(room, room + n); };
  const bool bends = vectors_ > 0;
  for (int n = 0; n < int(stages_.size()); ++n) {
    ChainStage& s = stages_[n];
    const int64_t out = int64_t(s.c) * s.h * s.w;
    const bool slopes = n >= first_, affine = s.kind == ChainStage::Kind::affine;
    if (affine && n > first_) {
      s.slope.sy = s.forward.sy;
      s.slope.sx = s.forward.sx;
      // Before the first output, and where a stride leaves inputs out behind the last.
      const int below = s.in.top + s.in.h - 1 - (s.h - 1) * s.slope.sy;
      const int beside = s.in.left + s.in.w - 1 - (s.w - 1) * s.slope.sx;
      s.slope.top = std::max({0, s.kh - 1 - s.in.top, below});
      s.slope.left = std::max({0, s.kw - 1 - s.in.left, beside});
    }
    if (n > 0) s.in.at = take(room_, s.in.positions());
    if (slopes) s.slope.at = take(room_, s.slope.positions());
    s.first = s.act >= 0 ? take(room_, out) : -1;
    // Pieces of lines have no second derivative.
    const bool bent = bends && slopes && s.act > int(Act::leaky_relu);
    s.second = bent ? take(room_, out) : -1;
    s.where = s.kind == ChainStage::Kind::pool ? take(room_, (out + each - 1) / each) : -1;
    if (bends) {
      s.r_in = n > first_ ? take(r_room_, s.in.positions()) : -1;
      s.r_z = bent ? take(r_room_, out) : -1;
      s.r_slope = slopes ? take(r_room_, s.slope.positions()) : -1;
    }
  }
  outputs_ = take(room_, d_out_);
  if (bends) {
    curvature_ = take(room_, int64_t(d_out_) * d_out_);
    r_outputs_ = take(r_room_, d_out_);
  }
  const double bytes = double(each) * double(room_ + inputs());
  const auto chunk = round_up(int64_t(std::max(double(kLeastChunk), budget / bytes)), kLeastChunk);
  chunk_ = int(std::min(chunk, round_up(samples_, pack)));
  const int64_t packs = chunk_ / pack;

  for (int n = 0; n < int(stages_.size()); ++n) {
    ChainStage& s = stages_[n];
    if (s.kind != ChainStage::Kind::affine) continue;
    const int64_t lines = s.lines();
    const int64_t row = lines * ((s.w / lines * packs + kWarp - 1) / kWarp);
    s.parts = int(std::clamp<int64_t>(row * s.h / kPartSteps, 1, s.h));
    s.partial = take(partial_, s.parts * int64_t(s.c) * (s.taps + 1));
  }
  // Weights take as much room whichever tiles they lie in, to within 8 rows.
  for (const ChainStage& s : stages_)
    if (s.kind == ChainStage::Kind::affine)
      weights_ += 2 * aligned(int64_t(s.c + 8) * (s.in.c + 8) * s.kh * s.kw);
  const double whole = bytes * chunk_ + double(each) * (double(vectors_ * r_room_) * chunk_ +
                                                        double((1 + vectors_) * weights_) +
                                                        double(std::max(1, vectors_) * partial_));
  group_ = int(std::clamp<int64_t>(int64_t(kRooms * budget / whole), 1, networks_));

  weights_ = 0;
  const int64_t beside = group_ * std::max(1, vectors_);
  for (int n = 0; n < int(stages_.size()); ++n) {
    ChainStage& s = stages_[n];
    if (s.kind != ChainStage::Kind::affine) continue;
    const auto warps = [&](int64_t positions) {
      return beside * ((positions * packs + 2 * kWarp - 1) / (2 * kWarp));
    };
    const auto tiled = [&](ChainProduct p) {
      p.height = height_of(p.rows, warps(int64_t(p.h) * p.w), sms_);
      p.tiles = (p.rows + p.height - 1) / p.height;
      p.many = p.rows * warps(int64_t(p.h) * p.w) / 2 >= 8 * int64_t(sms_);
      p.at = take(weights_, aligned(int64_t(p.tiles) * p.height * p.channels * s.kh * s.kw));
      return p;
    };
    s.forward = tiled({s.c, s.h, s.w, s.in.c, s.in.pitch(), s.in.plane(), 0, 0, 0, 0, 0, 0,
                       s.forward.sy, s.forward.sx});
    if (n > first_)
      s.back = tiled({s.in.c, s.in.h, s.in.w, s.c, s.slope.pitch(), s.slope.plane(),
                      s.in.top + s.slope.top - s.kh + 1, s.in.left + s.slope.left - s.kw + 1, 0, 0,
                      0, 0});
    const int64_t groups = (s.taps + kChainTaps - 1) / kChainTaps;
    s.height = height_of(s.c, beside * groups * s.parts, sms_);
    s.tiles = (s.c + s.height - 1) / s.height;
  }
}

ChainTaps ChainPlan::taps_of(const ChainStage& s, const std::vector<int32_t>& weights, bool back) {
  const ChainProduct& p = back ? s.back : s.forward;
  const int square = s.kh * s.kw;
  std::vector<std::vector<std::pair<int, int>>> rows(size_t(p.rows));
  for (const int32_t w : weights) {
    const int o = w / s.taps, k = w % s.taps, c = k / square;
    int i = k % square / s.kw, j = k % s.kw;
    if (back) {
      i = s.kh - 1 - i;
      j = s.kw - 1 - j;
    }
    const int offset = (back ? o : c) * p.plane + i * p.pitch + j;
    rows[size_t(back ? c : o)].push_back({offset, w});
  }
  ChainTaps out{int(ints_.size()), 0, 0, int(weights.size())};
  int at = 0;
  ints_.push_back(0);
  for (auto& row : rows) {
    std::sort(row.begin(), row.end());
    ints_.push_back(at += int(row.size()));
  }
  out.offset = int(ints_.size());
  for (const auto& row : rows)
    for (const auto& tap : row) ints_.push_back(tap.first);
  out.weight = int(ints_.size());
  for (const auto& row : rows)
    for (const auto& tap : row) ints_.push_back(tap.second);
  return out;
}

void ChainPlan::list(const std::vector<const ChainMask*>& masks) {
  const size_t n = stages_.size();
  any_listed_.assign(n, 0);
  any_dense_.assign(n, masks.empty());
  if (masks.empty()) return;
  nets_.assign(size_t(networks_) * n, ChainNet{});
  asked_.assign(size_t(networks_ * parameters_), 0);
  for (int64_t b = 0; b < networks_; ++b) {
    const ChainMask& mask = *masks[size_t(b)];
    uint8_t* wanted = asked_.data() + b * parameters_;
    for (size_t k = 0; k < n; ++k) {
      const ChainStage& s = stages_[k];
      if (s.kind != ChainStage::Kind::affine) continue;
      const ChainMask::Layer& mine = mask.layers[size_t(layer_[k])];
      ChainNet& net = nets_[size_t(b) * n + k];
      const int64_t all = int64_t(s.c) * s.taps;
      const auto asked = [&](int64_t at) {
        return mask.place.empty() || mask.place[size_t(at)] >= 0;
      };
      for (int o = 0; s.bias >= 0 && o < s.c; ++o)
        if (asked(mine.bias + o)) wanted[s.bias + o] = 1;
      const std::vector<int32_t>& there = mine.forward.weight;
      net.listed = mine.listed && double(there.size()) <= kListed * double(all);
      if (mine.listed) {
        for (size_t t = 0; t < there.size(); ++t)
          if (asked(mine.weight + int64_t(t))) wanted[s.weight + there[t]] = 1;
      } else {
        for (int64_t w = 0; w < all; ++w)
          if (asked(mine.weight + w)) wanted[s.weight + w] = 1;
      }
      (net.listed ? any_listed_ : any_dense_)[k] = 1;
      if (!net.listed) continue;
      net.forward = taps_of(s, there, false);
      if (int(k) > first_) net.back = taps_of(s, there, true);
      net.groups = int(ints_.size());
      for (int o = 0; o < s.c; ++o) {
        const int start = ints_[size_t(net.forward.start + o)];
        const int end = ints_[size_t(net.forward.start + o + 1)];
        for (int t = start; t < end; t += kChainTaps, ++net.group_count)
          for (int x : {o, t, std::min(kChainTaps, end - t)}) ints_.push_back(x);
      }
      stages_[k].groups = std::max(stages_[k].groups, net.group_count);
    }
  }
}

namespace {

// Bytes before the parts of a plan's block.
struct Places {
  int64_t nets, ints, asked, size;
};
template <class Nets, class Ints, class Asked>
Places places(size_t stages, const Nets& nets, const Ints& ints, const Asked& asked) {
  const auto bytes = [](const auto& all) {
    return round_up(int64_t(all.size() * sizeof(all[0])), 16);
  };
  Places p{};
  p.nets = round_up(int64_t(stages * sizeof(ChainStage)), 16);
  p.ints = p.nets + bytes(nets);
  p.asked = p.ints + bytes(ints);
  p.size = p.asked + bytes(asked);
  return p;
}

}  // namespace

int64_t ChainPlan::block_bytes() const { return places(stages_.size(), nets_, ints_, asked_).size; }

void ChainPlan::write(unsigned char* to) const {
  const Places p = places(stages_.size(), nets_, ints_, asked_);
  const auto put = [&](int64_t at, const auto& all) {
    if (!all.empty()) std::memcpy(to + at, all.data(), all.size() * sizeof(all[0]));
  };
  std::memset(to, 0, size_t(p.size));
  put(0, stages_);
  put(p.nets, nets_);
  put(p.ints, ints_);
  put(p.asked, asked_);
}

ChainTables ChainPlan::tables(const unsigned char* block, int64_t network) const {
  const Places p = places(stages_.size(), nets_, ints_, asked_);
  ChainTables t{};
  t.stages = reinterpret_cast<const ChainStage*>(block);
  t.ints = reinterpret_cast<const int*>(block + p.ints);
  t.count = int(stages_.size());
  t.first = first_;
  if (!nets_.empty()) {
    t.nets = reinterpret_cast<const ChainNet*>(block + p.nets) + network * t.count;
    t.asked = block + p.asked + network * parameters_;
  }
  return t;
}

int64_t ChainPlan::workspace_bytes() const {
  const int64_t each = is_double_ ? 8 : 4, beside = std::max(1, vectors_);
  const int64_t a_network = (room_ + inputs()) * chunk_ + weights_ + beside * aligned(partial_) +
                            vectors_ * (r_room_ * chunk_ + weights_);
  return each * group_ * a_network;
}

}  // namespace edt::cuda
