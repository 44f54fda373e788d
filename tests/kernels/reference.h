// Plain scalar networks: what the kernels must compute, written with nothing of theirs but the flat
// parameter layout. The scalar may be a dual number, which turns the gradient into a Hessian-vector
// product.
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

#include "math/losses.h"

namespace reference {

struct Dual {
  double v = 0, d = 0;
  Dual(double v_ = 0, double d_ = 0) : v(v_), d(d_) {}
};
inline Dual operator+(Dual a, Dual b) { return {a.v + b.v, a.d + b.d}; }
inline Dual operator-(Dual a, Dual b) { return {a.v - b.v, a.d - b.d}; }
inline Dual operator*(Dual a, Dual b) { return {a.v * b.v, a.d * b.v + a.v * b.d}; }
inline Dual operator/(Dual a, Dual b) { return {a.v / b.v, (a.d * b.v - a.v * b.d) / (b.v * b.v)}; }
inline Dual exp(Dual a) { return {std::exp(a.v), std::exp(a.v) * a.d}; }

// sigma and its first two derivatives.
enum class Act { tanh, softplus, relu, square, sin };
inline void activation(Act act, double z, double s[3]) {
  switch (act) {
    case Act::tanh:
      s[0] = std::tanh(z);
      s[1] = 1 - s[0] * s[0];
      s[2] = -2 * s[0] * s[1];
      break;
    case Act::softplus:
      s[0] = z > 0 ? z + std::log1p(std::exp(-z)) : std::log1p(std::exp(z));
      s[1] = 1 / (1 + std::exp(-z));
      s[2] = s[1] * (1 - s[1]);
      break;
    case Act::relu:
      s[0] = z > 0 ? z : 0;
      s[1] = z > 0;
      s[2] = 0;
      break;
    case Act::square:
      s[0] = z * z / 2;
      s[1] = z;
      s[2] = 1;
      break;
    case Act::sin:
      s[0] = std::sin(z);
      s[1] = std::cos(z);
      s[2] = -s[0];
      break;
  }
}
inline Dual sigma(Act act, Dual z) {
  double s[3] = {};
  activation(act, z.v, s);
  return {s[0], s[1] * z.d};
}
inline Dual slope(Act act, Dual z) {
  double s[3] = {};
  activation(act, z.v, s);
  return {s[1], s[2] * z.d};
}

// l, dl/df and d2l/df2 of a loss of one output at a time.
inline void scalar_loss(edt::Loss kind, double f, double y, double s[3]) {
  const double z = kind == edt::Loss::logistic ? -y * f : f;
  const double soft = z > 0 ? z + std::log1p(std::exp(-z)) : std::log1p(std::exp(z));
  const double sigma = 1 / (1 + std::exp(-z)), r = f - y, gap = 1 - y * f;
  switch (kind) {
    case edt::Loss::bce:
      s[0] = soft - y * f;
      s[1] = sigma - y;
      s[2] = sigma * (1 - sigma);
      break;
    case edt::Loss::logistic:
      s[0] = soft;
      s[1] = -y * sigma;
      s[2] = y * y * sigma * (1 - sigma);
      break;
    case edt::Loss::squared_hinge:
      s[0] = gap > 0 ? gap * gap : 0;
      s[1] = gap > 0 ? -2 * y * gap : 0;
      s[2] = gap > 0 ? 2 * y * y : 0;
      break;
    default:
      s[0] = std::fabs(r) > 1 ? std::fabs(r) - 0.5 : r * r / 2;
      s[1] = std::fmax(-1, std::fmin(1, r));
      s[2] = std::fabs(r) <= 1;
  }
}

struct Network {
  std::vector<int64_t> widths;  // d_in, h_1, ..., d_out
  bool bias = true;
  Act act = Act::tanh;
  std::vector<uint8_t> state;  // 0 pruned, 1 trainable, 2 frozen

  size_t size() const {
    size_t n = 0;
    for (size_t l = 0; l + 1 < widths.size(); ++l)
      n += size_t(widths[l] * widths[l + 1] + (bias ? widths[l + 1] : 0));
    return n;
  }
};

struct Data {
  int64_t n = 0;
  edt::Loss loss = edt::Loss::mse;
  bool softmax() const { return edt::is_softmax(loss); }
  std::vector<double> x, y, coef;  // [n, d_in]; [n, d_out] or one-hot; [n]
};

struct Result {
  Dual loss;
  std::vector<Dual> gradient;   // zero where not trainable
  std::vector<double> outputs;  // [n, d_out]
};

// Back-propagation. theta.d holds the direction (ignored where not trainable). With a cotangent,
// [n, d_out], from it instead of from the derivatives of the loss.
inline Result gradient(const Network& net, const Data& data, std::vector<Dual> theta,
                       const double* cotangent = nullptr) {
  const size_t L = net.widths.size() - 1;
  for (size_t k = 0; k < theta.size(); ++k) {
    if (net.state[k] == 0) theta[k] = Dual(0);
    if (net.state[k] != 1) theta[k].d = 0;
  }
  std::vector<size_t> at(L + 1, 0);
  for (size_t l = 0; l < L; ++l)
    at[l + 1] =
        at[l] + size_t(net.widths[l] * net.widths[l + 1] + (net.bias ? net.widths[l + 1] : 0));
  Result out;
  out.gradient.assign(theta.size(), Dual(0));
  const size_t d_in = size_t(net.widths[0]), d_out = size_t(net.widths[L]);
  for (int64_t n = 0; n < data.n; ++n) {
    std::vector<std::vector<Dual>> a(L + 1), z(L + 1);
    for (size_t i = 0; i < d_in; ++i) a[0].push_back(Dual(data.x[size_t(n) * d_in + i]));
    for (size_t l = 0; l < L; ++l) {
      const size_t in = size_t(net.widths[l]), rows = size_t(net.widths[l + 1]);
      for (size_t j = 0; j < rows; ++j) {
        Dual s = net.bias ? theta[at[l] + in * rows + j] : Dual(0);
        for (size_t i = 0; i < in; ++i) s = s + theta[at[l] + j * in + i] * a[l][i];
        z[l + 1].push_back(s);
        a[l + 1].push_back(l + 1 < L ? sigma(net.act, s) : s);
      }
    }
    const Dual c(data.coef[size_t(n)]);
    std::vector<Dual> delta(d_out);
    Dual loss(0);
    if (data.softmax()) {
      double top = a[L][0].v;
      for (auto& f : a[L]) top = std::fmax(top, f.v);
      Dual sum(0);
      for (auto& f : a[L]) sum = sum + exp(f - Dual(top));
      for (size_t o = 0; o < d_out; ++o) {
        const double y = data.y[size_t(n) * d_out + o];
        delta[o] = c * (exp(a[L][o] - Dual(top)) / sum - Dual(y));
        loss = loss - Dual(y) * (a[L][o] - Dual(top));
      }
      loss = loss + Dual(std::log(sum.v), sum.d / sum.v);
    } else if (data.loss != edt::Loss::mse) {
      for (size_t o = 0; o < d_out; ++o) {
        const Dual f = a[L][o];
        double s[3] = {};
        scalar_loss(data.loss, f.v, data.y[size_t(n) * d_out + o], s);
        loss = loss + Dual(s[0], s[1] * f.d);
        delta[o] = c * Dual(s[1], s[2] * f.d);
      }
    } else {
      for (size_t o = 0; o < d_out; ++o) {
        const Dual r = a[L][o] - Dual(data.y[size_t(n) * d_out + o]);
        loss = loss + r * r;
        delta[o] = Dual(2) * c * r;
      }
    }
    if (cotangent)
      for (size_t o = 0; o < d_out; ++o) delta[o] = Dual(cotangent[size_t(n) * d_out + o]);
    out.loss = out.loss + c * loss;
    for (auto& f : a[L]) out.outputs.push_back(f.v);
    for (size_t l = L; l-- > 0;) {
      const size_t in = size_t(net.widths[l]), rows = size_t(net.widths[l + 1]);
      std::vector<Dual> below(in, Dual(0));
      for (size_t j = 0; j < rows; ++j) {
        for (size_t i = 0; i < in; ++i) {
          out.gradient[at[l] + j * in + i] = out.gradient[at[l] + j * in + i] + delta[j] * a[l][i];
          below[i] = below[i] + theta[at[l] + j * in + i] * delta[j];
        }
        if (net.bias) {
          Dual& g = out.gradient[at[l] + in * rows + j];
          g = g + delta[j];
        }
      }
      if (l == 0) break;
      for (size_t i = 0; i < in; ++i) below[i] = below[i] * slope(net.act, z[l][i]);
      delta = below;
    }
  }
  for (size_t k = 0; k < theta.size(); ++k)
    if (net.state[k] != 1) out.gradient[k] = Dual(0);
  return out;
}

}  // namespace reference
