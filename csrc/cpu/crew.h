// What a kernel may ask of the pool while it works on one network.
//
// A network with many samples is summed in chunks (chunks.h). Threads that find no further network
// take chunks of those still at work, so one network uses all cores, and so does the last of many.
// Which thread takes a chunk changes no bit: the sums of chunks are added in the order of chunks.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <vector>

#include "cpu/scratch.h"

namespace edt {

// Stop request shared by the items of one parallel_for; kernels look at it between steps.
using CancelFlag = std::atomic<bool>;

// A loop that several threads share.
class Loop {
 public:
  using Work = std::function<void(int64_t k, int slot, Scratch&)>;
  using Merge = std::function<void(int64_t k, int slot)>;

  // wanted: made false when no turn is left to take.
  Loop(int64_t n, int slots, const Work& work, const Merge& merge, std::atomic<bool>& wanted);
  // Takes turns until none is left; true if there was one.
  bool take(Scratch& scratch);
  // Returns when all turns have ended, or one has failed.
  void wait();
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void merge_ready(std::unique_lock<std::mutex>& hold);

  const int64_t n_;
  const Work& work_;
  const Merge& merge_;
  std::mutex lock_;
  std::condition_variable moved_;
  std::atomic<bool>& wanted_;
  std::atomic<bool> ended_{false};  // wait() need not wait
  int64_t claimed_ = 0, merged_ = 0;
  bool merging_ = false;
  std::vector<int> free_;   // slots, the one to take next last
  std::vector<int> ready_;  // of each turn: the slot that waits to be merged, or -1
  std::exception_ptr error_;
};

// Where one thread offers its loop.
struct alignas(64) Offer {
  std::atomic<Loop*> loop{nullptr};
  std::atomic<bool> wanted{false};  // turns are left
  std::atomic<int> inside{0};       // helpers that may hold the loop
};

class Batch;

class Crew {
 public:
  // Alone: nobody helps.
  Crew(Scratch& scratch_, const CancelFlag& cancel_) : scratch(scratch_), cancel(cancel_) {}
  Crew(Scratch& scratch_, const CancelFlag& cancel_, Batch& batch, Offer& offer, int threads)
      : scratch(scratch_), cancel(cancel_), batch_(&batch), offer_(&offer), threads_(threads) {}

  // Whether another thread has nothing to do just now.
  bool idle() const;
  // Parts of at least `least` multiply-adds to make of this many, at most `most`.
  int parts(double work, int most, double least) const;
  // Slots worth having for partial results of `bytes` each.
  int slots(size_t bytes) const;

  // work(k, slot, scratch) for k = 0..n-1, by this thread and all that have nothing else to do;
  // then merge(k, slot), one at a time and in the order of k. From its work to its merge a turn has
  // one of `slots` numbers for itself; without slots nothing is merged. What work takes from its
  // scratch is gone afterwards.
  void share(int64_t n, int slots, const Loop::Work& work, const Loop::Merge& merge = {});

  Scratch& scratch;
  const CancelFlag& cancel;

 private:
  Batch* batch_ = nullptr;
  Offer* offer_ = nullptr;
  int threads_ = 1;
};

}  // namespace edt
