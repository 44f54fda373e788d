// Blocks, clusters and launches; see machine.h.
#include <algorithm>
#include <iterator>
#include <stdexcept>

#include "warps.h"

namespace ptx {

uint32_t latest_barrier = 0;

void Block::begin(const Kernel& kernel, Tally& t, int block, int threads, int grid, int cluster,
                  void** given) {
  tally = &t;
  pipes.fill(0);
  number_ = block;
  n_ = threads / kLanes;
  if (int(warps_.size()) < n_) warps_.resize(size_t(n_));
  for (int w = 0; w < n_; ++w)
    warps_[size_t(w)].begin(kernel, w * kLanes, threads, block, grid, cluster, given);
  ++t.blocks;
  t.warps += n_;
}

bool Block::done() const {
  return std::all_of(warps_.begin(), warps_.begin() + n_, [](const Warp& w) { return w.done(); });
}

uint32_t Block::arrived() const {
  uint32_t least = warps_[0].who().arrived;
  for (int w = 1; w < n_; ++w) least = std::min(least, warps_[size_t(w)].who().arrived);
  return least;
}

void Block::release(uint32_t barrier) {
  for (int w = 0; w < n_; ++w)
    if (warps_[size_t(w)].in_cluster() && warps_[size_t(w)].who().waited <= barrier)
      warps_[size_t(w)].release();
}

bool Block::run() {
  bool moved = false;
  for (;;) {
    int at = -2, cluster = 0;
    for (int w = 0; w < n_; ++w) {
      Warp& warp = warps_[size_t(w)];
      if (warp.runs()) {
        moved = true;
        try {
          warp.run(*this);
        } catch (const std::runtime_error& e) {
          throw std::runtime_error(std::string(e.what()) + ", warp " + std::to_string(w) +
                                   " of block " + std::to_string(number_));
        }
      }
      cluster += warp.in_cluster();
    }
    if (cluster > 0) return moved;  // the others wait at a barrier until these come
    for (int w = 0; w < n_; ++w) {
      const int here = warps_[size_t(w)].barrier();
      if (at == -2) at = here;
      else if (at != here)
        throw std::runtime_error("divergence: warps of block " + std::to_string(number_) +
                                 " at barriers in different places");
    }
    if (at < 0) return moved;
    ++tally->barriers;
    memory.barrier();
    for (int w = 0; w < n_; ++w) warps_[size_t(w)].release();
  }
}

namespace {

// All blocks of a cluster, by turns from one of its barriers to the next.
void run_cluster(std::vector<Block>& blocks, int first) {
  for (;;) {
    bool moved = false, done = true;
    for (Block& b : blocks) {
      moved |= b.run();
      if (b.done()) b.memory.leave();
      else done = false;
    }
    if (done) break;
    if (!moved)
      throw std::runtime_error("divergence: blocks from " + std::to_string(first) +
                               " on wait at the cluster's barrier for others that do not come");
    uint32_t arrived = blocks[0].arrived();
    for (const Block& b : blocks) arrived = std::min(arrived, b.arrived());
    for (Block& b : blocks) b.release(arrived);
  }
}

}  // namespace

Products& products() {
  static Products n;
  return n;
}
Settings& settings() {
  static Settings s;
  return s;
}
std::map<std::string, std::map<int, Kernel>>& kernels() {
  static std::map<std::string, std::map<int, Kernel>> k;
  return k;
}
// As a driver chooses PTX: the newest that the card can run.
static const Kernel* find(const std::string& name) {
  const auto found = kernels().find(name);
  if (found == kernels().end()) return nullptr;
  const auto newer = found->second.upper_bound(settings().capability);
  return newer == found->second.begin() ? nullptr : &std::prev(newer)->second;
}
std::map<std::string, Tally>& tallies() {
  static std::map<std::string, Tally> t;
  return t;
}
std::vector<Launched>& launched() {
  static std::vector<Launched> l;
  return l;
}

void launch(const std::string& name, int grid, int threads, int64_t shared, void** arguments,
            int cluster) {
  const Kernel* found = find(name);
  if (!found) throw std::runtime_error("no kernel " + name);
  const Kernel& kernel = *found;
  if (grid < 1 || threads < 1 || threads % kLanes != 0 || threads > kernel.most_threads)
    throw std::runtime_error("launch of " + std::to_string(threads) + " threads where " +
                             std::to_string(kernel.most_threads) + " are allowed");
  Tally& tally = tallies()[name];
  tally.hits.resize(kernel.code.size());
  ++tally.launches;
  if (cluster < 1 || grid % cluster != 0)
    throw std::runtime_error("launch of " + std::to_string(grid) + " blocks in clusters of " +
                             std::to_string(cluster));
  static std::vector<Block> blocks;
  blocks.resize(size_t(cluster));
  std::vector<Memory*> memories;
  for (Block& b : blocks) memories.push_back(&b.memory);
  Memory::begin_launch();
  if (settings().counts) launched().push_back({name, threads, shared, grid, {}});
  for (int first = 0; first < grid; first += cluster * settings().every) {
    ++latest_barrier;
    for (int r = 0; r < cluster; ++r) {
      blocks[size_t(r)].memory.begin_block(first + r, shared, memories);
      blocks[size_t(r)].begin(kernel, tally, first + r, threads, grid, cluster, arguments);
    }
    try {
      run_cluster(blocks, first);
    } catch (const std::runtime_error& e) {
      throw std::runtime_error(name + ": " + e.what());
    }
    if (settings().counts)
      for (const Block& b : blocks) launched().back().blocks.push_back(b.pipes);
  }
}

}  // namespace ptx
