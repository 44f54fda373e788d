// Fresh memory that a call is about to fill.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace edt {

// Fresh memory comes a page at a time, on first touch: about 0.3 us for 4 KiB, which for large
// matrices takes as long as computing them. Asks for 2 MiB pages where that is worth it.
inline void prefer_huge_pages(void* p, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t kHuge = uintptr_t(2) << 20;
  const uintptr_t first = (uintptr_t(p) + kHuge - 1) / kHuge * kHuge;
  const uintptr_t end = (uintptr_t(p) + bytes) / kHuge * kHuge;
  // A kernel without them refuses, and nothing is lost.
  if (end > first) (void)madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#else
  (void)p;
  (void)bytes;
#endif
}

// Memory in 2 MiB pages where there are such, kept for the next call of this thread: kernels that
// hop among many rows miss the nearest table of pages at every hop otherwise.
class HugePages {
 public:
  // At least so many bytes, of unknown contents; what was given before is gone.
  void* take(size_t bytes) {
    constexpr size_t kHuge = size_t(2) << 20;
    if (bytes > size_) {
      size_ = 0;
      room_.reset();
      const size_t size = (bytes + kHuge - 1) / kHuge * kHuge;
      room_.reset(std::aligned_alloc(kHuge, size));
      if (!room_) throw std::bad_alloc();
      prefer_huge_pages(room_.get(), size);
      size_ = size;
    }
    return room_.get();
  }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> room_;
  size_t size_ = 0;
};

// Makes a fresh buffer ready for square matrices of `sizes` rows at `offsets` (one more than there
// are matrices): entries between them become 0.
inline void prepare_matrices(char* out, int64_t item, const int64_t* offsets, const int64_t* sizes,
                             int64_t n) {
  prefer_huge_pages(out, size_t(offsets[n] * item));
  for (int64_t b = 0; b < n; ++b) {
    const int64_t used = offsets[b] + sizes[b] * sizes[b];
    if (used < offsets[b + 1])
      std::memset(out + used * item, 0, size_t(offsets[b + 1] - used) * item);
  }
}

}  // namespace edt
