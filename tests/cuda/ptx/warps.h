// Warps and blocks of the PTX machine (machine.h) in themselves.
#pragma once
#include <string>
#include <vector>

#include "machine.h"
#include "memory.h"

namespace ptx {

enum class State : uint8_t { running, at_warp, at_barrier, at_cluster, done };

struct Lane {
  int at = 0, depth = 0;
  int back[4] = {};
  State state = State::running;
};

class Block;

class Warp {
 public:
  // Until every lane waits at a barrier or is done.
  void run(Block& block);
  void begin(const Kernel& kernel, int first, int threads, int block, int grid, int cluster,
             void** arguments);
  bool done() const;
  bool runs() const;
  // Where it waits, or -1 if it is done; throws if lanes wait at different places.
  int barrier() const;
  bool in_cluster() const { return lanes_[0].state == State::at_cluster; }
  void release();
  const Who& who() const { return who_; }

 private:
  // The lanes that run next, all at one place.
  uint32_t choose(int& at);
  void step(Block& block, uint32_t active, int at);
  bool together(uint32_t active, int at);
  void set(uint32_t active, int at);
  uint32_t where(const Instruction& i, uint32_t active) const;
  void memory(Block& block, const Instruction& i, uint32_t active);
  void shuffle(const Instruction& i);
  void product(const Instruction& i);
  void arrive(int line);
  // Whether it waits: not where it was made not to arrive.
  bool wait();

  const Kernel* kernel_ = nullptr;
  std::vector<Register> registers_;
  Lane lanes_[kLanes];
  Who who_;
  bool skipped_ = false;  // the barrier of the cluster that comes
  size_t scheduler_ = 0;  // times kPipes
};

class Block {
 public:
  void begin(const Kernel& kernel, Tally& tally, int block, int threads, int grid, int cluster,
             void** arguments);
  // Until all of it is done or waits for the cluster; false where it did so before.
  bool run();
  bool done() const;
  // Of the cluster's barriers, the one that all warps have arrived at; lets go who waits for it.
  uint32_t arrived() const;
  void release(uint32_t barrier);
  Memory memory;
  Tally* tally = nullptr;
  Pipes pipes{};

 private:
  std::vector<Warp> warps_;
  int number_ = 0, n_ = 0;
};

//! Barriers of clusters that warps have arrived at so far; each cluster counts on from there.
extern uint32_t latest_barrier;

}  // namespace ptx
