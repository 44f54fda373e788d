// Arithmetic on whole compressed parameter vectors: sums in one fixed order, entries beyond the
// last parameter are zero padding.
#pragma once
#include "cpu/isa/block.h"

namespace edt::EDT_ISA_NS {

template <class T>
EDT_INLINE int padded(int n) {
  return (n + Vec<T>::L - 1) / Vec<T>::L * Vec<T>::L;
}

template <class T>
T dot(const T* a, const T* b, int n) {
  using V = Vec<T>;
  V s = V::zero();
  for (int i = 0; i < n; i += V::L) s = fma(V::load(a + i), V::load(b + i), s);
  return hsum(s);
}

// y += c x
template <class T>
void axpy(T c_, const T* x, T* y, int n) {
  using V = Vec<T>;
  const V k = V::set1(c_);
  for (int i = 0; i < n; i += V::L) fma(k, V::load(x + i), V::load(y + i)).store(y + i);
}

// out = a + c b
template <class T>
void add_scaled(const T* a, T c_, const T* b, T* out, int n) {
  using V = Vec<T>;
  const V k = V::set1(c_);
  for (int i = 0; i < n; i += V::L) fma(k, V::load(b + i), V::load(a + i)).store(out + i);
}

template <class T>
T max_abs(const T* a, int n) {
  using V = Vec<T>;
  V m = V::zero();
  for (int i = 0; i < n; i += V::L) m = max(abs(V::load(a + i)), m);
  return hmax(m);
}

template <class T>
bool all_finite(const T* a, int n) {
  using V = Vec<T>;
  V s = V::zero();
  for (int i = 0; i < n; i += V::L) {
    const V x = V::load(a + i);
    s = s + (x - x);
  }
  return hsum(s) == T(0);
}

// Writes the trainable entries back and leaves the others of the flat vector alone.
template <class T>
void scatter(const Net& net, const T* p, T* flat) {
  for (int k = 0; k < net.n_params(); ++k)
    if (net.trainable[k]) flat[net.flat[k]] = p[k];
}

}  // namespace edt::EDT_ISA_NS
