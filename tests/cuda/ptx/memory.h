// Memory of the PTX machine: shared memory of a block and global memory, every access checked.
//
//   alignment   of every access to its size
//   bounds      shared: the launch's bytes; global: ranges that were told (allow), where any were
//   unwritten   shared bytes that nobody has stored to, or whose asynchronous copy is under way
//   races       two threads at one address, one of them writing, without a barrier between them
//               (shared) or in one launch without one (global; blocks never have any)
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

//! Global memory that may be touched from `begin` on; of several announcements the longest counts.
void allow(uint64_t begin, uint64_t bytes);
void forget(uint64_t begin, uint64_t bytes);

//! What a warp's access cost.
struct Cost {
  int wavefronts = 0, sectors = 0;
};

class Memory {
 public:
  void begin_launch(int64_t shared);
  void begin_block(int block);
  void barrier() { ++epoch_; }

  //! Addresses of the active lanes become host addresses, after all checks.
  Cost access(uint64_t* address, uint32_t active, int bytes, Space space, bool store, int first);
  //! 16 bytes to shared memory, or zeros, there after await().
  Cost copy(const uint64_t* to, const uint64_t* from, const uint64_t* bytes, uint32_t active,
            int first);
  void await(uint32_t active, int first);

 private:
  struct Mark {
    uint32_t written = 0, read = 0;  // epochs
    int16_t writer = -1, reader = -1;
  };
  struct GlobalMark {
    uint32_t launch = 0, written = 0, read = 0;
    int write_block = -1, read_block = -1, writer = -1, reader = -1;
  };
  struct Copy {
    int64_t to;
    uint64_t from;
    int thread;
    bool real;
  };
  void check_shared(int64_t at, int bytes, bool store, int thread);
  void check_global(uint64_t at, int bytes, bool store, int thread);
  void race(GlobalMark& mark, uint64_t at, bool store, int thread);

  std::vector<unsigned char> shared_, there_;
  std::vector<Mark> marks_;
  std::unordered_map<uint64_t, GlobalMark> words_, bytes_;
  std::vector<Copy> copies_;
  int block_ = 0;
  uint32_t epoch_ = 1, launch_ = 0;
  uint64_t known_begin_ = 0, known_end_ = 0;  // the range found last
};

}  // namespace ptx
