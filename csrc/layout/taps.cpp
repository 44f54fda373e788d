#include "layout/taps.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <stdexcept>
#include <string>

namespace edt {
namespace {

// Elements of a vector, at most; of a line of the cache for either type.
constexpr int64_t kVector = 16;
// Positions of a run that several small samples fill together.
constexpr int64_t kRun = 384;
// Samples of a linear layer at a time: its grid is a column of them.
constexpr int64_t kColumns = 128;
// Elements of one side's planes that stay in the second-level cache beside the other's.
constexpr int64_t kElements = 80 << 10;
// In place: most taps for each channel of either side, and of small images, of which a grid would
// have a quarter more; fewest positions; most bytes of masks.
constexpr int64_t kFewTaps = 4, kFewOfSmall = 8, kSmall = 64, kFewPositions = 49;
constexpr int64_t kMasks = 256 << 10;
// Lines of the nearest cache that what a chunk of planes is read for may take, beside those of so
// many lines of sums; and fewest taps of a plane of sums in a chunk, as sums come and go with it.
constexpr int64_t kWindowLines = 600, kWindow = 8, kTapsOfChunk = 8;

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }
int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// From one plane to the next: an odd number of vectors, so that planes do not share their places
// in the cache.
int64_t odd_vectors(int64_t n) { return (round_up(n, kVector) / kVector | 1) * kVector; }

// Rows, or columns, of the grid.
struct Axis {
  Axis(int64_t size, int64_t size_out, int64_t stride, int64_t pad, int64_t reach)
      : low(floor_div(-pad, stride)), high(floor_div(reach - pad, stride)) {
    const int64_t most = (size + stride - 1) / stride;
    grid = std::max(most, size_out);
    // Outputs read from `low` before an input's first to `high` behind the last output, slopes of
    // inputs the other way round.
    step = std::max(most - std::min<int64_t>(0, low), size_out + std::max<int64_t>(0, high));
  }
  int64_t low, high;  // how far taps read
  int64_t grid;       // most of either side
  int64_t step;       // from one image to the next, so that each finds zeros where it ends
};

// A single row of outputs is the same at any stride, but a large one has as many phases.
TapShape with_least_stride(TapShape s) {
  if (s.h_out == 1) s.stride_h = std::min(s.stride_h, s.h + 2 * s.pad_h);
  if (s.w_out == 1) s.stride_w = std::min(s.stride_w, s.w + 2 * s.pad_w);
  return s;
}

// Every position has a neighbour at the same distance for each tap, and taps are few.
bool can_be_in_place(const TapShape& s, int64_t taps) {
  const int64_t least = std::min(s.h, s.h_out) * s.w, most = std::max(s.h, s.h_out) * s.w;
  return !s.flat && s.stride_h == 1 && s.stride_w == 1 && s.w == s.w_out &&
         least >= kFewPositions &&
         taps <= (most <= kSmall ? kFewOfSmall : kFewTaps) * (s.c_in + s.c_out) &&
         (s.reach_h + 1) * (s.reach_w + 1) * most <= 8 * kMasks;
}

// For one shift: which of the positions of images of h rows find something at (y + dy, x + dx) in
// images of h_from rows. Whole vectors; nothing behind the last.
void add_mask(int64_t h, int64_t h_from, int64_t w, int64_t dy, int64_t dx,
              std::vector<uint8_t>& masks) {
  const size_t at = masks.size();
  masks.resize(at + size_t(round_up(h * w, kVector) / 8), 0);
  for (int64_t y = std::max<int64_t>(0, -dy); y < std::min(h, h_from - dy); ++y)
    for (int64_t x = std::max<int64_t>(0, -dx); x < std::min(w, w - dx); ++x)
      masks[at + size_t((y * w + x) / 8)] |= uint8_t(1 << ((y * w + x) % 8));
}

// Cuts a list whose taps read so many planes, `reads` each, and `span` elements apart in each.
void cut(Taps& list, const std::vector<int64_t>& reads, int64_t planes, int64_t span, bool whole) {
  const int64_t lines = span / kVector + 2 + kWindow;
  const size_t count = list.start.size() - 1;
  const int64_t most = list.start.back() / (kTapsOfChunk * int64_t(count));
  list.chunks = std::clamp<int64_t>((planes * lines + kWindowLines - 1) / kWindowLines, 1,
                                    whole ? 1 : std::max<int64_t>(1, std::min(planes, most)));
  list.cuts.assign(list.start.begin(), list.start.end() - 1);
  for (int64_t chunk = 1; chunk <= list.chunks; ++chunk) {
    const int64_t end = planes * chunk / list.chunks;
    for (size_t c = 0; c < count; ++c) {
      auto k = size_t(list.cuts[list.cuts.size() - count]);
      while (k < size_t(list.start[c + 1]) && reads[k] < end) ++k;
      list.cuts.push_back(int64_t(chunk == list.chunks ? size_t(list.start[c + 1]) : k));
    }
  }
}

int64_t next_serial() {
  static std::atomic<int64_t> next{0};
  return next.fetch_add(1);
}

}  // namespace

TapLayer::TapLayer(const TapShape& given, int64_t n_weights, int64_t n, const int32_t* to,
                   const int32_t* from, const int32_t* dy, const int32_t* dx, const int64_t* place)
    : shape(with_least_stride(given)), weights(n_weights), taps(n), serial(next_serial()) {
  const TapShape& s = shape;
  const Axis rows(s.h, s.h_out, s.stride_h, s.pad_h, s.reach_h);
  const Axis cols(s.w, s.w_out, s.stride_w, s.pad_w, s.reach_w);
  first_row = rows.low;
  last_row = rows.high;
  pitch = cols.step;

  for (int64_t k = 0; k < n; ++k)
    if (to[k] < 0 || to[k] >= s.c_out || from[k] < 0 || from[k] >= s.c_in || dy[k] < 0 ||
        dy[k] > s.reach_h || dx[k] < 0 || dx[k] > s.reach_w || place[k] < 0 ||
        place[k] >= n_weights || (k > 0 && to[k] < to[k - 1]))
      throw std::invalid_argument("tap " + std::to_string(k) + " is outside, or out of order");

  if (can_be_in_place(s, n)) {
    place_on_images(to, from, dy, dx, place);
    return;
  }

  // Phases that are read, in order.
  const auto phase_of = [&](int64_t k) {
    const int64_t y = dy[k] - s.pad_h, x = dx[k] - s.pad_w;
    return (y - floor_div(y, s.stride_h) * s.stride_h) * s.stride_w + x -
           floor_div(x, s.stride_w) * s.stride_w;
  };
  std::vector<int32_t> number(size_t(s.stride_h * s.stride_w), -1);
  for (int64_t k = 0; k < n; ++k) number[size_t(phase_of(k))] = 0;
  if (n == 0) number[0] = 0;
  for (size_t k = 0; k < number.size(); ++k) {
    if (number[k] < 0) continue;
    number[k] = int32_t(phases.size());
    const int64_t y = int64_t(k) / s.stride_w, x = int64_t(k) % s.stride_w;
    phases.push_back({y, x, std::max<int64_t>(0, (s.h - y + s.stride_h - 1) / s.stride_h),
                      std::max<int64_t>(0, (s.w - x + s.stride_w - 1) / s.stride_w)});
  }
  in.count = s.c_in * int64_t(phases.size());
  out.count = s.c_out;
  const int64_t most_planes = std::max(in.count, out.count);

  // A pass: several samples, or one, or a band of its rows.
  const int64_t fit = std::max<int64_t>(1, kElements / (most_planes * pitch));
  samples =
      s.flat ? kColumns : std::clamp<int64_t>(std::min(kRun / pitch, fit) / rows.step, 1, kRun);
  sample_rows = rows.step;
  band = samples > 1 ? rows.grid : std::clamp<int64_t>(fit - (rows.high - rows.low), 1, rows.grid);
  bands = (rows.grid + band - 1) / band;
  const int64_t before = (samples - 1) * sample_rows;
  const auto place_planes = [&](Planes& p, int64_t above, int64_t below) {
    p.lead = s.flat ? 0 : round_up(above * pitch + pitch, kVector);
    p.plane = odd_vectors(p.lead + (before + band + below) * pitch);
  };
  const int64_t low = std::max<int64_t>(0, -rows.low), high = std::max<int64_t>(0, rows.high);
  place_planes(in, low, high);
  place_planes(out, high, low);
  run = (before + band) * pitch;
  for (const Planes* p : {&in, &out})
    if (p->size() > std::numeric_limits<int32_t>::max())
      throw std::invalid_argument("images are too large: a row of all channels is 2^31 or more");

  std::vector<int64_t> plane, shift;
  for (int64_t k = 0; k < n; ++k) {
    plane.push_back(from[k] * int64_t(phases.size()) + number[size_t(phase_of(k))]);
    shift.push_back(floor_div(dy[k] - s.pad_h, s.stride_h) * pitch +
                    floor_div(dx[k] - s.pad_w, s.stride_w));
  }
  list(to, plane, shift, place);
}

// Both lists, of taps that add planes of the input to those of the output, `shift` elements on.
void TapLayer::list(const int32_t* to, const std::vector<int64_t>& plane,
                    const std::vector<int64_t>& shift, const int64_t* place) {
  forward.start.assign(size_t(out.count) + 1, 0);
  backward.start.assign(size_t(in.count) + 1, 0);
  for (size_t k = 0; k < size_t(taps); ++k) {
    ++forward.start[size_t(to[k]) + 1];
    ++backward.start[size_t(plane[k]) + 1];
    forward.offset.push_back(int32_t(plane[k] * in.plane + shift[k]));
    forward.weight.push_back(place[k]);
  }
  for (size_t c = 1; c < forward.start.size(); ++c) forward.start[c] += forward.start[c - 1];
  for (size_t c = 1; c < backward.start.size(); ++c) backward.start[c] += backward.start[c - 1];
  std::vector<int64_t> next(backward.start.begin(), backward.start.end() - 1);
  std::vector<int64_t> read(static_cast<size_t>(taps));
  backward.offset.resize(size_t(taps));
  backward.weight.resize(size_t(taps));
  for (size_t k = 0; k < size_t(taps); ++k) {
    const size_t at = size_t(next[size_t(plane[k])]++);
    backward.offset[at] = int32_t(to[k] * out.plane - shift[k]);
    backward.weight[at] = place[k];
    read[at] = to[k];
  }
  const auto [least, most] = std::minmax_element(shift.begin(), shift.end());
  const int64_t span = taps == 0 ? 0 : *most - *least;
  const bool whole = shape.flat || in_place;
  cut(forward, plane, in.count, span, whole);
  cut(backward, read, out.count, span, whole);
}

void TapLayer::place_on_images(const int32_t* to, const int32_t* from, const int32_t* dy,
                               const int32_t* dx, const int64_t* place) {
  const TapShape& s = shape;
  in_place = true;
  in.count = s.c_in;
  in.plane = s.h * s.w;
  out.count = s.c_out;
  out.plane = s.h_out * s.w;
  for (const Planes* p : {&in, &out})
    if (p->size() > std::numeric_limits<int32_t>::max())
      throw std::invalid_argument("images are too large: all channels of one have 2^31 numbers");
  for (int64_t y = 0; y <= s.reach_h; ++y)
    for (int64_t x = 0; x <= s.reach_w; ++x) {
      add_mask(s.h_out, s.h, s.w, y - s.pad_h, x - s.pad_w, forward.masks);
      add_mask(s.h, s.h_out, s.w, s.pad_h - y, s.pad_w - x, backward.masks);
    }
  const auto shifts = (s.reach_h + 1) * (s.reach_w + 1);
  const std::vector<int64_t> plane(from, from + taps);
  std::vector<int64_t> shift;
  for (int64_t k = 0; k < taps; ++k) shift.push_back((dy[k] - s.pad_h) * s.w + dx[k] - s.pad_w);
  list(to, plane, shift, place);
  // Of the taps of each list, in its order.
  std::vector<int32_t> of_weight(size_t(weights), 0);
  for (int64_t k = 0; k < taps; ++k)
    of_weight[size_t(place[k])] = int32_t(dy[k] * (s.reach_w + 1) + dx[k]);
  for (Taps* t : {&forward, &backward}) {
    const auto bytes = int32_t(t->masks.size()) / int32_t(shifts);
    for (const int64_t w : t->weight) t->mask.push_back(of_weight[size_t(w)] * bytes);
  }
}

}  // namespace edt
