// Products of large dense layers in float32, by squares of 8 x 8 a thread: z = W a + b, da = W^T dz
// times what is in da, g += dz a^T. By the rules of shared memory a loaded number has to serve four
// multiply-adds; here 16 serve 64.
//
// Neighbouring lanes share a square: two of a forward or backward product take every other four of
// its inputs or outputs, up to 8 of a gradient take its samples in turns. They then add up by
// exchanging halves. Which half a lane keeps must not be a choice between registers: a lane counts
// its rows from the half that it keeps, so that it sends the same registers as its neighbour, and
// the neighbours' loads lie in different banks.
#pragma once
#include "cuda/plan.h"
#include "cuda/rows.cuh"

namespace edt::cuda {

// Samples and their distance in tiles that are known when compiling, so that places are part of a
// load; packs of 4.
constexpr int kSquareRow = kSquareTile + 4, kSquareShift = 5, kSquarePacks = 1 << kSquareShift;
static_assert(kSquarePacks * 4 == kSquareTile);

// Adds what neighbouring lanes have of the same N numbers: a lane ends with the first N / lanes of
// its own order.
template <int N, int Half = N / 2>
EDT_DEVICE void exchange(float (&x)[N], int lanes) {
  if (lanes == 1) return;
  EDT_UNROLL
  for (int q = 0; q < Half; ++q) x[q] += __shfl_xor_sync(kFullMask, x[q + Half], lanes / 2);
  if constexpr (N / Half < kSquare) exchange<N, Half / 2>(x, lanes / 2);
}

// A thread's share of a forward or backward product: rows from `mine` and then from `other`, four
// each, of which it keeps the first; of those it adds up every other four from `first` on; samples
// `s` to `s` + 3 and half a tile on.
struct SquareShare {
  int first, mine, other, s;
};
// body(share) for all threads of a warp together.
template <class Body>
EDT_DEVICE void for_squares(int n_rows, const Body& body) {
  const int odd = int(threadIdx.x) & 1, s = int(threadIdx.x) % kWarp / 2 * 4;
  const int step = int(blockDim.x) / kWarp * kSquare;
  for (int row = int(threadIdx.x) / kWarp * kSquare; row < n_rows; row += step)
    body(SquareShare{4 * odd, row + 4 * odd, row + 4 - 4 * odd, s});
}
static_assert(kSquarePacks == kWarp);

// With `relu` z becomes its ReLU, and `slopes` that one's derivative.
EDT_DEVICE void square_forward(const LayerRecord& ly, const float* p, const float* a, float* z,
                               float* slopes, bool relu) {
  for_squares(ly.n_out, [&](const SquareShare& my) {
    const int ld = ly.ld_w;
    float acc[64];
    EDT_UNROLL
    for (int e = 0; e < 64; ++e) acc[e] = 0;
    const float *in = a + my.first * kSquareRow + my.s, *w = p + ly.w + my.mine * ld + my.first;
    const int to_row = held(4 * ld), to_other = held(4 * (my.other - my.mine) * ld);
    EDT_NO_UNROLL
    for (int left = ly.n_in; left > 0; left -= kSquare, in += kSquare * kSquareRow, w += kSquare) {
      Pack<float> x[4][2];
      EDT_UNROLL
      for (int q = 0; q < 4; ++q) {
        x[q][0] = load(in + q * kSquareRow);
        x[q][1] = load(in + q * kSquareRow + kSquareTile / 2);
      }
      EDT_UNROLL
      for (int h = 0; h < 2; ++h) {
        const float* row = h == 0 ? w : bytes_on(w, to_other);
        EDT_UNROLL
        for (int r = 4 * h; r < 4 * h + 4; ++r, row = bytes_on(row, to_row)) {
          const Pack<float> by = load(row);
          EDT_UNROLL
          for (int q = 0; q < 4; ++q) {
            EDT_UNROLL
            for (int e = 0; e < 8; ++e)
              acc[8 * r + e] = fma(by.v[q], x[q][e / 4].v[e % 4], acc[8 * r + e]);
          }
        }
      }
    }
    exchange(acc, 2);
    const int at = my.mine * kSquareRow + my.s;
    EDT_UNROLL
    for (int r = 0; r < 4; ++r) {
      const float b = ly.bias >= 0 ? p[ly.bias + my.mine + r] : 0.0f;
      EDT_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int here = r * kSquareRow + h * (kSquareTile / 2);
        Pack<float> out, slope;
        EDT_UNROLL
        for (int e = 0; e < 4; ++e) out.v[e] = acc[8 * r + 4 * h + e] + b;
        if (relu) {
          EDT_UNROLL
          for (int e = 0; e < 4; ++e) {
            const bool rest = out.v[e] <= 0.0f;  // false for a NaN, which stays one
            slope.v[e] = rest ? 0.0f : 1.0f;
            out.v[e] = rest ? 0.0f : out.v[e];
          }
          store_shared(slopes + at, slope, here);
        }
        store_shared(z + at, out, here);
      }
    }
  });
}

// `biases`: of the units below, to which what is written is added up, or null.
EDT_DEVICE void square_backward(const LayerRecord& ly, const float* p, const float* dz, float* da,
                                float* biases) {
  for_squares(ly.n_in, [&](const SquareShare& my) {
    const int ld = ly.ld_w, to_row = held(4 * ld), to_other = held(4 * (my.other - my.mine));
    float acc[64];
    EDT_UNROLL
    for (int e = 0; e < 64; ++e) acc[e] = 0;
    const float *from = dz + my.first * kSquareRow + my.s, *w = p + ly.w + my.first * ld + my.mine;
    EDT_NO_UNROLL
    for (int left = ly.n_out; left > 0; left -= kSquare, from += kSquare * kSquareRow) {
      EDT_UNROLL
      for (int j = 0; j < 4; ++j, w = bytes_on(w, to_row)) {
        const Pack<float> x[2] = {load(from + j * kSquareRow),
                                  load(from + j * kSquareRow + kSquareTile / 2)};
        const Pack<float> by[2] = {load(w), load(bytes_on(w, to_other))};
        EDT_UNROLL
        for (int r = 0; r < 8; ++r) {
          EDT_UNROLL
          for (int e = 0; e < 8; ++e)
            acc[8 * r + e] = fma(by[r / 4].v[r % 4], x[e / 4].v[e % 4], acc[8 * r + e]);
        }
      }
      w = bytes_on(w, 4 * to_row);
    }
    exchange(acc, 2);
    float* const to = da + my.mine * kSquareRow + my.s;
    float sums[4] = {};
    EDT_UNROLL
    for (int r = 0; r < 4; ++r) {
      EDT_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int here = r * kSquareRow + h * (kSquareTile / 2);
        Pack<float> out = load(to + here);
        EDT_UNROLL
        for (int e = 0; e < 4; ++e) {
          out.v[e] *= acc[8 * r + 4 * h + e];
          sums[r] += out.v[e];
        }
        store_shared(to, out, here);
      }
    }
    if (!biases) return;
    const int kept = shared_sums<4, 2, 2>(sums, kWarp);
    EDT_UNROLL
    for (int bit = 8; bit < kWarp; bit *= 2) sums[0] += __shfl_xor_sync(kFullMask, sums[0], bit);
    if (threadIdx.x % kWarp < 8) biases[my.mine + kept] += sums[0];
  });
}

// Square (p, q) holds rows from 8 p on and columns q, q + across, ...; lanes that load or add at
// once do so in different banks, also those of neighbouring squares, whose q are `slices` apart.
// Lanes of one square keep whole columns: entry 8 c + r of a lane's sums is row r of the square's
// column slices * (c % kept) + (c / kept ^ slice).
template <class Sink>
EDT_DEVICE void square_gradient(const LayerRecord& ly, Rows<const float> dz, Rows<const float> a,
                                Share share, const Sink& sink) {
  constexpr int S = kSquare, row = kSquareRow, size = int(sizeof(float));
  const int across = ly.n_in / S, pieces = across * (ly.n_out / S), rank = share.rank();
  // Two warps a scheduler: more lanes a square would be more sums to exchange.
  int shift = 0;
  while (shift < 3 && pieces << shift < smaller(share.threads(), 8 * kWarp)) ++shift;
  const int slices = 1 << shift, kept = S >> shift, jump = slices * share.groups;
  for (int begin = rank / kWarp * kWarp; begin < pieces * slices; begin += share.threads()) {
    const int t = begin + rank % kWarp, piece = smaller(t >> shift, pieces - 1);
    const int slice = t & (slices - 1), p = piece / across;
    int q = piece - p * across;
    if (across % S == 0) q = (q & -S) + ((q & (kept - 1)) << shift) + ((q & (S - 1)) << shift) / S;
    float acc[S * S];
    EDT_UNROLL
    for (int e = 0; e < S * S; ++e) acc[e] = 0;
    // From column to column by one bit of c at a time.
    int step[3];
    EDT_UNROLL
    for (int b = 0; b < 3; ++b) {
      const int bit = (slices << b) / S;
      step[b] = held((bit == 0 ? slices << b : (slice & bit) ? -bit : bit) * across * row * size);
    }
    const int first = slice + slices * share.group, on = held(jump * 4 * size);
    const float* rows = dz.p + p * S * row + first * 4;
    const float* columns = a.p + (q + slice * across) * row + first * 4;
    EDT_NO_UNROLL
    for (int m = first; m < kSquarePacks; m += jump) {
      Pack<float> in[S];
      const float* at = columns;
      EDT_UNROLL
      for (int g = 0; g < S; ++g) {
        const int c = g ^ g / 2, next = (g + 1) ^ (g + 1) / 2, b = g % 2 == 0 ? 0 : g == 3 ? 2 : 1;
        in[c] = load(at);
        at = bytes_on(at, next > c ? step[b] : -step[b]);
      }
      EDT_UNROLL
      for (int r = 0; r < S; ++r) {
        const Pack<float> d = load(rows + r * row);
        EDT_UNROLL
        for (int c = 0; c < S; ++c) {
          EDT_UNROLL
          for (int e = 0; e < 4; ++e) acc[c * S + r] = fma(d.v[e], in[c].v[e], acc[c * S + r]);
        }
      }
      rows = bytes_on(rows, on);
      columns = bytes_on(columns, on);
    }
    exchange(acc, slices);
    if (t >= pieces * slices) continue;
    int column = ly.w + p * S * ly.ld_w + q + slice * across;
    EDT_UNROLL
    for (int c = 0; c < S; ++c, column += slices * across) {
      if (c == kept) break;
      int k = column;
      EDT_UNROLL
      for (int r = 0; r < S; ++r, k += ly.ld_w) sink(k, acc[c * S + r]);
    }
  }
  if (!sink.bias || ly.bias < 0) return;
  for_sums(ly.n_out, kSquarePacks, share, [&](int j, int slice, int lanes, bool valid) {
    const int every = lanes * share.groups, first = slice + lanes * share.group;
    const float* at = dz.at(smaller(j, ly.n_out - 1), first * 4);
    float sum = 0;
    EDT_NO_UNROLL
    for (int m = first; m < kSquarePacks; m += every, at += every * 4) {
      const Pack<float> d = load(at);
      EDT_UNROLL
      for (int e = 0; e < 4; ++e) sum += d.v[e];
    }
    sum = lane_sum(sum, lanes);
    if (valid && slice == 0) sink(ly.bias + j, sum);
  });
}

// In tiles of any size, by kernels without the registers for the above: lanes choose what they
// send. Square (p, q) holds rows p, p + down, ... and columns q, q + across, ...: neighbouring
// lanes read neighbouring rows, which lie in other banks.
template <class Sink>
EDT_DEVICE void any_square_gradient(const LayerRecord& ly, Rows<const float> dz,
                                    Rows<const float> a, Tile tile, Share share, const Sink& sink) {
  constexpr int S = kSquare, K = 4;
  const int across = ly.n_in / S, down = ly.n_out / S, pieces = across * down;
  const int packs = 1 << tile.shift, rank = share.rank();
  const int w = ly.w, ld = ly.ld_w, row_step = down * dz.ld, column_step = across * a.ld;
  // One warp a scheduler: more slices would be more sums to exchange.
  int slices = 1;
  while (slices < kWarp && slices < packs && pieces * slices < smaller(share.threads(), 4 * kWarp))
    slices *= 2;
  // The lanes of a wide load, 8 at a time, take packs that lie in other banks than their
  // neighbours'.
  const int run = smaller(slices < 8 ? 8 / slices : 1, packs / slices);
  for (int begin = rank / kWarp * kWarp; begin < pieces * slices; begin += share.threads()) {
    const int t = begin + rank % kWarp, piece = smaller(t / slices, pieces - 1);
    const int slice = t % slices, p = piece / across, q = piece % across;
    const bool valid = t < pieces * slices;
    float acc[S * S];
    EDT_UNROLL
    for (int e = 0; e < S * S; ++e) acc[e] = 0.0f;
    const float *const rows = dz.at(p, 0), *const columns = a.at(q, 0);
    EDT_NO_UNROLL
    for (int m = share.group; m < packs / slices; m += share.groups) {
      const int v = ((m & -run) * slices + slice * run + (m & (run - 1))) * K;
      Pack<float> d[S];
      const float* at = rows + v;
      EDT_UNROLL
      for (int r = 0; r < S; ++r, at += row_step) d[r] = load(at);
      at = columns + v;
      EDT_UNROLL
      for (int c = 0; c < S; ++c, at += column_step) {
        const Pack<float> in = load(at);
        EDT_UNROLL
        for (int r = 0; r < S; ++r) {
          EDT_UNROLL
          for (int e = 0; e < K; ++e) acc[r * S + c] = fma(d[r].v[e], in.v[e], acc[r * S + c]);
        }
      }
    }
    const int first = shared_sums(acc, slices), count = valid ? S * S / slices : 0;
    // Whole rows of the square, or a part of one.
    int row = w + (p + first / S * down) * ld + q + first % S * across;
    EDT_UNROLL
    for (int r = 0; r < S; ++r, row += down * ld) {
      int k = row;
      EDT_UNROLL
      for (int c = 0; c < S; ++c, k += across)
        if (r * S + c < count) sink(k, acc[r * S + c]);
    }
  }
  if (!sink.bias || ly.bias < 0) return;
  for_sums(ly.n_out, packs, share, [&](int j, int slice, int lanes, bool valid) {
    float sum = 0.0f;
    EDT_NO_UNROLL
    for (int v = slice + lanes * share.group; valid && v < packs; v += lanes * share.groups) {
      const Pack<float> d = load(dz.at(j, v * K));
      EDT_UNROLL
      for (int e = 0; e < K; ++e) sum += d.v[e];
    }
    sum = lane_sum(sum, lanes);
    if (valid && slice == 0) sink(ly.bias + j, sum);
  });
}

}  // namespace edt::cuda
