#include "bindings/chain.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/call.h"
#include "bindings/training.h"
#include "cpu/chain.h"
#include "cpu/chain_train.h"

namespace py = pybind11;

namespace edt {
namespace {

ChainLayer make_layer(const py::dict& given) {
  const auto size = [&](const char* name) { return given[name].cast<int64_t>(); };
  using Kind = ChainLayer::Kind;
  static constexpr std::pair<const char*, Kind> kKinds[] = {
      {"affine", Kind::affine}, {"pool", Kind::pool},
      {"mean", Kind::mean},     {"activation", Kind::activation},
      {"gain", Kind::gain},     {"shortcut", Kind::shortcut},
      {"add", Kind::add}};
  const auto kind = given["kind"].cast<std::string>();
  const auto* found = std::find_if(std::begin(kKinds), std::end(kKinds),
                                   [&](const auto& known) { return kind == known.first; });
  if (found == std::end(kKinds)) throw py::value_error("no such kind of layer");
  ChainLayer layer{};
  layer.kind = found->second;
  layer.c_in = size("c_in");
  layer.h = size("h");
  layer.w = size("w");
  layer.c_out = size("c_out");
  layer.h_out = size("h_out");
  layer.w_out = size("w_out");
  layer.kh = size("kh");
  layer.kw = size("kw");
  layer.top = size("top");
  layer.left = size("left");
  layer.sh = size("sh");
  layer.sw = size("sw");
  layer.weight = size("weight");
  layer.bias = size("bias");
  if (given.contains("source")) layer.source = size("source");
  if (layer.kind == Kind::add) layer.other = size("other");
  if (layer.kind == Kind::shortcut) {
    layer.kept = size("kept");
    layer.ahead = size("ahead");
  }
  const int64_t act = size("act");
  if (act < 0 || act >= kActivations) throw py::value_error("no such activation");
  layer.act = Act(act);
  return layer;
}

std::unique_ptr<Chain> make_chain(const py::list& layers, int64_t parameters) {
  std::vector<ChainLayer> made;
  for (const auto& layer : layers) made.push_back(make_layer(layer.cast<py::dict>()));
  return std::make_unique<Chain>(std::move(made), parameters);
}

using Masks = std::vector<const ChainMask*>;

// Runs body(call) for the scalar type without the interpreter lock.
template <class Body>
void run(const Chain& chain, const Masks& masks, int64_t networks, int64_t samples, bool is_double,
         Pointer theta, Pointer x, int64_t x_step, const Body& body) {
  if (!masks.empty() && int64_t(masks.size()) != networks)
    throw py::value_error("a call needs no masks, or one of each network");
  if (networks < 1 || samples < 1)
    throw py::value_error("a call needs at least one network and sample");
  bool raised = false;
  const SignalPoll poll{&raised, main_thread()};
  const auto typed = [&](auto t) {
    using T = decltype(t);
    body(ChainCall<T>{chain, networks, samples, at<const T>(theta), at<const T>(x), x_step, poll,
                      masks});
  };
  {
    Unlocked here;
    if (is_double) typed(double{});
    else typed(float{});
  }
  if (raised) throw py::error_already_set();
}

// Steps of the networks numbered numbers[0..masks or all), of which b starts at offsets[b] and
// learns targets[task_index[b]]: addresses of x, y and weights, of `samples` each.
template <class T>
void train(const Chain& chain, const Masks& masks, const std::vector<int64_t>& numbers,
           const std::vector<std::array<Pointer, 3>>& targets, int64_t samples, int loss,
           const int64_t* offsets, const int64_t* task_index, T* theta, const HyperParameters& hp,
           const py::dict& state, int64_t networks) {
  const ChainMask whole(chain);
  std::vector<ChainSamples<T>> data;
  for (const auto& [x, y, weights] : targets)
    data.push_back({samples, at<const T>(x), at<const void>(y), at<const T>(weights), Loss(loss)});
  bool raised = false;
  ChainTraining<T> call{chain,
                        {},
                        hp,
                        read_train_state<T>(state, hp, theta, networks),
                        SignalPoll{&raised, main_thread()}};
  for (size_t k = 0; k < numbers.size(); ++k) {
    const int64_t b = numbers[k];
    if (b < 0 || b >= networks || size_t(task_index[b]) >= data.size())
      throw py::value_error("no such network or target");
    call.networks.push_back(
        {b, offsets[b], masks.empty() ? &whole : masks[k], &data[size_t(task_index[b])]});
  }
  {
    Unlocked here;
    chain_train(call);
  }
  if (raised) throw py::error_already_set();
}

template <class T>
T* out_of(const ChainCall<T>&, Pointer p) {
  return at<T>(p);
}

template <class T>
OutputDerivatives<T> derivatives_of(const ChainCall<T>&, const T* slopes, const T* curvature) {
  return OutputDerivatives<T>::given(slopes, curvature);
}

template <class T>
ChainSamples<T> samples_of(const ChainCall<T>& c, const void* y, const T* weights, Loss loss) {
  return {c.samples, c.x, y, weights, loss};
}

}  // namespace

void bind_chain(py::module_& m) {
  py::class_<ChainMask>(m, "ChainMask")
      .def(py::init([](const Chain& chain, Pointer state) {
             return std::make_unique<ChainMask>(chain, at<const uint8_t>(state));
           }),
           py::arg("chain"), py::arg("state"))
      .def_readonly("size", &ChainMask::size)
      .def_property_readonly("listed", [](const ChainMask& mask) {
        std::vector<bool> out;
        for (const ChainMask::Layer& layer : mask.layers) out.push_back(layer.listed);
        return out;
      });
  py::class_<Chain>(m, "Chain")
      .def(py::init(&make_chain), py::arg("layers"), py::arg("parameters"))
      .def_readonly("d_in", &Chain::d_in)
      .def_readonly("d_out", &Chain::d_out)
      .def_readonly("room", &Chain::room)
      .def_readonly("strided", &Chain::strided)
      .def_readonly("graph", &Chain::graph)
      .def(
          "outputs",
          [](const Chain& chain, const Masks& masks, int64_t networks, int64_t samples,
             bool is_double, Pointer theta, Pointer x, int64_t x_step, Pointer out) {
            run(chain, masks, networks, samples, is_double, theta, x, x_step,
                [&](const auto& c) { chain_outputs(c, out_of(c, out)); });
          },
          py::arg("masks"), py::arg("networks"), py::arg("samples"), py::arg("is_double"),
          py::arg("theta"), py::arg("x"), py::arg("x_step"), py::arg("out"))
      .def(
          "gradient",
          [](const Chain& chain, const Masks& masks, int64_t networks, int64_t samples,
             bool is_double, Pointer theta, Pointer x, int64_t x_step, Pointer slopes,
             Pointer grad) {
            run(chain, masks, networks, samples, is_double, theta, x, x_step,
                [&](const auto& c) { chain_gradient(c, out_of(c, slopes), out_of(c, grad)); });
          },
          py::arg("masks"), py::arg("networks"), py::arg("samples"), py::arg("is_double"),
          py::arg("theta"), py::arg("x"), py::arg("x_step"), py::arg("slopes"), py::arg("grad"))
      .def(
          "train",
          [](const Chain& chain, const Masks& masks, const std::vector<int64_t>& numbers,
             const std::vector<std::array<Pointer, 3>>& targets, int64_t samples, int loss,
             Pointer offsets, Pointer task_index, int64_t networks, bool is_double, Pointer theta,
             const py::dict& hyper, const py::dict& state) {
            if (!masks.empty() && masks.size() != numbers.size())
              throw py::value_error("a call needs no masks, or one of each network");
            if (samples < 1) throw py::value_error("a call needs at least one sample");
            if (loss < 0 || loss >= int(std::size(kLossNames)))
              throw py::value_error("no such loss");
            const HyperParameters hp = read_hyper(hyper);
            const auto typed = [&](auto t) {
              train(chain, masks, numbers, targets, samples, loss, at<const int64_t>(offsets),
                    at<const int64_t>(task_index), at<decltype(t)>(theta), hp, state, networks);
            };
            if (is_double) typed(double{});
            else typed(float{});
          },
          py::arg("masks"), py::arg("numbers"), py::arg("targets"), py::arg("samples"),
          py::arg("loss"), py::arg("offsets"), py::arg("task_index"), py::arg("networks"),
          py::arg("is_double"), py::arg("theta"), py::arg("hyper"), py::arg("state"))
      .def(
          "products",
          [](const Chain& chain, const Masks& masks, int64_t networks, int64_t samples,
             bool is_double, Pointer theta, Pointer x, int64_t x_step, Pointer slopes,
             Pointer curvature, Pointer vectors, int64_t many, int64_t network_step,
             int64_t vector_step, Pointer out) {
            if (many < 1) throw py::value_error("a call needs at least one vector");
            run(chain, masks, networks, samples, is_double, theta, x, x_step, [&](const auto& c) {
              const auto given = derivatives_of(c, out_of(c, slopes), out_of(c, curvature));
              chain_products(c, given, out_of(c, vectors), many, {network_step, vector_step},
                             out_of(c, out));
            });
          },
          py::arg("masks"), py::arg("networks"), py::arg("samples"), py::arg("is_double"),
          py::arg("theta"), py::arg("x"), py::arg("x_step"), py::arg("slopes"),
          py::arg("curvature"), py::arg("vectors"), py::arg("many"), py::arg("network_step"),
          py::arg("vector_step"), py::arg("out"))
      .def(
          "loss_products",
          [](const Chain& chain, const Masks& masks, int64_t networks, int64_t samples,
             bool is_double, Pointer theta, Pointer x, int64_t x_step, int loss, Pointer y,
             Pointer weights, double scale, bool ggn, Pointer vectors, int64_t many,
             int64_t network_step, int64_t vector_step, Pointer out) {
            if (many < 1) throw py::value_error("a call needs at least one vector");
            if (loss < 0 || loss >= int(std::size(kLossNames)))
              throw py::value_error("no such loss");
            run(chain, masks, networks, samples, is_double, theta, x, x_step, [&](const auto& c) {
              const auto data = samples_of(c, at<const void>(y), out_of(c, weights), Loss(loss));
              using T = std::remove_pointer_t<decltype(out_of(c, out))>;
              chain_products(c, OutputDerivatives<T>::of(data, scale, ggn), out_of(c, vectors),
                             many, {network_step, vector_step}, out_of(c, out));
            });
          },
          py::arg("masks"), py::arg("networks"), py::arg("samples"), py::arg("is_double"),
          py::arg("theta"), py::arg("x"), py::arg("x_step"), py::arg("loss"), py::arg("y"),
          py::arg("weights"), py::arg("scale"), py::arg("ggn"), py::arg("vectors"), py::arg("many"),
          py::arg("network_step"), py::arg("vector_step"), py::arg("out"));
}

}  // namespace edt
