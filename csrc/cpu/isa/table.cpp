// One instruction set's kernels for one scalar type. Compiled for each of avx512, avx2 and baseline
// (EDT_ISA_NS names the namespace) and each of float and double (EDT_SCALAR); see CMakeLists.txt.
#include <chrono>

#include "cpu/isa/excursions.h"
#include "cpu/isa/lbfgs.h"
#include "cpu/isa/levenberg.h"
#include "cpu/isa/newton.h"
#include "cpu/isa/train.h"

namespace edt::EDT_ISA_NS {
namespace {

template <class T>
void predict(const Net& net, const Problem<T>& pr, const T* theta, T* out, Crew& crew) {
  crew.scratch.reset();
  const T* p = compress(net, theta, crew.scratch);
  for_chunks(net, samples_of(pr), crew, [&](int64_t first, const Samples<T>& chunk, Scratch& ws) {
    Block<T> b(net, pr.act, 0, false, false, chunk.n, 0, ws);
    for_blocks(chunk, b.ld, [&](const Samples<T>& in, int64_t s) {
      forward(b, p, in);
      const int64_t real = std::min(in.n, pr.data->n - first - s);
      for (int64_t i = 0; i < real; ++i)
        for (int o = 0; o < net.d_out; ++o)
          out[(first + s + i) * net.d_out + o] = b.f[o * b.ld + i];
    });
  });
}

template <class T>
double loss(const Net& net, const Problem<T>& pr, const T* theta, Crew& crew) {
  crew.scratch.reset();
  const T* p = compress(net, theta, crew.scratch);
  const Samples<T> all = samples_of(pr);
  const Chunks chunks(net, all.n);
  double* parts = crew.scratch.take<double>(size_t(chunks.count));
  for_chunks(net, all, crew, [&](int64_t first, const Samples<T>& chunk, Scratch& ws) {
    Block<T> b(net, pr.act, 0, false, false, chunk.n, net.d_out, ws);
    T* delta = ws.take<T>(size_t(net.d_out) * b.ld);
    double sum = 0;
    for_blocks(chunk, b.ld, [&](const Samples<T>& in, int64_t) {
      forward(b, p, in);
      sum += loss_block<false>(pr.data->loss, b.f, b.ld, in, net.d_out, delta);
    });
    parts[first / chunks.length] = sum;
  });
  return std::accumulate(parts, parts + chunks.count, 0.0);
}

template <class T>
double loss_and_grad(const Net& net, const Problem<T>& pr, const T* theta, T* grad, Crew& crew) {
  Scratch& ws = crew.scratch;
  ws.reset();
  const T* p = compress(net, theta, ws);
  T* g = ws.take<T>(padded<T>(net.n_params()));
  const Samples<T> all = samples_of(pr);
  Block<T> b(net, pr.act, 1, true, false, all.n, 0, ws);
  const double total = evaluate(b, pr.act, p, pr.data->loss, all, g, crew);
  expand(net, g, grad);
  return total;
}

// A gradient that starts from u, [N, d_out], instead of the derivatives of the loss.
template <class T>
void vjp(const Net& net, const Problem<T>& pr, const T* theta, const T* u, T* grad, Crew& crew) {
  Scratch& ws = crew.scratch;
  ws.reset();
  const T* p = compress(net, theta, ws);
  const int n = padded<T>(net.n_params()), d_out = net.d_out;
  T* g = ws.take<T>(n);
  const auto part = [&](int64_t first, const Samples<T>& chunk, T* to, Scratch& own) {
    Block<T> b(net, pr.act, 1, true, false, chunk.n, 0, own);
    T* delta = b.delta[b.n_layers];
    for_blocks(chunk, b.ld, [&](const Samples<T>& in, int64_t s) {
      forward(b, p, in);
      const T* rows = u + (first + s) * d_out;
      const int64_t real = std::min(in.n, pr.data->n - first - s);
      transpose([&](int r) { return rows + r * d_out; }, int(real), d_out, delta, b.ld);
      for (int o = 0; o < d_out; ++o)
        std::fill(delta + o * b.ld + real, delta + o * b.ld + in.n, T(0));
      backward(b, p, in, to);
    });
  };
  sum_chunks(net, samples_of(pr), g, n, crew, part);
  expand(net, g, grad);
}

template <class T>
bool step(const HyperParameters& hp, const Moving<T>& at, int64_t step, double lr, double decay,
          const double* clip, Crew& crew) {
  if (!all_finite(at.g, at.n)) return false;
  Stepper<T> stepper{hp, at.p, at.g, at.m, at.v, at.scale, at.n};
  if (clip) stepper.clip(*clip);
  stepper(step, lr, decay, crew);
  return true;
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

// Lets the compiler know nothing of a value in registers, and counts as its use.
template <class T, int P>
EDT_INLINE void conceal(Vec<T, P>& x) {
  for (int p = 0; p < P; ++p) {
#if defined(EDT_ISA_AVX512)
    asm volatile("" : "+v"(x.v[p]));
#else
    asm volatile("" : "+x"(x.v[p]));
#endif
  }
}

// Independent chains of fused multiply-adds in registers, the machine's own speed limit, and a
// division or a look-up of a table beside every 24 of them, which is about their share in the
// kernels: what it takes from the multiply-adds is its price.
template <class T, Beside kBeside>
double fma_rate(double seconds) {
  using V = Vec<T>;
  constexpr int kChains = kParts == 1 ? 24 : 12 / kParts, kTurns = 24 / kChains;
  static const T table[1 << kTableBits<T>] = {};
  V acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = V::set1(T(i));
  volatile T one = T(0.999);
  const V a = V::set1(one), b = V::set1(one);
  V other = a;
  const auto start = std::chrono::steady_clock::now();
  double elapsed = 0;
  int64_t rounds = 0;
  while (elapsed < seconds) {
    for (int r = 0; r < 20000; ++r) {
      if constexpr (kBeside != Beside::nothing) {
        V x = other;
        conceal(x);
        if constexpr (kBeside == Beside::division) x = a / x;
        else x = look_up(table_index(x), table);
        conceal(x);
      }
#pragma GCC unroll 24
      for (int turn = 0; turn < kTurns; ++turn)
#pragma GCC unroll 24
        for (int i = 0; i < kChains; ++i) acc[i] = fma(acc[i], a, b);
    }
    rounds += 20000;
    elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  V sum = other;
  for (int i = 0; i < kChains; ++i) sum = sum + acc[i];
  volatile T sink = hsum(sum);
  (void)sink;
  return 2.0 * V::L * 24 * double(rounds) / elapsed * 1e-9;
}

template <class T>
double fma_peak(double seconds, Beside beside) {
  switch (beside) {
    case Beside::division:
      return fma_rate<T, Beside::division>(seconds);
    case Beside::look_up:
      return fma_rate<T, Beside::look_up>(seconds);
    default:
      return fma_rate<T, Beside::nothing>(seconds);
  }
}

}  // namespace

#define EDT_CONCAT_(a, b) a##b
#define EDT_CONCAT(a, b) EDT_CONCAT_(a, b)
using S = EDT_SCALAR;

// A constant: reading it runs none of this file's instructions, which the processor may not have.
extern const KernelTable<S> EDT_CONCAT(table_, EDT_SCALAR);
constexpr KernelTable<S> EDT_CONCAT(table_, EDT_SCALAR) = {
    predict<S>, loss<S>,      loss_and_grad<S>, vjp<S>,    second_directional<S>,
    hvp<S>,     hessian<S>,   jacobian<S>,      train<S>,  step<S>,
    lbfgs<S>,   levenberg<S>, excursion<S>,     newton<S>, activation<S>,
    fma_peak<S>};

}  // namespace edt::EDT_ISA_NS
