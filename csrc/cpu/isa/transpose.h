// Rows of samples to samples of rows and back, in blocks of 16 bytes by 16 bytes.
#pragma once
#include <cstring>

#include "math/simd.h"

namespace edt::EDT_ISA_NS {

template <class T>
constexpr int kBlock = 16 / int(sizeof(T));

// out[i][k] = x[k][i] for i, k < kBlock; rows of out are ld apart.
template <class T>
EDT_INLINE void transpose_block(const T* const (&x)[kBlock<T>], int64_t at, T* out, int64_t ld) {
  typedef T Q __attribute__((vector_size(16)));
  Q q[kBlock<T>];
#pragma GCC unroll 4
  for (int k = 0; k < kBlock<T>; ++k) std::memcpy(&q[k], x[k] + at, 16);
  const auto store = [&](int row, const Q& value) __attribute__((always_inline)) {
    std::memcpy(out + row * ld, &value, 16);
  };
  // Written out element by element: compilers make one shuffle of each.
  if constexpr (sizeof(T) == 4) {
    const Q a{q[0][0], q[2][0], q[0][1], q[2][1]}, b{q[1][0], q[3][0], q[1][1], q[3][1]};
    const Q c{q[0][2], q[2][2], q[0][3], q[2][3]}, d{q[1][2], q[3][2], q[1][3], q[3][3]};
    store(0, Q{a[0], b[0], a[1], b[1]});
    store(1, Q{a[2], b[2], a[3], b[3]});
    store(2, Q{c[0], d[0], c[1], d[1]});
    store(3, Q{c[2], d[2], c[3], d[3]});
  } else {
    store(0, Q{q[0][0], q[1][0]});
    store(1, Q{q[0][1], q[1][1]});
  }
}

// dst[s][r] = row(r)[s] for r < rows and s < n; samples of dst are ldd apart.
template <class T, class Row>
EDT_INLINE void transpose(Row row, int rows, int64_t n, T* dst, int64_t ldd) {
  constexpr int B = kBlock<T>;
  const int64_t whole = n / B * B;
  int r = 0;
  for (; r + B <= rows; r += B) {
    const T* x[B];
#pragma GCC unroll 4
    for (int k = 0; k < B; ++k) x[k] = row(r + k);
    for (int64_t s = 0; s < whole; s += B) transpose_block(x, s, dst + s * ldd + r, ldd);
    for (int64_t s = whole; s < n; ++s)
      for (int k = 0; k < B; ++k) dst[s * ldd + r + k] = x[k][s];
  }
  for (; r < rows; ++r) {
    const T* x = row(r);
    T* out = dst + r;
    for (int64_t s = 0; s < n; ++s, out += ldd) *out = x[s];
  }
}

// Rows of samples, ld apart -> one row a sample, ldd apart.
template <class T>
void transpose_rows(const T* src, int64_t ld, int64_t n, int rows, T* dst, int64_t ldd) {
  transpose([=](int r) { return src + r * ld; }, rows, n, dst, ldd);
}

}  // namespace edt::EDT_ISA_NS
