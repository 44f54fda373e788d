// Memory of large tensors that is used again.
//
// The C library gives large memory back to the system as soon as it is free, and fresh pages cost
// more than a sparse layer does: 4 MB of them about a millisecond on a virtual machine, against 0.6
// for the layer whose outputs they are. What such layers return lies here instead: in 2 MiB pages,
// kept when a tensor dies and given to the next of its size.
#pragma once
#include <cstddef>

namespace edt {

// Aligned as pages are; contents unknown. Thread-safe, also after a fork.
void* take_recycled(size_t bytes);
// Back, with the same number of bytes. At most kKept bytes are kept in all, the latest.
void give_recycled(void* p, size_t bytes) noexcept;
constexpr size_t kKept = size_t(512) << 20;

}  // namespace edt
