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
  if (layer.sh < 1 || layer.sw < 1 || (layer.strided() && layer.kind != Kind::affine))
    throw std::invalid_argument("strides are at least 1, and those of affine layers alone");
  if (layer.kind == Kind::activation) {
    if (layer.size_in() != layer.size_out())
      throw std::invalid_argument("an activation leaves sizes as they are");
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
      if (relu.kind != Kind::activation || relu.act != Act::relu) break;
      std::swap(relu, layers[at]);
      ChainLayer& after = layers[at];
      after.c_in = after.c_out;
      after.h = after.h_out = layers[at - 1].h_out;
      after.w = after.w_out = layers[at - 1].w_out;
    }
}

}  // namespace

Chain::Chain(std::vector<ChainLayer> given, int64_t count)
    : layers(std::move(given)), parameters(count) {
  if (layers.empty()) throw std::invalid_argument("a chain needs at least one layer");
  for (size_t l = 0; l < layers.size(); ++l) {
    check(layers[l], parameters);
    if (l > 0 && layers[l].size_in() != layers[l - 1].size_out())
      throw std::invalid_argument("layer " + std::to_string(l) + " does not fit the one before");
  }
  pool_first(layers);
  strided = std::any_of(layers.begin(), layers.end(),
                        [](const ChainLayer& layer) { return layer.strided(); });
  first = 0;
  while (first < layers.size() && layers[first].kind != ChainLayer::Kind::affine) ++first;
  banded =
      first + 1 < layers.size() && layers[first + 1].kind == ChainLayer::Kind::pool &&
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
    if (layer.kind == ChainLayer::Kind::affine)
      operations += double(layer.size_out()) * double(layer.c_in * layer.kh * layer.kw);
  }
  room += 2 * widest;
}

}  // namespace edt
