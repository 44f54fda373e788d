#include "shim.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

EdtShimIndex threadIdx, blockIdx, blockDim, gridDim;

namespace edt_shim {
namespace {

constexpr int kWarp = 32;
constexpr size_t kStack = 128 * 1024;

//! Most numbers that a lane gives to a product of the tensor cores.
constexpr int kFragment = 3;

enum class State { ready, block_barrier, warp_barrier, cluster_barrier, done };

struct Fiber {
  std::unique_ptr<unsigned char[]> stack{new unsigned char[kStack]};
#if defined(__x86_64__)
  void* sp = nullptr;
#else
  ucontext_t context;
#endif
  void* fake_stack = nullptr;
  State state = State::ready;
  const void* site = nullptr;
  uint64_t slot = 0, seen = 0;  // value given to and taken from a shuffle
  int arrived = 0, waited = 0;  // barriers of the cluster
  int lane_xor = 0;             // negative: that many numbers of every lane instead
  double fragment[kFragment] = {};
  struct Copy {
    double* to;
    const double* from;
    bool real;
  };
  std::vector<Copy> copies;
};

struct Machine {
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<std::array<double, kFragment * kWarp>> fragments;  // of each warp
  int current = -1, threads = 0, first_block = 0;
  std::string fault;  // of a fiber, which cannot throw itself
  const std::function<void()>* body = nullptr;
  std::vector<std::vector<uint32_t>> shared;  // of each block of the cluster
  int64_t shared_bytes = 0;
  void* fake_stack = nullptr;
  const void* stack_bottom = nullptr;
  size_t stack_size = 0;
#if defined(__x86_64__)
  void* sp = nullptr;
#else
  ucontext_t context;
#endif
};
thread_local Machine machine;

#if defined(__x86_64__)
// Saves the callee-saved registers and the stack pointer to *from, continues at `to`.
extern "C" void edt_shim_switch(void** from, void* to);
asm(R"(
.text
.globl edt_shim_switch
.type edt_shim_switch, @function
edt_shim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size edt_shim_switch, .-edt_shim_switch
)");
#endif

void to_scheduler(Fiber& f) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(f.state == State::done ? nullptr : &f.fake_stack,
                                 machine.stack_bottom, machine.stack_size);
#endif
#if defined(__x86_64__)
  edt_shim_switch(&f.sp, machine.sp);
#else
  swapcontext(&f.context, &machine.context);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(f.fake_stack, &machine.stack_bottom, &machine.stack_size);
#endif
}

void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &machine.stack_bottom, &machine.stack_size);
#endif
  (*machine.body)();
  Fiber& f = *machine.fibers[machine.current];
  f.state = State::done;
  to_scheduler(f);
  std::abort();  // never resumed
}

void prepare(Fiber& f) {
  f.state = State::ready;
  f.fake_stack = nullptr;
  f.copies.clear();
  f.arrived = f.waited = 0;
#if defined(__x86_64__)
  auto top = reinterpret_cast<uintptr_t>(f.stack.get() + kStack) & ~uintptr_t(15);
  auto* sp = reinterpret_cast<void**>(top);
  *--sp = nullptr;  // so that the stack is aligned as after a call
  *--sp = reinterpret_cast<void*>(&fiber_main);
  for (int i = 0; i < 6; ++i) *--sp = nullptr;
  f.sp = sp;
#else
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.stack.get();
  f.context.uc_stack.ss_size = kStack;
  f.context.uc_link = nullptr;
  makecontext(&f.context, fiber_main, 0);
#endif
}

void resume(int t) {
  Fiber& f = *machine.fibers[t];
  machine.current = t;
  threadIdx = {unsigned(t % machine.threads), 0, 0};
  blockIdx = {unsigned(machine.first_block + t / machine.threads), 0, 0};
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&machine.fake_stack, f.stack.get(), kStack);
#endif
#if defined(__x86_64__)
  edt_shim_switch(&machine.sp, f.sp);
#else
  swapcontext(&machine.context, &f.context);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(machine.fake_stack, nullptr, nullptr);
#endif
}

const char* name(State s) {
  switch (s) {
    case State::block_barrier:
      return "at a barrier";
    case State::warp_barrier:
      return "at a shuffle";
    case State::cluster_barrier:
      return "at a barrier of the cluster";
    case State::done:
      return "finished";
    default:
      return "running";
  }
}

// Lets those go on whose barrier is complete; false if nobody could.
bool release(int blocks) {
  auto& fibers = machine.fibers;
  const int threads = machine.threads, all = blocks * threads;
  bool moved = false;
  for (int w = 0; w < all; w += kWarp) {
    const int end = w + kWarp;
    bool complete = true;
    for (int t = w; t < end; ++t)
      complete &= fibers[t]->state == State::warp_barrier &&
                  fibers[t]->lane_xor == fibers[w]->lane_xor && fibers[t]->site == fibers[w]->site;
    if (!complete) continue;
    // The lanes have read the last ones: all stand at the next product.
    const int numbers = -fibers[w]->lane_xor;
    for (int t = w; t < end && numbers > 0; ++t)
      std::copy_n(fibers[t]->fragment, numbers,
                  machine.fragments[size_t(w) / kWarp].data() + numbers * (t - w));
    tensor_products().low += numbers == 2;
    tensor_products().tall += numbers == 3;
    for (int t = w; t < end && numbers <= 0; ++t) {
      const int from = w + ((t - w) ^ fibers[t]->lane_xor);
      if (from >= end) throw std::runtime_error("a shuffle reads a lane that does not exist");
      fibers[t]->seen = fibers[from]->slot;
    }
    for (int t = w; t < end; ++t) fibers[t]->state = State::ready;
    moved = true;
  }
  for (int b = 0; b < blocks && !moved; ++b) {
    const auto first = fibers.begin() + b * threads, end = first + threads;
    if (!std::all_of(first, end, [&](const auto& f) {
          return f->state == State::block_barrier && f->site == (*first)->site;
        }))
      continue;
    std::for_each(first, end, [](const auto& f) { f->state = State::ready; });
    moved = true;
  }
  int least = machine.fibers[0]->arrived;
  for (int t = 0; t < all; ++t) least = std::min(least, fibers[t]->arrived);
  for (int t = 0; t < all; ++t) {
    if (fibers[t]->state != State::cluster_barrier || fibers[t]->waited > least) continue;
    fibers[t]->state = State::ready;
    moved = true;
  }
  return moved;
}

[[noreturn]] void diverged(const std::string& what, int block, int blocks) {
  std::string text = what + ": divergence in block " + std::to_string(block);
  if (blocks > 1) text += " and those of its cluster";
  text += ":";
  for (int t = 0, from = 0, all = blocks * machine.threads; t < all; ++t) {
    const Fiber &a = *machine.fibers[t], *b = t + 1 < all ? machine.fibers[t + 1].get() : nullptr;
    if (b && b->state == a.state && b->site == a.site) continue;
    text += " threads " + std::to_string(from) + ".." + std::to_string(t) + " " + name(a.state);
    from = t + 1;
  }
  throw std::runtime_error(text);
}

// All blocks of one cluster; outside one, a block alone.
void run_cluster(const std::string& what, int block, int blocks) {
  const int all = blocks * machine.threads;
  std::vector<int> order(all);
  for (int t = 0; t < all; ++t) {
    prepare(*machine.fibers[t]);
    order[t] = settings().order == Order::backward ? all - 1 - t : t;
  }
  std::mt19937_64 draw(settings().seed + uint64_t(block));
  for (;;) {
    if (settings().order == Order::shuffled) std::shuffle(order.begin(), order.end(), draw);
    for (int t : order)
      if (machine.fibers[t]->state == State::ready) resume(t);
    bool done = true;
    for (int t = 0; t < all; ++t) done &= machine.fibers[t]->state == State::done;
    if (!machine.fault.empty()) throw std::runtime_error(what + ": " + machine.fault);
    if (done) return;
    if (!release(blocks)) diverged(what, block, blocks);
  }
}

}  // namespace

Settings& settings() {
  static Settings s;
  return s;
}

unsigned char* shared_memory() {
  return reinterpret_cast<unsigned char*>(machine.shared[size_t(cluster_rank())].data());
}

void run(const std::string& what, int grid, int threads, int64_t shared,
         const std::function<void()>& body, int cluster) {
  if (threads < 1 || threads > 1024 || threads % kWarp != 0 || cluster < 1 || grid % cluster != 0)
    throw std::runtime_error(what + ": invalid launch");
  while (int(machine.fibers.size()) < cluster * threads)
    machine.fibers.push_back(std::make_unique<Fiber>());
  machine.fragments.resize(machine.fibers.size() / kWarp);
  machine.body = &body;
  machine.fault.clear();
  machine.threads = threads;
  machine.shared_bytes = shared;
  blockDim = {unsigned(threads), 1, 1};
  gridDim = {unsigned(grid), 1, 1};
  for (int block = 0; block < grid; block += cluster) {
    machine.first_block = block;
    // A quiet NaN as a float, a signalling one as a double, a wild index as an integer.
    machine.shared.assign(size_t(cluster),
                          std::vector<uint32_t>(size_t(shared + 3) / 4, 0x7ff4deadu));
    run_cluster(what, block, cluster);
  }
}

int cluster_rank() { return machine.current / machine.threads; }

void cluster_arrive() {
  Fiber& f = *machine.fibers[machine.current];
  if (f.arrived > f.waited) machine.fault = "a thread arrives twice at a barrier of the cluster";
  ++f.arrived;
}

void cluster_wait() {
  Fiber& f = *machine.fibers[machine.current];
  if (f.arrived == f.waited) machine.fault = "a thread waits at a barrier where it has not arrived";
  ++f.waited;
  f.state = State::cluster_barrier;
  f.site = nullptr;
  to_scheduler(f);
}

const void* in_block(const void* place, int rank) {
  const auto offset = static_cast<const unsigned char*>(place) - shared_memory();
  if (rank < 0 || rank >= int(machine.shared.size()) || offset < 0 ||
      offset >= machine.shared_bytes) {
    machine.fault = "a place in no block of the cluster";
    return place;
  }
  return reinterpret_cast<unsigned char*>(machine.shared[size_t(rank)].data()) + offset;
}

void block_barrier(const void* site) {
  Fiber& f = *machine.fibers[machine.current];
  f.state = State::block_barrier;
  f.site = site;
  to_scheduler(f);
}

uint64_t warp_exchange(const void* site, uint64_t value, int lane_xor) {
  Fiber& f = *machine.fibers[machine.current];
  f.state = State::warp_barrier;
  f.site = site;
  f.slot = value;
  f.lane_xor = lane_xor;
  to_scheduler(f);
  return f.seen;
}

void tensor_product(double* c, const double* own, int halves) {
  Fiber& f = *machine.fibers[machine.current];
  const int numbers = halves + 1, lane = machine.current % kWarp;
  std::copy_n(own, numbers, f.fragment);
  warp_exchange(nullptr, 0, -numbers);
  const double* all = machine.fragments[size_t(machine.current) / kWarp].data();
  for (int h = 0; h < halves; ++h)
    for (int k = 0; k < 4; ++k)
      for (int q = 0; q < 2; ++q) {
        const double a = all[numbers * (lane / 4 * 4 + k) + h];
        const double b = all[numbers * ((lane % 4 * 2 + q) * 4 + k) + halves];
        c[2 * h + q] = std::fma(a, b, c[2 * h + q]);
      }
}

TensorProducts& tensor_products() {
  static TensorProducts counts;
  return counts;
}

void copy_async(double* to, const double* from, bool real) {
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % 16 != 0)
    machine.fault = "an asynchronous copy that is not aligned";
  Fiber& f = *machine.fibers[machine.current];
  f.copies.push_back({to, from, real});
  // Whether a copy comes early or late must not matter.
  if (settings().order == Order::shuffled && f.copies.size() % 2 == 1) await_copies();
}

void await_copies() {
  for (const Fiber::Copy& copy : machine.fibers[machine.current]->copies)
    for (int i = 0; i < 2; ++i) copy.to[i] = copy.real ? copy.from[i] : 0.0;
  machine.fibers[machine.current]->copies.clear();
}

}  // namespace edt_shim
