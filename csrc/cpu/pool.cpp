#include "cpu/pool.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

namespace edt {
namespace {

// Below this many operations waking a thread costs more than it gives (about 0.1 ms of work); where
// one thread would do it all anyway, the caller does it, unless Ctrl-C would have to wait.
constexpr double kInlineWork = 4e5, kInlineAlone = 4e7;
constexpr auto kPollEvery = std::chrono::milliseconds(100);

struct Batch {
  int64_t n = 0;
  const std::function<void(int64_t, Scratch&, const CancelFlag&)>* body = nullptr;
  std::atomic<int64_t> next{0};
  CancelFlag cancel{false};
  std::exception_ptr error;
  std::mutex error_lock;

  void work(Scratch& scratch) {
    for (;;) {
      if (cancel.load(std::memory_order_relaxed)) return;
      const int64_t i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= n) return;
      try {
        (*body)(i, scratch, cancel);
      } catch (...) {
        std::lock_guard<std::mutex> hold(error_lock);
        if (!error) error = std::current_exception();
        cancel.store(true);
      }
    }
  }
};

class Pool {
 public:
  explicit Pool(int threads) : owner_(getpid()) {
    for (int t = 0; t < threads; ++t) workers_.emplace_back([this] { loop(); });
  }
  ~Pool() {
    {
      std::lock_guard<std::mutex> hold(lock_);
      stop_ = true;
    }
    wake_.notify_all();
    for (auto& w : workers_) w.join();
  }
  int size() const { return int(workers_.size()); }
  pid_t owner() const { return owner_; }

  void run(Batch& batch, const std::function<bool()>& poll) {
    std::unique_lock<std::mutex> hold(lock_);
    batch_ = &batch;
    busy_ = size();
    ++generation_;
    wake_.notify_all();
    while (busy_ > 0) {
      if (done_.wait_for(hold, kPollEvery, [this] { return busy_ == 0; })) break;
      hold.unlock();
      if (poll()) batch.cancel.store(true);
      hold.lock();
    }
    batch_ = nullptr;
  }

 private:
  void loop() {
    Scratch scratch;
    uint64_t seen = 0;
    std::unique_lock<std::mutex> hold(lock_);
    for (;;) {
      wake_.wait(hold, [&] { return stop_ || generation_ != seen; });
      if (stop_) return;
      seen = generation_;
      Batch* batch = batch_;
      hold.unlock();
      batch->work(scratch);
      hold.lock();
      if (--busy_ == 0) done_.notify_all();
    }
  }

  pid_t owner_;
  std::vector<std::thread> workers_;
  std::mutex lock_;
  std::condition_variable wake_, done_;
  Batch* batch_ = nullptr;
  int busy_ = 0;
  uint64_t generation_ = 0;
  bool stop_ = false;
};

std::atomic<int> wanted{0};
// One call at a time uses the pool; a second caller waits. Replaced after a fork, where the lock
// may have been held by a thread that no longer exists.
struct Shared {
  std::mutex turn;
  std::unique_ptr<Pool> pool;
  pid_t owner = getpid();
};
std::atomic<Shared*> shared{nullptr};

Shared& shared_state() {
  Shared* s = shared.load(std::memory_order_acquire);
  if (s && s->owner == getpid()) return *s;
  // The parent's threads do not exist in the child: its pool is left behind, not joined.
  Shared* mine = new Shared();
  if (shared.compare_exchange_strong(s, mine)) return *mine;
  delete mine;
  return *shared.load(std::memory_order_acquire);
}

}  // namespace

int num_threads() {
  const int n = wanted.load();
  return n > 0 ? n : std::max(1u, std::thread::hardware_concurrency());
}

void set_num_threads(int n) {
  if (n < 1)
    throw std::invalid_argument("the number of threads must be at least 1, got " +
                                std::to_string(n));
  wanted.store(n);
}

bool parallel_for(int64_t n, double work,
                  const std::function<void(int64_t, Scratch&, const CancelFlag&)>& body,
                  const std::function<bool()>& poll) {
  if (n <= 0) return true;
  Batch batch;
  batch.n = n;
  batch.body = &body;
  if (work < kInlineWork || (work < kInlineAlone && (n == 1 || num_threads() == 1))) {
    thread_local Scratch scratch;
    batch.work(scratch);
  } else {
    Shared& s = shared_state();
    std::lock_guard<std::mutex> hold(s.turn);
    const int threads = num_threads();
    if (!s.pool || s.pool->size() != threads) s.pool = std::make_unique<Pool>(threads);
    s.pool->run(batch, poll);
  }
  if (batch.error) std::rethrow_exception(batch.error);
  return !batch.cancel.load();
}

}  // namespace edt
