#include <algorithm>

#include "cuda/chain_gradient.cuh"

namespace edt::cuda {
namespace {

template <class T>
class ChainRun {
 public:
  ChainRun(const ChainCall& c, int64_t first_network)
      : c_(c),
        plan_(c.plan),
        t_(plan_.tables(c.block, first_network)),
        nets_(int(std::min<int64_t>(plan_.group(), plan_.networks() - first_network))),
        network_(first_network) {
    T* at = reinterpret_cast<T*>(c.workspace);
    const auto take = [&](int64_t numbers, int64_t net, int64_t vec) {
      Lines<T> lines{at, net, vec};
      at += plan_.group() * numbers;
      return lines;
    };
    const int64_t chunk = plan_.chunk(), vectors = std::max(1, plan_.vectors());
    const int64_t x = plan_.inputs() * chunk, room = plan_.room() * chunk;
    const int64_t partial = round_up(plan_.partial(), 4);
    x_ = take(x, c.x_step ? x : 0, 0);
    rooms_ = take(room, room, 0);
    weights_ = take(plan_.weights(), plan_.weights(), 0);
    partial_ = take(partial * vectors, partial * vectors, partial);
    const int64_t r_room = plan_.r_room() * chunk;
    r_rooms_ = take(vectors * r_room, vectors * r_room, r_room);
    r_weights_ = take(vectors * plan_.weights(), vectors * plan_.weights(), plan_.weights());
  }

  void weights() { weights(of_networks(c_.theta, plan_.parameters()), weights_, 1); }

  // Which samples the next calls are about.
  void samples(int64_t first) {
    first_ = first;
    count_ = int(std::min<int64_t>(plan_.chunk(), plan_.samples() - first));
    S_ = int(round_up(count_, kPack<T>));
  }

  // order: derivatives of activations that are kept.
  void forward(int order) {
    margins(rooms_, false, 1);
    const ChainImage& input = plan_.stages().front().in;
    const int copies = c_.x_step ? nets_ : 1;
    const T* x = static_cast<const T*>(c_.x) + network_ * c_.x_step + first_ * plan_.d_in();
    turn({x, c_.x_step, 0}, plan_.d_in(), true, plain(input, x_), copies);
    for (int n = 0; n < t_.count; ++n) {
      const ChainStage& s = plan_.stages()[n];
      const ChainImage image = image_after(n);
      ChainSink<T> sink{ChainEnd::bent, s.act, image, room(image.at), {}, {}, {}};
      if (order > 0) sink.first = maybe(s.first);
      if (order > 1) sink.second = maybe(s.second);
      if (s.kind == ChainStage::Kind::affine)
        product(n, false, {read(weights_), input_of(n)}, {}, biases(s), sink, 1);
      else pool(s, input_of(n), order > 0 ? where(s) : Lines<uint8_t>{}, false, sink, 1);
    }
  }

  void outputs(T* out) {
    const int D = plan_.d_out(), blocks = squares(D, count_);
    T* to = out + (network_ * plan_.samples() + first_) * D;
    launch("chain return", chain_return_kernel<T>, nets_ * blocks, kChainThreads,
           kChainTurnBytes<T>, c_.stream, read(room(plan_.outputs())), D, count_,
           Lines<T>{to, plan_.samples() * D, 0}, blocks, S_);
  }

  // From slopes at the outputs to those at every stage's z; bent: s'' becomes s'' dL/dsigma.
  void backward(const T* slopes, bool bent) {
    const int D = plan_.d_out(), last = t_.count - 1;
    const T* from = slopes + (network_ * plan_.samples() + first_) * D;
    turn({from, plan_.samples() * D, 0}, D, false, slope_sink(last, bent), nets_);
    for (int n = last; n > t_.first; --n) {
      const ChainStage& s = plan_.stages()[n];
      const Lines<const T> slope = read(room(s.slope.at));
      const ChainSink<T> sink = slope_sink(n - 1, bent);
      if (s.kind == ChainStage::Kind::affine)
        product(n, true, {read(weights_), slope}, {}, {}, sink, 1);
      else unpool(s, slope, sink, 1);
    }
  }

  void gradient(T* grad, bool accumulate) {
    const int64_t P = plan_.parameters();
    const ChainGradient<T> g{t_, read(x_), read(rooms_), {}, partial_, 0, 0, 1, 0, S_};
    gradients(g, {grad + network_ * P, P, 0}, accumulate);
  }

  // What all vectors share: values, derivatives, slopes, curvature.
  void shared(const ChainVectors<T>& given) {
    forward(given.slopes ? 2 : 1);
    if (given.slopes) backward(given.slopes, true);
    const int D = plan_.d_out(), n = D * D;
    const T* from = given.curvature + (network_ * plan_.samples() + first_) * n;
    turn({from, plan_.samples() * n, 0}, n, false,
         plain({0, n, 1, 1, 0, 0}, room(plan_.curvature())), nets_);
    margins(r_rooms_, true, plan_.vectors());
  }

  // Products with `count` vectors from the given one on.
  void products(const ChainVectors<T>& given, int64_t vector, int count, bool accumulate) {
    const int64_t at = network_ * given.network_step + vector * given.vector_step;
    const Lines<const T> v{given.vectors + at, given.network_step, given.vector_step};
    const bool bent = given.slopes != nullptr;
    const int last = t_.count - 1;
    weights(v, r_weights_, count);
    for (int n = t_.first; n < t_.count; ++n) {
      const ChainStage& s = plan_.stages()[n];
      const int64_t to = n < last ? plan_.stages()[n + 1].r_in : plan_.r_outputs();
      const ChainSink<T> sink{ChainEnd::tangent,
                              -1,
                              image_after(n),
                              r_room(to),
                              maybe(s.first),
                              {},
                              bent ? r_maybe(s.r_z) : Lines<T>{}};
      if (s.kind == ChainStage::Kind::affine) {
        const ChainFactors<T> more{read(weights_), read(r_maybe(s.r_in))};
        product(n, false, {read(r_weights_), input_of(n)}, n > t_.first ? more : ChainFactors<T>{},
                s.bias < 0 ? Lines<const T>{} : Lines<const T>{v.p + s.bias, v.net, v.vec}, sink,
                count);
      } else {
        pool(s, read(r_room(s.r_in)), where(s), s.kind == ChainStage::Kind::pool, sink, count);
      }
    }
    const int D = plan_.d_out(), blocks = pack_blocks(D);
    launch("chain curvature", chain_curvature_kernel<T>, nets_ * count * blocks, kChainThreads,
           int64_t(0), c_.stream, read(room(plan_.curvature())), read(r_room(plan_.r_outputs())), D,
           r_slope_sink(last, bent), count, blocks, S_);
    for (int n = last; n > t_.first; --n) {
      const ChainStage& s = plan_.stages()[n];
      const Lines<const T> slope = read(r_room(s.r_slope));
      const ChainSink<T> sink = r_slope_sink(n - 1, bent);
      if (s.kind == ChainStage::Kind::affine) {
        const ChainFactors<T> more{read(r_weights_), read(room(s.slope.at))};
        product(n, true, {read(weights_), slope}, bent ? more : ChainFactors<T>{}, {}, sink, count);
      } else {
        unpool(s, slope, sink, count);
      }
    }
    const ChainGradient<T> g{
        t_, read(x_), read(rooms_), read(r_rooms_), partial_, 1, int(bent), count, 0, S_};
    gradients(g, {given.out + at, given.network_step, given.vector_step}, accumulate);
  }

 private:
  static Lines<const T> read(const Lines<T>& l) { return {l.p, l.net, l.vec}; }
  Lines<const T> of_networks(const void* p, int64_t each) const {
    return {static_cast<const T*>(p) + network_ * each, each, 0};
  }
  // Rows at so many positions of the networks' rooms; -1: none.
  Lines<T> room(int64_t positions) const {
    return {rooms_.p + positions * S_, rooms_.net, rooms_.vec};
  }
  Lines<T> maybe(int64_t positions) const { return positions < 0 ? Lines<T>{} : room(positions); }
  Lines<T> r_room(int64_t positions) const {
    return {r_rooms_.p + positions * S_, r_rooms_.net, r_rooms_.vec};
  }
  Lines<T> r_maybe(int64_t positions) const {
    return positions < 0 ? Lines<T>{} : r_room(positions);
  }
  Lines<uint8_t> where(const ChainStage& s) const {
    if (s.where < 0) return {};
    const int64_t bytes = int64_t(sizeof(T));
    return {reinterpret_cast<uint8_t*>(room(s.where).p), rooms_.net * bytes, 0};
  }
  Lines<const T> biases(const ChainStage& s) const {
    if (s.bias < 0) return {};
    Lines<const T> all = of_networks(c_.theta, plan_.parameters());
    all.p += s.bias;
    return all;
  }
  Lines<const T> input_of(int n) const {
    return n == 0 ? read(x_) : read(room(plan_.stages()[n].in.at));
  }
  ChainImage image_after(int n) const {
    if (n + 1 < t_.count) return plan_.stages()[n + 1].in;
    const ChainStage& s = plan_.stages()[n];
    return {plan_.outputs(), s.c, s.h, s.w, 0, 0};
  }
  static ChainSink<T> plain(const ChainImage& image, const Lines<T>& out) {
    return {ChainEnd::plain, -1, image, out, {}, {}, {}};
  }
  // dL/dsigma of a stage's outputs to dL/dz.
  ChainSink<T> slope_sink(int n, bool bent) const {
    const ChainStage& s = plan_.stages()[n];
    return {ChainEnd::slope,
            -1,
            s.slope,
            room(s.slope.at),
            maybe(s.first),
            bent ? maybe(s.second) : Lines<T>{},
            {}};
  }
  // And along vectors.
  ChainSink<T> r_slope_sink(int n, bool bent) const {
    const ChainStage& s = plan_.stages()[n];
    return {ChainEnd::r_slope,
            -1,
            s.slope,
            r_room(s.r_slope),
            maybe(s.first),
            bent ? maybe(s.second) : Lines<T>{},
            bent ? r_maybe(s.r_z) : Lines<T>{}};
  }

  void weights(const Lines<const T>& from, const Lines<T>& to, int vectors) {
    launch("chain weights", chain_weights_kernel<T>,
           nets_ * vectors * t_.count * kChainWeightBlocks, kChainThreads, int64_t(0), c_.stream,
           t_, from, to, vectors, S_);
  }
  void margins(const Lines<T>& rooms, bool tangents, int vectors) {
    launch("chain margins", chain_margins_kernel<T>,
           nets_ * vectors * 2 * t_.count * kChainMarginBlocks, kChainThreads, int64_t(0),
           c_.stream, t_, x_, rooms, int(tangents), vectors, S_);
  }
  int squares(int n, int samples) const {
    return ((n + kChainTurn - 1) / kChainTurn) * ((samples + kChainTurn - 1) / kChainTurn);
  }
  void turn(const Lines<const T>& from, int n, bool repeat, const ChainSink<T>& sink, int nets) {
    const int blocks = squares(n, S_);
    launch("chain turn", chain_turn_kernel<T>, nets * blocks, kChainThreads, kChainTurnBytes<T>,
           c_.stream, from, n, count_, int(repeat), sink, blocks, S_);
  }
  int pack_blocks(int64_t numbers) const {
    return int((numbers * (S_ / kPack<T>)+kChainThreads - 1) / kChainThreads);
  }
  static ChainField field(const ChainStage& s) {
    return {s.in, s.kh, s.kw, s.h, s.w, s.kind == ChainStage::Kind::pool};
  }
  void pool(const ChainStage& s, const Lines<const T>& in, const Lines<uint8_t>& where, bool given,
            const ChainSink<T>& sink, int vectors) {
    const int blocks = pack_blocks(int64_t(s.c) * s.h * s.w);
    launch("chain pool", chain_pool_kernel<T>, nets_ * vectors * blocks, kChainThreads, int64_t(0),
           c_.stream, field(s), in, where, int(given), sink, vectors, blocks, S_);
  }
  void unpool(const ChainStage& s, const Lines<const T>& slope, const ChainSink<T>& sink,
              int vectors) {
    const int down = (s.in.h + s.kh - 1) / s.kh, across = (s.in.w + s.kw - 1) / s.kw;
    const int blocks = pack_blocks(int64_t(s.in.c) * down * across);
    launch("chain unpool", chain_unpool_kernel<T>, nets_ * vectors * blocks, kChainThreads,
           int64_t(0), c_.stream, field(s), slope, where(s), sink, vectors, blocks, S_);
  }

  void product(int n, bool back, const ChainFactors<T>& factors, const ChainFactors<T>& more,
               const Lines<const T>& bias, const ChainSink<T>& sink, int vectors) {
    const ChainStage& s = plan_.stages()[n];
    const ChainProduct& p = back ? s.back : s.forward;
    ChainAffine<T> a{p,    s.kh,    s.kw,     n,    {factors, more}, bias,
                     sink, t_.nets, t_.count, back, t_.ints,         vectors,
                     0,    S_,      0,        0};
    // Of single numbers channels are the innermost loop.
    const bool flat = s.kh * s.kw == 1;
    a.channels = flat ? 1 : p.channels;
    a.kw = flat ? p.channels : s.kw;
    a.step = (flat ? p.plane : 1) * S_;
    const int64_t packs = int64_t(p.h) * p.w * (S_ / kPack<T>);
    const auto blocks = [&](int rows, int together) {
      const int64_t groups = (packs + together * kWarp - 1) / (together * kWarp);
      return int((groups * rows + 3) / 4);
    };
    const auto over = [&](const char* name, auto kernel, int rows, int together) {
      a.blocks = blocks(rows, together);
      launch(name, kernel, nets_ * vectors * a.blocks, kChainProductThreads, int64_t(0), c_.stream,
             a);
    };
    if (plan_.any_dense(n)) {
      if (p.height == 8) over("chain dense", chain_dense_kernel<T, 8, 2>, p.tiles, 2);
      else if (p.height == 6) over("chain dense", chain_dense_kernel<T, 6, 2>, p.tiles, 2);
      else over("chain dense", chain_dense_kernel<T, 2, 1>, p.tiles, 1);
    }
    if (plan_.any_listed(n)) {
      if (p.many) over("chain taps", chain_taps_kernel<T, 4>, p.rows, 4);
      else over("chain taps", chain_taps_kernel<T, 1>, p.rows, 1);
    }
  }
  void gradients(ChainGradient<T> g, const Lines<T>& out, bool accumulate) {
    tiles<8>(g);
    tiles<6>(g);
    tiles<2>(g);
    int lists = 0;
    for (const ChainStage& s : plan_.stages()) lists += s.items[3];
    g.blocks = (lists + 3) / 4;
    launch("chain lists", chain_list_kernel<T>, nets_ * g.vectors * g.blocks, kChainProductThreads,
           int64_t(0), c_.stream, g);
    const int64_t P = plan_.parameters();
    const int blocks = int((P + kChainThreads - 1) / kChainThreads);
    launch("chain sums", chain_sums_kernel<T>, nets_ * g.vectors * blocks, kChainThreads,
           int64_t(0), c_.stream, t_, read(partial_), out, int(P), int(accumulate), g.vectors,
           blocks);
  }
  template <int R>
  void tiles(ChainGradient<T> g) {
    int items = 0;
    bool dense = false;
    for (int n = 0; n < t_.count; ++n) {
      const int more = plan_.stages()[n].items[R == 8 ? 0 : R == 6 ? 1 : 2];
      items += more;
      dense = dense || (more > 0 && plan_.any_dense(n));
    }
    if (!dense) return;
    g.blocks = (items + 3) / 4;
    launch("chain gradient", chain_gradient_kernel<T, R>, nets_ * g.vectors * g.blocks,
           kChainProductThreads, int64_t(0), c_.stream, g);
  }

  const ChainCall& c_;
  const ChainPlan& plan_;
  ChainTables t_;
  int nets_;
  int64_t network_, first_ = 0;
  int count_ = 0, S_ = 0;
  Lines<T> x_, rooms_, weights_, partial_, r_rooms_, r_weights_;
};

// body(run, whether it is the first of its networks) for every group of networks and chunk.
template <class T, class Body>
void in_parts(const ChainCall& c, const Body& body) {
  const ChainPlan& plan = c.plan;
  for (int64_t b = 0; b < plan.networks(); b += plan.group()) {
    ChainRun<T> run(c, b);
    for (int64_t s = 0; s < plan.samples(); s += plan.chunk()) {
      run.samples(s);
      body(run, s == 0);
    }
  }
}

}  // namespace

template <class T>
void chain_outputs(const ChainCall& c, T* out, bool keep) {
  in_parts<T>(c, [&](ChainRun<T>& run, bool) {
    run.weights();
    run.forward(keep ? 1 : 0);
    run.outputs(out);
  });
}

template <class T>
void chain_gradient(const ChainCall& c, const T* slopes, T* grad, bool ready) {
  in_parts<T>(c, [&](ChainRun<T>& run, bool first) {
    if (!ready) {
      run.weights();
      run.forward(1);
    }
    run.backward(slopes, false);
    run.gradient(grad, !first);
  });
}

template <class T>
void chain_products(const ChainCall& c, const ChainVectors<T>& given) {
  in_parts<T>(c, [&](ChainRun<T>& run, bool first) {
    run.weights();
    run.shared(given);
    const int64_t most = c.plan.vectors();
    for (int64_t v = 0; v < given.many; v += most)
      run.products(given, v, int(std::min(most, given.many - v)), !first);
  });
}

template void chain_outputs<float>(const ChainCall&, float*, bool);
template void chain_outputs<double>(const ChainCall&, double*, bool);
template void chain_gradient<float>(const ChainCall&, const float*, float*, bool);
template void chain_gradient<double>(const ChainCall&, const double*, double*, bool);
template void chain_products<float>(const ChainCall&, const ChainVectors<float>&);
template void chain_products<double>(const ChainCall&, const ChainVectors<double>&);

}  // namespace edt::cuda
