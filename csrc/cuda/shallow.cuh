// Loss and gradient of networks with one hidden layer, a few inputs and one output, whose numbers
// never leave the registers: a lane owns U units, with their weights and sums, and meets packs of
// S samples; `lanes` neighbouring lanes hold all units of a network and add their outputs by
// shuffles. Shared memory gives the samples; sums cross it once an evaluation.
//
// Per unit and sample 2 d_in + 4 multiply-adds beside the activation, (d_in + 1) / U wide loads and
// some 8 / (S U) shuffles: activation and issue bind, not memory.
#pragma once
#include "cuda/losses.cuh"
#include "cuda/passes.cuh"

namespace edt::cuda {

//! Samples come in pieces that have a pack for every lane of a warp; a tile holds whole ones.
template <class T>
constexpr int kShallowPiece = kWarp * kPack<T>;

// Samples by packs: inputs, target and coefficient of one pack, then of the next. The distance of
// packs is odd in 16 bytes, so that lanes at different packs hit other banks. Whole pieces.
template <class T>
EDT_DEVICE void load_samples(const Net<T>& n, const Data<T>& data, const Samples& samples, T scale,
                             T* to) {
  constexpr int S = kPack<T>, D = kShallowInputs;
  const T* x = data.x + int64_t(n.task) * data.d_in * data.n_pad;
  const int64_t row = int64_t(n.task) * data.n_pad;
  const int filled = int(round_up(samples.count, kShallowPiece<T>));
  for (int s = int(threadIdx.x); s < filled; s += int(blockDim.x)) {
    const int at = samples(s);
    T* here = to + s / S * (kShallowRows * S) + s % S;
    for (int i = 0; i < D; ++i) here[i * S] = i < data.d_in ? x[i * data.n_pad + at] : T(0);
    here[D * S] = data.loss == int(Loss::cross_entropy) ? T(1) : data.y[row + at];
    here[(D + 1) * S] = s < samples.count ? scale * data.coef[row + at] : T(0);
  }
}

template <class T>
struct Shallow {
  static constexpr int U = kPack<T>, S = kPack<T>, D = kShallowInputs;
  T w[U][D], b[U], v[U], out;       // of this lane's units; the output's bias
  T gw[U][D], gb[U], gv[U], g_out;  // sums: of all but gv and g_out times v is the gradient
  double loss_sum;
  int lanes, lane;

  EDT_DEVICE Shallow(const Net<T>& n, const T* p, int lanes_)
      : lanes(lanes_), lane(int(threadIdx.x) & (lanes_ - 1)) {
    const LayerRecord &in = n.layers[0], &up = n.layers[1];
    out = up.bias >= 0 ? p[up.bias] : T(0);
    EDT_UNROLL
    for (int u = 0; u < U; ++u) {
      const int j = lane * U + u;
      const bool real = j < in.n_out;
      EDT_UNROLL
      for (int i = 0; i < D; ++i) w[u][i] = real && i < in.n_in ? p[in.w + j * in.ld_w + i] : T(0);
      b[u] = real && in.bias >= 0 ? p[in.bias + j] : T(0);
      v[u] = real ? p[up.w + j] : T(0);
    }
  }

  EDT_DEVICE void begin_sums() {
    loss_sum = 0;
    g_out = T(0);
    EDT_UNROLL
    for (int u = 0; u < U; ++u) {
      gb[u] = gv[u] = T(0);
      EDT_UNROLL
      for (int i = 0; i < D; ++i) gw[u][i] = T(0);
    }
  }

  // S numbers a lane summed over the lanes of a sample. Halves are exchanged as long as there are
  // any: a lane ends with the sums of those from the one returned on.
  EDT_DEVICE int sum(T (&f)[S]) const {
    const int first = shared_sums(f, lanes);
    for (int bit = S; bit < lanes; bit *= 2) f[0] += __shfl_xor_sync(kFullMask, f[0], bit);
    return first;
  }
  // Gives every lane all of them again.
  EDT_DEVICE void spread(T (&f)[S]) const {
    EDT_UNROLL
    for (int half = 1; half < S; half *= 2) {
      const int bit = S / 2 / half;
      if (bit >= lanes) continue;
      const bool upper = (lane & bit) != 0;
      EDT_UNROLL
      for (int q = 0; q < half; ++q) {
        const T mine = f[q], other = __shfl_xor_sync(kFullMask, mine, bit);
        f[q] = upper ? other : mine;
        f[q + half] = upper ? mine : other;
      }
    }
  }

  // Adds the share of so many samples, in whole pieces: of the gradient, and the loss of this
  // lane's.
  EDT_DEVICE void tile(int act, int loss, const T* samples, int count) {
    const int warp = int(threadIdx.x) / kWarp;
    const int shared = smaller(lanes, S);
    const T* at = samples + int(threadIdx.x) / lanes * (kShallowRows * S);
    const int step = int(blockDim.x) / lanes * (kShallowRows * S);
    // A warp's lanes meet the end of the tile together: it has a pack for each.
    EDT_NO_UNROLL
    for (int left = int(round_up(count, kShallowPiece<T>)) / S - warp * (kWarp / lanes); left > 0;
         left -= int(blockDim.x) / lanes, at += step) {
      Pack<T> s[U], d[U];
      EDT_UNROLL
      for (int u = 0; u < U; ++u) s[u] = splat(b[u]);
      EDT_UNROLL
      for (int i = 0; i < D; ++i) {
        const Pack<T> x = load(at + i * S);
        EDT_UNROLL
        for (int u = 0; u < U; ++u) add_scaled(s[u], w[u][i], x);
      }
      with_activation(act, [&](auto tag) {
        EDT_UNROLL
        for (int u = 0; u < U; ++u) {
          EDT_UNROLL
          for (int e = 0; e < S; ++e) {
            T of[2];
            activation<decltype(tag)::act, 1>(s[u].v[e], of);
            s[u].v[e] = of[0];
            d[u].v[e] = of[1];
          }
        }
      });
      T f[S];
      EDT_UNROLL
      for (int e = 0; e < S; ++e) {
        f[e] = v[0] * s[0].v[e];
        EDT_UNROLL
        for (int u = 1; u < U; ++u) f[e] = fma(v[u], s[u].v[e], f[e]);
      }
      const T* rest = at + D * S + sum(f);
      const bool mine = lane < S;  // lanes beyond hold copies
      EDT_UNROLL
      for (int e = 0; e < S; ++e) {
        if (e * shared >= S) break;
        const T weight = rest[S + e], target = rest[e];
        T l[2];
        slopes(Loss(loss), f[e] + out, target, l);
        f[e] = weight * l[1];
        if (mine) {
          loss_sum += double(weight * l[0]);
          g_out += f[e];
        }
      }
      spread(f);
      EDT_UNROLL
      for (int u = 0; u < U; ++u) {
        EDT_UNROLL
        for (int e = 0; e < S; ++e) {
          gv[u] = fma(f[e], s[u].v[e], gv[u]);
          d[u].v[e] *= f[e];
          gb[u] += d[u].v[e];
        }
      }
      load_again();
      EDT_UNROLL
      for (int i = 0; i < D; ++i) {
        const Pack<T> x = load(at + i * S);
        EDT_UNROLL
        for (int u = 0; u < U; ++u) {
          EDT_UNROLL
          for (int e = 0; e < S; ++e) gw[u][i] = fma(d[u].v[e], x.v[e], gw[u][i]);
        }
      }
    }
  }

  // The warp's sums, to its own gradient and loss or on top of what is there. Entries that are
  // nobody's get numbers that mean nothing.
  EDT_DEVICE void store(const Net<T>& n, T* g, double* losses, bool add) {
    EDT_NO_UNROLL
    for (int bit = lanes; bit < kWarp; bit *= 2) {
      EDT_UNROLL
      for (int u = 0; u < U; ++u) {
        EDT_UNROLL
        for (int i = 0; i < D; ++i) gw[u][i] += __shfl_xor_sync(kFullMask, gw[u][i], bit);
        gb[u] += __shfl_xor_sync(kFullMask, gb[u], bit);
        gv[u] += __shfl_xor_sync(kFullMask, gv[u], bit);
      }
    }
    for (int bit = 1; bit < kWarp; bit *= 2) g_out += __shfl_xor_sync(kFullMask, g_out, bit);
    for (int bit = kWarp / 2; bit > 0; bit /= 2)
      loss_sum += __shfl_xor_sync(kFullMask, loss_sum, bit);
    const int warp = int(threadIdx.x) / kWarp, first = lane * U;
    const LayerRecord &in = n.layers[0], &up = n.layers[1];
    if (int(threadIdx.x) % kWarp >= lanes || first >= in.n_out) return;
    g += warp * n.net.n_math;
    const auto put = [&](T* at, const Pack<T>& x) {
      Pack<T> sum = x;
      if (add) {
        sum = load(at);
        EDT_UNROLL
        for (int e = 0; e < Pack<T>::N; ++e) sum.v[e] += x.v[e];
      }
      store_shared(at, sum);
    };
    Pack<T> x;
    EDT_UNROLL
    for (int u = 0; u < U; ++u) {
      EDT_UNROLL
      for (int i = 0; i < D; i += S) {
        EDT_UNROLL
        for (int e = 0; e < S; ++e) x.v[e] = v[u] * gw[u][i + e];
        if (first + u < in.n_out) put(g + in.w + (first + u) * in.ld_w + i, x);
      }
    }
    if (in.bias >= 0) {
      EDT_UNROLL
      for (int u = 0; u < U; ++u) x.v[u] = v[u] * gb[u];
      put(g + in.bias + first, x);
    }
    EDT_UNROLL
    for (int u = 0; u < U; ++u) x.v[u] = gv[u];
    put(g + up.w + first, x);
    if (lane != 0) return;
    if (up.bias >= 0) g[up.bias] = add ? g[up.bias] + g_out : g_out;
    losses[warp] = add ? losses[warp] + loss_sum : loss_sum;
  }

 private:
  // What was loaded before is not kept for loads after: registers are scarcer.
  EDT_DEVICE static void load_again() { asm volatile("" ::: "memory"); }
  // A loss of one output and its slope.
  EDT_DEVICE static void slopes(Loss loss, T f, T y, T (&l)[2]) {
    if (loss == Loss::mse) {
      const T r = f - y;
      l[0] = r * r;
      l[1] = r + r;
    } else if (loss == Loss::cross_entropy || loss == Loss::soft_cross_entropy) {
      l[0] = f - y * f;  // the only class
      l[1] = T(1) - y;
    } else {
      scalar_loss<1>(loss, f, y, l);
    }
  }
};

}  // namespace edt::cuda
