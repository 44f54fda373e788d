// Chains of convolutions on the CUDA engine. Pointers are device addresses (blocks are written on
// the host); memory belongs to the caller, work goes to the caller's stream on the current device.
#include <pybind11/stl.h>

#include <memory>
#include <stdexcept>

#include "bindings/call.h"
#include "bindings/cuda.h"
#include "cuda/chain_plan.h"

namespace py = pybind11;

namespace edt {
namespace {

using cuda::ChainCall;
using cuda::ChainPlan;

ChainCall call_of(const py::tuple& head) {
  if (head.size() != 7) throw py::value_error("a call needs 7 leading arguments");
  const auto pointer = [&](int i) { return head[size_t(i)].cast<Pointer>(); };
  return {head[0].cast<const ChainPlan&>(),
          at<const unsigned char>(pointer(1)),
          at<unsigned char>(pointer(2)),
          at<const void>(pointer(3)),
          at<const void>(pointer(4)),
          head[5].cast<int64_t>(),
          at<void>(pointer(6))};
}

// body(call, a number of the plan's type) without the interpreter lock.
template <class Body>
void run(const py::tuple& head, const Body& body) {
  const ChainCall call = call_of(head);
  Unlocked here;
  if (call.plan.is_double()) body(call, double{});
  else body(call, float{});
}

}  // namespace

void bind_cuda_chain(py::module_& m) {
  py::class_<ChainPlan>(m, "ChainPlan", py::module_local())
      .def(py::init([](const Chain& chain, const std::vector<const ChainMask*>& masks,
                       int64_t networks, int64_t samples, bool is_double, int vectors, int device,
                       int64_t room) {
             if (!masks.empty() && int64_t(masks.size()) != networks)
               throw py::value_error("a call needs no masks, or one of each network");
             if (networks < 1 || samples < 1)
               throw py::value_error("a call needs at least one network and sample");
             return std::make_unique<ChainPlan>(chain, masks, networks, samples, is_double, vectors,
                                                cuda::limits_of(device).sms, room);
           }),
           py::arg("chain"), py::arg("masks"), py::arg("networks"), py::arg("samples"),
           py::arg("is_double"), py::arg("vectors"), py::arg("device"), py::arg("room"))
      .def_property_readonly("block_bytes", &ChainPlan::block_bytes)
      .def("write", [](const ChainPlan& p, Pointer to) { p.write(at<unsigned char>(to)); })
      .def_property_readonly("workspace_bytes", &ChainPlan::workspace_bytes)
      .def_property_readonly("whole", &ChainPlan::whole)
      .def_property_readonly("chunk", &ChainPlan::chunk)
      .def_property_readonly("group", &ChainPlan::group);
  m.def("chain_outputs", [](const py::tuple& head, Pointer out, bool keep) {
    run(head,
        [&](const ChainCall& c, auto t) { cuda::chain_outputs(c, at<decltype(t)>(out), keep); });
  });
  m.def("chain_gradient", [](const py::tuple& head, Pointer slopes, Pointer grad, bool ready) {
    run(head, [&](const ChainCall& c, auto t) {
      using T = decltype(t);
      cuda::chain_gradient(c, at<const T>(slopes), at<T>(grad), ready);
    });
  });
  m.def("chain_products", [](const py::tuple& head, Pointer slopes, Pointer curvature,
                             Pointer vectors, int64_t many, int64_t network_step,
                             int64_t vector_step, Pointer out) {
    run(head, [&](const ChainCall& c, auto t) {
      using T = decltype(t);
      if (c.plan.vectors() < 1) throw std::invalid_argument("the plan is of no vectors");
      cuda::chain_products<T>(c, {at<const T>(slopes), at<const T>(curvature), at<const T>(vectors),
                                  at<T>(out), many, network_step, vector_step});
    });
  });
}

}  // namespace edt
