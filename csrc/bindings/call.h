// What every call from Python shares: addresses of memory, and Ctrl-C.
#pragma once
#include <cstdint>

#include "bindings/lock.h"

namespace edt {

using Pointer = uintptr_t;

template <class T>
T* at(Pointer p) {
  return reinterpret_cast<T*>(p);
}

// Asks Python whether a signal handler (Ctrl-C) has raised. Only the main thread runs handlers. The
// others do not ask: they hold the turn of the pool here, and might be kept with it at the end.
struct SignalPoll {
  bool* raised;
  bool main;
  bool operator()() const {
    if (!main) return false;
    pybind11::gil_scoped_acquire hold;
    if (PyErr_CheckSignals() == 0) return false;
    *raised = true;
    return true;
  }
};

}  // namespace edt
