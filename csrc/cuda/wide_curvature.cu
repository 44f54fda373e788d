#include "cuda/wide_curvature.cuh"

#include "cuda/wide_run.cuh"

namespace edt::cuda {
namespace {

template <class T>
class CurvatureRun : public WideRun<T> {
 public:
  CurvatureRun(const Call& c, const Data<T>& data, bool ggn) : WideRun<T>(c, data), ggn_(ggn) {
    this->gather(static_cast<const T*>(c.theta), nullptr, nullptr);
  }

  void products(const T* vectors, T* out, int64_t stride) {
    const int count = s_.vectors_given();
    launch("wide vectors", wide_vectors_kernel<T>, s_.vectors().count * count, kWideThreads,
           int64_t(0), c_.stream, pr_, this->from(s_.vectors()), who_, vectors, stride, count);
    this->in_chunks(0, pr_.data.n, false, [&](const WideChunk& chunk) {
      prepare(chunk);
      for (int k = 0; k < count; k += s_.group()) {
        const WideGroup group = group_of(k, count);
        pass(chunk, group, 0, true);
        launch("wide product", wide_product_kernel<T>, s_.gradient().count * group.count,
               kWideThreads, wide_gradient_bytes<T>(), c_.stream, pr_, this->from(s_.gradient()),
               who_, chunk, group);
      }
    });
    launch("wide product to flat", wide_flat_kernel<T>, s_.flat().count * count, kWideThreads,
           int64_t(0), c_.stream, pr_, this->from(s_.flat()), who_, out, stride, count);
  }

  void hessians(T* out, const int64_t* offsets) {
    this->in_chunks(0, pr_.data.n, false, [&](const WideChunk& chunk) {
      prepare(chunk);
      for (int l = 0; l < s_.layers(); ++l) {
        const int units = s_.most_units(l);
        for (int u = 0; u < units; u += s_.group()) {
          const WideGroup group = group_of(u, units);
          launch("wide start", wide_start_kernel<T>, s_.networks() * group.count * chunk.tiles,
                 kWideTile, int64_t(0), c_.stream, pr_, wide_, who_, chunk, group, l);
          pass(chunk, group, l + 1, false);
          const int parts = s_.parts(group.count);
          launch("wide unit", wide_unit_kernel<T>, s_.networks() * group.count * parts,
                 kWideThreads, int64_t(0), c_.stream, pr_, wide_, who_, chunk, group, l, out,
                 offsets, parts);
        }
      }
    });
  }

 private:
  using Base = WideRun<T>;
  using Base::c_;
  using Base::pr_;
  using Base::s_;
  using Base::who_;
  using Base::wide_;

  WideGroup group_of(int first, int all) const {
    return {first, std::min(s_.group(), all - first), int(ggn_), int64_t(s_.group()) * s_.ld()};
  }

  // What does not depend on the vectors.
  void prepare(const WideChunk& chunk) {
    this->template forward<2>(chunk);
    launch("wide output", wide_output_kernel<T, true>, s_.networks() * chunk.tiles, kWideTile,
           int64_t(kReserved), c_.stream, pr_, wide_, who_, chunk, T(1), static_cast<T*>(nullptr),
           static_cast<const T*>(nullptr), 1);
    if (ggn_) return;
    for (int l = s_.layers() - 1; l > 0; --l)
      Base::over("wide bend", wide_bend_kernel<T>, s_.backward(l), chunk);
  }

  // Tangents up from layer `from`, and down to the units below it.
  void pass(const WideChunk& chunk, const WideGroup& group, int from, bool given) {
    const int last = s_.layers() - 1;
    for (int l = from; l <= last; ++l)
      over_vectors("wide push", wide_push_kernel<T>, s_.forward(l), chunk, group, given);
    launch("wide curve", wide_curve_kernel<T>, s_.networks() * group.count * chunk.tiles, kWideTile,
           int64_t(0), c_.stream, pr_, wide_, who_, chunk, group);
    for (int l = last; l > 0 && l >= from; --l)
      over_vectors("wide pull", wide_pull_kernel<T>, s_.backward(l), chunk, group, given);
  }

  // One block an item, vector and tile.
  template <class K>
  void over_vectors(const char* name, K kernel, const WideRange& range, const WideChunk& chunk,
                    const WideGroup& group, bool given) {
    launch(name, kernel, range.count * group.count * chunk.tiles, kWideThreads, this->shared(range),
           c_.stream, pr_, this->from(range), who_, chunk, group, int(given));
  }

  bool ggn_;
};

}  // namespace

template <class T>
void wide_hvp(const Call& c, const Data<T>& data, const T* vectors, T* out, int64_t stride,
              bool ggn) {
  if (!c.schedule.wide().empty()) CurvatureRun<T>(c, data, ggn).products(vectors, out, stride);
}

template <class T>
void wide_hessian(const Call& c, const Data<T>& data, T* out, const int64_t* offsets, bool ggn) {
  if (!c.schedule.wide().empty()) CurvatureRun<T>(c, data, ggn).hessians(out, offsets);
}

template void wide_hvp<float>(const Call&, const Data<float>&, const float*, float*, int64_t, bool);
template void wide_hvp<double>(const Call&, const Data<double>&, const double*, double*, int64_t,
                               bool);
template void wide_hessian<float>(const Call&, const Data<float>&, float*, const int64_t*, bool);
template void wide_hessian<double>(const Call&, const Data<double>&, double*, const int64_t*, bool);

}  // namespace edt::cuda
