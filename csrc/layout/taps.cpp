#include "layout/taps.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace edt {
namespace {

void check_positions(const Packed& images) {
  if (images.block() > std::numeric_limits<int32_t>::max())
    throw std::invalid_argument("images are too large: a sample has 2^31 positions or more");
}

}  // namespace

TapLayer::TapLayer(const TapShape& s, int64_t n, const int32_t* to, const int32_t* from,
                   const int32_t* dy, const int32_t* dx)
    : shape(s), taps(n) {
  in.channels = s.c_in;
  in.rows = s.h;
  in.cols = s.w;
  in.top = s.pad_h;
  in.left = s.pad_w;
  in.packed_rows = std::max(s.h + 2 * s.pad_h, (s.h_out - 1) * s.stride_h + s.reach_h + 1);
  in.packed_cols = std::max(s.w + 2 * s.pad_w, (s.w_out - 1) * s.stride_w + s.reach_w + 1);
  // A tap of the gradient reads row (y + pad - dy) / stride, where that is a whole number.
  out.channels = s.c_out;
  out.rows = s.h_out;
  out.cols = s.w_out;
  out.top = s.reach_h / s.stride_h;
  out.left = s.reach_w / s.stride_w;
  out.packed_rows = out.top + std::max(s.h_out, (s.h - 1 + s.pad_h) / s.stride_h + 1);
  out.packed_cols = out.left + std::max(s.w_out, (s.w - 1 + s.pad_w) / s.stride_w + 1);
  check_positions(in);
  check_positions(out);

  forward.start.assign(size_t(s.c_out) + 1, 0);
  for (int64_t k = 0; k < n; ++k) {
    if (to[k] < 0 || to[k] >= s.c_out || from[k] < 0 || from[k] >= s.c_in || dy[k] < 0 ||
        dy[k] > s.reach_h || dx[k] < 0 || dx[k] > s.reach_w || (k > 0 && to[k] < to[k - 1]))
      throw std::invalid_argument("tap " + std::to_string(k) + " is outside, or out of order");
    ++forward.start[size_t(to[k]) + 1];
    forward.offset.push_back(int32_t(from[k] * in.plane() + dy[k] * in.packed_cols + dx[k]));
    forward.weight.push_back(k);
  }
  for (int c = 0; c < s.c_out; ++c) forward.start[c + 1] += forward.start[c];

  for (int64_t qy = 0; qy < s.stride_h; ++qy)
    for (int64_t qx = 0; qx < s.stride_w; ++qx) {
      const auto here = [&](int64_t k) {
        return (qy + s.pad_h - dy[k]) % s.stride_h == 0 && (qx + s.pad_w - dx[k]) % s.stride_w == 0;
      };
      Taps list;
      list.start.assign(size_t(s.c_in) + 1, 0);
      for (int64_t k = 0; k < n; ++k)
        if (here(k)) ++list.start[size_t(from[k]) + 1];
      for (int c = 0; c < s.c_in; ++c) list.start[c + 1] += list.start[c];
      list.offset.resize(size_t(list.start.back()));
      list.weight.resize(size_t(list.start.back()));
      std::vector<int64_t> next(list.start.begin(), list.start.end() - 1);
      for (int64_t k = 0; k < n; ++k) {
        if (!here(k)) continue;
        const int64_t row = (qy + s.pad_h - dy[k]) / s.stride_h + out.top;
        const int64_t col = (qx + s.pad_w - dx[k]) / s.stride_w + out.left;
        const size_t place = size_t(next[from[k]]++);
        list.offset[place] = int32_t(to[k] * out.plane() + row * out.packed_cols + col);
        list.weight[place] = k;
      }
      backward.push_back(std::move(list));
    }
}

}  // namespace edt
