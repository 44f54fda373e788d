// Work without the interpreter lock, in threads that may outlive the interpreter.
//
// Python up to 3.13 ends a daemon thread that wants the lock of an interpreter that shuts down by
// pthread_exit, for which glibc unwinds the stack. At the first frame that must not throw, such as
// a destructor, that is std::terminate. Two things keep threads from it. Where the core takes the
// lock back, the unwinding is caught and the thread waits until the process ends under it, which is
// what Python does from 3.14 on. And shortly before, threads that come back from the core are held
// there, so that none is caught in somebody else's bindings.
#pragma once
#include <pybind11/pybind11.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace edt {

using Clock = std::chrono::steady_clock;

// Whether this is the thread that runs signal handlers and exit handlers: one alone, which may be
// another one after a fork. Needs the lock.
inline bool main_thread() {
  static pid_t process = 0;
  static unsigned long main = 0;
  if (process != getpid()) {
    const auto thread = pybind11::module_::import("threading").attr("main_thread")();
    main = thread.attr("ident").cast<unsigned long>();
    process = getpid();
  }
  return PyThread_get_thread_ident() == main;
}

// Other threads stay in the core until then; when the last of them left it.
inline std::atomic<Clock::time_point> held_until{Clock::time_point::min()};
inline std::atomic<Clock::time_point> last_left{Clock::time_point::min()};

// Releases the lock for its lifetime, as py::gil_scoped_release does.
class Unlocked {
 public:
  Unlocked() : main_(main_thread()), thread_(PyEval_SaveThread()) {}
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;
  ~Unlocked() {
    if (!main_) std::this_thread::sleep_until(held_until.load());
    try {
      PyEval_RestoreThread(thread_);
    } catch (...) {
      for (;;) pause();
    }
    if (!main_) last_left.store(Clock::now());
  }

 private:
  const bool main_;
  PyThreadState* const thread_;
};

// To be called when the interpreter is about to end. Exit handlers still to come may wait for a
// thread that is held, so it is let go after a second. Who has left the core a moment ago is
// probably on the way back and gets the time for it.
inline void hold_threads() {
  using namespace std::chrono_literals;
  held_until.store(Clock::now() + 1s);
  const Unlocked here;
  while (Clock::now() < last_left.load() + 50ms) std::this_thread::sleep_for(1ms);
}

}  // namespace edt
