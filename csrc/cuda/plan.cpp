#include "cuda/plan.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

namespace edt::cuda {
namespace {

// A gathered edge costs about four times a dense one (every operand comes from shared memory), so
// layers denser than this are stored dense with zeros.
constexpr double kDenseThreshold = 0.25;
constexpr double kActivationCost = 30.0;
// Whole packs for float and double.
constexpr int kRowAlign = 4;

int padded(int n) { return (n + kRowAlign - 1) / kRowAlign * kRowAlign; }

// The edges of a sparse layer, row by row: rows hold whole pairs and all of them whole fours, so
// that edges are read together. What fills them up repeats a row's last column with a weight that
// is 0 and no parameter (entry -1); there is at least one such edge.
struct Edges {
  std::vector<int> row_ptr{0}, col, row, entry;
};

template <class Pruned>
Edges edges_of(const Layer& layer, const Pruned& pruned) {
  Edges out;
  int last = -1, total = 0, odd = 0;
  std::vector<std::vector<std::pair<int, int>>> rows(layer.n_out);
  for (int j = 0; j < layer.n_out; ++j) {
    for (int k = layer.row_ptr[j]; k < layer.row_ptr[j + 1]; ++k) {
      const int entry = layer.row_start[j] + (k - layer.row_ptr[j]);
      if (!pruned(entry)) rows[j].push_back({layer.col[k], entry});
    }
    const int count = int(rows[j].size());
    if (count > 0) last = j;
    odd += count % 2;
    total += count + count % 2;
  }
  for (int j = 0; j < layer.n_out; ++j) {
    int more = int(rows[j].size()) % 2;
    if (j == last) more += total % 4 != 0 ? 2 : odd == 0 ? 4 : 0;
    for (int q = 0; q < more; ++q) rows[j].push_back({rows[j].back().first, -1});
    for (const auto& [col, entry] : rows[j]) {
      out.col.push_back(col);
      out.row.push_back(j);
      out.entry.push_back(entry);
    }
    out.row_ptr.push_back(int(out.col.size()));
  }
  return out;
}

// Edges by column, as pairs of row and compressed index; columns hold whole pairs, too.
void transpose(const Edges& edges, int n_in, int w, std::vector<int>& t_ptr, std::vector<int>& t) {
  std::vector<std::vector<std::pair<int, int>>> columns(n_in);
  int none = 0;
  for (size_t k = 0; k < edges.col.size(); ++k) {
    if (edges.entry[k] < 0) none = w + int(k);
    else columns[edges.col[k]].push_back({edges.row[k], w + int(k)});
  }
  t_ptr.push_back(0);
  for (auto& column : columns) {
    if (column.size() % 2 != 0) column.push_back({column.back().first, none});
    for (const auto& [row, entry] : column) t.insert(t.end(), {row, entry});
    t_ptr.push_back(int(t.size() / 2));
  }
}

// Rows, longest first: {row, its first edge, edges, 0} each.
std::vector<int> by_length(const std::vector<int>& ptr) {
  std::vector<int> order(ptr.size() - 1), out;
  std::iota(order.begin(), order.end(), 0);
  const auto length = [&](int j) { return ptr[j + 1] - ptr[j]; };
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return length(a) > length(b); });
  for (int j : order) out.insert(out.end(), {j, ptr[j], length(j), 0});
  return out;
}

}  // namespace

DevicePlan::DevicePlan(const Plan& plan) {
  nets_.reserve(plan.nets.size());
  for (const Net& net : plan.nets) add(net);
}

void DevicePlan::add(const Net& net) {
  NetRecord out{};
  out.flat = net.offset;
  out.ints = int64_t(ints_.size());
  out.first_layer = int(layers_.size());
  out.n_layers = int(net.layers.size());
  out.d_in = net.d_in;
  out.d_out = net.d_out;
  out.n_flat = net.n_flat;
  out.n_coords = net.n_coords;
  out.n_hidden = net.n_hidden;
  std::vector<int32_t> ints, source;
  std::vector<int> core;  // compressed index of the core's plan of each of ours, or -1
  std::vector<uint8_t> pruned(net.n_params(), 0), used(net.n_params(), 0);
  for (int k : net.pruned) pruned[k] = 1;
  auto put = [&](const std::vector<int>& values) {  // where wide loads can begin
    const int at = padded(int(ints.size()));
    ints.resize(at);
    ints.insert(ints.end(), values.begin(), values.end());
    return at;
  };
  double cost = 0;
  int below = 0;
  for (size_t l = 0; l < net.layers.size(); ++l) {
    const Layer& from = net.layers[l];
    LayerRecord to{};
    to.n_in = from.n_in;
    to.n_out = from.n_out;
    to.inputs = below;
    if (l > 0) below += from.n_in;
    auto edge = [&](int j, int k) { return from.row_start[j] + (k - from.row_ptr[j]); };
    int active = 0;
    for (int j = 0; j < from.n_out; ++j)
      for (int k = from.row_ptr[j]; k < from.row_ptr[j + 1]; ++k) {
        active += !pruned[edge(j, k)];
        used[edge(j, k)] = 1;
      }
    const double area = double(from.n_in) * from.n_out;
    to.dense = area > 0 && (active >= kDenseThreshold * area || from.n_in <= kRowAlign);
    to.w = int(core.size());
    if (to.dense) {
      to.ld_w = padded(from.n_in);
      core.resize(core.size() + size_t(to.ld_w) * from.n_out, -1);
      for (int j = 0; j < from.n_out; ++j)
        for (int k = from.row_ptr[j]; k < from.row_ptr[j + 1]; ++k)
          if (!pruned[edge(j, k)]) core[to.w + size_t(j) * to.ld_w + from.col[k]] = edge(j, k);
      cost += (l == 0 ? 2.0 : 3.0) * to.ld_w * from.n_out;
    } else {
      const Edges edges = edges_of(from, [&](int k) { return pruned[k] != 0; });
      to.nnz = int(edges.col.size());
      core.insert(core.end(), edges.entry.begin(), edges.entry.end());
      to.row_ptr = put(edges.row_ptr);
      to.col = put(edges.col);
      to.row = put(edges.row);
      std::vector<int> t_ptr, t;
      transpose(edges, from.n_in, to.w, t_ptr, t);
      to.t_ptr = put(t_ptr);
      to.t = put(t);
      to.by_length = put(by_length(edges.row_ptr));
      to.t_by_length = put(by_length(t_ptr));
      cost += (l == 0 ? 2.0 : 3.0) * 4 * to.nnz;
    }
    to.bias = -1;
    if (std::any_of(from.bias.begin(), from.bias.end(), [](int b) { return b >= 0; })) {
      to.bias = int(core.size());
      for (int b : from.bias) {
        core.push_back(b);
        if (b >= 0) used[b] = 1;
      }
    }
    core.resize(padded(int(core.size())), -1);
    out.widest = std::max(out.widest, from.n_out);
    cost += kActivationCost * (l > 0 ? from.n_in : 0);
    layers_.push_back(to);
  }
  out.n_math = int(core.size());
  for (int k = 0; k < net.n_params(); ++k)
    if (!used[k] && !pruned[k]) core.push_back(k);
  core.resize(padded(int(core.size())), -1);
  out.n_params = int(core.size());
  std::vector<int> target(net.n_flat, -1), coord(core.size(), -1);
  for (size_t k = 0; k < core.size(); ++k) {
    if (core[k] < 0) {
      source.push_back(-1);
      continue;
    }
    const int place = net.flat[core[k]];
    const bool trainable = net.trainable[core[k]];
    source.push_back(trainable ? place : -2 - place);
    if (trainable) {
      target[place] = int(k);
      coord[k] = net.coord[core[k]];
    }
  }
  out.source = put(source);
  out.target = put(target);
  out.coord = put(coord);
  ints.resize(padded(int(ints.size())));
  ints_.insert(ints_.end(), ints.begin(), ints.end());
  nets_.push_back(out);
  costs_.push_back(cost);
}

PlanBlock DevicePlan::block() const {
  auto aligned = [](size_t n) { return int64_t((n + 63) / 64 * 64); };
  PlanBlock b{};
  b.layers = aligned(nets_.size() * sizeof(NetRecord));
  b.ints = b.layers + aligned(layers_.size() * sizeof(LayerRecord));
  b.size = b.ints + aligned(ints_.size() * sizeof(int32_t));
  return b;
}

void DevicePlan::write(unsigned char* to) const {
  const PlanBlock b = block();
  std::memset(to, 0, size_t(b.size));
  std::memcpy(to, nets_.data(), nets_.size() * sizeof(NetRecord));
  std::memcpy(to + b.layers, layers_.data(), layers_.size() * sizeof(LayerRecord));
  std::memcpy(to + b.ints, ints_.data(), ints_.size() * sizeof(int32_t));
}

}  // namespace edt::cuda
