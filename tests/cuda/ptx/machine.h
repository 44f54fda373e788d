// A machine for nvcc's PTX on one CPU thread: warps of 32 lanes that run one instruction after
// another together, as ptx_assemble.py has laid it out. What it checks: memory.h; what it counts:
// Tally.
//
// Lanes that part at a branch run apart, those deepest in calls and furthest behind first, until
// they stand at one place again. Shuffles, products of the tensor cores and barriers of a warp wait
// for all lanes of the warp, barriers for all warps of the block, those of a cluster for the warps
// of all of its blocks; waiting at different places is an error. Warps run one after another from
// barrier to barrier: what no barrier separates is found by address, not by order.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ptx {

constexpr int kLanes = 32;
constexpr uint32_t kAll = 0xffffffffu;
//! A register of a warp: 64 bits a lane, whatever its type.
using Register = std::array<uint64_t, kLanes>;

struct Instruction;
using Compute = void (*)(const Instruction&, Register*, uint32_t active);

//! What the machine itself does; everything else is `compute`.
enum class Kind : uint8_t {
  compute,
  branch,
  call,
  ret,
  barrier,
  cluster_arrive,
  cluster_wait,
  warp_barrier,
  shuffle,
  product,
  load,
  store,
  parameter,
  copy,
  await
};
enum class Space : uint8_t { global, shared, generic, cluster };

//! Most registers that an instruction reads: factors and sums of a product of 16 x 8 x 16.
constexpr int kOperands = 16;

struct Instruction {
  Compute compute = nullptr;
  Kind kind = Kind::compute;
  Space space = Space::global;
  // Of a load or store: of one number, how many; of a product: fours of samples, eights of rows.
  uint8_t bytes = 0, vector = 1;
  bool is_signed = false, negated = false;
  int predicate = -1;  // register, or none
  int dst[4] = {},
      src[kOperands] = {};  // registers; loads: dst, store: src, the address in src[0] / dst[0]
  int64_t offset = 0;       // of an address; target of a branch or call; parameter's number
  int line = 0;             // of the PTX
  int charge = 0;           // which of the kernel's
};

//! What instructions occupy, in 1/64 cycles, by scheduler of the multiprocessor: warp w of a block
//! belongs to w % kSchedulers. The order of pipes is that of ptx_rules.py.
constexpr int kPipes = 7, kSchedulers = 4, kMemory = 6;
using Pipes = std::array<int64_t, kPipes * kSchedulers>;

struct Kernel {
  std::string name;
  int most_threads = 1024, registers = 0;
  std::vector<std::pair<int, uint64_t>> constants;
  std::vector<std::pair<int, int>> arguments;    // registers that hold where they lie
  std::vector<std::array<int, kPipes>> charges;  // what instructions occupy
  std::vector<Instruction> code;
};

//! Registers that a warp finds filled: %tid.x, %ntid.x, %ctaid.x, %nctaid.x, %cluster_ctarank.
enum Special { kTid, kNtid, kCtaid, kNctaid, kClusterRank, kSpecials };

//! Counts of one kernel, over all launches since they were last taken.
struct Tally {
  int64_t launches = 0, blocks = 0, warps = 0, barriers = 0;
  int64_t shared_requests = 0, shared_wavefronts = 0;
  int64_t global_requests = 0, global_wavefronts = 0, global_sectors = 0;
  std::vector<int64_t> hits;  // by instruction, of warps
};
//! One launch, block by block.
struct Launched {
  std::string name;
  int threads;
  int64_t shared;
  int64_t grid;
  std::vector<Pipes> blocks;  // those that ran
};

struct Settings {
  bool checks = true;   // races, unwritten memory, bounds of global memory
  bool counts = false;  // keeps every launch, block by block
  int every = 1;        // runs every so manieth cluster (outside one, block) alone: a sample, whose
                        // results are nothing
  int skip_barrier = 0;  // line of a barrier to leave out: a seeded fault
  int capability = 90;   // of the card: which PTX of a kernel runs
};
Settings& settings();
//! Kernels by name and the capability that their PTX is for.
std::map<std::string, std::map<int, Kernel>>& kernels();
std::map<std::string, Tally>& tallies();
std::vector<Launched>& launched();
//! Products of 8 x 8 x 4 that warps have made on the tensor cores, and by how many instructions.
struct Products {
  int64_t eights = 0, instructions = 0;
};
Products& products();

//! Reads a program; see ptx_assemble.py.
void load(const std::string& path, int capability);
//! Runs a launch; throws std::runtime_error that says which instruction of which kernel failed.
void launch(const std::string& name, int grid, int threads, int64_t shared, void** arguments,
            int cluster = 1);
//! What "add.s32" and the like compute, or null.
Compute compute_of(const std::string& name);

}  // namespace ptx
