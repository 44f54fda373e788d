#include "layout/plan.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

namespace edt {
namespace {

// Above this density a masked layer is stored dense with its pruned weights as zeros: the
// register-blocked dense kernel then does less work per useful weight than the gather kernel.
constexpr double kDenseThreshold = 0.6;
// Cost of one activation (value and derivative) in units of a fused multiply-add.
constexpr double kActivationCost = 30.0;

struct LayerView {
  int64_t w, b;  // offsets of weight and bias inside the network
  int in, out;
};

Net build(const int64_t* widths, int64_t n_cols, bool bias, const uint8_t* state, int64_t offset) {
  const int n_layers = static_cast<int>(n_cols) - 1;
  Net net;
  net.offset = offset;
  net.d_in = static_cast<int>(widths[0]);
  net.d_out = static_cast<int>(widths[n_cols - 1]);
  std::vector<LayerView> views(n_layers);
  int64_t p = 0;
  for (int l = 0; l < n_layers; ++l) {
    const int in = static_cast<int>(widths[l]), out = static_cast<int>(widths[l + 1]);
    views[l] = {p, p + int64_t(in) * out, in, out};
    p += int64_t(in) * out + (bias ? out : 0);
  }
  net.n_flat = static_cast<int>(p);

  // Alive units, from the outputs backwards.
  std::vector<std::vector<int>> alive(n_layers + 1);  // layer -> unit -> alive index or -1
  alive[n_layers].resize(net.d_out);
  std::iota(alive[n_layers].begin(), alive[n_layers].end(), 0);
  std::vector<int> n_alive(n_layers + 1);
  n_alive[n_layers] = net.d_out;
  for (int l = n_layers - 1; l >= 0; --l) {
    const LayerView& v = views[l];
    alive[l].assign(v.in, -1);
    int count = 0;
    for (int i = 0; i < v.in; ++i) {
      bool used = l == 0;
      for (int j = 0; j < v.out && !used; ++j)
        used = alive[l + 1][j] >= 0 && state[v.w + int64_t(j) * v.in + i] != kPruned;
      if (used) alive[l][i] = count++;
    }
    n_alive[l] = count;
  }

  net.layers.resize(n_layers);
  net.identity = true;
  for (int l = 0; l < n_layers; ++l) {
    const LayerView& v = views[l];
    Layer& layer = net.layers[l];
    layer.n_in = n_alive[l];
    layer.n_out = n_alive[l + 1];
    int64_t nnz = 0;
    for (int j = 0; j < v.out; ++j)
      if (alive[l + 1][j] >= 0)
        for (int i = 0; i < v.in; ++i) nnz += state[v.w + int64_t(j) * v.in + i] != kPruned;
    const double area = double(layer.n_in) * layer.n_out;
    layer.dense = area > 0 && double(nnz) >= kDenseThreshold * area;
    layer.row_ptr.push_back(0);
    auto add_param = [&](int64_t at) {
      const uint8_t s = state[at];
      net.flat.push_back(static_cast<int>(at));
      net.trainable.push_back(s == kTrainable);
      net.all_trainable &= s == kTrainable;
      if (s != kTrainable) net.fixed.push_back(net.n_params() - 1);
      if (s == kPruned) net.pruned.push_back(net.n_params() - 1);
      return net.n_params() - 1;
    };
    for (int j = 0; j < v.out; ++j) {
      const bool row_alive = alive[l + 1][j] >= 0;
      if (row_alive) layer.row_start.push_back(net.n_params());
      for (int i = 0; i < v.in; ++i) {
        const int64_t at = v.w + int64_t(j) * v.in + i;
        const bool in_alive = alive[l][i] >= 0;
        const bool edge = row_alive && in_alive && (layer.dense || state[at] != kPruned);
        // Unpruned weights of dead neurons stay: weight decay still moves them.
        if (edge || state[at] != kPruned) add_param(at);
        if (edge) layer.col.push_back(alive[l][i]);
      }
      if (row_alive) layer.row_ptr.push_back(layer.nnz());
    }
    for (int j = 0; j < v.out; ++j) {
      int at = -1;
      if (bias && state[v.b + j] != kPruned) at = add_param(v.b + j);
      if (alive[l + 1][j] >= 0) layer.bias.push_back(at);
    }
    // Transpose.
    layer.t_ptr.assign(layer.n_in + 1, 0);
    for (int c : layer.col) ++layer.t_ptr[c + 1];
    std::partial_sum(layer.t_ptr.begin(), layer.t_ptr.end(), layer.t_ptr.begin());
    layer.t_row.resize(layer.nnz());
    layer.t_param.resize(layer.nnz());
    std::vector<int> fill(layer.t_ptr.begin(), layer.t_ptr.end() - 1);
    for (int j = 0; j < layer.n_out; ++j)
      for (int k = layer.row_ptr[j]; k < layer.row_ptr[j + 1]; ++k) {
        const int at = fill[layer.col[k]]++;
        layer.t_row[at] = j;
        layer.t_param[at] = layer.row_start[j] + (k - layer.row_ptr[j]);
      }
    if (l > 0) net.n_hidden += layer.n_in;
    net.cost += (l == 0 ? 2.0 : 3.0) * layer.nnz() + (l > 0 ? kActivationCost * layer.n_in : 0.0);
  }
  net.coord.resize(net.n_params());
  for (int k = 0; k < net.n_params(); ++k) net.coord[k] = net.trainable[k] ? net.n_coords++ : -1;
  net.identity = net.all_trainable && net.n_params() == net.n_flat;
  return net;
}

}  // namespace

Plan::Plan(const int64_t* widths, int64_t n_nets, int64_t n_cols, bool bias_, const uint8_t* state,
           int64_t total_)
    : total(total_), depth(static_cast<int>(n_cols) - 2), bias(bias_) {
  if (n_cols < 3)
    throw std::invalid_argument("widths needs at least d_in, one hidden width, d_out");
  int64_t at = 0;
  nets.reserve(n_nets);
  for (int64_t b = 0; b < n_nets; ++b) {
    const int64_t* w = widths + b * n_cols;
    int64_t need = 0;
    for (int64_t l = 0; l + 1 < n_cols; ++l) {
      if (w[l] < 1 || w[l + 1] < 1) throw std::invalid_argument("widths must be at least 1");
      need += w[l] * w[l + 1] + (bias ? w[l + 1] : 0);
    }
    if (need > INT32_MAX) throw std::invalid_argument("a network has more than 2^31 parameters");
    if (at + need > total)
      throw std::invalid_argument("widths need more parameters than the flat vector holds");
    nets.push_back(build(w, n_cols, bias, state + at, at));
    at += need;
  }
  if (at != total)
    throw std::invalid_argument("widths need " + std::to_string(at) +
                                " parameters, the flat vector holds " + std::to_string(total));
  by_cost.resize(nets.size());
  std::iota(by_cost.begin(), by_cost.end(), 0);
  std::stable_sort(by_cost.begin(), by_cost.end(),
                   [&](int a, int b) { return nets[a].cost > nets[b].cost; });
}

}  // namespace edt
