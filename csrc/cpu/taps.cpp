// Sparse convolutions: planes of one pass are copied from the images into the cache, multiplied by
// all taps, and copied back. Each image is read once and written once.
#include "cpu/taps.h"

#include <algorithm>

#include "cpu/pages.h"
#include "cpu/pool.h"
#include "cpu/tap_kernels.h"
#include "cpu/team.h"

namespace edt {
namespace {

// Partial sums of the gradients of weights: at most so many, of so many samples at least.
constexpr int64_t kBlocks = 32, kBlockSamples = 4;

// The samples and rows of the grid that are in the cache together.
struct Pass {
  Pass(const TapLayer& layer, int64_t n, int64_t number)
      : first(number / layer.bands * layer.samples),
        count(std::min(layer.samples, n - first)),
        top(number % layer.bands * layer.band),
        end(top + layer.band) {}
  static int64_t all(const TapLayer& layer, int64_t n) {
    return (n + layer.samples - 1) / layer.samples * layer.bands;
  }
  int64_t first, count;  // samples
  int64_t top, end;      // rows
};

// Positions of a run over the rows of a pass that a side has.
int64_t run_length(const TapLayer& layer, const Pass& pass, int64_t rows, int64_t cols) {
  const int64_t last = std::min(rows, pass.end) - pass.top;
  return last <= 0 ? 0 : ((pass.count - 1) * layer.sample_rows + last - 1) * layer.pitch + cols;
}
int64_t run_in(const TapLayer& layer, const Pass& pass) {
  const TapShape& s = layer.shape;
  return run_length(layer, pass, (s.h + s.stride_h - 1) / s.stride_h,
                    (s.w + s.stride_w - 1) / s.stride_w);
}
int64_t run_out(const TapLayer& layer, const Pass& pass) {
  return run_length(layer, pass, layer.shape.h_out, layer.shape.w_out);
}

// The images of a pass that holds whole ones; nothing of bands, which lie far apart.
template <class T>
Ahead whole_images(const TapLayer& layer, int64_t n, int64_t number, int64_t last, const T* images,
                   int64_t sample) {
  if (layer.bands > 1 || number >= last || !images) return {};
  const Pass pass(layer, n, number);
  return {reinterpret_cast<const char*>(images + pass.first * sample),
          pass.count * sample * int64_t(sizeof(T))};
}

// Rows first..last - 1 of a plane of the images of a pass: where they are there and on the grid.
template <class T, class Body>
void for_rows(const TapLayer& layer, const Pass& pass, int64_t channels, int64_t height,
              int64_t width, int64_t first, int64_t last, T* images, const Body& body) {
  if (first >= last) return;
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t k = 0; k < pass.count; ++k)
      body(c, images + ((pass.first + k) * channels + c) * height * width,
           (k * layer.sample_rows + first - pass.top) * layer.pitch);
}

// Vectors that hold so many elements, and the distance of planes of them.
template <class T>
int64_t vectors(int64_t length) {
  constexpr int64_t kLanes = 64 / int64_t(sizeof(T));
  return (length + kLanes - 1) / kLanes;
}
template <class T>
int64_t plane_of(int64_t run) {
  return (vectors<T>(run) | 1) * (64 / int64_t(sizeof(T)));
}

// A thread's memory, and which layer's images it last held: their surroundings are zeros then.
struct Room {
  HugePages pages;
  const void* memory = nullptr;
  int64_t layer = -1;
  bool in_clear = false, out_clear = false;
};
template <class T>
Room& own_room() {
  thread_local Room room;
  return room;
}

template <class T>
class Buffers {
 public:
  explicit Buffers(const TapLayer& layer)
      : layer_(layer), kernels_(tap_table<T>()), distance_(plane_of<T>(layer.run)) {
    const auto room = [](int64_t size) { return (size + 63) / 64 * 64; };
    const int64_t in = room(layer.in.size() + kBehind), out = room(layer.out.size() + kBehind);
    const int64_t most = std::max(layer.in.count, layer.out.count);
    T* memory = static_cast<T*>(room_.pages.take(size_t(in + out + most * distance_) * sizeof(T)));
    if (room_.memory != memory || room_.layer != layer.serial)
      room_.in_clear = room_.out_clear = false;
    room_.memory = in_ = memory;
    room_.layer = layer.serial;
    out_ = in_ + in;
    runs_ = out_ + out;
  }

  // The planes of the input, or of outputs, in zeros; the run's start in the first.
  const T* inputs(const Pass& pass, const T* x) {
    const TapShape& s = layer_.shape;
    T* to = cleared(layer_.in, in_, room_.in_clear);
    const auto phases = int64_t(layer_.phases.size());
    for (int64_t p = 0; p < phases; ++p) {
      const Phase& phase = layer_.phases[size_t(p)];
      if (s.stride_w == 2 && phase.x == 1 && pair(p - 1, p)) continue;  // with the one before
      const int64_t first = whole() ? 0 : std::max<int64_t>(0, pass.top + layer_.first_row);
      const int64_t last = whole() ? phase.rows : std::min(phase.rows, pass.end + layer_.last_row);
      for_rows(layer_, pass, s.c_in, s.h, s.w, first, last, x,
               [&](int64_t c, const T* image, int64_t at) {
                 const T* src = image + (phase.y + first * s.stride_h) * s.w + phase.x;
                 T* dst = to + (c * phases + p) * layer_.in.plane + at;
                 if (s.stride_w == 1) {
                   kernels_.copy_rows(src, s.stride_h * s.w, dst, layer_.pitch, last - first,
                                      phase.cols);
                   return;
                 }
                 if (s.stride_w == 2) {
                   const bool both = pair(p, p + 1);
                   T* even = phase.x == 0 ? dst : nullptr;
                   T* odd = phase.x == 1 ? dst : both ? dst + layer_.in.plane : nullptr;
                   kernels_.split_rows(src - phase.x, s.stride_h * s.w, even, odd, layer_.pitch,
                                       last - first, s.w);
                   return;
                 }
                 for (int64_t y = first; y < last; ++y) {
                   for (int64_t i = 0; i < phase.cols; ++i) dst[i] = src[i * s.stride_w];
                   src += s.stride_h * s.w;
                   dst += layer_.pitch;
                 }
               });
    }
    return to;
  }
  const T* slopes(const Pass& pass, const T* g) {
    const TapShape& s = layer_.shape;
    T* to = cleared(layer_.out, out_, room_.out_clear);
    // The band's own rows, for gradients of weights, and those that its inputs are read by.
    const int64_t above = std::max<int64_t>(0, layer_.last_row);
    const int64_t first = whole() ? 0 : std::max<int64_t>(0, pass.top - above);
    const int64_t last = whole() ? s.h_out : std::min(s.h_out, pass.end - layer_.first_row);
    for_rows(layer_, pass, s.c_out, s.h_out, s.w_out, first, last, g,
             [&](int64_t c, const T* image, int64_t at) {
               kernels_.copy_rows(image + first * s.w_out, s.w_out, to + c * layer_.out.plane + at,
                                  layer_.pitch, last - first, s.w_out);
             });
    return to;
  }

  // Runs of sums, `distance` from one plane to the next.
  T* runs() const { return runs_; }
  int64_t distance() const { return distance_; }
  void write_outputs(const Pass& pass, T* out) const {
    const TapShape& s = layer_.shape;
    const int64_t last = std::min(s.h_out, pass.end);
    for_rows(layer_, pass, s.c_out, s.h_out, s.w_out, pass.top, last, out,
             [&](int64_t c, T* image, int64_t at) {
               kernels_.copy_rows(runs_ + c * distance_ + at, layer_.pitch,
                                  image + pass.top * s.w_out, s.w_out, last - pass.top, s.w_out);
             });
  }
  void write_inputs(const Pass& pass, T* dx) const {
    const TapShape& s = layer_.shape;
    const auto phases = int64_t(layer_.phases.size());
    const int64_t above = pass.top * s.stride_h, below = std::min(s.h, pass.end * s.stride_h);
    if (!layer_.all_phases())
      for_rows(layer_, pass, s.c_in, s.h, s.w, above, below, dx, [&](int64_t, T* image, int64_t) {
        std::fill(image + above * s.w, image + below * s.w, T(0));
      });
    for (int64_t p = 0; p < phases; ++p) {
      const Phase& phase = layer_.phases[size_t(p)];
      if (s.stride_w == 2 && phase.x == 1 && pair(p - 1, p)) continue;
      const int64_t last = std::min(phase.rows, pass.end);
      for_rows(layer_, pass, s.c_in, s.h, s.w, pass.top, last, dx,
               [&](int64_t c, T* image, int64_t at) {
                 const T* src = runs_ + (c * phases + p) * distance_ + at;
                 T* dst = image + (phase.y + pass.top * s.stride_h) * s.w + phase.x;
                 if (s.stride_w == 1) {
                   kernels_.copy_rows(src, layer_.pitch, dst, s.stride_h * s.w, last - pass.top,
                                      phase.cols);
                   return;
                 }
                 if (s.stride_w == 2) {
                   const bool both = pair(p, p + 1);
                   const T* even = phase.x == 0 ? src : nullptr;
                   const T* odd = phase.x == 1 ? src : both ? src + distance_ : nullptr;
                   kernels_.join_rows(even, odd, layer_.pitch, dst - phase.x, s.stride_h * s.w,
                                      last - pass.top, s.w);
                   return;
                 }
                 for (int64_t y = pass.top; y < last; ++y) {
                   for (int64_t i = 0; i < phase.cols; ++i) dst[i * s.stride_w] = src[i];
                   src += layer_.pitch;
                   dst += s.stride_h * s.w;
                 }
               });
    }
  }

 private:
  // Both columns of the same rows are planes.
  bool pair(int64_t p, int64_t q) const {
    const auto& phases = layer_.phases;
    return p >= 0 && q < int64_t(phases.size()) && phases[size_t(p)].y == phases[size_t(q)].y;
  }

  bool whole() const { return layer_.bands == 1; }
  // Images fill the same places in every pass, unless they come in bands.
  T* cleared(const Planes& planes, T* at, bool& clear) const {
    if (!clear) std::fill(at, at + planes.size() + kBehind, T(0));
    clear = whole();
    return at + planes.lead;
  }

  static constexpr int64_t kBehind = 64;  // what the last vectors of a run read there is not used
  const TapLayer& layer_;
  const TapTable<T>& kernels_;
  int64_t distance_;
  Room& room_ = own_room<T>();
  T *in_, *out_, *runs_;
};

int64_t elements_in(const TapLayer& layer) {
  return layer.shape.c_in * layer.shape.h * layer.shape.w;
}
int64_t elements_out(const TapLayer& layer) {
  return layer.shape.c_out * layer.shape.h_out * layer.shape.w_out;
}

double operations(const TapCall& c, double products) {
  const TapShape& s = c.layer.shape;
  return double(c.n) * double(s.h_out * s.w_out) * products *
         double(c.layer.taps / 8 + s.c_in + s.c_out);
}

}  // namespace

template <class T>
bool tap_forward(const TapCall& c, const T* weights, const T* bias, const T* x, T* out) {
  const TapLayer& layer = c.layer;
  if (layer.shape.flat) return linear_forward(c, weights, bias, x, out);
  if (layer.in_place) return in_place_forward(c, weights, bias, x, out);
  const auto& kernels = tap_table<T>();
  const std::vector<T> w = in_order(layer.forward, weights);
  const int64_t passes = Pass::all(layer, c.n);
  const int64_t sample_in = elements_in(layer), sample_out = elements_out(layer);
  const int64_t some = std::max<int64_t>(1, passes / (8 * num_threads()));
  return team_for((passes + some - 1) / some, operations(c, 1),
                  [&](int64_t item) {
                    Buffers<T> buffers(layer);
                    const int64_t end = std::min(passes, (item + 1) * some);
                    for (int64_t p = item * some; p < end; ++p) {
                      const Pass pass(layer, c.n, p);
                      const int64_t length = run_out(layer, pass);
                      if (length == 0) continue;
                      const T* in = buffers.inputs(pass, x);
                      kernels.gather(layer.forward, w.data(), bias, 0, layer.out.count, in,
                                     vectors<T>(length), buffers.runs(), buffers.distance(),
                                     {whole_images(layer, c.n, p + 1, end, x, sample_in), Ahead()},
                                     whole_images<T>(layer, c.n, p, end, out, sample_out));
                      buffers.write_outputs(pass, out);
                    }
                  },
                  c.poll);
}

template <class T>
bool tap_gradients(const TapCall& c, const TapGradients<T>& of) {
  const TapLayer& layer = c.layer;
  if (layer.shape.flat) return linear_gradients(c, of);
  if (layer.in_place) return in_place_gradients(c, of);
  const auto& kernels = tap_table<T>();
  const std::vector<T> w = of.dx ? in_order(layer.backward, of.weights) : std::vector<T>();
  const int64_t passes = Pass::all(layer, c.n);
  const int64_t sample_in = elements_in(layer), sample_out = elements_out(layer);
  const int64_t some = std::max((passes + kBlocks - 1) / kBlocks,
                                (kBlockSamples + layer.samples - 1) / layer.samples);
  const int64_t blocks = (passes + some - 1) / some, channels = layer.out.count;
  // Of a block: sums of its taps, in the order of the forward list, and of its channels.
  const int64_t sums = layer.taps + channels;
  std::vector<T> parts(of.dw || of.dbias ? size_t(blocks * sums) : 0, T(0));
  const bool done = team_for(
      blocks, operations(c, double(of.dx != nullptr) + double(of.dw != nullptr)),
      [&](int64_t item) {
        Buffers<T> buffers(layer);
        T* own = parts.data() + item * sums;
        const int64_t end = std::min(passes, (item + 1) * some);
        for (int64_t p = item * some; p < end; ++p) {
          const Pass pass(layer, c.n, p);
          const T* g = buffers.slopes(pass, of.slopes);
          const int64_t length = run_out(layer, pass), length_in = run_in(layer, pass);
          if (of.dw && length > 0)
            kernels.contract(layer.forward, 0, channels, buffers.inputs(pass, of.x), g,
                             layer.out.plane, length, own);
          for (int64_t k = 0; of.dbias && length > 0 && k < channels; ++k)
            own[layer.taps + k] += kernels.total(g + k * layer.out.plane, length);
          if (!of.dx || length_in == 0) continue;
          kernels.gather(layer.backward, w.data(), nullptr, 0, layer.in.count, g,
                         vectors<T>(length_in), buffers.runs(), buffers.distance(),
                         {whole_images(layer, c.n, p + 1, end, of.slopes, sample_out),
                          whole_images(layer, c.n, p + 1, end, of.dw ? of.x : nullptr, sample_in)},
                         whole_images<T>(layer, c.n, p, end, of.dx, sample_in));
          buffers.write_inputs(pass, of.dx);
        }
      },
      c.poll);
  if (!done) return false;
  add_parts(layer, parts, blocks, of);
  return true;
}

#define EDT_INSTANTIATE(T)                                                                         \
  template bool tap_forward<T>(const TapCall&, const T*, const T*, const T*, T*);                  \
  template bool tap_gradients<T>(const TapCall&, const TapGradients<T>&);
EDT_INSTANTIATE(float)
EDT_INSTANTIATE(double)

}  // namespace edt
