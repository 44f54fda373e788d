// Chains of random layers against plain sums, and gradients and products of those without pooling
// against differences.
#pragma once
#include <array>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "cases.h"
#include "cpu/chain.h"

// Outputs of one sample of a graph of affine layers, pooling, gains, shortcuts and adds, by index.
inline std::vector<double> plain_chain(const edt::Chain& chain, const std::vector<double>& theta,
                                       const std::vector<double>& inputs) {
  using Kind = edt::ChainLayer::Kind;
  std::vector<std::vector<double>> images;
  const auto image = [&](int64_t l) -> const auto& { return l < 0 ? inputs : images[size_t(l)]; };
  for (const edt::ChainLayer& l : chain.layers) {
    const std::vector<double>& x = image(l.source);
    std::vector<double> out(size_t(l.size_out()));
    const bool mean = l.kind == Kind::mean, pool = mean || l.kind == Kind::pool;
    const bool sums = pool || l.kind == Kind::affine;
    for (size_t k = 0; l.kind == Kind::gain && k < out.size(); ++k)
      out[k] = theta[size_t(l.weight)] * x[k];
    for (size_t k = 0; l.kind == Kind::add && k < out.size(); ++k)
      out[k] = x[k] + image(l.other)[k];
    for (int64_t o = 0; l.kind == Kind::shortcut && o < l.kept; ++o)
      for (int64_t y = 0; y < l.h_out; ++y)
        for (int64_t c = 0; c < l.w_out; ++c)
          out[size_t(((l.ahead + o) * l.h_out + y) * l.w_out + c)] =
              x[size_t((o * l.h + y * l.sh) * l.w + c * l.sw)];
    for (int64_t o = 0; sums && o < l.c_out; ++o)
      for (int64_t y = 0; y < l.h_out; ++y)
        for (int64_t c = 0; c < l.w_out; ++c) {
          double sum = mean ? 0.0 : pool ? -HUGE_VAL : l.bias < 0 ? 0.0 : theta[size_t(l.bias + o)];
          for (int64_t i = 0; i < l.kh; ++i)
            for (int64_t j = 0; j < l.kw; ++j) {
              const int64_t row = pool ? y * l.kh + i : y * l.sh - l.top + i;
              const int64_t col = pool ? c * l.kw + j : c * l.sw - l.left + j;
              if (row < 0 || row >= l.h || col < 0 || col >= l.w) continue;
              for (int64_t k = pool ? o : 0; k < (pool ? o + 1 : l.c_in); ++k) {
                const double value = x[size_t((k * l.h + row) * l.w + col)];
                if (mean) sum += value / double(l.kh * l.kw);
                else if (pool) sum = std::max(sum, value);
                else
                  sum += value * theta[size_t(l.weight + ((o * l.c_in + k) * l.kh + i) * l.kw + j)];
              }
            }
          out[size_t((o * l.h_out + y) * l.w_out + c)] = sum;
        }
    images.push_back(out);
  }
  return images.back();
}

// Products of one network with the Hessian of u f + (f - f_0) A (f - f_0) / 2, f_0 its outputs, by
// differences of gradients: these are polynomials of low degree along a vector, so that errors of
// the fourth order leave eleven digits.
inline std::vector<double> differences(const edt::ChainCall<double>& c, const double* u,
                                       const double* curvature, const double* vectors,
                                       int64_t many) {
  const int64_t size = c.chain.parameters, n = c.samples, d = c.chain.d_out;
  std::vector<double> out(size_t(many * size)), f0(size_t(n * d)), f(f0), slopes(f0);
  std::vector<double> at(static_cast<size_t>(size)), grad(at);
  edt::chain_outputs<double>(c, f0.data());
  for (int64_t k = 0; k < many; ++k)
    for (const auto& [step, share] : {std::pair{1.0, 2 / 3.0}, std::pair{2.0, -1 / 12.0}})
      for (const double side : {1.0, -1.0}) {
        const double h = 1e-3 * side * step;
        for (int64_t i = 0; i < size; ++i) at[size_t(i)] = c.theta[i] + h * vectors[k * size + i];
        const edt::ChainCall<double> moved{c.chain, 1, n, at.data(), c.x, c.x_step, c.poll, {}};
        edt::chain_outputs<double>(moved, f.data());
        for (int64_t i = 0; i < n * d; ++i) {
          slopes[size_t(i)] = u ? u[i] : 0;
          for (int64_t o = 0; o < d; ++o) {
            const int64_t from = i / d * d + o;
            slopes[size_t(i)] += curvature[i * d + o] * (f[size_t(from)] - f0[size_t(from)]);
          }
        }
        edt::chain_gradient<double>(moved, slopes.data(), grad.data());
        for (int64_t i = 0; i < size; ++i)
          out[size_t(k * size + i)] += side * share / 1e-3 * grad[size_t(i)];
      }
  return out;
}

// Up to six layers of small images; each takes in the one before, or, of a graph, any.
inline edt::Chain random_chain(std::mt19937& rng) {
  const auto pick = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(rng);
  };
  using Kind = edt::ChainLayer::Kind;
  std::vector<edt::ChainLayer> layers;
  const bool graph = pick(0, 1);
  const int64_t c0 = pick(1, 3), h0 = pick(1, 7), w0 = pick(1, 7), count = pick(1, graph ? 6 : 3);
  int64_t parameters = 0;
  const auto size_of = [&](int64_t l) {
    return l < 0 ? c0 * h0 * w0 : layers[size_t(l)].size_out();
  };
  for (int64_t l = 0; l < count; ++l) {
    edt::ChainLayer layer{};
    layer.source = graph && pick(0, 2) == 0 ? pick(-1, l - 1) : l - 1;
    const edt::ChainLayer* before = layer.source < 0 ? nullptr : &layers[size_t(layer.source)];
    int64_t c = layer.c_in = before ? before->c_out : c0;
    int64_t h = layer.h = before ? before->h_out : h0;
    int64_t w = layer.w = before ? before->w_out : w0;
    layer.weight = layer.bias = -1;
    const int64_t kind = pick(0, graph ? 7 : 3);
    layer.kind = kind == 0   ? pick(0, 1) ? Kind::pool : Kind::mean
                 : kind <= 3 ? Kind::affine
                 : kind == 4 ? Kind::gain
                 : kind == 5 ? Kind::shortcut
                             : Kind::add;
    layer.kh = layer.kw = 1;
    if (layer.kind <= Kind::mean) {
      layer.kh = pick(1, std::min<int64_t>(h, 3));
      layer.kw = pick(1, std::min<int64_t>(w, 3));
    }
    if (layer.kind == Kind::pool || layer.kind == Kind::mean) {
      h /= layer.kh;
      w /= layer.kw;
    } else if (layer.kind == Kind::affine) {
      layer.top = pick(0, 2);
      layer.left = pick(0, 2);
      c = pick(0, 1) ? c : pick(1, 20);
      if (pick(0, 2) == 0) {
        layer.sh = pick(1, 4);
        layer.sw = pick(1, 4);
      }
      h = (h + 2 * layer.top - layer.kh) / layer.sh + 1;
      w = (w + 2 * layer.left - layer.kw) / layer.sw + 1;
      layer.weight = parameters;
      parameters += c * layer.c_in * layer.kh * layer.kw;
      if (pick(0, 1)) {
        layer.bias = parameters;
        parameters += c;
      }
    } else if (layer.kind == Kind::gain) {
      layer.weight = parameters++;
    } else if (layer.kind == Kind::shortcut) {
      layer.kept = pick(1, c);
      layer.ahead = pick(0, 2);
      c = layer.ahead + layer.kept + pick(0, 2);
      layer.sh = pick(1, 3);
      layer.sw = pick(1, 3);
      h = (h + layer.sh - 1) / layer.sh;
      w = (w + layer.sw - 1) / layer.sw;
    } else {
      // The first of its size, often the inputs or itself.
      for (layer.other = -1; size_of(layer.other) != layer.size_in();) ++layer.other;
    }
    layer.c_out = c;
    layer.h_out = h;
    layer.w_out = w;
    layers.push_back(layer);
  }
  return edt::Chain(std::move(layers), parameters);
}

// Masks from all weights to none, here and there a frozen one.
template <class Pick>
void random_mask(const Pick& pick, uint8_t* state, int64_t parameters) {
  const int64_t kept = std::array<int64_t, 6>{0, 2, 10, 30, 60, 100}[size_t(pick(0, 5))];
  for (int64_t k = 0; k < parameters; ++k) state[k] = pick(1, 100) <= kept ? pick(0, 9) ? 1 : 2 : 0;
}

template <class T>
void test_chain(std::mt19937& rng, const std::string& name) {
  const auto pick = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(rng);
  };
  using Kind = edt::ChainLayer::Kind;
  const edt::Chain chain = random_chain(rng);
  const int64_t parameters = chain.parameters;
  const int64_t networks = pick(1, 3), n = pick(1, 70);
  std::normal_distribution<double> normal;
  const auto fill = [&](int64_t size) {
    std::vector<T> out;
    for (int64_t k = 0; k < size; ++k) out.push_back(T(normal(rng)));
    return out;
  };
  auto theta = fill(networks * parameters);
  const auto x = fill(networks * n * chain.d_in);
  const auto u = fill(networks * n * chain.d_out);
  std::vector<T> out(u.size()), grad(theta.size());
  std::vector<uint8_t> state(theta.size(), 1);
  std::vector<edt::ChainMask> masks;
  masks.reserve(size_t(networks));
  edt::ChainCall<T> call{
      chain, networks, n, theta.data(), x.data(), n * chain.d_in, [] { return false; }, {}};
  const bool masked = pick(0, 3) > 0;
  for (int64_t b = 0; masked && b < networks; ++b) {
    uint8_t* mine = state.data() + b * parameters;
    random_mask(pick, mine, parameters);
    for (int64_t k = 0; k < parameters; ++k)
      if (mine[k] == 0) theta[size_t(b * parameters + k)] = 0;
    masks.emplace_back(chain, mine);
    call.masks.push_back(&masks.back());
  }
  edt::chain_outputs<T>(call, out.data());
  edt::chain_gradient<T>(call, u.data(), grad.data());

  std::vector<double> known, slopes;
  for (int64_t b = 0; b < networks; ++b) {
    std::vector<double> at(theta.begin() + b * parameters, theta.begin() + (b + 1) * parameters);
    const auto value = [&](std::vector<double>* outputs) {
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) {
        const auto first = x.begin() + (b * n + i) * chain.d_in;
        const auto f = plain_chain(chain, at, std::vector<double>(first, first + chain.d_in));
        for (size_t o = 0; o < f.size(); ++o)
          sum += f[o] * double(u[size_t((b * n + i) * chain.d_out) + o]);
        if (outputs) outputs->insert(outputs->end(), f.begin(), f.end());
      }
      return sum;
    };
    value(&known);
    // One random parameter a network: without pooling the loss is linear in it.
    for (int64_t k = 0; k < parameters; ++k)
      slopes.push_back(double(grad[size_t(b * parameters + k)]));
    if (parameters == 0) continue;
    const int64_t k = pick(0, parameters - 1);
    if (state[size_t(b * parameters + k)] != 1) continue;
    const double kept = at[size_t(k)], step = 1;
    at[size_t(k)] = kept + step;
    const double above = value(nullptr);
    at[size_t(k)] = kept - step;
    slopes[size_t(b * parameters + k)] = (above - value(nullptr)) / (2 * step);
  }
  check(close(out, known), name + " outputs");
  if (masked) {
    // Lists leave out zeros of the same sums; what is not trained has a gradient of 0.
    edt::ChainCall<T> whole = call;
    whole.masks.clear();
    std::vector<T> all(out.size());
    edt::chain_outputs<T>(whole, all.data());
    check(all == out, name + " outputs with and without lists");
    std::vector<T> dense(grad.size());
    edt::chain_gradient<T>(whole, u.data(), dense.data());
    for (size_t k = 0; k < dense.size(); ++k)
      if (state[k] != 1) dense[k] = 0;
    check(close(grad, std::vector<double>(dense.begin(), dense.end())), name + " listed gradient");
    for (size_t k = 0; k < grad.size(); ++k)
      if (state[k] != 1) check(grad[k] == 0, name + " gradient beyond the mask");
  }
  // Where a maximum of sums lies is decided by their roundings.
  bool pooled = false;
  for (const edt::ChainLayer& l : chain.layers) pooled |= l.kind == Kind::pool;
  check(pooled || close(grad, slopes), name + " gradient");
  if (pooled || parameters == 0) return;
  const int64_t many = pick(1, 11), d = chain.d_out;
  auto vectors = fill(networks * many * parameters);
  // Of the first only one entry, as of a column of a Hessian.
  std::fill_n(vectors.begin(), parameters, T(0));
  vectors[size_t(pick(0, parameters - 1))] = T(1);
  for (size_t k = 0; masked && k < vectors.size(); ++k) {
    const int64_t b = int64_t(k) / (many * parameters), at = int64_t(k) % parameters;
    if (state[size_t(b * parameters + at)] != 1) vectors[k] = 0;
  }
  const auto curvature = fill(networks * n * d * d);
  const auto wide = [](const std::vector<T>& v) { return std::vector<double>(v.begin(), v.end()); };
  const auto theta_d = wide(theta), x_d = wide(x), u_d = wide(u), v_d = wide(vectors);
  const auto a_d = wide(curvature);
  std::vector<T> found(vectors.size());
  const auto given = edt::OutputDerivatives<T>::given(u.data(), curvature.data());
  edt::chain_products<T>(call, given, vectors.data(), many, {many * parameters, parameters},
                         found.data());
  // The same where a vector of all networks lies before the next.
  std::vector<T> mixed(vectors.size()), turned(vectors.size());
  const auto turn = [&](const std::vector<T>& from, std::vector<T>& to, bool back) {
    for (int64_t b = 0; b < networks; ++b)
      for (int64_t v = 0; v < many; ++v)
        for (int64_t k = 0; k < parameters; ++k) {
          const size_t one = size_t((b * many + v) * parameters + k);
          const size_t other = size_t((v * networks + b) * parameters + k);
          to[back ? one : other] = from[back ? other : one];
        }
  };
  turn(vectors, mixed, false);
  edt::chain_products<T>(call, given, mixed.data(), many, {parameters, networks * parameters},
                         turned.data());
  turn(turned, mixed, true);
  check(mixed == found, name + " products of vectors apart");
  known.clear();
  for (int64_t b = 0; b < networks; ++b) {
    const edt::ChainCall<double> one{chain,
                                     1,
                                     n,
                                     theta_d.data() + b * parameters,
                                     x_d.data() + b * n * chain.d_in,
                                     0,
                                     [] { return false; },
                                     {}};
    auto part = differences(one, u_d.data() + b * n * d, a_d.data() + b * n * d * d,
                            v_d.data() + b * many * parameters, many);
    for (size_t k = 0; k < part.size(); ++k)
      if (state[size_t(b * parameters) + k % size_t(parameters)] != 1) part[k] = 0;
    known.insert(known.end(), part.begin(), part.end());
  }
  check(close(found, known), name + " products");
}
