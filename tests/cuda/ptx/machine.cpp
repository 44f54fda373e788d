// What warps do; see machine.h.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "warps.h"

namespace ptx {
namespace {

template <class T>
T number(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}
uint64_t bits(double value) {
  uint64_t out;
  std::memcpy(&out, &value, 8);
  return out;
}

}  // namespace

void Warp::begin(const Kernel& kernel, int first, int threads, int block, int grid, int cluster,
                 void** arguments) {
  kernel_ = &kernel;
  who_ = {first, latest_barrier, latest_barrier};
  skipped_ = false;
  scheduler_ = size_t(first / kLanes % kSchedulers * kPipes);
  if (int(registers_.size()) < kernel.registers) registers_.resize(size_t(kernel.registers));
  for (int l = 0; l < kLanes; ++l) {
    lanes_[l] = {};
    registers_[kTid][l] = uint64_t(first + l);
    registers_[kNtid][l] = uint64_t(threads);
    registers_[kCtaid][l] = uint64_t(block);
    registers_[kNctaid][l] = uint64_t(grid);
    registers_[kClusterRank][l] = uint64_t(block % cluster);
  }
  for (const auto& [at, value] : kernel.constants) registers_[size_t(at)].fill(value);
  for (const auto& [at, number] : kernel.arguments)
    registers_[size_t(at)].fill(reinterpret_cast<uint64_t>(arguments[number]));
}

bool Warp::done() const {
  return std::all_of(lanes_, lanes_ + kLanes, [](const Lane& l) { return l.state == State::done; });
}

bool Warp::runs() const {
  return std::any_of(lanes_, lanes_ + kLanes,
                     [](const Lane& l) { return l.state == State::running; });
}

int Warp::barrier() const {
  int at = -1;
  for (const Lane& l : lanes_) {
    if (l.state == State::done) continue;
    if (at >= 0 && l.at != at)
      throw std::runtime_error(
          "divergence: lanes of a warp at barriers in "
          "different places");
    at = l.at;
  }
  if (at >= 0)
    for (const Lane& l : lanes_)
      if (l.state == State::done)
        throw std::runtime_error("divergence: lanes at a barrier that others will not reach");
  return at;
}

void Warp::release() {
  for (Lane& l : lanes_)
    if (l.state == State::at_barrier || l.state == State::at_cluster) {
      l.state = State::running;
      ++l.at;
    }
}

uint32_t Warp::choose(int& at) {
  int best = -1;
  for (int l = 0; l < kLanes; ++l) {
    if (lanes_[l].state != State::running) continue;
    if (best < 0 || lanes_[l].depth > lanes_[best].depth ||
        (lanes_[l].depth == lanes_[best].depth && lanes_[l].at < lanes_[best].at))
      best = l;
  }
  uint32_t active = 0;
  if (best < 0) return 0;
  at = lanes_[best].at;
  for (int l = 0; l < kLanes; ++l)
    active |= uint32_t(lanes_[l].state == State::running && lanes_[l].at == at &&
                       lanes_[l].depth == lanes_[best].depth)
              << l;
  return active;
}

void Warp::set(uint32_t active, int at) {
  for (int l = 0; l < kLanes; ++l)
    if (active >> l & 1) lanes_[l].at = at;
}

uint32_t Warp::where(const Instruction& i, uint32_t active) const {
  if (i.predicate < 0) return active;
  const Register& p = registers_[size_t(i.predicate)];
  uint32_t found = 0;
  for (int l = 0; l < kLanes; ++l) found |= uint32_t((p[l] != 0) != i.negated) << l;
  return found & active;
}

void Warp::run(Block& block) {
  int at = 0;
  for (;;) {
    const uint32_t active = choose(at);
    if (active == 0) {
      for (int l = 0; l < kLanes; ++l)
        if (lanes_[l].state == State::at_warp)
          throw std::runtime_error(
              "lanes of a warp wait for one another at different instructions (line " +
              std::to_string(kernel_->code[size_t(lanes_[l].at)].line) + " and others)");
      return;
    }
    step(block, active, at);
  }
}

// Whether all lanes have come to an instruction of the warp; those that have wait.
bool Warp::together(uint32_t active, int at) {
  for (int l = 0; l < kLanes; ++l)
    if (active >> l & 1) lanes_[l].state = State::at_warp;
  for (const Lane& l : lanes_)
    if (l.state != State::at_warp || l.at != at) return false;
  for (Lane& l : lanes_) l.state = State::running;
  return true;
}

// From `at` on, for as long as the same lanes go the same way.
void Warp::step(Block& block, uint32_t active, int at) {
  Tally& tally = *block.tally;
  for (;;) {
    const Instruction& i = kernel_->code[size_t(at)];
    const uint32_t on = where(i, active);
    if (i.kind == Kind::product || i.kind == Kind::shuffle || i.kind == Kind::warp_barrier ||
        i.kind == Kind::cluster_arrive || i.kind == Kind::cluster_wait) {
      if (on != active) throw std::runtime_error("an instruction of a warp under a predicate");
      set(active, at);
      if (active != kAll && !together(active, at)) return;
      active = kAll;
    }
    ++tally.hits[size_t(at)];
    const auto& charge = kernel_->charges[size_t(i.charge)];
    for (int p = 0; p < kPipes; ++p) block.pipes[scheduler_ + size_t(p)] += charge[size_t(p)];
    switch (i.kind) {
      case Kind::compute:
        if (on) i.compute(i, registers_.data(), on);
        break;
      case Kind::branch:
        if (on == active) {
          at = int(i.offset);
          if (active != kAll) {  // others may be there
            set(active, at);
            return;
          }
          continue;
        }
        if (on) {
          set(on, int(i.offset));
          set(active & ~on, at + 1);
          return;
        }
        break;
      case Kind::call:
        for (int l = 0; l < kLanes; ++l)
          if (on >> l & 1) {
            if (lanes_[l].depth == 4) throw std::runtime_error("calls too deep");
            lanes_[l].back[lanes_[l].depth++] = at + 1;
          }
        set(on, int(i.offset));
        set(active & ~on, at + 1);
        return;
      case Kind::ret:
        set(active & ~on, at + 1);
        for (int l = 0; l < kLanes; ++l) {
          if (!(on >> l & 1)) continue;
          if (lanes_[l].depth == 0) lanes_[l].state = State::done;
          else lanes_[l].at = lanes_[l].back[--lanes_[l].depth];
        }
        return;
      case Kind::barrier:
        if (i.line == settings().skip_barrier) break;
        set(active, at);
        for (int l = 0; l < kLanes; ++l)
          if (active >> l & 1) lanes_[l].state = State::at_barrier;
        return;
      case Kind::cluster_arrive:
        arrive(i.line);
        break;
      case Kind::cluster_wait:
        if (!wait()) break;
        set(active, at);
        for (Lane& l : lanes_) l.state = State::at_cluster;
        return;
      case Kind::warp_barrier:
        break;
      case Kind::shuffle:
        shuffle(i);
        break;
      case Kind::product:
        product(i);
        break;
      default:
        if (on) try {
            memory(block, i, on);
          } catch (const std::runtime_error& e) {
            throw std::runtime_error(std::string(e.what()) + ", line " + std::to_string(i.line));
          }
    }
    ++at;
    if (active != kAll) {  // join others that wait there
      set(active, at);
      return;
    }
  }
}

void Warp::arrive(int line) {
  if (skipped_ || who_.arrived != who_.waited)
    throw std::runtime_error("a warp arrives twice at the cluster's barrier");
  if (line == settings().skip_barrier) skipped_ = true;
  else latest_barrier = std::max(latest_barrier, ++who_.arrived);
}

bool Warp::wait() {
  if (skipped_) return skipped_ = false;
  if (who_.arrived == who_.waited)
    throw std::runtime_error("a warp waits at the cluster's barrier where it has not arrived");
  ++who_.waited;
  return true;
}

void Warp::shuffle(const Instruction& i) {
  const Register from = registers_[size_t(i.src[0])];
  const Register &by = registers_[size_t(i.src[1])], &clamp = registers_[size_t(i.src[2])];
  for (int l = 0; l < kLanes; ++l) {
    if (clamp[l] != 31 || uint32_t(registers_[size_t(i.src[3])][l]) != kAll || by[l] > 31 ||
        by[l] != by[0])
      throw std::runtime_error("a shuffle with operands of another kind, line " +
                               std::to_string(i.line));
    registers_[size_t(i.dst[0])][l] = from[size_t(l) ^ by[l]];
  }
}

void Warp::product(const Instruction& i) {
  // Of M = 8 `halves` rows, 8 columns and K = 4 `fours`, as the PTX ISA lays out fragments of f64
  // (9.7.14.5, Matrix Fragments for mma.m8n8k4, m16n8k4, m16n8k8, m16n8k16): with group = lane / 4
  // and thread = lane % 4, A's register i holds row group + 8 (i % halves), column thread + 4 (i /
  // halves); B's row thread + 4 i, column group; C's row group + 8 (i / 2), column 2 thread + i
  // % 2. Factors are read before sums are written, which may lie in the same registers.
  const int halves = i.vector, fours = i.bytes, factors = halves * fours + fours;
  products().eights += halves * fours;
  products().instructions += 1;
  std::array<Register, kOperands> from;
  for (size_t n = 0; n < size_t(factors + 2 * halves); ++n) from[n] = registers_[size_t(i.src[n])];
  for (int n = 0; n < 2 * halves; ++n) {
    Register& d = registers_[size_t(i.dst[n])];
    for (int l = 0; l < kLanes; ++l) {
      double sum = number<double>(from[size_t(factors + n)][size_t(l)]);
      for (int k = 0; k < 4 * fours; ++k) {
        const Register& a = from[size_t(k / 4 * halves + n / 2)];
        const Register& b = from[size_t(halves * fours + k / 4)];
        sum = std::fma(number<double>(a[size_t(l / 4 * 4 + k % 4)]),
                       number<double>(b[size_t((l % 4 * 2 + n % 2) * 4 + k % 4)]), sum);
      }
      d[size_t(l)] = bits(sum);
    }
  }
}

void Warp::memory(Block& block, const Instruction& i, uint32_t active) {
  Tally& tally = *block.tally;
  const auto charge = [&](Space space, const Cost& cost) {
    const bool shared = space == Space::shared || space == Space::cluster;
    (shared ? tally.shared_wavefronts : tally.global_wavefronts) += cost.wavefronts;
    (shared ? tally.shared_requests : tally.global_requests) += 1;
    tally.global_sectors += cost.sectors;
    block.pipes[scheduler_ + kMemory] += 64 * cost.wavefronts;
  };
  if (i.kind == Kind::await) {
    block.memory.await(active, who_);
    return;
  }
  if (i.kind == Kind::copy) {
    const Cost cost =
        block.memory.copy(registers_[size_t(i.dst[0])].data(), registers_[size_t(i.src[0])].data(),
                          registers_[size_t(i.src[1])].data(), active, who_);
    charge(Space::shared, cost);
    return;
  }
  if (i.kind == Kind::parameter) {
    const Register places = registers_[size_t(i.src[0])];
    for (int v = 0; v < i.vector; ++v)
      for (int l = 0; l < kLanes; ++l) {
        if (!(active >> l & 1)) continue;
        const auto* from = reinterpret_cast<const unsigned char*>(places[l]);
        uint64_t value = 0;
        std::memcpy(&value, from + i.offset + v * i.bytes, i.bytes);
        registers_[size_t(i.dst[v])][l] = value;
      }
    return;
  }
  const bool store = i.kind == Kind::store;
  const Register& base = registers_[size_t(store ? i.dst[0] : i.src[0])];
  uint64_t address[kLanes];
  for (int l = 0; l < kLanes; ++l) address[l] = base[l] + uint64_t(i.offset);
  const int bytes = i.bytes * i.vector;
  Space space = i.space;
  if (space == Space::generic && address[__builtin_ctz(active)] >= kSharedWindow)
    charge(Space::shared, block.memory.access(address, active, bytes, space, store, who_));
  else charge(space, block.memory.access(address, active, bytes, space, store, who_));
  for (int v = 0; v < i.vector; ++v)
    for (int l = 0; l < kLanes; ++l) {
      if (!(active >> l & 1)) continue;
      auto* at = reinterpret_cast<unsigned char*>(address[l]) + v * i.bytes;
      if (store) {
        std::memcpy(at, &registers_[size_t(i.src[v])][l], i.bytes);
        continue;
      }
      uint64_t value = 0;
      std::memcpy(&value, at, i.bytes);
      if (i.is_signed && i.bytes < 8) {
        const int shift = 64 - 8 * i.bytes;
        value = uint64_t(int64_t(value << shift) >> shift);
      }
      registers_[size_t(i.dst[v])][l] = value;
    }
}

}  // namespace ptx
