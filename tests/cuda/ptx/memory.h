// Memory of the PTX machine: shared memory of a block and global memory, every access checked.
//
//   alignment   of every access to its size
//   bounds      shared: the launch's bytes; global: ranges that were told (allow), where any were
//   left        shared memory of a block that is done
//   unwritten   shared bytes that nobody has stored to, or whose asynchronous copy is under way
//   races       two threads at one address, one of them writing, without a barrier between them
//               (shared) or in one launch without one (global; blocks of different clusters never
//               have any)
//
// The shared memory of another block of the cluster may be read. What a thread does before it
// arrives at a barrier of the cluster comes before what any does after waiting there.
#pragma once
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "machine.h"

namespace ptx {

//! Where shared memory begins in its own space, as on a device; null is not in it.
constexpr int64_t kSharedBase = 1024;
//! Where it appears among generic addresses.
constexpr uint64_t kSharedWindow = uint64_t(1) << 56;
//! Distance of the blocks' shared memories in the cluster's space; a block's own comes first, as
//! what its own space calls it, then that of rank 0.
constexpr int kClusterShift = 24;

//! Global memory that may be touched from `begin` on; of several announcements the longest counts.
void allow(uint64_t begin, uint64_t bytes);
void forget(uint64_t begin, uint64_t bytes);

//! What a warp's access cost.
struct Cost {
  int wavefronts = 0, sectors = 0;
};

//! Who accesses memory: the first thread of a warp; barriers of the cluster that the warp has
//! arrived at and waited for, counted over all launches.
struct Who {
  int first = 0;
  uint32_t arrived = 0, waited = 0;
};

//! What a block sees; the memory of its cluster's blocks, by rank, is told at its beginning.
struct GlobalMark;
class Memory {
 public:
  static void begin_launch();
  void begin_block(int block, int64_t shared, const std::vector<Memory*>& cluster);
  void barrier() { ++epoch_; }
  void leave() { gone_ = true; }

  //! Addresses of the active lanes become host addresses, after all checks.
  Cost access(uint64_t* address, uint32_t active, int bytes, Space space, bool store,
              const Who& who);
  //! 16 bytes to shared memory, or zeros, there after await().
  Cost copy(const uint64_t* to, const uint64_t* from, const uint64_t* bytes, uint32_t active,
            const Who& who);
  void await(uint32_t active, const Who& who);

 private:
  // Epochs are those of the block's barriers; *_after: barriers of the cluster that whoever did it
  // had arrived at, the most of several.
  struct Mark {
    uint32_t written = 0, read = 0;
    uint32_t written_after = 0, read_after = 0, others_after = 0;  // others: other blocks' reads
    int16_t writer = -1, reader = -1;
  };
  struct Copy {
    int64_t to;
    uint64_t from;
    int thread;
    bool real;
  };
  void check_place(int64_t at, int bytes, bool store, int thread);
  void check_shared(int64_t at, int bytes, bool store, int thread, const Who& who);
  void check_other(int64_t at, int bytes, int thread, const Who& who);
  void check_global(uint64_t at, int bytes, bool store, int thread, const Who& who);
  void race(GlobalMark& mark, uint64_t at, bool store, int thread, const Who& who);

  std::vector<unsigned char> shared_, there_;
  std::vector<Mark> marks_;
  std::vector<Copy> copies_;
  std::vector<Memory*> cluster_;
  int block_ = 0;
  bool gone_ = false;  // its threads are done: others of the cluster may not read it
  uint32_t epoch_ = 1;
  uint64_t known_begin_ = 0, known_end_ = 0;  // the range found last
};

}  // namespace ptx
