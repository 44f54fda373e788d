#include "bindings/taps.h"

#include <memory>
#include <stdexcept>

#include "bindings/call.h"
#include "cpu/recycled.h"
#include "cpu/taps.h"
#include "cpu/team.h"

namespace py = pybind11;

namespace edt {
namespace {

// Memory of one tensor, as a buffer of bytes; the tensor keeps it.
struct Recycled {
  explicit Recycled(size_t bytes_) : bytes(bytes_), p(take_recycled(bytes_)) {}
  Recycled(const Recycled&) = delete;
  Recycled& operator=(const Recycled&) = delete;
  ~Recycled() { give_recycled(p, bytes); }
  size_t bytes;
  void* p;
};

std::unique_ptr<TapLayer> make_layer(const py::dict& shape, int64_t weights, int64_t taps,
                                     Pointer out, Pointer in, Pointer dy, Pointer dx,
                                     Pointer weight) {
  const auto size = [&](const char* name, int64_t least) {
    const auto found = shape[name].cast<int64_t>();
    if (found < least)
      throw py::value_error(std::string(name) + " must be at least " + std::to_string(least));
    return found;
  };
  const TapShape s{
      int(size("c_in", 1)),      int(size("c_out", 1)), size("h", 1),        size("w", 1),
      size("h_out", 1),          size("w_out", 1),      size("stride_h", 1), size("stride_w", 1),
      size("pad_h", 0),          size("pad_w", 0),      size("reach_h", 0),  size("reach_w", 0),
      shape["flat"].cast<bool>()};
  return std::make_unique<TapLayer>(s, weights, taps, at<const int32_t>(out), at<const int32_t>(in),
                                    at<const int32_t>(dy), at<const int32_t>(dx),
                                    at<const int64_t>(weight));
}

// Runs body(call, value of the scalar type) without the interpreter lock.
template <class Body>
void run(const TapLayer& layer, int64_t n, bool is_double, const Body& body) {
  if (n < 1) throw py::value_error("a call needs at least one sample");
  bool raised = false;
  const TapCall call{layer, n, SignalPoll{&raised, main_thread()}};
  {
    Unlocked here;
    if (is_double) body(call, double{});
    else body(call, float{});
  }
  if (raised) throw py::error_already_set();
}

}  // namespace

void bind_taps(py::module_& m) {
  m.def(
      "set_team", [](Pointer start) { set_team(reinterpret_cast<StartTeam>(start)); },
      py::arg("start"));
  py::class_<Recycled>(m, "Recycled", py::buffer_protocol())
      .def(py::init<size_t>(), py::arg("bytes"))
      .def_buffer([](Recycled& r) {
        return py::buffer_info(static_cast<uint8_t*>(r.p), py::ssize_t(r.bytes));
      });
  py::class_<TapLayer>(m, "Taps")
      .def(py::init(&make_layer), py::arg("shape"), py::arg("weights"), py::arg("taps"),
           py::arg("out"), py::arg("in_"), py::arg("dy"), py::arg("dx"), py::arg("weight"))
      .def_readonly("taps", &TapLayer::taps)
      .def_readonly("in_place", &TapLayer::in_place)
      .def_property_readonly("chunks", [](const TapLayer& layer) { return layer.forward.chunks; })
      .def(
          "forward",
          [](const TapLayer& layer, int64_t n, bool is_double, Pointer weights, Pointer bias,
             Pointer x, Pointer to) {
            run(layer, n, is_double, [&](const TapCall& c, auto t) {
              using T = decltype(t);
              tap_forward<T>(c, at<const T>(weights), at<const T>(bias), at<const T>(x), at<T>(to));
            });
          },
          py::arg("n"), py::arg("is_double"), py::arg("weights"), py::arg("bias"), py::arg("x"),
          py::arg("out"))
      .def(
          "gradients",
          [](const TapLayer& layer, int64_t n, bool is_double, Pointer weights, Pointer x,
             Pointer slopes, Pointer dx, Pointer dw, Pointer dbias) {
            run(layer, n, is_double, [&](const TapCall& c, auto t) {
              using T = decltype(t);
              tap_gradients<T>(c, {at<const T>(weights), at<const T>(x), at<const T>(slopes),
                                   at<T>(dx), at<T>(dw), at<T>(dbias)});
            });
          },
          py::arg("n"), py::arg("is_double"), py::arg("weights"), py::arg("x"), py::arg("slopes"),
          py::arg("dx"), py::arg("dw"), py::arg("dbias"));
}

}  // namespace edt
