#include "cpu/recycled.h"

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <new>

#include "cpu/pages.h"

namespace edt {
namespace {

struct Free {
  void* p;
  size_t size;
};

struct Store {
  std::mutex lock;
  std::deque<Free> free;  // the oldest first
  size_t bytes = 0;
  pid_t owner = getpid();
};
std::atomic<Store*> store{nullptr};

// After a fork the lock may be held by a thread that no longer exists: the child starts anew.
Store& own_store() {
  Store* s = store.load(std::memory_order_acquire);
  if (s && s->owner == getpid()) return *s;
  Store* mine = new Store();
  if (store.compare_exchange_strong(s, mine)) return *mine;
  delete mine;
  return *store.load(std::memory_order_acquire);
}

size_t room(size_t bytes) {
  constexpr size_t kHuge = size_t(2) << 20;
  if (bytes > size_t(PTRDIFF_MAX)) throw std::bad_alloc();
  return (bytes + kHuge - 1) / kHuge * kHuge;
}

}  // namespace

void* take_recycled(size_t bytes) {
  const size_t size = room(bytes);
  Store& s = own_store();
  {
    std::lock_guard<std::mutex> hold(s.lock);
    // The latest, which may still be in the cache.
    for (auto at = s.free.rbegin(); at != s.free.rend(); ++at)
      if (at->size == size) {
        void* p = at->p;
        s.free.erase(std::next(at).base());
        s.bytes -= size;
        return p;
      }
  }
  void* p = std::aligned_alloc(size_t(2) << 20, size);
  if (!p) throw std::bad_alloc();
  prefer_huge_pages(p, size);
  return p;
}

void give_recycled(void* p, size_t bytes) noexcept {
  const size_t size = room(bytes);
  // What is too large to be kept would drive out all the others.
  if (size > kKept) return std::free(p);
  Store& s = own_store();
  std::lock_guard<std::mutex> hold(s.lock);
  try {
    s.free.push_back({p, size});
  } catch (const std::bad_alloc&) {
    return std::free(p);
  }
  s.bytes += size;
  while (s.bytes > kKept) {
    std::free(s.free.front().p);
    s.bytes -= s.free.front().size;
    s.free.pop_front();
  }
}

}  // namespace edt
