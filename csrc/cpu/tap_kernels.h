// The kernels of sparse layers that one instruction set provides: each works on one row of one
// block of samples. Distances are in positions, that is in vectors of 64 bytes.
#pragma once
#include "cpu/kernels.h"
#include "layout/taps.h"

namespace edt {

template <class T>
struct TapTable {
  // dst[i * ldd + l] = src[l * stride + i] for i < n and l < lanes; other lanes become 0. In
  // elements.
  void (*to_lanes)(const T* src, int64_t stride, int lanes, int64_t n, T* dst, int64_t ldd);
  // dst[l * ldd + r] = src[r * stride + l] for r < rows and l < lanes. In elements.
  void (*from_lanes)(const T* src, int64_t stride, int rows, int lanes, T* dst, int64_t ldd);
  // out[c][x] = bias[c] + sum_k w[k] in[offset[k] + x in_step], for the channels c of first..last
  // and x < cols; out_step and out_plane apart. bias may be null.
  void (*gather)(const Taps&, const T* w, const T* bias, int first, int last, const T* in,
                 int64_t cols, int64_t in_step, T* out, int64_t out_step, int64_t out_plane);
  // sums[k] += sum_x g[c][x] in[offset[k] + x in_step], lane by lane, for the taps k of the
  // channels first..last, the first of them at sums[0].
  void (*contract)(const Taps&, int first, int last, const T* in, int64_t cols, int64_t in_step,
                   const T* g, int64_t g_plane, T* sums);
  // Sums of the lanes of n vectors.
  void (*add_lanes)(const T* sums, int64_t n, T* out);
};

// Those of the instruction set in use.
template <class T>
const TapTable<T>& tap_table();

}  // namespace edt
