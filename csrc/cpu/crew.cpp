#include "cpu/crew.h"

#include <algorithm>

#include "cpu/batch.h"
#include "cpu/chunks.h"

namespace edt {
namespace {

// Partial results of one network take at most this much memory where several threads form them.
constexpr size_t kSlotBytes = size_t(256) << 20;

}  // namespace

Loop::Loop(int64_t n, int slots, const Work& work, const Merge& merge, std::atomic<bool>& wanted)
    : n_(n), work_(work), merge_(merge), wanted_(wanted) {
  for (int k = slots - 1; k >= 0; --k) free_.push_back(k);
  if (slots > 0) ready_.assign(size_t(n), -1);
}

bool Loop::take(Scratch& scratch) {
  const bool merges = !ready_.empty();
  bool took = false;
  std::unique_lock<std::mutex> hold(lock_);
  for (;;) {
    // A turn gets its slot together with its number: the first that is not merged always has one.
    moved_.wait(hold, [&] { return error_ || claimed_ >= n_ || !merges || !free_.empty(); });
    if (error_ || claimed_ >= n_) return took;
    took = true;
    const int64_t k = claimed_++;
    if (claimed_ == n_) {
      wanted_.store(false);
      moved_.notify_all();
    }
    int slot = -1;
    if (merges) {
      slot = free_.back();
      free_.pop_back();
    }
    hold.unlock();
    std::exception_ptr error;
    try {
      const Scratch::Hold hold_scratch{scratch};
      work_(k, slot, scratch);
    } catch (...) {
      error = std::current_exception();
    }
    hold.lock();
    if (error) {
      if (!error_) error_ = error;
      ended_.store(true);
      wanted_.store(false);
      moved_.notify_all();
      return took;
    }
    if (merges) {
      ready_[size_t(k)] = slot;
      if (!merging_) merge_ready(hold);
    } else if (++merged_ == n_) {
      ended_.store(true);
      moved_.notify_all();
    }
  }
}

// Outside the lock: others go on working, and leave what they finish to the one that merges.
void Loop::merge_ready(std::unique_lock<std::mutex>& hold) {
  merging_ = true;
  while (merged_ < n_ && ready_[size_t(merged_)] >= 0 && !error_) {
    const int slot = ready_[size_t(merged_)];
    hold.unlock();
    merge_(merged_, slot);
    hold.lock();
    ++merged_;
    free_.push_back(slot);
    if (merged_ == n_) {
      ended_.store(true);
      moved_.notify_all();
    } else moved_.notify_one();
  }
  merging_ = false;
}

void Loop::wait() {
  // The last turns end within microseconds of each other, sooner than a sleeper wakes.
  for (int look = 0; look < kLooks && !ended_.load(std::memory_order_relaxed); ++look)
    pause_thread();
  std::unique_lock<std::mutex> hold(lock_);
  moved_.wait(hold, [&] { return error_ || merged_ == n_; });
}

bool Crew::idle() const { return batch_ && batch_->idle(); }

int Crew::parts(double work, int most, double least) const {
  const double parts = std::min(work / least, 4.0 * threads_);
  return int(std::min(parts, double(most)));
}

int Crew::slots(size_t bytes) const {
  const size_t room = kSlotBytes / std::max<size_t>(bytes, 1);
  return int(std::clamp<size_t>(room, 1, size_t(2 * threads_)));
}

void Crew::share(int64_t n, int slots, const Loop::Work& work, const Loop::Merge& merge) {
  if (!batch_ || threads_ == 1) {
    for (int64_t k = 0; k < n; ++k) {
      {
        const Scratch::Hold hold{scratch};
        work(k, 0, scratch);
      }
      if (slots > 0) merge(k, 0);
    }
    return;
  }
  Loop loop(n, slots, work, merge, offer_->wanted);
  offer_->loop.store(&loop);
  offer_->wanted.store(true);
  batch_->call_helpers();
  loop.take(scratch);
  loop.wait();
  offer_->wanted.store(false);
  offer_->loop.store(nullptr);
  // Whoever saw the loop is about to leave it.
  while (offer_->inside.load() != 0) pause_thread();
  loop.rethrow();
}

}  // namespace edt
