// One parallel_for at work: items in their order, and loops that those without an item share.
#pragma once
#include <thread>

#include "cpu/crew.h"

namespace edt {

inline void pause_thread() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// A thread that waits looks round this often (some 20 us) before it sleeps: the loops of one
// training step follow each other sooner than a sleeper wakes.
constexpr int kLooks = 400;

class Batch {
 public:
  using Body = std::function<void(int64_t, Crew&)>;

  // At first only `leaders` of the threads may take items; others enter() before they work().
  Batch(int64_t n, const Body& body, int threads, int leaders)
      : n_(n), body_(body), threads_(threads), offers_(size_t(threads)), leaders_(leaders) {}

  void enter() { leaders_.fetch_add(1); }
  // What thread `me` of them does: items, then others' loops until all items have ended.
  void work(int me, Scratch& scratch);
  // All items on the calling thread.
  void work_alone(Scratch& scratch);
  // Starts no further item.
  void stop() { cancel_.store(true); }
  // A loop is on offer: wakes those who wait for one.
  void call_helpers();
  bool idle() const { return leaders_.load(std::memory_order_relaxed) < threads_; }
  bool stopped() const { return cancel_.load(); }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void items(Crew& crew);
  bool help(int me, Scratch& scratch);
  bool offered() const;

  const int64_t n_;
  const Body& body_;
  const int threads_;
  std::vector<Offer> offers_;
  std::atomic<int64_t> next_{0};
  CancelFlag cancel_{false};
  std::atomic<int> leaders_;  // threads that may still have an item
  std::atomic<int> asleep_{0};
  std::mutex lock_;
  std::condition_variable wake_;
  std::exception_ptr error_;
};

}  // namespace edt
