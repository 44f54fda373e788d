// Many threads call the core at once, as Python threads do: every call must give the bits it gives
// alone, while others run, change the number of threads, stop, fail or fork. ThreadSanitizer
// watches.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <stdexcept>
#include <thread>

#include "cases.h"
#include "cpu/pool.h"

namespace {

constexpr int kCallers = 4;

void at_once(const std::function<void(int)>& body) {
  std::vector<std::thread> callers;
  for (int t = 0; t < kCallers; ++t) callers.emplace_back(body, t);
  for (auto& caller : callers) caller.join();
}

template <class T>
void test_calls(const std::string& name, const Case& c, bool matrices = true) {
  const edt::Plan plan(c.widths.data(), c.B(), c.depth + 2, true, c.state.data(),
                       int64_t(c.total()));
  const edt::Dataset data = make_data<T>(c);
  const edt::Call call{plan, data, c.index.data(), code_of(c.nets[0].act), nullptr, never};
  const std::vector<T> theta = as<T>(c.theta);
  edt::set_num_threads(1);
  const auto alone = everything<T>(call, theta, matrices);
  std::atomic<int> different{0};
  at_once([&](int t) {
    for (int k = 0; k < 3; ++k) {
      edt::set_num_threads(1 + (t + k) % 3);
      if (everything<T>(call, theta, matrices) != alone) ++different;
    }
  });
  check(different == 0, name + ": callers at once get the bits of one alone");
}

// On the calling thread, with the caller among the workers, and beside them.
constexpr double kWork[] = {1.0, 1e6, 1e12};

void test_pool() {
  std::atomic<int> wrong{0};
  at_once([&](int t) {
    for (int k = 0; k < 20; ++k) {
      std::vector<int> hits(50, 0);
      const auto item = [&](int64_t i, edt::Crew&) { ++hits[size_t(i)]; };
      const bool done = edt::parallel_for(50, kWork[k % 3], false, item, never);
      wrong += !done || std::any_of(hits.begin(), hits.end(), [](int h) { return h != 1; });
      try {
        edt::parallel_for(
            50, kWork[k / 3 % 3], false,
            [t](int64_t i, edt::Crew&) {
              if (i == t) throw std::runtime_error(std::to_string(t));
            },
            never);
        ++wrong;
      } catch (const std::runtime_error& e) {
        wrong += e.what() != std::to_string(t);
      }
    }
  });
  check(wrong == 0, "each caller gets its own items and exceptions");

  // Loops that the threads share, of several items and callers at once.
  at_once([&](int t) {
    for (int k = 0; k < 20; ++k) {
      edt::set_num_threads(1 + (t + k) % 4);
      std::vector<std::vector<int>> orders(3);
      edt::parallel_for(
          3, kWork[1 + k % 2], true,
          [&](int64_t i, edt::Crew& crew) {
            std::vector<int> parts(2);
            crew.share(
                30, 2,
                [&](int64_t turn, int slot, edt::Scratch&) { parts[size_t(slot)] = int(turn); },
                [&](int64_t, int slot) { orders[size_t(i)].push_back(parts[size_t(slot)]); });
          },
          never);
      for (const auto& order : orders) {
        wrong += order.size() != 30;
        for (size_t turn = 0; turn < order.size(); ++turn) wrong += order[turn] != int(turn);
      }
    }
  });
  check(wrong == 0, "turns of shared loops are merged in their order");

  // One caller stops (poll asks 0.1 s later); the others go on.
  std::atomic<int> stopped{0}, finished{0};
  at_once([&](int t) {
    const bool whole = edt::parallel_for(
        8, 1e12, false,
        [&](int64_t, edt::Crew& crew) {
          for (int k = 0; t == 0 && k < 3000 && !crew.cancel.load(); ++k) usleep(1000);
        },
        [t] { return t == 0; });
    (whole ? finished : stopped) += 1;
  });
  check(stopped == 1 && finished == kCallers - 1, "a stop is for the caller that asked");
}

// A child is forked while other threads use the pool; it starts a pool of its own.
void test_fork() {
  std::atomic<bool> over{false};
  std::thread busy([&] {
    while (!over)
      edt::parallel_for(4, 1e12, false, [](int64_t, edt::Crew&) { usleep(200); }, never);
  });
  bool well = true;
  for (int k = 0; k < 5; ++k) {
    const pid_t child = fork();
    if (child == 0) {
      std::atomic<int> sum{0};
      edt::parallel_for(
          10, kWork[1 + k % 2], false, [&](int64_t i, edt::Crew&) { sum += int(i); }, never);
      _exit(sum == 45 ? 0 : 1);
    }
    int code = -1;
    waitpid(child, &code, 0);
    well &= WIFEXITED(code) && WEXITSTATUS(code) == 0;
  }
  over = true;
  busy.join();
  check(well, "children forked while the pool works have one of their own");
}

}  // namespace

int main() {
  test_pool();
  test_fork();
  // With work enough that the pool does it, not the calling thread; and one with loops to share.
  // One type each: it makes no race.
  test_calls<double>("many networks", dense_case(1500, {{6}, {7}, {8}, {9}, {10}, {11}}, false));
  test_calls<float>("many samples", dense_case(9000, {{5}}, false));
  // One chunk: sums of blocks, and ranges of the gradient over blocks.
  test_calls<float>("sums of blocks", dense_case(700, {{64, 48}}, false), false);
  test_calls<double>("ranges of the gradient", dense_case(3500, {{24, 20}}, true), false);
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
