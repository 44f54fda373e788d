#include "cpu/team.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <thread>

#include "cpu/pool.h"

namespace edt {
namespace {

// Less work than this (some 30 us) is done before the others have begun.
constexpr double kAlone = 1e5;
constexpr auto kPollEvery = std::chrono::milliseconds(100);

std::atomic<StartTeam> team{nullptr};
std::atomic<pid_t> owner{0};

struct Work {
  Work(int64_t n_, const std::function<void(int64_t)>& body_, const std::function<bool()>& poll_)
      : n(n_), body(body_), poll(poll_) {}

  // What each thread does; the caller also looks for Ctrl-C.
  void run() {
    const bool asks = std::this_thread::get_id() == caller;
    auto asked = std::chrono::steady_clock::now();
    while (!stopped.load(std::memory_order_relaxed)) {
      const int64_t i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= n) return;
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
  std::atomic<int64_t> next{0};
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
  const int64_t threads = work < kAlone ? 1 : std::min<int64_t>(n, num_threads());
  Work all(n, body, poll);
  // Always as many as PyTorch has, so that the team stays as it is from call to call.
  if (threads > 1)
    start([](void* data) { static_cast<Work*>(data)->run(); }, &all, unsigned(num_threads()), 0);
  else all.run();
  if (all.error) std::rethrow_exception(all.error);
  return !all.stopped.load();
}

}  // namespace edt
