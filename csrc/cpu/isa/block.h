// What one sample block of one network needs: compressed parameters, activations, derivatives and
// errors, all as rows of `ld` samples. The block is sized to stay in the second-level cache and
// depends on nothing but the network, the data and the dtype, so results do not depend on threads.
#pragma once
#include <algorithm>
#include <cmath>

#include "cpu/kernels.h"
#include "math/activations.h"

namespace edt::EDT_ISA_NS {

#if defined(EDT_ISA_AVX512)
constexpr int kTileVecs = 4;  // sample vectors a register tile holds
constexpr int kTileRows = 6;
constexpr int kOuterVecs = 2;  // vectors of inputs a tile of outer products holds
constexpr int kOuterRows = 12;
#else
constexpr int kTileVecs = 1;
constexpr int kTileRows = 6;
constexpr int kOuterVecs = 1;
constexpr int kOuterRows = 6;
#endif

// Sample vectors that all rows of a dense layer go by before the next: the weights of a tile of
// rows are read once for all of them, and narrow layers stay in the first-level cache.
constexpr int kChunkVecs = 4;

// Samples of a panel of turned inputs: 8 or 16 KiB.
constexpr int64_t kPanelSamples = 128;
// Outer products are taken where a row of samples has at most this many bytes for every row of the
// layer, as every row shares the turned panel.
constexpr int64_t kOuterBytes = 64;

// Sample vectors one sparse weight is applied to at a time: its index and value are read once.
constexpr int kSparseVecs = 4;

template <class T>
using ActPass = void (*)(const T* z, T* const* out, int64_t n);

// With AVX-512 each loop of an activation is a function: in one, constants of all loops compete for
// registers, which cost softplus in float64 a seventh. With AVX2 gelu is slower apart.
#if defined(EDT_ISA_AVX512)
#define EDT_ACT_LOOP __attribute__((noinline))
#else
#define EDT_ACT_LOOP EDT_INLINE
#endif

// Loop I of an activation over n samples; parts between the loops lie in rows of `store`.
template <Act A, int K, int I, class T, int64_t Piece>
EDT_ACT_LOOP void act_loop(const T* z, T* const* out, int64_t n, T (*store)[Piece]) {
  using V = Vec<T>;
  using F = Activation<A>;
  constexpr ActLoops loops = F::template loops<T, K>();
  constexpr int before = I > 0 ? loops.at[I > 0 ? I - 1 : 0].parts : 0;
  constexpr int after = loops.at[I].parts, outputs = loops.at[I].outputs;
  constexpr int room = std::max({before, after, 1});
  using W = Vec<T, loops.at[I].registers>;
  auto step = [&](auto v, int64_t i) __attribute__((always_inline)) {
    using U = decltype(v);
    U u[room], s[4];
#pragma GCC unroll 4
    for (int k = 0; k < before; ++k) u[k] = U::load(store[k] + i);
    F::template loop<I, K>(U::load(z + i), u, s);
#pragma GCC unroll 4
    for (int k = 0; k < after; ++k) u[k].store(store[k] + i);
#pragma GCC unroll 4
    for (int k = 0; k <= K; ++k)
      if (outputs >> k & 1) s[k].store(out[k] + i);
  };
  int64_t i = 0;
  for (; i + W::L <= n; i += W::L) step(W{}, i);
  for (; i < n; i += V::L) step(V{}, i);
}

#undef EDT_ACT_LOOP

// sigma and derivatives of a row; z may be out[0]. Activations in several loops take the row in
// pieces whose parts stay in the first-level cache.
template <class T, Act A, int K>
void act_pass(const T* z, T* const* out, int64_t n) {
  constexpr ActLoops loops = Activation<A>::template loops<T, K>();
  if constexpr (loops.count == 1) {
    act_loop<A, K, 0>(z, out, n, static_cast<T(*)[1]>(nullptr));
  } else {
    constexpr int parts = std::max(loops.at[0].parts, loops.at[1].parts);
    constexpr int64_t piece = 16 * kNativeBytes / int64_t(sizeof(T)) * act_registers<T>();
    alignas(64) T store[parts][piece];
    for (int64_t at = 0; at < n; at += piece) {
      const int64_t m = std::min(piece, n - at);
      T* to[4];
#pragma GCC unroll 4
      for (int k = 0; k <= K; ++k) to[k] = out[k] + at;
      act_loop<A, K, 0>(z + at, to, m, store);
      act_loop<A, K, 1>(z + at, to, m, store);
      if constexpr (loops.count == 3) act_loop<A, K, 2>(z + at, to, m, store);
    }
  }
}

// Numbers act * (kMaxOrder + 1) + order.
template <class T, int... N>
ActPass<T> find_act(int number, std::integer_sequence<int, N...>) {
  constexpr int orders = kMaxOrder + 1;
  static constexpr ActPass<T> table[] = {act_pass<T, Act(N / orders), N % orders>...};
  return table[number];
}
template <class T>
ActPass<T> find_act(int act, int order) {
  constexpr int orders = kMaxOrder + 1;
  return find_act<T>(act * orders + order,
                     std::make_integer_sequence<int, kActivations * orders>{});
}

template <class T>
T* compress(const Net& net, const T* flat, Scratch& ws) {
  constexpr int L = Vec<T>::L;
  const int n = net.n_params(), pad = (n + L - 1) / L * L;
  T* p = ws.take<T>(pad);
  for (int k = 0; k < n; ++k) p[k] = flat[net.flat[k]];
  std::fill(p + n, p + pad, T(0));
  // Pruned weights kept inside dense layers count as zero whatever the flat vector holds.
  for (int k : net.pruned) p[k] = T(0);
  return p;
}

// Writes the trainable entries of a compressed vector back; the others become 0.
template <class T>
void expand(const Net& net, const T* p, T* flat) {
  std::fill(flat, flat + net.n_flat, T(0));
  for (int k = 0; k < net.n_params(); ++k)
    if (net.trainable[k]) flat[net.flat[k]] = p[k];
}

// Samples of one block: x and y rows are `ldx` apart.
template <class T>
struct Samples {
  const T *x, *y, *coef;
  int64_t ldx;
  int64_t n;  // multiple of the lane count
};

// The block or chunk that starts at s0 and holds at most ld samples.
template <class T>
Samples<T> slice(const Samples<T>& all, int64_t s0, int64_t ld) {
  return {all.x + s0, all.y + s0, all.coef + s0, all.ldx, std::min(ld, all.n - s0)};
}

template <class T>
struct Block {
  using V = Vec<T>;
  const Net& net;
  bool narrow;
  int64_t ld = 0;  // capacity in samples
  int n_layers;
  int n_rows;               // of ld samples, in all
  int order;                // derivatives kept: 0 none, 1 d1, 2 d1 and d2
  T **a, **d1, **d2, **da;  // per hidden layer l = 1..D at index l; [n_l, ld]
  T** delta;                // per affine layer l at index l + 1: dL/dz; [n_out, ld]
  T* f = nullptr;           // outputs [d_out, ld]
  ActPass<T> act;

  // rows_extra: further rows of ld samples the caller will allocate (for sizing only). min_vecs:
  // vectors of samples to hold even where they leave the cache.
  Block(const Net& net_, int act_code, int order_, bool backward, bool keep_da, int64_t n_samples,
        int rows_extra, Scratch& ws, int64_t min_vecs = 4)
      : net(net_),
        narrow(is_narrow(net_)),
        n_layers(int(net_.layers.size())),
        order(order_),
        act(find_act<T>(act_code, order_)) {
    const bool keep_delta = backward && !narrow;
    n_rows = net.n_hidden * (1 + order + (keep_delta ? 1 : 0) + (keep_da ? 1 : 0)) + 2 * net.d_out +
             rows_extra;
    int64_t vecs = (192 * 1024) / (int64_t(n_rows) * 64);
    vecs = std::clamp<int64_t>(vecs / 4 * 4, min_vecs, 64);
    ld = std::min<int64_t>(vecs * V::L, n_samples);
    for (T*** rows : {&a, &d1, &d2, &da, &delta}) {
      *rows = ws.take<T*>(size_t(n_layers) + 1);
      std::fill_n(*rows, n_layers + 1, nullptr);
    }
    for (int l = 1; l < n_layers; ++l) {
      const size_t n = size_t(net.layers[l].n_in) * ld;
      a[l] = ws.take<T>(n);
      if (order >= 1) d1[l] = ws.take<T>(n);
      if (order >= 2) d2[l] = ws.take<T>(n);
      if (keep_delta) delta[l] = ws.take<T>(n);
      if (keep_da) da[l] = ws.take<T>(n);
    }
    f = ws.take<T>(size_t(net.d_out) * ld);
    if (backward) delta[n_layers] = ws.take<T>(size_t(net.d_out) * ld);
  }
};

}  // namespace edt::EDT_ISA_NS
