// The kernels of sparse layers that one instruction set provides: each works on one pass, that is
// on the planes that lie in the cache (layout/taps.h). Distances are in elements.
#pragma once
#include "cpu/kernels.h"
#include "layout/taps.h"

namespace edt {

// Memory that is wanted next: asked for while sums keep the processor busy. Bytes.
struct Ahead {
  const char* at = nullptr;
  int64_t size = 0;
};

// Samples of both sides, their first planes and how far the next ones are.
template <class T>
struct Images {
  const T *in, *g;
  int64_t in_sample, g_sample, samples;
};

template <class T>
struct TapTable {
  // Rows from one pitch to another.
  void (*copy_rows)(const T* src, int64_t src_pitch, T* dst, int64_t dst_pitch, int64_t rows,
                    int64_t cols);
  // Columns of one parity each: rows of an image, of which the even columns go to `even`, the
  // others to `odd`, and back. Either may be null: not wanted, and zeros.
  void (*split_rows)(const T* src, int64_t src_pitch, T* even, T* odd, int64_t dst_pitch,
                     int64_t rows, int64_t cols);
  void (*join_rows)(const T* even, const T* odd, int64_t src_pitch, T* dst, int64_t dst_pitch,
                    int64_t rows, int64_t cols);
  // dst[i * ldd + l] = src[l * stride + i] for i < n and l < lanes; up to a vector of lanes, the
  // others become 0.
  void (*to_lanes)(const T* src, int64_t stride, int lanes, int64_t n, T* dst, int64_t ldd);
  // dst[l * ldd + r] = src[r * stride + l] for r < rows and l < lanes.
  void (*from_lanes)(const T* src, int64_t stride, int rows, int lanes, T* dst, int64_t ldd);
  // out[c][q] = bias[c] + sum_k w[k] in[offset[k] + q], for the planes c of first..last and whole
  // vectors q; planes of out are aligned, out_plane apart. bias may be null. Meanwhile asks for
  // what will be read and written.
  void (*gather)(const Taps&, const T* w, const T* bias, int64_t first, int64_t last, const T* in,
                 int64_t vectors, T* out, int64_t out_plane, const Ahead (&read)[2],
                 const Ahead& write);
  // sums[k] += sum_q g[c][q] in[offset[k] + q] over q < length, for the taps k of the planes c of
  // first..last, the first of them at sums[0]. g is aligned.
  void (*contract)(const Taps&, int64_t first, int64_t last, const T* in, const T* g,
                   int64_t g_plane, int64_t length, T* sums);
  // The same in place (layout/taps.h): all planes, which have so many positions; of one
  // sample, and of several.
  void (*gather_inside)(const Taps&, const T* w, const T* bias, const T* in, int64_t positions,
                        T* out, const Ahead (&read)[2], const Ahead& write);
  void (*contract_inside)(const Taps&, const Images<T>&, int64_t positions, T* sums);
  // sum_q g[q] over q < length.
  T (*total)(const T* g, int64_t length);
};

// Those of the instruction set in use.
template <class T>
const TapTable<T>& tap_table();

}  // namespace edt
