// Loops on the threads of the OpenMP runtime that the caller has brought.
//
// Between two operations of PyTorch its threads wait for the next one without sleeping, for
// milliseconds: threads of our own would have to share the processor with them, and a layer in the
// middle of a network would run at half speed. The waiting threads take its loop at once instead.
// Nothing here is compiled with or linked to OpenMP: the runtime's own function starts the loop.
#pragma once
#include <cstdint>
#include <functional>

namespace edt {

// What compilers call where a parallel region begins (GOMP_parallel, of GNU's runtime and LLVM's):
// body(data) on so many threads, of which the caller is one; returns when all have ended.
using StartTeam = void (*)(void (*body)(void*), void* data, unsigned threads, unsigned flags);
void set_team(StartTeam start);

// body(i) for i = 0..n-1, as parallel_for of pool.h: where no team is known, by that; nor in the
// child of a fork, where the team's threads do not exist.
bool team_for(int64_t n, double work, const std::function<void(int64_t)>& body,
              const std::function<bool()>& poll);

}  // namespace edt
