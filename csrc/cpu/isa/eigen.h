// Eigenvalues and eigenvectors of small symmetric matrices: Householder reflections to tridiagonal
// form, then QL with implicit shifts. Eigenvectors lie in rows, so that both stages work on whole
// vectors. For matrices of up to some hundred rows, above which LAPACK's blocks pay.
//
// H. Bowdler, R. Martin, C. Reinsch, J. Wilkinson, "The QR and QL algorithms for symmetric
// matrices", Numerische Mathematik 11, 1968; B. Parlett, "The Symmetric Eigenvalue Problem", 1998.
#pragma once
#include <limits>

#include "cpu/isa/vectors.h"

namespace edt::EDT_ISA_NS {

template <class T>
class Eigensystem {
 public:
  using V = Vec<T>;

  // Of matrices of n rows, which lie `ld` apart.
  Eigensystem(int n_, Scratch& ws)
      : n(n_),
        ld(padded<T>(n_)),
        matrix(ws.take<T>(size_t(n) * ld)),
        vectors(ws.take<T>(size_t(n) * ld)),
        values(ws.take<T>(ld)),
        off_(ws.take<T>(ld)),
        w_(ws.take<T>(ld)) {
    std::fill(matrix, matrix + size_t(n) * ld, T(0));
    std::fill(values, values + ld, T(0));
  }

  // Of what `matrix` holds, which is lost: values[k] (in no order) and row k of `vectors`. False if
  // an entry is not finite, or in the (never seen) case that QL does not end.
  bool run() {
    T largest = T(0);
    for (int i = 0; i < n; ++i) {
      if (!all_finite(row(matrix, i), ld)) return false;
      largest = std::max(largest, max_abs(row(matrix, i), ld));
    }
    // By a power of two, so that squares neither overflow nor vanish.
    const int power = largest > T(0) ? std::ilogb(largest) : 0;
    scale(T(std::ldexp(1.0, -std::clamp(power, -1000, 1000))));
    tridiagonal();
    const bool ended = ql();
    const T back = T(std::ldexp(1.0, std::clamp(power, -1000, 1000)));
    for (int i = 0; i < n; ++i) values[i] *= back;
    return ended;
  }

  // out[k] = vectors[k] . x; x and out are padded.
  void onto(const T* x, T* out) const {
    for (int k = 0; k < n; ++k) out[k] = dot(row(vectors, k), x, int(ld));
  }
  // out = sum_k q[k] vectors[k]
  void back(const T* q, T* out) const {
    std::fill(out, out + ld, T(0));
    for (int k = 0; k < n; ++k) axpy(q[k], row(vectors, k), out, int(ld));
  }

  const int n;
  const int64_t ld;
  T *const matrix, *const vectors, *const values;  // padded with zeros

 private:
  static constexpr int kSweeps = 60;  // for one eigenvalue; two are usual

  T* row(T* m, int i) const { return m + i * ld; }

  void scale(T by) {
    const V k = V::set1(by);
    for (int64_t i = 0; i < n * ld; i += V::L) (k * V::load(matrix + i)).store(matrix + i);
  }

  // Row k of the matrix keeps its reflection, `off_[k]` the entry beside the diagonal.
  void tridiagonal() {
    std::vector<T> taus(size_t(std::max(n, 1)), T(0));
    for (int k = 0; k + 1 < n; ++k) {
      T* x = row(matrix, k);
      values[k] = x[k];
      const T first = x[k + 1];
      T below = T(0);
      for (int i = k + 2; i < n; ++i) below += x[i] * x[i];
      if (below == T(0)) {
        off_[k] = first;
        continue;
      }
      const T length = std::sqrt(first * first + below), beta = first > T(0) ? -length : length;
      std::fill(x, x + k + 1, T(0));
      x[k + 1] = first - beta;
      off_[k] = beta;
      taus[size_t(k)] = T(-1) / (beta * x[k + 1]);
      update(k, taus[size_t(k)]);
    }
    if (n > 0) values[n - 1] = row(matrix, n - 1)[n - 1];
    std::fill(vectors, vectors + size_t(n) * ld, T(0));
    for (int i = 0; i < n; ++i) row(vectors, i)[i] = T(1);
    for (int k = n - 2; k >= 0; --k) {
      if (taus[size_t(k)] == T(0)) continue;
      const T* x = row(matrix, k);
      for (int i = k + 1; i < n; ++i) {
        const T share = -taus[size_t(k)] * dot_from(k + 1, x, row(vectors, i));
        axpy_from(k + 1, share, x, row(vectors, i));
      }
    }
  }

  // A -= x w^T + w x^T behind row k, w = tau A x - (tau^2 / 2) (x^T A x) x.
  void update(int k, T tau) {
    const T* x = row(matrix, k);
    const int from = k + 1;
    std::fill(w_, w_ + ld, T(0));
    for (int i = from; i < n; ++i) w_[i] = tau * dot_from(from, x, row(matrix, i));
    const T half = T(-0.5) * tau * dot_from(from, x, w_);
    axpy_from(from, half, x, w_);
    for (int i = from; i < n; ++i) {
      const V a = V::set1(x[i]), b = V::set1(w_[i]);
      T* to = row(matrix, i);
      for (int64_t j = from / V::L * V::L; j < ld; j += V::L)
        fnma(a, V::load(w_ + j), fnma(b, V::load(x + j), V::load(to + j))).store(to + j);
    }
  }

  // From the vector that holds entry `from`: entries before it are 0 in x.
  T dot_from(int from, const T* x, const T* y) const {
    V sum = V::zero();
    for (int64_t j = from / V::L * V::L; j < ld; j += V::L)
      sum = fma(V::load(x + j), V::load(y + j), sum);
    return hsum(sum);
  }
  void axpy_from(int from, T c, const T* x, T* y) const {
    const V k = V::set1(c);
    for (int64_t j = from / V::L * V::L; j < ld; j += V::L)
      fma(k, V::load(x + j), V::load(y + j)).store(y + j);
  }

  bool ql() {
    T *d = values, *e = off_;
    if (n > 0) e[n - 1] = T(0);
    for (int l = 0; l < n; ++l)
      for (int sweep = 0;; ++sweep) {
        int m = l;
        while (m + 1 < n && !(std::abs(e[m]) <= std::numeric_limits<T>::epsilon() *
                                                    (std::abs(d[m]) + std::abs(d[m + 1]))))
          ++m;
        if (m == l) break;
        if (sweep == kSweeps) return false;
        T g = (d[l + 1] - d[l]) / (T(2) * e[l]);
        T r = std::sqrt(g * g + T(1));
        g = d[m] - d[l] + e[l] / (g + std::copysign(r, g));
        T s = T(1), c = T(1), p = T(0);
        int i = m - 1;
        for (; i >= l; --i) {
          const T f = s * e[i], b = c * e[i];
          r = std::sqrt(f * f + g * g);
          e[i + 1] = r;
          if (r == T(0)) {
            d[i + 1] -= p;
            e[m] = T(0);
            break;
          }
          s = f / r;
          c = g / r;
          g = d[i + 1] - p;
          r = (d[i] - g) * s + T(2) * c * b;
          p = s * r;
          d[i + 1] = g + p;
          g = c * r - b;
          rotate(i, s, c);
        }
        if (i >= l) continue;
        d[l] -= p;
        e[l] = g;
        e[m] = T(0);
      }
    return true;
  }

  void rotate(int i, T sine, T cosine) {
    const V s = V::set1(sine), c = V::set1(cosine);
    T *low = row(vectors, i), *high = row(vectors, i + 1);
    for (int64_t j = 0; j < ld; j += V::L) {
      const V a = V::load(low + j), b = V::load(high + j);
      fma(s, a, c * b).store(high + j);
      fnma(s, b, c * a).store(low + j);
    }
  }

  T *off_, *w_;
};

}  // namespace edt::EDT_ISA_NS
