// The CUDA engine's Python face. Pointers are device addresses (the blocks are written on the
// host); memory belongs to the caller, work goes to the caller's stream on the current device, the
// interpreter lock is released.
#include "bindings/cuda.h"

#include <pybind11/stl.h>

#include <iterator>
#include <memory>

#include "bindings/lock.h"
#include "bindings/training.h"
#include "cuda/engine.h"
#include "math/activations_list.h"
#include "math/losses.h"

namespace py = pybind11;

namespace edt {
namespace {

using namespace cuda;
using Pointer = uintptr_t;

template <class T>
T* at(Pointer p) {
  return reinterpret_cast<T*>(p);
}

struct AnyData {
  bool is_double;
  Data<float> f32{};
  Data<double> f64{};
  template <class Body>
  void visit(const Body& body) const {
    if (is_double) body(f64);
    else body(f32);
  }
};

template <class T>
Data<T> data_of(Pointer x, Pointer y, Pointer labels, Pointer coef, int64_t n_pad, int n, int d_in,
                int d_out, int loss) {
  return {at<const T>(x),
          at<const T>(y),
          at<const int>(labels),
          at<const T>(coef),
          n_pad,
          n,
          d_in,
          d_out,
          loss};
}

Job job_of(const std::string& name) {
  if (name == "forward") return Job::forward;
  if (name == "gradient") return Job::gradient;
  if (name == "train") return Job::train;
  if (name == "curvature") return Job::curvature;
  throw py::value_error("job must be 'forward', 'gradient', 'train' or 'curvature', got '" + name +
                        "'");
}

// The arguments every call starts with.
struct Head {
  const DevicePlan& plan;
  const Schedule& schedule;
  Pointer plan_block, schedule_block, workspace;
  const AnyData& data;
  Pointer task, active, theta;
  int act;
  Pointer stream;

  Call call() const {
    if (act < 0 || act >= kActivations)
      throw py::value_error("activation code must be in 0.." + std::to_string(kActivations - 1) +
                            ", got " + std::to_string(act));
    if (schedule.is_double() != data.is_double)
      throw py::value_error("the schedule and the data differ in dtype");
    if (schedule.networks() != int(plan.nets().size()))
      throw py::value_error("the schedule is of another plan");
    return {plan,
            schedule,
            at<const unsigned char>(plan_block),
            at<const unsigned char>(schedule_block),
            at<unsigned char>(workspace),
            at<const int64_t>(task),
            at<const uint8_t>(active),
            at<const void>(theta),
            act,
            at<void>(stream)};
  }
};

Head head_of(const py::tuple& t) {
  if (t.size() != 11) throw py::value_error("a call needs 11 leading arguments");
  auto pointer = [&](int i) { return t[i].cast<Pointer>(); };
  return {t[0].cast<const DevicePlan&>(),
          t[1].cast<const Schedule&>(),
          pointer(2),
          pointer(3),
          pointer(4),
          t[5].cast<const AnyData&>(),
          pointer(6),
          pointer(7),
          pointer(8),
          t[9].cast<int>(),
          pointer(10)};
}

// body(call, data) without the interpreter lock, in the data's own type.
template <class Body>
void run(const py::tuple& head, const Body& body) {
  const Head h = head_of(head);
  const Call c = h.call();
  Unlocked here;
  h.data.visit([&](const auto& data) { body(c, data); });
}

template <class D>
struct ScalarOf;
template <class T>
struct ScalarOf<Data<T>> {
  using type = T;
};
template <class D>
using Scalar = typename ScalarOf<std::decay_t<D>>::type;

void bind_objects(py::module_& m) {
  py::class_<DevicePlan>(m, "Plan", py::module_local())
      .def(py::init([](Pointer widths, int64_t n_nets, int64_t n_cols, bool bias, Pointer state,
                       int64_t total) {
             return std::make_unique<DevicePlan>(Plan(at<const int64_t>(widths), n_nets, n_cols,
                                                      bias, at<const uint8_t>(state), total));
           }),
           py::arg("widths"), py::arg("n_nets"), py::arg("n_cols"), py::arg("bias"),
           py::arg("state"), py::arg("total"))
      .def_property_readonly("block_bytes", [](const DevicePlan& p) { return p.block().size; })
      .def("write", [](const DevicePlan& p, Pointer to) { p.write(at<unsigned char>(to)); })
      .def_property_readonly("cost", [](const DevicePlan& p) { return p.costs(); });

  py::class_<Schedule>(m, "Schedule", py::module_local())
      .def(py::init([](const DevicePlan& plan, const std::string& job, bool is_double, int samples,
                       int device, int vectors, bool moments, int64_t batch_size) {
             return std::make_unique<Schedule>(plan, job_of(job), is_double, samples,
                                               limits_of(device),
                                               ScheduleOptions{vectors, moments, batch_size});
           }),
           py::arg("plan"), py::arg("job"), py::arg("is_double"), py::arg("samples"),
           py::arg("device"), py::arg("vectors") = 1, py::arg("moments") = false,
           py::arg("batch_size") = 0)
      .def_property_readonly("block_bytes", &Schedule::block_bytes)
      .def("write", [](const Schedule& s, Pointer to) { s.write(at<unsigned char>(to)); })
      .def_property_readonly("workspace_bytes",
                             [](const Schedule& s) { return s.workspace().size; })
      .def_property_readonly("split_training", &Schedule::split_training)
      .def_property_readonly("counts_steps", &Schedule::counts_steps)
      .def_property_readonly("wide_networks", [](const Schedule& s) { return s.wide().networks(); })
      .def_property_readonly("launches", [](const Schedule& s) {
        py::list out;
        for (const Launch& l : s.launches()) {
          py::dict d;
          d["items"] = l.count;
          d["grid"] = l.grid;
          d["threads"] = l.threads;
          d["shared"] = l.shared;
          d["in_registers"] = l.shallow;
          d["pairs"] = l.kind == Training::pairs;
          int least = INT32_MAX, most = 0, splits = 0;
          for (int i = l.first; i < l.first + l.count; ++i) {
            least = std::min(least, s.items()[i].tile);
            most = std::max(most, s.items()[i].tile);
            splits = std::max(splits, s.items()[i].splits);
          }
          d["tile"] = py::make_tuple(least, most);
          d["splits"] = splits;
          out.append(d);
        }
        return out;
      });

  py::class_<AnyData>(m, "Data", py::module_local())
      .def(py::init([](Pointer x, Pointer y, Pointer labels, Pointer coef, int64_t n_pad, int n,
                       int d_in, int d_out, int loss, bool is_double) {
             if (n < 1 || n_pad < n || d_in < 1 || d_out < 1)
               throw py::value_error("data needs at least one sample, input and output");
             if (loss < 0 || loss >= int(std::size(edt::kLossNames)))
               throw py::value_error("data with a loss that there is not");
             if (loss == int(edt::Loss::cross_entropy) ? !labels : !y)
               throw py::value_error("data without targets");
             AnyData out{is_double, {}, {}};
             if (is_double)
               out.f64 = data_of<double>(x, y, labels, coef, n_pad, n, d_in, d_out, loss);
             else out.f32 = data_of<float>(x, y, labels, coef, n_pad, n, d_in, d_out, loss);
             return out;
           }),
           py::arg("x"), py::arg("y"), py::arg("labels"), py::arg("coef"), py::arg("n_pad"),
           py::arg("n"), py::arg("d_in"), py::arg("d_out"), py::arg("loss"), py::arg("is_double"));
}

void bind_calls(py::module_& m) {
  m.def("activation",
        [](int act, int order, int64_t n, Pointer in, Pointer out, bool is_double, Pointer stream) {
          if (act < 0 || act >= kActivations || order < 0 || order > 3)
            throw py::value_error("activation code or order out of range");
          Unlocked here;
          if (is_double)
            activation(act, order, n, at<const double>(in), at<double>(out), at<void>(stream));
          else activation(act, order, n, at<const float>(in), at<float>(out), at<void>(stream));
        });
  m.def("evaluate", [](const py::tuple& head, Pointer predict, Pointer cotangent, Pointer loss,
                       Pointer grad) {
    if (cotangent && loss) throw py::value_error("a cotangent replaces the loss");
    run(head, [&](const Call& c, const auto& data) {
      using T = Scalar<decltype(data)>;
      evaluate<T>(c, data, at<T>(predict), at<const T>(cotangent), at<double>(loss), at<T>(grad));
    });
  });
  m.def("hvp", [](const py::tuple& head, Pointer vectors, Pointer out, int64_t stride, bool ggn) {
    run(head, [&](const Call& c, const auto& data) {
      using T = Scalar<decltype(data)>;
      hvp<T>(c, data, at<const T>(vectors), at<T>(out), stride, ggn);
    });
  });
  m.def("hessian", [](const py::tuple& head, Pointer out, Pointer offsets, bool ggn) {
    run(head, [&](const Call& c, const auto& data) {
      using T = Scalar<decltype(data)>;
      hessian<T>(c, data, at<T>(out), at<const int64_t>(offsets), ggn);
    });
  });
  m.def("train", [](const py::tuple& head, const py::dict& hyper, const py::dict& state,
                    int64_t first, Pointer host_record) {
    const HyperParameters hp = read_hyper(hyper);
    const Head h = head_of(head);
    const Call c = h.call();
    h.data.visit([&](const auto& data) {
      using T = Scalar<decltype(data)>;
      // Training writes what the other calls only read.
      T* theta = const_cast<T*>(static_cast<const T*>(c.theta));
      const auto st = read_train_state(state, hp, theta, c.schedule.networks());
      Unlocked here;
      train<T>(c, data, hp, st, first, at<const int64_t>(host_record));
    });
  });
}

}  // namespace

void bind_cuda(py::module_& m) {
  m.doc() = "The CUDA engine. Private: use the functions of the package.";
  m.def("runtime", [] {
    const Runtime r = runtime();
    py::dict out;
    out["devices"] = r.devices;
    out["driver"] = r.driver;
    out["runtime"] = r.runtime;
    out["error"] = r.error;
    return out;
  });
  m.def("capability", &capability_of);
  m.attr("least_capability") = kLeastCapability;
  m.def("limits", [](int device) {
    const Limits l = limits_of(device);
    return py::make_tuple(l.sms, l.shared_block, l.shared_sm);
  });
  bind_objects(m);
  bind_calls(m);
  bind_cuda_chain(m);
}

}  // namespace edt
