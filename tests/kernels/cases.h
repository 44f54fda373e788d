// Random ensembles with their data, and counted checks, for the tests of the core without Python.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cpu/engine.h"
#include "math/activations_list.h"
#include "reference.h"

namespace {

int passed = 0, failed = 0;

inline void check(bool ok, const std::string& what) {
  if (ok) {
    ++passed;
  } else {
    ++failed;
    std::printf("FAILED: %s\n", what.c_str());
  }
}

using reference::Dual;

inline int code_of(reference::Act act) {
  switch (act) {
    case reference::Act::tanh:
      return int(edt::Act::tanh);
    case reference::Act::softplus:
      return int(edt::Act::softplus);
    case reference::Act::relu:
      return int(edt::Act::relu);
    case reference::Act::square:
      return int(edt::Act::square);
    default:
      return int(edt::Act::sin);
  }
}

// An exact-size copy on the heap, so that the sanitizer sees any access past the end.
template <class T, class S>
std::vector<T> as(const std::vector<S>& v) {
  std::vector<T> out;
  out.reserve(v.size());
  for (const S& s : v) out.push_back(T(s));
  return out;
}

struct Case {
  std::vector<reference::Network> nets;
  reference::Data data;
  std::vector<int64_t> widths;
  std::vector<uint8_t> state;
  std::vector<double> theta;
  std::vector<size_t> offset;
  std::vector<int64_t> index;
  int64_t d_in = 0, d_out = 0;
  int depth = 1;

  size_t total() const { return theta.size(); }
  int B() const { return int(nets.size()); }
};

inline Case random_case(std::mt19937& rng) {
  auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng); };
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  Case c;
  c.depth = pick(1, 3);
  c.d_in = pick(1, 11);
  c.data.cross_entropy = pick(0, 2) == 0;
  c.d_out = c.data.cross_entropy ? pick(2, 4) : pick(1, 3);
  if (pick(0, 1)) c.d_out = c.data.cross_entropy ? c.d_out : 1;
  c.data.n = pick(0, 3) ? pick(1, 70) : pick(200, 700);
  const bool bias = pick(0, 3) > 0;
  const auto act = reference::Act(pick(0, 4));
  const double pruned = std::vector<double>{0, 0, 0.4, 0.8, 0.97}[size_t(pick(0, 4))];
  const double frozen = pick(0, 2) ? 0.0 : 0.2;
  const int B = pick(1, 5);
  for (int b = 0; b < B; ++b) {
    reference::Network net;
    net.bias = bias;
    net.act = act;
    net.widths.push_back(c.d_in);
    for (int l = 0; l < c.depth; ++l) net.widths.push_back(pick(1, c.depth == 1 ? 20 : 9));
    net.widths.push_back(c.d_out);
    c.widths.insert(c.widths.end(), net.widths.begin(), net.widths.end());
    c.offset.push_back(c.theta.size());
    for (size_t k = 0; k < net.size(); ++k) {
      const double u = uniform(rng);
      net.state.push_back(u < pruned ? 0 : (u > 1 - frozen ? 2 : 1));
      c.theta.push_back(net.state.back() ? 0.7 * normal(rng) : 0.0);
    }
    c.state.insert(c.state.end(), net.state.begin(), net.state.end());
    c.index.push_back(0);
    c.nets.push_back(net);
  }
  double sum = 0;
  for (int64_t n = 0; n < c.data.n; ++n) {
    for (int64_t i = 0; i < c.d_in; ++i) c.data.x.push_back(normal(rng));
    const int label = pick(0, int(c.d_out) - 1);
    for (int64_t o = 0; o < c.d_out; ++o)
      c.data.y.push_back(c.data.cross_entropy ? double(o == label) : normal(rng));
    c.data.coef.push_back(0.1 + uniform(rng));
    sum += c.data.coef.back();
  }
  for (double& w : c.data.coef) w /= sum;
  return c;
}

template <class T>
edt::Dataset make_data(const Case& c) {
  const auto x = as<T>(c.data.x), coef = as<T>(c.data.coef), y = as<T>(c.data.y);
  std::vector<int64_t> labels;
  for (int64_t n = 0; n < c.data.n && c.data.cross_entropy; ++n)
    for (int64_t o = 0; o < c.d_out; ++o)
      if (c.data.y[size_t(n * c.d_out + o)] > 0.5) labels.push_back(o);
  const void* target = c.data.cross_entropy ? static_cast<const void*>(labels.data()) : y.data();
  edt::Dataset d;
  d.is_double = sizeof(T) == 8;
  d.n_tasks = 1;
  d.n = c.data.n;
  d.d_in = int(c.d_in);
  d.d_out = int(c.d_out);
  auto made = std::make_unique<edt::DatasetT<T>>(
      1, c.data.n, d.d_in, d.d_out, edt::Loss(c.data.cross_entropy), x.data(), target, coef.data());
  if constexpr (sizeof(T) == 8) d.f64 = std::move(made);
  else d.f32 = std::move(made);
  return d;
}

template <class T>
double tolerance() {
  return sizeof(T) == 8 ? 1e-11 : 2e-3;
}

template <class T, class S>
bool close(const std::vector<T>& got, const std::vector<S>& want) {
  double size = 1e-3, worst = 0;
  for (size_t k = 0; k < want.size(); ++k) {
    size = std::fmax(size, std::fabs(double(want[k])));
    const double error = std::fabs(double(got[k]) - double(want[k]));
    worst = error <= worst ? worst : error;
    if (error != error) return false;
  }
  return got.size() == want.size() && worst <= tolerance<T>() * size;
}

inline bool never() { return false; }

}  // namespace
