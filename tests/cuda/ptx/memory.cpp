#include "memory.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>

namespace ptx {
namespace {

// Ranges by their beginning; lengths announced there, and how often.
std::map<uint64_t, std::map<uint64_t, int>>& ranges() {
  static std::map<uint64_t, std::map<uint64_t, int>> all;
  return all;
}
uint64_t changes = 0;

[[noreturn]] void fault(const std::string& what, int thread) {
  throw std::runtime_error(what + ", thread " + std::to_string(thread));
}
std::string number(int64_t n) { return std::to_string(n); }

// Pieces of so many bytes that some lanes touch.
int distinct(const uint64_t* places, uint32_t lanes, unsigned bytes) {
  uint64_t seen[kLanes];
  int n = 0;
  for (int l = 0; l < kLanes; ++l)
    if (lanes >> l & 1) {
      const uint64_t piece = places[l] / bytes;
      int i = n - 1;
      while (i >= 0 && seen[i] != piece) --i;
      if (i < 0) seen[n++] = piece;
    }
  return n;
}

// Words of the busiest bank of shared memory.
int banks(const uint64_t* places, uint32_t lanes, int bytes) {
  uint64_t seen[kLanes][kLanes];
  int n[kLanes] = {}, most = 1;
  for (int l = 0; l < kLanes; ++l)
    for (int i = 0; lanes >> l & 1 && i < std::max(bytes, 4); i += 4) {
      const uint64_t word = (places[l] + unsigned(i)) / 4;
      const int bank = int(word % kLanes);
      int k = n[bank] - 1;
      while (k >= 0 && seen[bank][k] != word) --k;
      if (k >= 0) continue;
      seen[bank][n[bank]++] = word;
      most = std::max(most, n[bank]);
    }
  return most;
}

}  // namespace

// As those of shared memory, over all blocks.
struct GlobalMark {
  uint32_t launch = 0, written = 0, read = 0, written_after = 0, read_after = 0;
  int write_block = -1, read_block = -1, writer = -1, reader = -1;
  int write_cluster = -1, read_cluster = -1;  // -2: several
};

namespace {
struct Global {
  std::unordered_map<uint64_t, GlobalMark> words, bytes;
  uint32_t launch = 0;
} global;
}  // namespace

void allow(uint64_t begin, uint64_t bytes) {
  if (bytes > 0) ++ranges()[begin][bytes], ++changes;
}
void forget(uint64_t begin, uint64_t bytes) {
  auto range = ranges().find(begin);
  if (range == ranges().end()) return;
  auto length = range->second.find(bytes);
  if (length == range->second.end()) return;
  ++changes;
  if (--length->second == 0) range->second.erase(length);
  if (range->second.empty()) ranges().erase(range);
}

void Memory::begin_launch() {
  global.words.clear();
  global.bytes.clear();
  ++global.launch;
}

void Memory::begin_block(int block, int64_t shared, const std::vector<Memory*>& cluster) {
  block_ = block;
  cluster_ = cluster;
  gone_ = false;
  ++epoch_;
  copies_.clear();
  known_begin_ = known_end_ = 0;
  shared_.resize(size_t(shared));
  there_.resize(size_t(shared));
  if (settings().checks) marks_.resize(size_t(shared) / 2 + 1);
  // Untouched memory is a NaN as a float or double and a wild index as an integer.
  const uint32_t pattern = 0x7ff4deadu;
  for (size_t i = 0; i + 4 <= shared_.size(); i += 4) std::memcpy(&shared_[i], &pattern, 4);
  std::fill(there_.begin(), there_.end(), 0);
}

void Memory::check_place(int64_t at, int bytes, bool store, int thread) {
  const char* const verb = store ? "store to" : "load from";
  if (at < 0 || at + bytes > int64_t(shared_.size()))
    fault(std::string(verb) + " shared memory out of bounds: offset " + number(at) + ", " +
              number(bytes) + " bytes, of " + number(int64_t(shared_.size())),
          thread);
  if (at % bytes != 0)
    fault(std::string("misaligned ") + verb + " shared memory: offset " + number(at) + ", " +
              number(bytes) + " bytes",
          thread);
  if (!settings().checks) return;
  if (store) std::memset(&there_[size_t(at)], 1, size_t(bytes));
  else if (std::memchr(&there_[size_t(at)], 0, size_t(bytes)))
    fault("load of shared memory that nobody has written: offset " + number(at), thread);
}

void Memory::check_shared(int64_t at, int bytes, bool store, int thread, const Who& who) {
  check_place(at, bytes, store, thread);
  if (!settings().checks) return;
  for (int64_t i = at / 2; i < (at + bytes + 1) / 2; ++i) {
    Mark& m = marks_[size_t(i)];
    // Barriers of the cluster order what threads of one block do, too.
    const bool wrote = m.written == epoch_ && m.written_after >= who.waited,
               saw = m.read == epoch_ && m.read_after >= who.waited;
    if ((wrote && m.writer != thread) || (store && saw && m.reader != thread))
      fault(std::string("race in shared memory: ") + (store ? "store to" : "load from") +
                " offset " + number(at) + ", written by thread " +
                (m.written == epoch_ ? number(m.writer) : "-") + ", read by " +
                (m.read == epoch_ ? number(m.reader) : "-") + " (-2: several) since the barrier",
            thread);
    if (store && m.others_after > who.waited)
      fault("race in shared memory: store to offset " + number(at) +
                ", which another block of the cluster reads",
            thread);
    if (store) m.written = epoch_, m.writer = int16_t(thread), m.written_after = who.arrived;
    else if (!saw) m.read = epoch_, m.reader = int16_t(thread), m.read_after = who.arrived;
    else {
      if (m.reader != thread) m.reader = -2;
      m.read_after = std::max(m.read_after, who.arrived);
    }
  }
}

// A load by a thread of another block of the cluster.
void Memory::check_other(int64_t at, int bytes, int thread, const Who& who) {
  if (gone_) fault("load from shared memory of a block that has left", thread);
  check_place(at, bytes, false, thread);
  if (!settings().checks) return;
  for (int64_t i = at / 2; i < (at + bytes + 1) / 2; ++i) {
    Mark& m = marks_[size_t(i)];
    if (m.written != 0 && m.written_after >= who.waited)
      fault("race in shared memory: load from offset " + number(at) +
                " of another block of the cluster, written there by thread " + number(m.writer),
            thread);
    m.others_after = std::max(m.others_after, who.arrived + 1);
  }
}

void Memory::race(GlobalMark& m, uint64_t at, bool store, int thread, const Who& who) {
  if (m.launch != global.launch) m = GlobalMark{}, m.launch = global.launch;
  const int cluster = block_ / int(cluster_.size());
  bool bad =
      m.write_block == block_
          ? m.written == epoch_ && m.writer != thread && m.written_after >= who.waited
          : m.write_block >= 0 && (m.write_cluster != cluster || m.written_after >= who.waited);
  if (store)
    bad |= m.read_block == block_
               ? m.read == epoch_ && m.reader != thread && m.read_after >= who.waited
               : m.read_block != -1 && (m.read_cluster != cluster || m.read_after >= who.waited);
  if (bad)
    fault(std::string("race in global memory: ") + (store ? "store to " : "load from ") +
              number(int64_t(at)) + ", block " + number(block_) + ", written by block " +
              number(m.write_block) + " thread " + number(m.writer) + ", read by block " +
              number(m.read_block),
          thread);
  if (store) {
    m.write_block = block_, m.written = epoch_, m.writer = thread;
    m.write_cluster = cluster, m.written_after = who.arrived;
    return;
  }
  if (m.read_block == -1) m.read_block = block_, m.read_cluster = cluster;
  else if (m.read_block != block_) m.read_block = -2;
  if (m.read_cluster != cluster) m.read_cluster = -2;
  m.read_after = std::max(m.read_after, who.arrived);
  if (m.read != epoch_) m.read = epoch_, m.reader = thread;
  else if (m.reader != thread) m.reader = -2;
}

void Memory::check_global(uint64_t at, int bytes, bool store, int thread, const Who& who) {
  if (at % uint64_t(bytes) != 0)
    fault(std::string("misaligned ") + (store ? "store to" : "load from") +
              " global memory: " + number(int64_t(at)) + ", " + number(bytes) + " bytes",
          thread);
  if (!settings().checks) return;
  if (!ranges().empty() && (at < known_begin_ || at + uint64_t(bytes) > known_end_)) {
    bool found = false;
    for (auto range = ranges().upper_bound(at); range != ranges().begin() && !found;) {
      --range;
      known_begin_ = range->first;
      known_end_ = range->first + range->second.rbegin()->first;
      found = at + uint64_t(bytes) <= known_end_;
    }
    if (!found) {
      known_begin_ = known_end_ = 0;
      fault(std::string(store ? "store to" : "load from") + " global memory out of bounds: " +
                number(int64_t(at)) + ", " + number(bytes) + " bytes",
            thread);
    }
  } else if (ranges().empty() && at < 65536) {
    fault("access to global memory near null", thread);
  }
  if (bytes >= 4)
    for (int i = 0; i < bytes; i += 4)
      race(global.words[(at + unsigned(i)) / 4], at, store, thread, who);
  else
    for (int i = 0; i < bytes; ++i) race(global.bytes[at + unsigned(i)], at, store, thread, who);
}

Cost Memory::access(uint64_t* address, uint32_t active, int bytes, Space space, bool store,
                    const Who& who) {
  uint64_t places[kLanes];  // for the cost
  bool shared = space == Space::shared;
  for (int l = 0; l < kLanes; ++l) {
    if (!(active >> l & 1)) continue;
    uint64_t& at = address[l];
    const int thread = who.first + l;
    if (space == Space::cluster) {
      const auto rank = size_t(at >> kClusterShift) - 1;
      if (store || rank >= cluster_.size())
        fault("another access than a load in the cluster", thread);
      Memory& there = *cluster_[rank];
      const int64_t offset = int64_t(at & ((1u << kClusterShift) - 1)) - kSharedBase;
      if (&there == this) check_shared(offset, bytes, store, thread, who);
      else there.check_other(offset, bytes, thread, who);
      places[l] = uint64_t(offset);
      at = reinterpret_cast<uint64_t>(there.shared_.data()) + uint64_t(offset);
      shared = true;
      continue;
    }
    const bool here = space == Space::shared || (space == Space::generic && at >= kSharedWindow);
    if (here) {
      const int64_t offset =
          int64_t(space == Space::shared ? uint64_t(uint32_t(at)) : at - kSharedWindow) -
          kSharedBase;
      check_shared(offset, bytes, store, thread, who);
      places[l] = uint64_t(offset);
      at = reinterpret_cast<uint64_t>(shared_.data()) + uint64_t(offset);
      shared = true;
    } else {
      check_global(at, bytes, store, thread, who);
      places[l] = at;
    }
  }
  // A quarter of the warp at a time for 16 bytes a lane, a half for 8: 128 bytes each.
  Cost cost;
  const int lanes = bytes <= 4 ? 32 : bytes == 8 ? 16 : 8;
  for (int from = 0; from < kLanes; from += lanes) {
    const uint32_t phase = active & (lanes == 32 ? kAll : ((1u << lanes) - 1) << from);
    if (phase)
      cost.wavefronts += shared ? banks(places, phase, bytes) : distinct(places, phase, 128);
  }
  if (!shared) cost.sectors = distinct(places, active, 32);
  return cost;
}

Cost Memory::copy(const uint64_t* to, const uint64_t* from, const uint64_t* bytes, uint32_t active,
                  const Who& who) {
  const int first = who.first;
  uint64_t source[kLanes] = {}, target[kLanes] = {};
  uint32_t real = 0;
  for (int l = 0; l < kLanes; ++l) {
    if (!(active >> l & 1)) continue;
    if (bytes[l] != 0 && bytes[l] != 16) fault("cp.async of other sizes", first + l);
    if (from[l] % 16 != 0) fault("misaligned load from global memory by cp.async", first + l);
    source[l] = from[l];
    target[l] = to[l];
    real |= uint32_t(bytes[l] != 0) << l;
  }
  Cost cost = access(target, active, 16, Space::shared, true, who);
  for (int l = 0; l < kLanes; ++l) {
    if (!(active >> l & 1)) continue;
    const int64_t at = int64_t(uint32_t(to[l])) - kSharedBase;
    // Not there before it is waited for.
    std::memset(&there_[size_t(at)], 0, 16);
    std::memset(&shared_[size_t(at)], 0xff, 16);
  }
  cost.sectors = access(source, real, 16, Space::global, false, who).sectors;
  for (int l = 0; l < kLanes; ++l)
    if (active >> l & 1)
      copies_.push_back(
          {int64_t(uint32_t(to[l])) - kSharedBase, source[l], first + l, (real >> l & 1) != 0});
  return cost;
}

void Memory::await(uint32_t active, const Who& who) {
  size_t kept = 0;
  for (const Copy& c : copies_) {
    const int lane = c.thread - who.first;
    if (lane < 0 || lane >= kLanes || !(active >> lane & 1)) {
      copies_[kept++] = c;
      continue;
    }
    check_shared(c.to, 16, true, c.thread, who);
    if (c.real) std::memcpy(&shared_[size_t(c.to)], reinterpret_cast<const void*>(c.from), 16);
    else std::memset(&shared_[size_t(c.to)], 0, 16);
  }
  copies_.resize(kept);
}

}  // namespace ptx
