// Second directional derivative of the outputs along a step, pulled back to the parameters;
// edt/training/newton.py says what for. With f'' that derivative and d the step,
//   b = sum_n c_n J_n^T (d^2 l_n / df^2) f''_n,
// f'' by central differences of three evaluations, b by one pass backwards.
#pragma once
#include "cpu/isa/passes.h"

namespace edt::EDT_ISA_NS {

// out: compressed, and so are p and d; the outputs are taken at p +- h d.
template <class T>
void pull_second(const Net& net, const Problem<T>& pr, const T* p, const T* d, T h, T* out,
                 Crew& crew) {
  using V = Vec<T>;
  const Scratch::Hold hold{crew.scratch};
  const int n = padded<T>(net.n_params()), d_out = net.d_out;
  const Loss kind = pr.data->loss;
  T *ahead = crew.scratch.take<T>(n), *behind = crew.scratch.take<T>(n);
  add_scaled(p, h, d, ahead, n);
  add_scaled(p, -h, d, behind, n);
  const V square = V::set1(h * h);
  const auto part = [&](int64_t, const Samples<T>& chunk, T* to, Scratch& ws) {
    Block<T> b(net, pr.act, 1, true, false, chunk.n, 3 * d_out, ws);
    const int64_t ld = b.ld, size = d_out * ld;
    T *second = ws.take<T>(size), *last = ws.take<T>(size), *curved = ws.take<T>(size);
    for_blocks(chunk, ld, [&](const Samples<T>& in, int64_t) {
      forward(b, ahead, in);
      std::copy(b.f, b.f + size, second);
      forward(b, behind, in);
      std::copy(b.f, b.f + size, last);
      forward(b, p, in);
      for (int o = 0; o < d_out; ++o)
        for (int64_t s = o * ld; s < o * ld + in.n; s += V::L) {
          const V f = V::load(b.f + s);
          (((V::load(second + s) - f) - (f - V::load(last + s))) / square).store(second + s);
        }
      curvature_rows(kind, b.f, ld, in, d_out, curved);
      loss_curvature(kind, in, curved, second, ld, d_out, b.delta[b.n_layers]);
      backward(b, p, in, to);
    });
  };
  sum_chunks(net, samples_of(pr), out, n, crew, part);
  for (int k : net.fixed) out[k] = T(0);
}

template <class T>
void second_directional(const Net& net, const Problem<T>& pr, const T* theta, const T* step,
                        T reach, T* out, Crew& crew) {
  Scratch& ws = crew.scratch;
  ws.reset();
  const T *p = compress(net, theta, ws), *d = compress(net, step, ws);
  T* g = ws.take<T>(padded<T>(net.n_params()));
  pull_second(net, pr, p, d, reach, g, crew);
  expand(net, g, out);
}

}  // namespace edt::EDT_ISA_NS
