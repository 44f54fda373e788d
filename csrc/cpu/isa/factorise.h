// The triangular factor of the Jacobian of one network's residuals.
#pragma once
#include <numeric>

#include "cpu/isa/jacobian.h"
#include "cpu/isa/triangle.h"

namespace edt::EDT_ISA_NS {

// R of [J r] at p, J the Jacobian of the residuals r of squared error; returns |r|^2. The matrix is
// factorised block by block as it is made. It is kept only if asked for: n_coords + 1 columns of
// d_out * N rows, N padded, `kept_apart` apart.
template <class T>
double factorise(const Net& net, const Problem<T>& pr, const T* p, Triangle<T>& out, Crew& crew,
                 T* kept = nullptr, int64_t kept_apart = 0) {
  using V = Vec<T>;
  const int n = net.n_coords + 1, room = jacobian_rows(net), d_out = net.d_out;
  const Samples<T> all = samples_of(pr);
  const Chunks chunks(net, all.n);
  const Scratch::Hold hold{crew.scratch};
  double* losses = crew.scratch.take<double>(size_t(chunks.count));
  std::vector<Triangle<T>> parts;
  if (chunks.count > 1)
    for (int64_t k = 0; k < chunks.count; ++k) parts.emplace_back(n, crew.scratch);
  out.clear();
  const bool holes = d_out > 1 || unheard(net);
  for_chunks(net, all, crew, [&](int64_t first, const Samples<T>& chunk, Scratch& ws) {
    const Scratch::Hold own{ws};
    const int64_t number = first / chunks.length;
    Triangle<T>& to = chunks.count > 1 ? parts[size_t(number)] : out;
    Block<T> b(net, pr.act, 1, false, false, chunk.n, room + 1 + n, ws);
    // Columns a power of two apart would share their place in the cache.
    const int64_t ld = b.ld, apart = ld + V::L;
    T *root = ws.take<T>(ld), *slopes = ws.take<T>(size_t(room) * ld);
    T* block = ws.take<T>(size_t(n) * apart);
    V sum = V::zero();
    for_blocks(chunk, ld, [&](const Samples<T>& in, int64_t start) {
      forward(b, p, in);
      for (int64_t s = 0; s < in.n; s += V::L) sqrt(V::load(in.coef + s)).store(root + s);
      for (int o = 0; o < d_out; ++o) {
        if (holes) std::fill(block, block + size_t(n) * apart, T(0));
        jacobian_of_output(b, p, in, o, root, slopes, [&](int c, const auto& product) {
          T* column = block + c * apart;
          for (int64_t s = 0; s < in.n; s += V::L) product(s).store(column + s);
        });
        T* residual = block + (n - 1) * apart;
        for (int64_t s = 0; s < in.n; s += V::L) {
          const V miss = V::load(b.f + o * ld + s) - V::load(in.y + o * in.ldx + s);
          const V r = V::load(root + s) * miss;
          sum = fma(r, r, sum);
          r.store(residual + s);
        }
        T* rows = kept + o * all.n + first + start;
        for (int c = 0; kept && c < n; ++c)
          std::copy(block + c * apart, block + c * apart + in.n, rows + c * kept_apart);
        to.add(block, apart, in.n);
      }
    });
    losses[number] = double(hsum(sum));
  });
  for (const Triangle<T>& part : parts) out.add(part, crew.scratch);
  return std::accumulate(losses, losses + chunks.count, 0.0);
}

}  // namespace edt::EDT_ISA_NS
