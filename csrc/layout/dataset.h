// Samples, laid out feature by feature so that neighbouring samples are neighbouring SIMD lanes.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>

#include "math/losses.h"

namespace edt {

// Samples are padded to whole 64-byte vectors. Padding repeats the last sample with coefficient 0,
// so it never overflows where no true sample does.
template <class T>
struct DatasetT {
  static constexpr int kLanes = 64 / sizeof(T);
  int64_t n_tasks = 0, n = 0, n_pad = 0;
  int64_t ld = 0;  // distance of rows: an odd number of cache lines, so rows spread over the sets
  int d_in = 0, d_out = 0;
  Loss loss = Loss::mse;
  T* x = nullptr;     // [n_tasks, d_in, ld]
  T* y = nullptr;     // [n_tasks, d_out, ld]; one-hot rows for cross-entropy
  T* coef = nullptr;  // [n_tasks, ld]

  DatasetT(int64_t n_tasks_, int64_t n_, int d_in_, int d_out_, Loss loss_, const T* x_src,
           const void* y_src, const T* c_src)
      : n_tasks(n_tasks_),
        n(n_),
        n_pad((n_ + kLanes - 1) / kLanes * kLanes),
        ld(n_pad + (n_pad / kLanes % 2 ? 0 : kLanes)),
        d_in(d_in_),
        d_out(d_out_),
        loss(loss_) {
    const int64_t per_task = ld * (d_in + d_out + 1);
    store_.reset(static_cast<T*>(std::aligned_alloc(64, sizeof(T) * per_task * n_tasks)));
    if (!store_) throw std::bad_alloc();
    x = store_.get();
    y = x + n_tasks * d_in * ld;
    coef = y + n_tasks * d_out * ld;
    for (int64_t t = 0; t < n_tasks; ++t)
      for (int64_t s = 0; s < n_pad; ++s) {
        const int64_t src = t * n + (s < n ? s : n - 1);
        for (int i = 0; i < d_in; ++i) x[(t * d_in + i) * ld + s] = x_src[src * d_in + i];
        for (int o = 0; o < d_out; ++o)
          y[(t * d_out + o) * ld + s] = loss == Loss::cross_entropy
                                            ? T(static_cast<const int64_t*>(y_src)[src] == o)
                                            : static_cast<const T*>(y_src)[src * d_out + o];
        coef[t * ld + s] = s < n ? c_src[src] : T(0);
      }
  }

  // The same samples one after another, for minibatches: [n_tasks, n, row_size()], x then y then
  // coef. Built when first asked for.
  int64_t row_size() const { return d_in + d_out + 1; }
  const T* rows() const {
    std::call_once(rows_once_, [this] {
      const int64_t size = row_size();
      rows_.reset(new T[size_t(n_tasks * n * size)]);
      for (int64_t t = 0; t < n_tasks; ++t)
        for (int64_t s = 0; s < n; ++s) {
          T* to = rows_.get() + (t * n + s) * size;
          for (int i = 0; i < d_in; ++i) *to++ = x[(t * d_in + i) * ld + s];
          for (int o = 0; o < d_out; ++o) *to++ = y[(t * d_out + o) * ld + s];
          *to = coef[t * ld + s];
        }
    });
    return rows_.get();
  }

 private:
  mutable std::once_flag rows_once_;
  mutable std::unique_ptr<T[]> rows_;
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<T[], Free> store_;
};

struct Dataset {
  bool is_double = true;
  std::unique_ptr<DatasetT<float>> f32;
  std::unique_ptr<DatasetT<double>> f64;
  int64_t n_tasks = 0, n = 0;
  int d_in = 0, d_out = 0;
  template <class T>
  const DatasetT<T>& get() const;
};
template <>
inline const DatasetT<float>& Dataset::get<float>() const {
  return *f32;
}
template <>
inline const DatasetT<double>& Dataset::get<double>() const {
  return *f64;
}

}  // namespace edt
