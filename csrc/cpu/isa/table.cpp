// One instruction set's kernels for one scalar type. Compiled for each of avx512, avx2 and baseline
// (EDT_ISA_NS names the namespace) and each of float and double (EDT_SCALAR); see CMakeLists.txt.
#include <chrono>

#include "cpu/isa/hessian.h"
#include "cpu/isa/hvp.h"
#include "cpu/isa/jacobian.h"
#include "cpu/isa/lbfgs.h"
#include "cpu/isa/train.h"

namespace edt::EDT_ISA_NS {
namespace {

template <class T>
void predict(const Net& net, const Problem<T>& pr, const T* theta, T* out, Scratch& ws) {
  ws.reset();
  const T* p = compress(net, theta, ws);
  const Samples<T> all = samples_at(pr, 0, pr.data->n_pad);
  Block<T> b(net, pr.act, 0, false, false, all.n, 0, ws);
  for (int64_t s = 0; s < all.n; s += b.ld) {
    const Samples<T> in = slice(all, s, b.ld);
    forward(b, p, in);
    const int64_t real = std::min(in.n, pr.data->n - s);
    for (int64_t i = 0; i < real; ++i)
      for (int o = 0; o < net.d_out; ++o) out[(s + i) * net.d_out + o] = b.f[o * b.ld + i];
  }
}

template <class T>
double loss(const Net& net, const Problem<T>& pr, const T* theta, Scratch& ws) {
  ws.reset();
  const T* p = compress(net, theta, ws);
  const Samples<T> all = samples_at(pr, 0, pr.data->n_pad);
  Block<T> b(net, pr.act, 0, false, false, all.n, net.d_out, ws);
  T* delta = ws.take<T>(size_t(net.d_out) * b.ld);
  double total = 0;
  for (int64_t s = 0; s < all.n; s += b.ld) {
    const Samples<T> in = slice(all, s, b.ld);
    forward(b, p, in);
    total += loss_block<false>(pr.data->loss, b.f, b.ld, in, net.d_out, delta);
  }
  return total;
}

template <class T>
double loss_and_grad(const Net& net, const Problem<T>& pr, const T* theta, T* grad, Scratch& ws) {
  ws.reset();
  const T* p = compress(net, theta, ws);
  const int n = padded<T>(net.n_params());
  T* g = ws.take<T>(n);
  std::fill(g, g + n, T(0));
  const Samples<T> all = samples_at(pr, 0, pr.data->n_pad);
  Block<T> b(net, pr.act, 1, true, false, all.n, 0, ws);
  const double total = evaluate(b, p, pr.data->loss, all, g);
  expand(net, g, grad);
  return total;
}

template <class T>
void activation(int act, int order, int64_t n, const T* in, T* out) {
  using V = Vec<T>;
  const ActPass<T> pass = find_act<T>(act, order);
  alignas(64) T z[V::L], s[4][V::L];
  T* rows[4] = {s[0], s[1], s[2], s[3]};
  for (int64_t i = 0; i < n; i += V::L) {
    const int64_t m = std::min<int64_t>(V::L, n - i);
    for (int64_t k = 0; k < V::L; ++k) z[k] = in[i + std::min(k, m - 1)];
    pass(z, rows, V::L);
    for (int d = 0; d <= order; ++d)
      for (int64_t k = 0; k < m; ++k) out[d * n + i + k] = s[d][k];
  }
}

// Independent chains of fused multiply-adds in registers: the machine's own speed limit.
template <class T>
double fma_peak(double seconds) {
  using V = Vec<T>;
  constexpr int kChains = kParts == 1 ? 24 : 12 / kParts;
  V acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = V::set1(T(i));
  volatile T one = T(0.999);
  const V a = V::set1(one), b = V::set1(one);
  const auto start = std::chrono::steady_clock::now();
  double elapsed = 0;
  int64_t rounds = 0;
  while (elapsed < seconds) {
    for (int r = 0; r < 20000; ++r)
#pragma GCC unroll 24
      for (int i = 0; i < kChains; ++i) acc[i] = fma(acc[i], a, b);
    rounds += 20000;
    elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  V sum = V::zero();
  for (int i = 0; i < kChains; ++i) sum = sum + acc[i];
  volatile T sink = hsum(sum);
  (void)sink;
  return 2.0 * V::L * kChains * double(rounds) / elapsed * 1e-9;
}

}  // namespace

#define EDT_CONCAT_(a, b) a##b
#define EDT_CONCAT(a, b) EDT_CONCAT_(a, b)
using S = EDT_SCALAR;

// A constant: reading it runs none of this file's instructions, which the processor may not have.
extern const KernelTable<S> EDT_CONCAT(table_, EDT_SCALAR);
constexpr KernelTable<S> EDT_CONCAT(table_, EDT_SCALAR) = {
    predict<S>,  loss<S>,  loss_and_grad<S>, hvp<S>,        hessian<S>,
    jacobian<S>, train<S>, lbfgs<S>,         activation<S>, fma_peak<S>};

}  // namespace edt::EDT_ISA_NS
