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

// A compressed vector over the coordinates, and back: zeros in the rest of `room` entries.
template <class T>
void to_coordinates(const Net& net, const T* from, T* to, int64_t room) {
  std::fill(to, to + room, T(0));
  for (int k = 0; k < net.n_params(); ++k)
    if (net.coord[k] >= 0) to[net.coord[k]] = from[k];
}
template <class T>
void from_coordinates(const Net& net, const T* from, T* to, int64_t room) {
  std::fill(to, to + room, T(0));
  for (int k = 0; k < net.n_params(); ++k)
    if (net.coord[k] >= 0) to[k] = from[net.coord[k]];
}

// |theta| over all entries of a network's flat vector, of which coordinates move.
template <class T>
class WholeNorm {
 public:
  WholeNorm(const Net& net, const T* theta) : net_(net) {
    std::vector<uint8_t> listed(size_t(net.n_flat), 0);
    for (int k = 0; k < net.n_params(); ++k)
      if (net.coord[k] >= 0) listed[size_t(net.flat[k])] = 1;
    for (int i = 0; i < net.n_flat; ++i)
      if (!listed[size_t(i)]) rest_ += double(theta[i]) * double(theta[i]);
  }
  // At a compressed vector.
  double operator()(const T* p) const {
    double sum = rest_;
    for (int k = 0; k < net_.n_params(); ++k)
      if (net_.coord[k] >= 0) sum += double(p[k]) * double(p[k]);
    return std::sqrt(sum);
  }

 private:
  const Net& net_;
  double rest_ = 0;
};

// Writes the trainable entries back and leaves the others of the flat vector alone.
template <class T>
void scatter(const Net& net, const T* p, T* flat) {
  for (int k = 0; k < net.n_params(); ++k)
    if (net.trainable[k]) flat[net.flat[k]] = p[k];
}

}  // namespace edt::EDT_ISA_NS
