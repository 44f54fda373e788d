#include "cpu/batch.h"

#include <algorithm>

namespace edt {
void Batch::items(Crew& crew) {
  while (!cancel_.load(std::memory_order_relaxed)) {
    const int64_t i = next_.fetch_add(1, std::memory_order_relaxed);
    if (i >= n_) return;
    try {
      body_(i, crew);
    } catch (...) {
      std::lock_guard<std::mutex> hold(lock_);
      if (!error_) error_ = std::current_exception();
      cancel_.store(true);
    }
  }
}

void Batch::work_alone(Scratch& scratch) {
  Crew crew(scratch, cancel_);
  items(crew);
}

void Batch::work(int me, Scratch& scratch) {
  Crew crew(scratch, cancel_, *this, offers_[size_t(me)], threads_);
  items(crew);
  if (leaders_.fetch_sub(1) == 1) {
    std::lock_guard<std::mutex> hold(lock_);
    wake_.notify_all();
    return;
  }
  int looks = 0;
  while (leaders_.load() > 0) {
    if (help(me, scratch)) {
      looks = 0;
    } else if (++looks < kLooks) {
      pause_thread();
    } else {
      std::unique_lock<std::mutex> hold(lock_);
      asleep_.fetch_add(1);
      wake_.wait(hold, [this] { return leaders_.load() == 0 || offered(); });
      asleep_.fetch_sub(1);
      looks = 0;
    }
  }
}

bool Batch::offered() const {
  return std::any_of(offers_.begin(), offers_.end(),
                     [](const Offer& o) { return o.wanted.load(); });
}

bool Batch::help(int me, Scratch& scratch) {
  bool helped = false;
  // From the next thread on, so that helpers spread.
  for (int k = 1; k < threads_; ++k) {
    Offer& offer = offers_[size_t((me + k) % threads_)];
    if (!offer.wanted.load()) continue;
    offer.inside.fetch_add(1);
    // Counted as inside before it is asked for: a loop that is there now stays until we leave.
    if (Loop* loop = offer.loop.load()) {
      scratch.reset();
      helped |= loop->take(scratch);
    }
    offer.inside.fetch_sub(1);
  }
  return helped;
}

void Batch::call_helpers() {
  if (asleep_.load() == 0) return;
  std::lock_guard<std::mutex> hold(lock_);
  wake_.notify_all();
}

}  // namespace edt
