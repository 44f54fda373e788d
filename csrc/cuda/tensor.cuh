// Products of float64 matrices on the tensor cores (8 x 8 x 4 on sm_80, 16 x 8 x 4 from sm_90 on),
// whose multiply-adds are IEEE's: c(r, q) += sum_k a(r, k) b(q, k), the sum always by fours of k in
// order, whatever the tile.
//
// A block of 8 warps, 2 x 4, holds a tile of 16 R rows by 32 R columns in registers, a warp R x R
// products of 8 x 8. Its factors pass through shared memory, 32 / R of k at a time in two halves:
// one is copied asynchronously while the other is multiplied. Rows there lie an odd number of 32
// bytes apart, so that the 4 x 4 numbers of half a warp come from different banks whichever way
// they lie.
//
// Per 4 of k a warp loads 2 R numbers a lane (2 cycles of shared memory each) for R^2 products of 8
// x 8 x 4 (2 cycles of the tensor cores each): R = 4 keeps these busy, R = 2 is for smaller
// results.
#pragma once
#include "cuda/affine.cuh"
#include "cuda/wide.h"

namespace edt::cuda {

// c += a b for 8 rows, 8 columns and 4 samples of a warp: lane l holds a[l / 4][l % 4],
// b[l % 4][l / 4] and c[l / 4][2 (l % 4) + {0, 1}]. All lanes must come together: callers' loops
// and branches around it are the warp's, and converge() ends what lanes did on their own. Volatile,
// so that it is not moved to where they do.
EDT_DEVICE void converge() {
#if defined(__CUDACC__)
  __syncwarp();
#endif
}
EDT_DEVICE void multiply_tile(double (&c)[2], double a, double b) {
#if defined(__CUDACC__)
  asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
               : "+d"(c[0]), "+d"(c[1])
               : "d"(a), "d"(b));
#else
  const double own[] = {a, b};
  edt_shim::tensor_product(c, own, 1);
#endif
}

// The same for 16 rows: a[h] of rows 8 h on, c[h] their sums, which are the fragments of the taller
// instruction as they stand (PTX ISA, "Matrix Fragments for mma.m16n8k4"). Hopper alone has it in
// hardware; newer chips make two of 8 rows of it. Deeper ones, 16 x 8 x 8 and 16 x 8 x 16, would
// hold 32 and 64 registers of factors beside 64 of sums, of the 128 that two blocks leave a thread.
EDT_DEVICE void multiply_tiles(double (&c)[2][2], const double (&a)[2], double b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile(
      "mma.sync.aligned.m16n8k4.row.col.f64.f64.f64.f64 "
      "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+d"(c[0][0]), "+d"(c[0][1]), "+d"(c[1][0]), "+d"(c[1][1])
      : "d"(a[0]), "d"(a[1]), "d"(b));
#else
#if !defined(__CUDACC__)
  if (edt_shim::tall_products()) {
    const double own[] = {a[0], a[1], b};
    edt_shim::tensor_product(c[0], own, 2);
    return;
  }
#endif
  EDT_UNROLL
  for (int h = 0; h < 2; ++h) multiply_tile(c[h], a[h], b);
#endif
}

// A pack from global to shared memory, or zeros if it is not `real`; there after await_copies(),
// for other threads after a barrier as well.
EDT_DEVICE void copy_async(double* to, const double* from, bool real) {
#if defined(__CUDACC__)
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(unsigned(__cvta_generic_to_shared(to))), "l"(from), "r"(real ? 16 : 0)
               : "memory");
#else
  edt_shim::copy_async(to, from, real);
#endif
}
EDT_DEVICE void await_copies() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_all;" : : : "memory");
#else
  edt_shim::await_copies();
#endif
}

// A factor in global memory, `rows` rows (columns of the result for the second one). Along: the
// numbers of a row lie side by side, rows ld apart; else those of a k. Packs that hold a number of
// it must be readable.
template <bool Along>
struct Factor {
  const double* p;
  int ld, rows;
  EDT_DEVICE const double* at(int r, int k) const {
    return Along ? p + r * ld + k : p + k * ld + r;
  }
  EDT_DEVICE Factor from(int r) const { return {at(r, 0), ld, rows - r}; }
};

// `Height` rows by `Depth` of k of a factor in shared memory.
template <int Height, int Depth, bool Along>
struct Staged {
  static constexpr int kLine = Along ? Depth : Height, kLd = kLine + 4;
  static constexpr int kSize = Height * Depth / kLine * kLd;
  EDT_DEVICE static int place(int r, int k) { return Along ? r * kLd + k : k * kLd + r; }
  EDT_DEVICE static void copy(double* to, const Factor<Along>& from, int k0, int depth) {
    constexpr int kPacks = kLine / 2;
    EDT_UNROLL
    for (int q = 0; q < Height * Depth / 2 / kWideThreads; ++q) {
      const int t = int(threadIdx.x) + q * kWideThreads;
      // Lines 0, 2, 1, 3, ...: two short ones that eight lanes write lie in different banks.
      const int turn = t / kPacks, line = (turn & ~3) + (turn & 1) * 2 + (turn >> 1 & 1);
      const int at = t % kPacks * 2, r = Along ? line : at, k = Along ? at : line;
      const bool real = r < from.rows && k0 + k < depth;
      copy_async(to + place(r, k), real ? from.at(r, k0 + k) : from.p, real);
    }
  }
};

template <int R>
struct TensorTile {
  static constexpr int kRows = 16 * R, kColumns = 32 * R, kDepth = 32 / R;
  double sums[R / 2][R][2][2] = {};  // [two eights of rows][eight columns][eight rows]

  // body(row, column, entries of this column and the next) for what the thread has of the tile.
  template <class Body>
  EDT_DEVICE void each(const Body& body) {
    const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
    EDT_UNROLL
    for (int r = 0; r < R; ++r) {
      EDT_UNROLL
      for (int c = 0; c < R; ++c)
        body((warp / 4 * R + r) * 8 + lane / 4, (warp % 4 * R + c) * 8 + lane % 4 * 2,
             sums[r / 2][c][r % 2]);
    }
  }

  template <bool AlongA, bool AlongB>
  EDT_DEVICE void add(const Factor<AlongA>& a, const Factor<AlongB>& b, int depth, double* memory) {
    using A = Staged<kRows, kDepth, AlongA>;
    using B = Staged<kColumns, kDepth, AlongB>;
    const int lane = int(threadIdx.x) % kWarp, warp = int(threadIdx.x) / kWarp;
    const int row = warp / 4 * 8 * R + lane / 4, column = warp % 4 * 8 * R + lane / 4;
    const auto half = [&](int k) { return memory + k / kDepth % 2 * (A::kSize + B::kSize); };
    const auto copy = [&](int k) {
      A::copy(half(k), a, k, depth);
      B::copy(half(k) + A::kSize, b, k, depth);
    };
    __syncthreads();  // what the memory held before has been read
    copy(0);
    EDT_NO_UNROLL
    for (int k = 0; k < depth; k += kDepth) {
      await_copies();
      __syncthreads();
      if (k + kDepth < depth) copy(k + kDepth);
      const double *x = half(k) + A::place(row, lane % 4),
                   *y = half(k) + A::kSize + B::place(column, lane % 4);
      EDT_UNROLL
      for (int i = 0; i < kDepth; i += 4) {
        double u[R / 2][2], v[R];
        EDT_UNROLL
        for (int q = 0; q < R; ++q) {
          u[q / 2][q % 2] = x[A::place(8 * q, i)];
          v[q] = y[B::place(8 * q, i)];
        }
        EDT_UNROLL
        for (int r = 0; r < R / 2; ++r) {
          EDT_UNROLL
          for (int c = 0; c < R; ++c) multiply_tiles(sums[r][c], u[r], v[c]);
        }
      }
    }
  }
};

//! Bytes of shared memory: both factors along k take the most.
constexpr int64_t kTensorBytes = 2 * 8 * (Staged<64, 8, true>::kSize + Staged<128, 8, true>::kSize);
static_assert(kTensorBytes <= 48 * 1024);
static_assert(kTensorBytes >= 2 * 8 * (Staged<32, 16, true>::kSize + Staged<64, 16, true>::kSize));

// A tile of a result from (r, c) on: from begin(row), by add(tile, row, column), to
// end(row, column, pair) for pairs whose first entry is part of it.
template <int R, class Begin, class Add, class End>
EDT_DEVICE void tensor_tile(int rows, int columns, int r, int c, const Begin& begin, const Add& add,
                            const End& end) {
  TensorTile<R> tile;
  tile.each([&](int row, int, double (&pair)[2]) {
    pair[0] = pair[1] = r + row < rows ? begin(r + row) : 0.0;
  });
  add(tile, r, c);
  tile.each([&](int row, int column, double (&pair)[2]) {
    if (r + row < rows && c + column < columns) end(r + row, c + column, pair);
  });
}
// A result of at most 64 x 128.
static_assert(kWideUnits <= 64 && kWideTile <= 128 && kWideGradRows <= 32 &&
              kWideGradColumns <= 64);
template <class Begin, class Add, class End>
EDT_DEVICE void tensor_product(int rows, int columns, const Begin& begin, const Add& add,
                               const End& end) {
  using Small = TensorTile<2>;
  if (rows > Small::kRows && columns > Small::kColumns) {
    tensor_tile<4>(rows, columns, 0, 0, begin, add, end);
    return;
  }
  EDT_NO_UNROLL
  for (int r = 0; r < rows; r += Small::kRows) {
    EDT_NO_UNROLL
    for (int c = 0; c < columns; c += Small::kColumns)
      tensor_tile<2>(rows, columns, r, c, begin, add, end);
  }
}
EDT_DEVICE double from_zero(int) { return 0.0; }

// z = W a + b, as affine_forward.
EDT_DEVICE void tensor_forward(const LayerRecord& ly, const double* p, Rows<const double> a,
                               Rows<double> z, Tile tile, Terms terms, double* memory) {
  const Factor<true> w{p + ly.w, ly.ld_w, ly.n_out};
  const Factor<false> in{a.p, a.ld, tile.samples};
  tensor_product(
      ly.n_out, tile.samples,
      [&](int j) { return terms.bias && ly.bias >= 0 ? p[ly.bias + j] : 0.0; },
      [&](auto& sums, int j, int s) { sums.add(w.from(j), in.from(s), ly.n_in, memory); },
      [&](int j, int s, const double (&x)[2]) {
        Pack<double> out = terms.accumulate ? load<double>(z.at(j, s)) : splat(0.0);
        EDT_UNROLL
        for (int e = 0; e < 2; ++e) out.v[e] += x[e];
        store(z.at(j, s), out);
      });
}

// da = W^T dz, as affine_backward.
template <bool Times>
EDT_DEVICE void tensor_backward(const LayerRecord& ly, const double* p, Rows<const double> dz,
                                Rows<double> da, Tile tile, bool accumulate, double* memory) {
  const Factor<false> w{p + ly.w, ly.ld_w, ly.n_in}, in{dz.p, dz.ld, tile.samples};
  tensor_product(
      ly.n_in, tile.samples, from_zero,
      [&](auto& sums, int i, int s) { sums.add(w.from(i), in.from(s), ly.n_out, memory); },
      [&](int i, int s, const double (&x)[2]) {
        Pack<double> out = accumulate ? load<double>(da.at(i, s)) : splat(0.0);
        EDT_UNROLL
        for (int e = 0; e < 2; ++e) out.v[e] += x[e];
        store_scaled<Times>(da, i, s, out);
      });
}

}  // namespace edt::cuda
