#include "cpu/pool.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "cpu/batch.h"

namespace edt {
namespace {

// Below this many operations waking a thread costs more than it gives (about 0.1 ms of work); where
// one thread would do it all anyway, the caller does it, unless Ctrl-C would have to wait; and up
// to the same amount it takes part.
constexpr double kInlineWork = 4e5, kInlineAlone = 4e7;
constexpr auto kPollEvery = std::chrono::milliseconds(100);

Scratch& caller_scratch() {
  thread_local Scratch scratch;
  return scratch;
}

class Pool {
 public:
  explicit Pool(int threads) : owner_(getpid()) {
    for (int t = 0; t < threads; ++t) workers_.emplace_back([this, t] { loop(t); });
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

  // The caller is thread 0: by the time that a worker wakes, much of a short batch is done. Workers
  // that come too late find nothing.
  void run_short(Batch& batch) {
    start(batch, true, 0);
    batch.work(0, caller_scratch());
    std::unique_lock<std::mutex> hold(lock_);
    batch_ = nullptr;
    done_.wait(hold, [this] { return busy_ == 0; });
  }

  // The caller sleeps, and wakes to look for Ctrl-C.
  void run(Batch& batch, const std::function<bool()>& poll) {
    start(batch, false, size());
    std::unique_lock<std::mutex> hold(lock_);
    while (busy_ > 0) {
      if (done_.wait_for(hold, kPollEvery, [this] { return busy_ == 0; })) break;
      hold.unlock();
      polling() = true;
      if (poll()) batch.stop();
      polling() = false;
      hold.lock();
    }
    batch_ = nullptr;
  }

  // Of the calling thread: a handler of signals that runs in there may call edt, while the turn of
  // the pool is this very thread's.
  static bool& polling() {
    thread_local bool now = false;
    return now;
  }

 private:
  void start(Batch& batch, bool with_caller, int busy) {
    std::lock_guard<std::mutex> hold(lock_);
    batch_ = &batch;
    with_caller_ = with_caller;
    busy_ = busy;
    ++generation_;
    wake_.notify_all();
  }

  void loop(int me) {
    Scratch scratch;
    uint64_t seen = 0;
    std::unique_lock<std::mutex> hold(lock_);
    for (;;) {
      wake_.wait(hold, [&] { return stop_ || generation_ != seen; });
      if (stop_) return;
      seen = generation_;
      Batch* batch = batch_;
      if (with_caller_) {
        if (!batch || me == 0) continue;
        batch->enter();
        ++busy_;
      }
      hold.unlock();
      batch->work(me, scratch);
      hold.lock();
      if (--busy_ == 0) done_.notify_all();
    }
  }

  pid_t owner_;
  std::vector<std::thread> workers_;
  std::mutex lock_;
  std::condition_variable wake_, done_;
  Batch* batch_ = nullptr;
  bool with_caller_ = false;
  int busy_ = 0;  // workers that hold the batch
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

bool parallel_for(int64_t n, double work, bool shares,
                  const std::function<void(int64_t, Crew&)>& body,
                  const std::function<bool()>& poll) {
  if (n <= 0) return true;
  const int threads = num_threads();
  const bool is_short = work < kInlineAlone;
  const bool alone = threads == 1 || (n == 1 && !shares);
  if (Pool::polling() || (alone ? is_short : work < kInlineWork)) {
    Batch batch(n, body, 1, 1);
    batch.work_alone(caller_scratch());
    batch.rethrow();
    return !batch.stopped();
  }
  Shared& s = shared_state();
  std::lock_guard<std::mutex> hold(s.turn);
  if (!s.pool || s.pool->size() != threads) s.pool = std::make_unique<Pool>(threads);
  Batch batch(n, body, threads, is_short ? 1 : threads);
  if (is_short) s.pool->run_short(batch);
  else s.pool->run(batch, poll);
  batch.rethrow();
  return !batch.stopped();
}

}  // namespace edt
