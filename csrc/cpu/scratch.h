// Bump allocator: one per worker thread, 64-byte aligned, reused from network to network.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

namespace edt {

class Scratch {
 public:
  ~Scratch() {
    for (auto& c : chunks_) std::free(c.p);
  }
  void reset() {
    at_ = 0;
    used_ = 0;
  }
  // What was taken since the mark is given back.
  struct Mark {
    size_t at, used;
  };
  Mark mark() const { return {at_, used_}; }
  void release(const Mark& mark) {
    at_ = mark.at;
    used_ = mark.used;
  }
  // Gives back at its end what was taken meanwhile.
  struct Hold {
    Scratch& scratch;
    Mark mark = scratch.mark();
    ~Hold() { scratch.release(mark); }
  };
  template <class T>
  T* take(size_t n) {
    const size_t bytes = (n * sizeof(T) + 63) / 64 * 64;
    while (at_ < chunks_.size() && used_ + bytes > chunks_[at_].size) {
      ++at_;
      used_ = 0;
    }
    if (at_ == chunks_.size()) {
      const size_t size = bytes > kChunk ? bytes : kChunk;
      void* p = std::aligned_alloc(64, size);
      if (!p) throw std::bad_alloc();
      chunks_.push_back({p, size});
      used_ = 0;
    }
    T* out = reinterpret_cast<T*>(static_cast<char*>(chunks_[at_].p) + used_);
    used_ += bytes;
#if defined(EDT_POISON)
    // NaN, large, small, each time others: what is read unwritten changes some bits.
    std::memset(static_cast<void*>(out), poison_ += 41, bytes);
#endif
    return out;
  }

 private:
  static constexpr size_t kChunk = size_t(1) << 20;
  struct Chunk {
    void* p;
    size_t size;
  };
  std::vector<Chunk> chunks_;
  size_t at_ = 0, used_ = 0;
#if defined(EDT_POISON)
  unsigned char poison_ = 0xff;
#endif
};

}  // namespace edt
