#include "cuda/wide_gradient.cuh"
#include "cuda/wide_run.cuh"
#include "cuda/wide_train.cuh"

namespace edt::cuda {
namespace {

template <class T>
class Runner : public WideRun<T> {
 public:
  using WideRun<T>::WideRun;

  // The networks running at one step, from now on.
  void at_step(const TrainState<T>& st, int64_t step) {
    who_ = {nullptr, st.status, st.steps, step};
  }

  void scatter(T* theta, T* m, T* v) {
    run("wide scatter", wide_scatter_kernel<T>, s_.vectors(), theta, m, v);
  }
  void shuffle(const TrainState<T>& st, int64_t epoch) {
    const int n = pr_.data.n, most = s_.shared_order();
    launch("wide order", wide_order_kernel<T>, s_.networks(), kWideThreads,
           n <= most ? order_bytes(n) : 0, c_.stream, pr_, wide_,
           static_cast<const int8_t*>(st.status), st.seeds, epoch, most);
  }

  // Outputs, losses and gradient of `count` samples from `first` on, in the networks' own order if
  // `ordered`. Returns the number of partial losses.
  int evaluate(int first, int count, bool ordered, T scale, T* predict, const T* cotangent,
               bool losses, bool gradient) {
    return this->in_chunks(first, count, ordered, [&](const WideChunk& chunk) {
      pass(chunk, scale, predict, cotangent, losses, gradient);
    });
  }

  void loss(int slots, double* out) {
    launch("wide loss", wide_loss_kernel<T>, s_.networks(), kWideThreads, int64_t(kReserved),
           c_.stream, pr_, wide_, who_, slots, out);
  }
  void flat(T* grad) {
    run("wide gradient to flat", wide_flat_kernel<T>, s_.flat(), who_, grad, int64_t(0), 1);
  }

  void decide(const HyperParameters& hp, const TrainState<T>& st, int slots, bool minibatch,
              bool decides, bool last, int64_t row) {
    launch("wide decision", wide_decide_kernel<T>, s_.networks(), kWideThreads, int64_t(kReserved),
           c_.stream, pr_, wide_, who_, hp, st, slots, int(minibatch), int(decides), int(last),
           row);
  }
  void update(const HyperParameters& hp, const TrainState<T>& st) {
    if (st.clip_norm)
      launch("wide squares", wide_squares_kernel<T>, s_.vectors().count, kWideThreads,
             int64_t(kReserved), c_.stream, pr_, this->from(s_.vectors()));
    const bool adaptive = hp.optimizer != Optimizer::sgd;
    const double c1 = adaptive ? 1.0 - integer_power(hp.beta1, who_.step + 1) : 1.0;
    const double c2 = adaptive ? 1.0 - integer_power(hp.beta2, who_.step + 1) : 1.0;
    launch("wide update", wide_update_kernel<T>, s_.vectors().count, kWideThreads,
           int64_t(kReserved), c_.stream, pr_, this->from(s_.vectors()), hp, st, who_.step, c1, c2);
  }

 private:
  using Base = WideRun<T>;
  using Base::c_;
  using Base::pr_;
  using Base::s_;
  using Base::who_;
  using Base::wide_;

  // One block an item.
  template <class... P, class... A>
  void run(const char* name, void (*kernel)(Problem<T>, Wide<T>, P...), const WideRange& range,
           A... args) {
    launch(name, kernel, range.count, kWideThreads, int64_t(0), c_.stream, pr_, this->from(range),
           args...);
  }
  void pass(const WideChunk& chunk, T scale, T* predict, const T* cotangent, bool losses,
            bool gradient) {
    this->template forward<1>(chunk);
    launch("wide output", wide_output_kernel<T, false>, s_.networks() * chunk.tiles, kWideTile,
           int64_t(kReserved), c_.stream, pr_, wide_, who_, chunk, scale, predict, cotangent,
           int(losses));
    if (!gradient) return;
    for (int l = s_.layers() - 1; l > 0; --l)
      this->over("wide backward", wide_backward_kernel<T>, s_.backward(l), chunk);
    launch("wide gradient", wide_gradient_kernel<T>, s_.gradient().count, kWideThreads,
           wide_gradient_bytes<T>(), c_.stream, pr_, this->from(s_.gradient()), who_, chunk);
  }
};

}  // namespace

template <class T>
void wide_evaluate(const Call& c, const Data<T>& data, T* predict, const T* cotangent, double* loss,
                   T* grad) {
  if (c.schedule.wide().empty()) return;
  Runner<T> run(c, data);
  run.gather(static_cast<const T*>(c.theta), nullptr, nullptr);
  const int slots =
      run.evaluate(0, data.n, false, T(1), predict, cotangent, loss != nullptr, grad != nullptr);
  if (loss) run.loss(slots, loss);
  if (grad) run.flat(grad);
}

template <class T>
void wide_train(const Call& c, const Data<T>& data, const HyperParameters& hp,
                const TrainState<T>& state, int64_t first, const int64_t* record) {
  if (c.schedule.wide().empty()) return;
  TrainState<T> st = state;
  if (!c.schedule.wide().moments()) st.v = nullptr;
  Runner<T> run(c, data);
  run.gather(st.theta, st.m, st.v);
  const bool batches = hp.batch_size > 0;
  const int batch = batches ? int(hp.batch_size) : data.n;
  const int64_t per_epoch = (data.n + batch - 1) / batch;
  int64_t epoch = -1;
  for (int64_t s = first; s <= st.until; ++s) {
    run.at_step(st, s);
    const int64_t row = std::lower_bound(record, record + st.n_record, s) - record;
    const bool last = s == st.until, recorded = row < st.n_record && record[row] == s;
    if (last && s < hp.last_step) break;
    // Only evaluations that do not depend on where the calls are cut may stop a network.
    const bool decides = !batches || recorded || (wants_target(hp) && s % per_epoch == 0);
    if (decides || last) {
      const int slots = run.evaluate(0, data.n, false, T(1), nullptr, nullptr, true, true);
      run.decide(hp, st, slots, false, decides, last, recorded ? row : -1);
    }
    if (last) break;
    if (batches) {
      if (s / per_epoch != epoch) run.shuffle(st, epoch = s / per_epoch);
      const int at = int(s % per_epoch) * batch, count = std::min(batch, data.n - at);
      const T scale = T(double(data.n) / double(count));
      const int slots = run.evaluate(at, count, true, scale, nullptr, nullptr, true, true);
      run.decide(hp, st, slots, true, false, false, -1);
    }
    run.update(hp, st);
  }
  run.scatter(st.theta, st.m, st.v);
}

template void wide_evaluate<float>(const Call&, const Data<float>&, float*, const float*, double*,
                                   float*);
template void wide_evaluate<double>(const Call&, const Data<double>&, double*, const double*,
                                    double*, double*);
template void wide_train<float>(const Call&, const Data<float>&, const HyperParameters&,
                                const TrainState<float>&, int64_t, const int64_t*);
template void wide_train<double>(const Call&, const Data<double>&, const HyperParameters&,
                                 const TrainState<double>&, int64_t, const int64_t*);

}  // namespace edt::cuda
