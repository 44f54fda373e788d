// The inner kernel of every Hessian block: a sum over samples of outer products,
//   C[r, c] (+)= sum_n A[n, r] B[n, c].
//
// Lanes are columns. A is packed: blocks of kPackRows rows, inside a block sample after sample. B
// has one row a sample. A tile of kPackRows rows and two native registers of columns stays in
// registers while the samples run; the tile's columns of B stay in the first-level cache while the
// blocks of A stream past. Per sample and tile 12 fused multiply-adds and 8 loads. Each entry is
// summed in the order of the samples, so neither the tile nor the instruction set changes a bit.
#pragma once
#include "cpu/isa/block.h"
#include "cpu/isa/vectors.h"

namespace edt::EDT_ISA_NS {

constexpr int kPackRows = 6;
// Samples a contraction covers at once: long enough to hide the final write of a tile, short enough
// for the columns of a tile to stay in the first-level cache. A multiple of every vector.
constexpr int64_t kHessianSamples = 96;

template <int R, int W, bool Add, class T>
EDT_INLINE void contract_tile(const T* a, const T* b, int64_t ldb, int64_t n, T* c, int64_t ldc) {
  using V = Vec<T, W>;
  V acc[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) acc[r] = V::zero();
  for (int64_t s = 0; s < n; ++s, a += kPackRows, b += ldb) {
    const V x = V::load(b);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) acc[r] = fma(V::set1(a[r]), x, acc[r]);
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) (Add ? V::load(c + r * ldc) + acc[r] : acc[r]).store(c + r * ldc);
}

// Columns in tiles of W registers; returns the first column left over.
template <int W, bool Add, class T>
int contract_columns(const T* a, int rows, int64_t n, const T* b, int64_t ldb, int from, int cols,
                     T* c, int64_t ldc) {
  constexpr int step = Vec<T, W>::L;
  for (; from + step <= cols; from += step) {
    const T* bt = b + from;
    T* ct = c + from;
    const T* at = a;
    int r = 0;
    for (; r + kPackRows <= rows; r += kPackRows, at += kPackRows * n)
      contract_tile<kPackRows, W, Add>(at, bt, ldb, n, ct + r * ldc, ldc);
    T* rest = ct + r * ldc;
    switch (rows - r) {
      case 5:
        contract_tile<5, W, Add>(at, bt, ldb, n, rest, ldc);
        break;
      case 4:
        contract_tile<4, W, Add>(at, bt, ldb, n, rest, ldc);
        break;
      case 3:
        contract_tile<3, W, Add>(at, bt, ldb, n, rest, ldc);
        break;
      case 2:
        contract_tile<2, W, Add>(at, bt, ldb, n, rest, ldc);
        break;
      case 1:
        contract_tile<1, W, Add>(at, bt, ldb, n, rest, ldc);
        break;
      default:
        break;
    }
  }
  return from;
}

// b, ldb, c and ldc: multiples of the 64-byte vector; so is cols.
template <bool Add, class T>
void contract(const T* a, int rows, int64_t n, const T* b, int64_t ldb, int cols, T* c,
              int64_t ldc) {
  const int done = contract_columns<2, Add>(a, rows, n, b, ldb, 0, cols, c, ldc);
  contract_columns<1, Add>(a, rows, n, b, ldb, done, cols, c, ldc);
}

inline size_t packed_size(int rows, int64_t n) {
  return size_t((rows + kPackRows - 1) / kPackRows) * kPackRows * size_t(n);
}

// Packs rows of samples, ld apart. Entries of absent rows are never read.
template <class T>
void pack_rows(const T* src, int64_t ld, int64_t n, int rows, T* dst) {
  for (int r = 0; r < rows; r += kPackRows, dst += kPackRows * n) {
    const int m = std::min(kPackRows, rows - r);
    if (m == kPackRows) {
      const T* p = src + r * ld;
      for (int64_t s = 0; s < n; ++s)
#pragma GCC unroll 8
        for (int k = 0; k < kPackRows; ++k) dst[s * kPackRows + k] = p[k * ld + s];
    } else {
      for (int k = 0; k < m; ++k)
        for (int64_t s = 0; s < n; ++s) dst[s * kPackRows + k] = src[(r + k) * ld + s];
    }
  }
}

// Packs columns of a matrix with one row a sample.
template <class T>
void pack_columns(const T* src, int64_t ld, int64_t n, int cols, T* dst) {
  for (int c = 0; c < cols; c += kPackRows, dst += kPackRows * n) {
    const int m = std::min(kPackRows, cols - c);
    for (int64_t s = 0; s < n; ++s)
      for (int k = 0; k < m; ++k) dst[s * kPackRows + k] = src[s * ld + c + k];
  }
}

// Number of pairs i <= h out of n, and the place of one: rows of the upper triangle in order.
EDT_INLINE int64_t n_pairs(int64_t n) { return n * (n + 1) / 2; }
EDT_INLINE int pair_index(int n, int i, int h) {
  if (i > h) std::swap(i, h);
  return i * n - i * (i - 1) / 2 + h - i;
}

// The trainable inputs of each unit of a layer, in the order of their index: 0 is the constant 1
// (the bias), i + 1 is unit i of the layer below.
struct UnitInputs {
  std::vector<int> ptr{0}, input, coord;
  std::vector<uint8_t> whole;  // of each unit: has all weights, neighbours in `input` and `coord`
  int count(int j) const { return ptr[j + 1] - ptr[j]; }
};
inline UnitInputs trainable_inputs(const Net& net, const Layer& ly) {
  UnitInputs u;
  auto add = [&](int input, int param) {
    if (param < 0 || net.coord[param] < 0) return;
    u.input.push_back(input);
    u.coord.push_back(net.coord[param]);
  };
  for (int j = 0; j < ly.n_out; ++j) {
    add(0, ly.bias[j]);
    const size_t first = u.input.size();
    for (int k = ly.row_ptr[j]; k < ly.row_ptr[j + 1]; ++k)
      add(ly.col[k] + 1, ly.row_start[j] + k - ly.row_ptr[j]);
    u.ptr.push_back(int(u.input.size()));
    u.whole.push_back(u.input.size() - first == size_t(ly.n_in));
  }
  return u;
}

// Makes a matrix symmetric whose every pair of entries (p, q), (q, p) holds the value in one of the
// two places and 0 in the other. Squares fit the first-level cache.
template <class T>
void symmetrise(T* out, int64_t n) {
  constexpr int64_t kSquare = 16;
  for (int64_t i0 = 0; i0 < n; i0 += kSquare)
    for (int64_t j0 = i0; j0 < n; j0 += kSquare)
      for (int64_t j = j0; j < std::min(n, j0 + kSquare); ++j)
        for (int64_t i = i0; i < std::min(j, i0 + kSquare); ++i)
          out[j * n + i] = out[i * n + j] = out[j * n + i] + out[i * n + j];
}

}  // namespace edt::EDT_ISA_NS
