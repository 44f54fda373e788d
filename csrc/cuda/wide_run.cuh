// The wide networks' part of a call: their lists and workspace, and launches over them.
#pragma once
#include <algorithm>

#include "cuda/engine.h"
#include "cuda/wide.cuh"

namespace edt::cuda {

template <class T>
class WideRun {
 public:
  WideRun(const Call& c, const Data<T>& data)
      : c_(c), s_(c.schedule.wide()), pr_(problem_of(c, data)) {
    const WideLayout& w = c.schedule.workspace().wide;
    const unsigned char* block = c.schedule_block + c.schedule.wide_at();
    wide_ = {reinterpret_cast<const WideNet*>(block),
             reinterpret_cast<const WideItem*>(block + s_.items_at()),
             reinterpret_cast<T*>(c.workspace + w.numbers),
             reinterpret_cast<double*>(c.workspace + w.losses),
             reinterpret_cast<T*>(c.workspace + w.tops),
             reinterpret_cast<T*>(c.workspace + w.sizes),
             reinterpret_cast<T*>(c.workspace + w.squares),
             reinterpret_cast<int*>(c.workspace + w.orders),
             c.workspace + w.go,
             s_.tiles(),
             s_.ld()};
    who_.active = c.active;
  }

  void gather(const T* theta, const T* m, const T* v) {
    launch("wide gather", wide_gather_kernel<T>, s_.vectors().count, kWideThreads, int64_t(0),
           c_.stream, pr_, from(s_.vectors()), who_, theta, m, v);
  }

 protected:
  // body(chunk) for `count` samples from `first` on, in the networks' own order if `ordered`.
  // Returns the number of tiles.
  template <class Body>
  int in_chunks(int first, int count, bool ordered, const Body& body) const {
    int slot = 0;
    for (int at = first; at < first + count; at += s_.chunk()) {
      WideChunk chunk{};
      chunk.first = at;
      chunk.count = std::min(s_.chunk(), first + count - at);
      chunk.tile = 8;
      while (chunk.tile < std::min(chunk.count, kWideTile)) chunk.tile *= 2;
      chunk.ordered = ordered;
      chunk.gathered = s_.gathers();
      // Inputs read where they stand end with their padding.
      const auto tiles = [&] { return (chunk.count + chunk.tile - 1) / chunk.tile; };
      if (!chunk.gathered)
        while (at + tiles() * chunk.tile > pr_.data.n_pad) chunk.tile /= 2;
      chunk.tiles = tiles();
      chunk.slot = slot;
      chunk.accumulate = at > first;
      slot += chunk.tiles;
      body(chunk);
    }
    return slot;
  }

  // From the inputs to the outputs; K derivatives.
  template <int K>
  void forward(const WideChunk& chunk) {
    if (chunk.gathered) over("wide inputs", wide_inputs_kernel<T>, s_.inputs(), chunk);
    for (int l = 0; l < s_.layers(); ++l)
      over("wide forward", wide_forward_kernel<T, K>, s_.forward(l), chunk);
  }

  // One block an item and tile.
  template <class K>
  void over(const char* name, K kernel, const WideRange& range, const WideChunk& chunk) {
    launch(name, kernel, range.count * chunk.tiles, kWideThreads, shared(range), c_.stream, pr_,
           from(range), who_, chunk);
  }
  static int64_t shared(const WideRange& range) { return range.dense ? kWideProductBytes<T> : 0; }
  Wide<T> from(const WideRange& range) const {
    Wide<T> w = wide_;
    w.items += range.first;
    return w;
  }

  const Call& c_;
  const WideSchedule& s_;
  Problem<T> pr_;
  Wide<T> wide_{};
  WideWho who_{};
};

}  // namespace edt::cuda
