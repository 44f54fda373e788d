// The triangular factor R of a tall matrix that arrives in blocks of rows, by Householder
// reflections, and least squares with it. Q is never formed: the right-hand side is the last
// column, so R holds Q^T r as well.
//
// G. Golub, C. Van Loan, "Matrix Computations", 2013, section 5.2; J. Demmel et al.,
// "Communication-optimal parallel and sequential QR and LU factorizations", 2012 (by blocks).
#pragma once
#include "cpu/isa/vectors.h"

namespace edt::EDT_ISA_NS {

template <class T>
class Triangle {
 public:
  using V = Vec<T>;
  // Rows that reflections go by at a time: the columns of a block stay in the first-level cache.
  static constexpr int64_t kRows = 8 * V::L;

  // n: columns.
  Triangle(int n, Scratch& ws) : n_(n), ld_(padded<T>(n)), r_(ws.take<T>(size_t(n) * ld_)) {
    clear();
  }
  void clear() { std::fill(r_, r_ + size_t(n_) * ld_, T(0)); }
  void copy(const Triangle& from) { std::copy(from.r_, from.r_ + size_t(n_) * ld_, r_); }
  T at(int row, int column) const { return r_[size_t(row) * ld_ + column]; }

  // Takes in `rows` rows (whole vectors), columns `ld` apart; they are overwritten.
  void add(T* block, int64_t ld, int64_t rows) {
    for (int64_t s = 0; s < rows; s += kRows) reflect(block + s, ld, std::min(kRows, rows - s));
  }

  // Takes in the rows of another one.
  void add(const Triangle& other, Scratch& ws) {
    const Scratch::Hold hold{ws};
    const int64_t ld = padded<T>(n_) + V::L;
    T* block = ws.take<T>(size_t(n_) * ld);
    std::fill(block, block + size_t(n_) * ld, T(0));
    for (int i = 0; i < n_; ++i)
      for (int j = i; j < n_; ++j) block[j * ld + i] = other.at(i, j);
    add(block, ld, padded<T>(n_));
  }

  // Takes in root * I on all columns but the last.
  void add_diagonal(T root, Scratch& ws) {
    const Scratch::Hold hold{ws};
    const int64_t ld = padded<T>(n_) + V::L;
    T* block = ws.take<T>(size_t(n_) * ld);
    std::fill(block, block + size_t(n_) * ld, T(0));
    for (int i = 0; i + 1 < n_; ++i) block[i * ld + i] = root;
    add(block, ld, padded<T>(n_));
  }

  // Sum of the squares of all columns but the last.
  double norm2() const {
    double sum = 0;
    for (int i = 0; i + 1 < n_; ++i)
      for (int j = i; j + 1 < n_; ++j) sum += double(at(i, j)) * double(at(i, j));
    return sum;
  }

  // x[n - 1] that takes the other columns closest to the last. What is left of its square is
  // rest().
  void solve(T* x) const {
    for (int i = n_ - 2; i >= 0; --i) {
      T sum = at(i, n_ - 1);
      for (int j = i + 1; j + 1 < n_; ++j) sum -= at(i, j) * x[j];
      x[i] = sum / at(i, i);
    }
  }
  // x <- (R^T R)^-1 x, R without its last column.
  void solve_normal(T* x) const {
    for (int i = 0; i + 1 < n_; ++i) {
      const T* row = r_ + size_t(i) * ld_;
      x[i] /= row[i];
      for (int j = i + 1; j + 1 < n_; ++j) x[j] -= row[j] * x[i];
    }
    for (int i = n_ - 2; i >= 0; --i) {
      T sum = x[i];
      for (int j = i + 1; j + 1 < n_; ++j) sum -= at(i, j) * x[j];
      x[i] = sum / at(i, i);
    }
  }
  double rest() const { return double(at(n_ - 1, n_ - 1)) * double(at(n_ - 1, n_ - 1)); }

 private:
  void reflect(T* block, int64_t ld, int64_t rows) {
    for (int k = 0; k < n_; ++k) {
      const T* x = block + k * ld;
      V square = V::zero();
      for (int64_t i = 0; i < rows; i += V::L) square = fma(V::load(x + i), V::load(x + i), square);
      const T below = hsum(square);
      if (below == T(0)) continue;
      T* row = r_ + size_t(k) * ld_;
      const T top = row[k], length = std::sqrt(top * top + below);
      const T diagonal = top > T(0) ? -length : length;
      // I - tau (u, x) (u, x)^T takes (top, x) to (diagonal, 0).
      const T u = top - diagonal, tau = T(-1) / (diagonal * u);
      row[k] = diagonal;
      int j = k + 1;
      for (; j + 4 <= n_; j += 4) columns<4>(x, u, tau, row + j, block + j * ld, ld, rows);
      for (; j < n_; ++j) columns<1>(x, u, tau, row + j, block + j * ld, ld, rows);
    }
  }

  // One reflection of G columns.
  template <int G>
  static EDT_INLINE void columns(const T* x, T u, T tau, T* top, T* below, int64_t ld,
                                 int64_t rows) {
    V sum[G];
    for (int g = 0; g < G; ++g) sum[g] = V::zero();
    for (int64_t i = 0; i < rows; i += V::L) {
      const V v = V::load(x + i);
      for (int g = 0; g < G; ++g) sum[g] = fma(v, V::load(below + g * ld + i), sum[g]);
    }
    V share[G];
    for (int g = 0; g < G; ++g) {
      const T w = tau * (u * top[g] + hsum(sum[g]));
      top[g] -= w * u;
      share[g] = V::set1(w);
    }
    for (int64_t i = 0; i < rows; i += V::L) {
      const V v = V::load(x + i);
      for (int g = 0; g < G; ++g)
        fnma(share[g], v, V::load(below + g * ld + i)).store(below + g * ld + i);
    }
  }

  const int n_;
  const int64_t ld_;
  T* r_;
};

}  // namespace edt::EDT_ISA_NS
