// Sparse layers of random shapes against the plain sums over taps.
#pragma once
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "cases.h"
#include "cpu/taps.h"

// Images, weights and sums by index; positions outside count as zeros.
template <class T>
void test_taps(std::mt19937& rng, const std::string& name) {
  const auto pick = [&](int least, int most) {
    return std::uniform_int_distribution<int>(least, most)(rng);
  };
  edt::TapShape s{};
  s.flat = pick(0, 3) == 0;
  // Often so many channels that images come in bands.
  s.c_in = pick(0, 4) == 0 ? pick(1500, 2500) : pick(1, 5);
  s.c_out = pick(1, 40);
  s.h = s.w = s.h_out = s.w_out = s.stride_h = s.stride_w = 1;
  if (!s.flat) {
    s.reach_h = pick(0, 3);
    s.reach_w = pick(0, 4);
    s.stride_h = pick(1, 3);
    s.stride_w = pick(1, 3);
    s.pad_h = pick(0, 2);
    s.pad_w = pick(0, 3);
    s.h = s.reach_h + pick(1, 6);
    s.w = s.reach_w + pick(1, 21);
    s.h_out = (s.h + 2 * s.pad_h - s.reach_h - 1) / s.stride_h + 1;
    s.w_out = (s.w + 2 * s.pad_w - s.reach_w - 1) / s.stride_w + 1;
  }
  const int64_t n = s.c_in > 5 ? pick(1, 5) : pick(1, 40), taps = pick(0, 30);
  std::vector<int32_t> to, from, dy, dx;
  std::vector<int64_t> place;
  for (int64_t k = 0; k < taps; ++k) {
    to.push_back(pick(0, s.c_out - 1));
    from.push_back(pick(0, s.c_in - 1));
    dy.push_back(pick(0, int(s.reach_h)));
    dx.push_back(pick(0, int(s.reach_w)));
    place.push_back(3 * k + 1);
  }
  std::sort(to.begin(), to.end());
  const edt::TapLayer layer(s, 3 * taps + 1, taps, to.data(), from.data(), dy.data(), dx.data(),
                            place.data());
  const edt::TapCall call{layer, n, [] { return false; }};

  std::normal_distribution<double> normal;
  const auto fill = [&](int64_t size) {
    std::vector<T> out;
    for (int64_t k = 0; k < size; ++k) out.push_back(T(normal(rng)));
    return out;
  };
  const int64_t h = s.h, w = s.w, oh = s.h_out, ow = s.w_out;
  const auto x = fill(n * s.c_in * h * w), g = fill(n * s.c_out * oh * ow);
  const auto weights = fill(3 * taps + 1), bias = fill(s.c_out);
  std::vector<double> out(g.size()), dx_(x.size()), dw(weights.size()), db(size_t(s.c_out));
  for (int64_t i = 0; i < n; ++i)
    for (int64_t y = 0; y < oh; ++y)
      for (int64_t c = 0; c < ow; ++c) {
        const auto at = [&](int channel) { return ((i * s.c_out + channel) * oh + y) * ow + c; };
        for (int channel = 0; channel < s.c_out; ++channel) {
          out[at(channel)] = bias[channel];
          db[channel] += g[at(channel)];
        }
        for (int64_t k = 0; k < taps; ++k) {
          const int64_t row = y * s.stride_h - s.pad_h + dy[k];
          const int64_t col = c * s.stride_w - s.pad_w + dx[k];
          if (row < 0 || row >= h || col < 0 || col >= w) continue;
          const int64_t read = ((i * s.c_in + from[k]) * h + row) * w + col;
          out[at(to[k])] += double(weights[place[k]]) * x[read];
          dx_[read] += double(weights[place[k]]) * g[at(to[k])];
          dw[place[k]] += double(x[read]) * g[at(to[k])];
        }
      }

  std::vector<T> got(g.size(), T(9)), input(x.size(), T(9)), weight(weights.size(), T(9)),
      shift(size_t(s.c_out), T(9));
  edt::tap_forward<T>(call, weights.data(), bias.data(), x.data(), got.data());
  edt::tap_gradients<T>(
      call, {weights.data(), x.data(), g.data(), input.data(), weight.data(), shift.data()});
  check(close(got, out), name + " forward");
  check(close(input, dx_), name + " gradient of the input");
  check(close(weight, dw), name + " gradient of the weights");
  check(close(shift, db), name + " gradient of the bias");
}
