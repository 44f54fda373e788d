#include "layout/chain_mask.h"

#include <algorithm>

namespace edt {
namespace {

// Share of a layer's weights up to which lists are faster than whole layers: 16 LeNet-5 (28 x 28,
// AVX-512) take as long either way at 0.37 forward and back, and in products with vectors at 0.42.
constexpr double kListed = 0.35;

// Of the second-level cache, bytes for what lies between layers.
constexpr double kCache = 1 << 20;

// Taps in the order of sums: by remainder of columns and rows (strides sw and sh), channel, row of
// the kernel, other channel, column.
template <class There, class Offset>
ChainMask::Taps listed(const ChainLayer& l, int64_t sh, int64_t sw, int64_t channels,
                       int64_t others, const There& weight, const Offset& offset,
                       const uint8_t* there) {
  ChainMask::Taps taps;
  taps.start.push_back(0);
  const auto add_row = [&](int64_t c, int64_t i, int64_t phase) {
    for (int64_t k = 0; k < others; ++k)
      for (int64_t j = phase; j < l.kw; j += sw) {
        const int64_t w = weight(c, k) + i * l.kw + j;
        if (!there[w]) continue;
        taps.weight.push_back(int32_t(w));
        taps.offset.push_back(int32_t(offset(k, i, j)));
      }
    taps.start.push_back(int32_t(taps.weight.size()));
  };
  for (int64_t column = 0; column < sw; ++column)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t row = 0; row < sh; ++row)
        for (int64_t i = row; i < l.kh; i += sh) add_row(c, i, column);
  return taps;
}

// Vectors that go together where what lies between layers is most of what is read.
int in_cache(const Chain& chain) {
  const double bytes = 64 * double(chain.room);
  return 4 * bytes <= kCache ? 4 : 2 * bytes <= kCache ? 2 : 1;
}

}  // namespace

ChainMask::ChainMask(const Chain& chain) : vectors(4), layers(chain.layers.size()) {
  if (chain.strided) {
    list(chain, std::vector<uint8_t>(size_t(chain.parameters), 1).data());
    return;
  }
  size = chain.parameters;
  if (chain.graph) vectors = in_cache(chain);
  for (size_t n = 0; n < layers.size(); ++n) {
    layers[n].weight = chain.layers[n].weight;
    layers[n].bias = chain.layers[n].bias;
  }
}

ChainMask::ChainMask(const Chain& chain, const uint8_t* state)
    : vectors(4), layers(chain.layers.size()) {
  list(chain, state);
}

void ChainMask::list(const Chain& chain, const uint8_t* state) {
  bool few = false;  // weights are left of some layer
  const auto add = [&](int64_t at) { place.push_back(state[at] == 1 ? at : -1); };
  for (size_t n = 0; n < layers.size(); ++n) {
    const ChainLayer& l = chain.layers[n];
    Layer& mine = layers[n];
    if (l.kind == ChainLayer::Kind::gain) {
      mine.weight = int64_t(place.size());
      add(l.weight);
    }
    if (l.kind != ChainLayer::Kind::affine) continue;
    const int64_t taps = l.kh * l.kw, weights = l.c_out * l.c_in * taps;
    const uint8_t* there = state + l.weight;
    const auto left = weights - std::count(there, there + weights, uint8_t(0));
    mine.weight = int64_t(place.size());
    const bool thin = double(left) <= kListed * double(weights);
    few |= thin;
    mine.listed = thin || l.strided();
    if (mine.listed) {
      const int64_t in = l.pitch_in(), out = l.pitch_out();
      mine.forward = edt::listed(
          l, 1, 1, l.c_out, l.c_in, [&](int64_t o, int64_t c) { return (o * l.c_in + c) * taps; },
          [&](int64_t c, int64_t i, int64_t j) { return (c * l.h + i) * in + l.column_in(j); },
          there);
      mine.back = edt::listed(
          l, l.sh, l.sw, l.c_in, l.c_out,
          [&](int64_t c, int64_t o) { return (o * l.c_in + c) * taps; },
          [&](int64_t o, int64_t i, int64_t j) {
            return (o * l.h_out - i / l.sh) * out - j / l.sw;
          },
          there);
      for (const int32_t w : mine.forward.weight) add(l.weight + w);
    } else {
      for (int64_t w = 0; w < weights; ++w) add(l.weight + w);
    }
    mine.bias = int64_t(place.size());
    for (int64_t o = 0; l.bias >= 0 && o < l.c_out; ++o) add(l.bias + o);
  }
  size = int64_t(place.size());
  if (few || chain.graph) vectors = in_cache(chain);
}

}  // namespace edt
