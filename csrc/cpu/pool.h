// A thread pool of our own: no OpenMP, so it lives beside whatever runtime the caller brings.
//
// The calling thread sleeps while the workers work, and wakes a few times a second to ask `poll`
// whether to stop (that is how Ctrl-C is noticed). After a fork the child starts its own workers.
#pragma once
#include <cstdint>
#include <functional>

#include "cpu/crew.h"

namespace edt {

int num_threads();
void set_num_threads(int n);

// Calls body(i, crew) for i = 0..n-1 in this order of starting, on all threads. `work` is a rough
// number of operations in all: little work runs on the calling thread. shares: an item has loops
// that several threads can share. poll() is called from the calling thread about ten times a
// second; when it returns true the cancel flag is set and no further item starts. An exception of
// the body is rethrown here after all have ended. Returns false if it was cancelled.
bool parallel_for(int64_t n, double work, bool shares,
                  const std::function<void(int64_t, Crew&)>& body,
                  const std::function<bool()>& poll);

}  // namespace edt
