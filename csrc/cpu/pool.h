// A thread pool of our own: no OpenMP, so it lives beside whatever runtime the caller brings.
//
// The calling thread sleeps while the workers work, and wakes a few times a second to ask `poll`
// whether to stop (that is how Ctrl-C is noticed). After a fork the child starts its own workers.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>

#include "cpu/scratch.h"

namespace edt {

int num_threads();
void set_num_threads(int n);

// Stop request shared by the items of one parallel_for; kernels look at it between steps.
using CancelFlag = std::atomic<bool>;

// Calls body(i, scratch, cancel) for i = 0..n-1 in this order of starting, on all threads. `work`
// is a rough number of operations in all: little work runs on the calling thread. poll() is called
// from the calling thread about ten times a second; when it returns true the cancel flag is set
// and no further item starts. An exception of the body is rethrown here after all have ended.
// Returns false if it was cancelled.
bool parallel_for(int64_t n, double work,
                  const std::function<void(int64_t, Scratch&, const CancelFlag&)>& body,
                  const std::function<bool()>& poll);

}  // namespace edt
