#include "cpu/team.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "cpu/pool.h"

namespace edt {
namespace {

// Less work than this (some 30 us) is done before the others have begun.
constexpr double kAlone = 1e5;
constexpr auto kPollEvery = std::chrono::milliseconds(100);

std::atomic<StartTeam> team{nullptr};
std::atomic<pid_t> owner{0};

// The same number in every loop for each thread that has ever been in one.
size_t own_number() {
  static std::atomic<size_t> threads{0};
  thread_local const size_t number = threads.fetch_add(1, std::memory_order_relaxed);
  return number;
}

struct Work {
  Work(int64_t n_, int64_t threads, const std::function<void(int64_t)>& body_,
       const std::function<bool()>& poll_)
      : n(n_), body(body_), poll(poll_), shares(size_t(threads)) {
    for (int64_t k = 0; k < threads; ++k) {
      shares[size_t(k)].next.store(k * n / threads, std::memory_order_relaxed);
      shares[size_t(k)].end = (k + 1) * n / threads;
    }
  }

  // What each thread does: its own share, so that it meets the samples that it had in the layer
  // before, whose images may be in its cache; then what is left of the others'.
  void run() {
    const size_t others = std::max<size_t>(1, shares.size() - 1);
    const size_t first = std::this_thread::get_id() == caller ? 0 : 1 + own_number() % others;
    for (size_t k = 0; k < shares.size(); ++k) run(shares[(first + k) % shares.size()]);
  }

  struct alignas(64) Share {
    std::atomic<int64_t> next;
    int64_t end;
  };

  // The caller also looks for Ctrl-C.
  void run(Share& share) {
    const bool asks = std::this_thread::get_id() == caller;
    auto asked = std::chrono::steady_clock::now();
    while (!stopped.load(std::memory_order_relaxed)) {
      const int64_t i = share.next.fetch_add(1, std::memory_order_relaxed);
      if (i >= share.end) return;
      try {
        body(i);
        if (asks && std::chrono::steady_clock::now() - asked > kPollEvery) {
          if (poll()) stopped.store(true);
          asked = std::chrono::steady_clock::now();
        }
      } catch (...) {
        std::lock_guard<std::mutex> hold(lock);
        if (!error) error = std::current_exception();
        stopped.store(true);
      }
    }
  }

  const int64_t n;
  const std::function<void(int64_t)>& body;
  const std::function<bool()>& poll;
  const std::thread::id caller = std::this_thread::get_id();
  std::vector<Share> shares;
  std::atomic<bool> stopped{false};
  std::mutex lock;
  std::exception_ptr error;
};

}  // namespace

void set_team(StartTeam start) {
  owner.store(getpid());
  team.store(start);
}

bool team_for(int64_t n, double work, const std::function<void(int64_t)>& body,
              const std::function<bool()>& poll) {
  const StartTeam start = team.load();
  if (!start || owner.load() != getpid())
    return parallel_for(n, work, false, [&](int64_t i, Crew&) { body(i); }, poll);
  if (n < 1) return true;
  const int64_t threads = work < kAlone ? 1 : std::clamp<int64_t>(num_threads(), 1, n);
  Work all(n, threads, body, poll);
  // Always as many as PyTorch has, so that the team stays as it is from call to call.
  if (threads > 1)
    start([](void* data) { static_cast<Work*>(data)->run(); }, &all, unsigned(num_threads()), 0);
  else all.run();
  if (all.error) std::rethrow_exception(all.error);
  return !all.stopped.load();
}

}  // namespace edt
