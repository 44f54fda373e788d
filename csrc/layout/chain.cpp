#include "layout/chain.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace edt {
namespace {

void check(const ChainLayer& layer, int64_t parameters) {
  using Kind = ChainLayer::Kind;
  for (int64_t size :
       {layer.c_in, layer.h, layer.w, layer.c_out, layer.h_out, layer.w_out, layer.kh, layer.kw})
    if (size < 1) throw std::invalid_argument("sizes of a layer must be at least 1");
  if (layer.sh < 1 || layer.sw < 1 ||
      (layer.sh * layer.sw > 1 && layer.kind != Kind::affine && layer.kind != Kind::shortcut))
    throw std::invalid_argument(
        "strides are at least 1, and those of affine layers and shortcuts alone");
  if (layer.kind == Kind::activation || layer.kind == Kind::gain || layer.kind == Kind::add) {
    if (layer.size_in() != layer.size_out())
      throw std::invalid_argument("activations, gains and adds leave sizes as they are");
    if (layer.kind == Kind::gain && (layer.weight < 0 || layer.weight >= parameters))
      throw std::invalid_argument("a layer reads parameters that are not there");
  } else if (layer.kind == Kind::shortcut) {
    if (layer.kept < 1 || layer.kept > layer.c_in || layer.ahead < 0 ||
        layer.ahead + layer.kept > layer.c_out ||
        layer.h_out != (layer.h + layer.sh - 1) / layer.sh ||
        layer.w_out != (layer.w + layer.sw - 1) / layer.sw)
      throw std::invalid_argument("a shortcut does not fit its image");
  } else if (layer.kind == Kind::pool || layer.kind == Kind::mean) {
    if (layer.c_out != layer.c_in || layer.h_out != layer.h / layer.kh ||
        layer.w_out != layer.w / layer.kw)
      throw std::invalid_argument("pooling does not fit its image");
  } else {
    const int64_t rows = layer.h + 2 * layer.top - layer.kh;
    const int64_t columns = layer.w + 2 * layer.left - layer.kw;
    if (layer.top < 0 || layer.left < 0 || rows < 0 || columns < 0 ||
        layer.h_out != rows / layer.sh + 1 || layer.w_out != columns / layer.sw + 1)
      throw std::invalid_argument("a convolution does not fit its image");
    const int64_t weights = layer.c_out * layer.c_in * layer.kh * layer.kw;
    if (layer.weight < 0 || layer.weight + weights > parameters || layer.bias < -1 ||
        (layer.bias >= 0 && layer.bias + layer.c_out > parameters))
      throw std::invalid_argument("a layer reads parameters that are not there");
  }
}

// Weights whose gradients may wait, a vector each, for all bands of rows.
constexpr int64_t kWaiting = 2048;

// Puts maxima before relu, which then has as many times fewer numbers as a field has. The larger of
// numbers is the same before and after, and so is where a slope goes: to the first of the largest,
// and nowhere where no number is above 0.
void pool_first(std::vector<ChainLayer>& layers) {
  using Kind = ChainLayer::Kind;
  for (size_t l = layers.size(); l-- > 1;)
    for (size_t at = l; at < layers.size() && layers[at].kind == Kind::pool; ++at) {
      ChainLayer& relu = layers[at - 1];
      if (relu.kind != Kind::activation || relu.act != Act::relu || !layers[at].alone ||
          layers[at].source != int64_t(at) - 1)
        break;
      std::swap(relu, layers[at]);
      std::swap(relu.source, layers[at].source);
      std::swap(relu.alone, layers[at].alone);
      ChainLayer& after = layers[at];
      after.c_in = after.c_out;
      after.h = after.h_out = layers[at - 1].h_out;
      after.w = after.w_out = layers[at - 1].w_out;
    }
}

}  // namespace

// Names the layers that come before each, and how many take in each one's outputs.
void Chain::connect() {
  using Kind = ChainLayer::Kind;
  const auto n = int64_t(layers.size());
  std::vector<int64_t> readers(size_t(n) + 1, 0);
  graph = false;
  for (int64_t l = 0; l < n; ++l) {
    ChainLayer& layer = layers[size_t(l)];
    if (layer.source == ChainLayer::kBefore) layer.source = l - 1;
    const auto takes = [&](int64_t from) {
      const int64_t size = from < 0 ? layers.front().size_in() : layers[size_t(from)].size_out();
      if (layer.size_in() != size)
        throw std::invalid_argument("layer " + std::to_string(l) + " does not fit the one before");
      ++readers[size_t(from + 1)];
    };
    const bool adds = layer.kind == Kind::add;
    if (layer.source < -1 || layer.source >= l || (adds && (layer.other < -1 || layer.other >= l)))
      throw std::invalid_argument("layer " + std::to_string(l) + " takes in one that comes later");
    takes(layer.source);
    if (adds) takes(layer.other);
    graph |= layer.source != l - 1 || layer.kind >= Kind::gain;
  }
  for (ChainLayer& layer : layers) layer.alone = readers[size_t(layer.source + 1)] == 1;
}

Chain::Chain(std::vector<ChainLayer> given, int64_t count)
    : layers(std::move(given)), parameters(count) {
  using Kind = ChainLayer::Kind;
  if (layers.empty()) throw std::invalid_argument("a chain needs at least one layer");
  for (const ChainLayer& layer : layers) check(layer, parameters);
  connect();
  pool_first(layers);
  const auto moved = [&](int64_t l) { return l >= 0 && layers[size_t(l)].moves; };
  for (ChainLayer& layer : layers)
    layer.moves = layer.kind == Kind::affine || layer.kind == Kind::gain || moved(layer.source) ||
                  (layer.kind == Kind::add && moved(layer.other));
  strided = std::any_of(layers.begin(), layers.end(),
                        [](const ChainLayer& layer) { return layer.strided(); });
  first = 0;
  while (first < layers.size() && layers[first].kind != Kind::affine &&
         layers[first].kind != Kind::gain)
    ++first;
  banded =
      first + 1 < layers.size() && layers[first].kind == Kind::affine &&
      layers[first + 1].kind == Kind::pool && layers[first + 1].alone &&
      layers[first + 1].source == int64_t(first) &&
      layers[first].c_out * layers[first].c_in * layers[first].kh * layers[first].kw <= kWaiting;
  d_in = widest = layers.front().size_in();
  d_out = layers.back().size_out();
  operations = 0;
  room = d_in;
  for (size_t l = 0; l < layers.size(); ++l) {
    const ChainLayer& layer = layers[l];
    operations += double(layer.size_out());
    if (!banded || l != first) {
      widest = std::max(widest, layer.size_out());
      room += layer.size_out();
    }
    if (layer.kind == Kind::affine)
      operations += double(layer.size_out()) * double(layer.c_in * layer.kh * layer.kw);
  }
  room += (graph ? 3 : 2) * widest;
}

}  // namespace edt
