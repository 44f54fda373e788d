// The Python face of the compiled core: raw pointers in, nothing of torch inside. Shapes and dtypes
// are checked by the Python package; here only what would otherwise crash is.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <thread>

#include "bindings/call.h"
#include "bindings/chain.h"
#include "bindings/taps.h"
#include "bindings/training.h"
#include "cpu/engine.h"
#include "cpu/pages.h"
#include "cpu/pool.h"
#include "math/activations_list.h"
#if defined(EDT_HAVE_CUDA)
#include "bindings/cuda.h"
#endif

namespace py = pybind11;

namespace edt {
namespace {

// Runs `body(call)` without the interpreter lock; a Ctrl-C on the way is raised afterwards.
template <class Body>
void run(const Plan& plan, const Dataset& data, Pointer task_index, int act, Pointer active,
         const Body& body) {
  if (act < 0 || act >= kActivations)
    throw py::value_error("activation code must be in 0.." + std::to_string(kActivations - 1) +
                          ", got " + std::to_string(act));
  if (!plan.nets.empty() && (plan.nets[0].d_in != data.d_in || plan.nets[0].d_out != data.d_out))
    throw py::value_error("networks and data differ in d_in or d_out");
  const auto* index = at<const int64_t>(task_index);
  for (size_t b = 0; b < plan.nets.size(); ++b)
    if (index[b] < 0 || index[b] >= data.n_tasks)
      throw py::value_error("task_index[" + std::to_string(b) + "] must be in 0.." +
                            std::to_string(data.n_tasks - 1) + ", got " + std::to_string(index[b]));
  bool raised = false;
  const Call call{
      plan, data, index, act, at<const uint8_t>(active), SignalPoll{&raised, main_thread()}};
  {
    Unlocked here;
    body(call);
  }
  if (raised) throw py::error_already_set();
}

// Calls body with a value of the dataset's own scalar type.
template <class Body>
void by_type(const Dataset& data, const Body& body) {
  if (data.is_double) body(double{});
  else body(float{});
}

std::unique_ptr<Dataset> make_dataset(Pointer x, Pointer y, Pointer coef, int64_t n_tasks,
                                      int64_t n, int d_in, int d_out, int loss, bool is_double) {
  if (n_tasks < 1 || n < 1 || d_in < 1 || d_out < 1)
    throw py::value_error("a dataset needs at least one task, sample, input and output");
  constexpr int kLosses = int(std::size(kLossNames));
  if (loss < 0 || loss >= kLosses)
    throw py::value_error("loss code must be in 0.." + std::to_string(kLosses - 1));
  auto out = std::make_unique<Dataset>();
  out->is_double = is_double;
  out->n_tasks = n_tasks;
  out->n = n;
  out->d_in = d_in;
  out->d_out = d_out;
  if (is_double)
    out->f64 =
        std::make_unique<DatasetT<double>>(n_tasks, n, d_in, d_out, Loss(loss), at<const double>(x),
                                           at<const void>(y), at<const double>(coef));
  else
    out->f32 =
        std::make_unique<DatasetT<float>>(n_tasks, n, d_in, d_out, Loss(loss), at<const float>(x),
                                          at<const void>(y), at<const float>(coef));
  return out;
}

template <size_t N>
py::tuple names_of(const char* const (&names)[N]) {
  py::tuple out(N);
  for (size_t k = 0; k < N; ++k) out[k] = py::str(names[k]);
  return out;
}

double fma_peak(bool is_double, int threads, double seconds, int beside) {
  if (beside < 0 || beside > int(Beside::look_up)) throw py::value_error("beside");
  std::vector<double> speed(threads);
  std::vector<std::thread> pool;
  const Isa& isa = current_isa();
  for (int t = 0; t < threads; ++t)
    pool.emplace_back([&, t] {
      speed[t] = is_double ? isa.f64->fma_peak(seconds, Beside(beside))
                           : isa.f32->fma_peak(seconds, Beside(beside));
    });
  for (auto& t : pool) t.join();
  double sum = 0;
  for (double s : speed) sum += s;
  return sum;
}

}  // namespace
}  // namespace edt

PYBIND11_MODULE(_core, m) {
  using namespace edt;
  m.doc() = "Compiled core of edt. Private: use the functions of the package.";
#if defined(EDT_HAVE_CUDA)
  py::module_ device = m.def_submodule("cuda");
  bind_cuda(device);
#endif

  // Names of what is a number in here, in the order of the numbers.
  py::dict codes;
  codes["activation"] = names_of(kActNames);
  codes["loss"] = names_of(kLossNames);
  codes["optimizer"] = names_of(kOptimizerNames);
  codes["training"] = names_of(kStatusNames);
  codes["lbfgs"] = names_of(kLbfgsStatusNames);
  codes["descent"] = names_of(kDescentNames);
  codes["excursion"] = names_of(kExcursionNames);
  m.attr("CODES") = codes;

  py::class_<Plan>(m, "Plan")
      .def(py::init([](Pointer widths, int64_t n_nets, int64_t n_cols, bool bias, Pointer state,
                       int64_t total) {
             return std::make_unique<Plan>(at<const int64_t>(widths), n_nets, n_cols, bias,
                                           at<const uint8_t>(state), total);
           }),
           py::arg("widths"), py::arg("n_nets"), py::arg("n_cols"), py::arg("bias"),
           py::arg("state"), py::arg("total"))
      .def_property_readonly("n_nets", [](const Plan& p) { return p.nets.size(); })
      .def_readonly("total", &Plan::total)
      .def_readonly("depth", &Plan::depth)
      .def_readonly("bias", &Plan::bias)
      .def_property_readonly("cost",
                             [](const Plan& p) {
                               std::vector<double> out;
                               for (const Net& net : p.nets) out.push_back(net.cost);
                               return out;
                             })
      .def(
          "chunks",
          [](const Plan& p, int64_t samples) {
            std::vector<std::vector<int64_t>> out;
            for (const Net& net : p.nets) {
              const Chunks chunks(net, samples);
              std::vector<int64_t> sizes;
              for (int64_t k = 0; k < chunks.count; ++k) sizes.push_back(chunks.size(k));
              out.push_back(sizes);
            }
            return out;
          },
          py::arg("samples"));

  py::class_<Dataset>(m, "Dataset")
      .def(py::init(&make_dataset), py::arg("x"), py::arg("y"), py::arg("coef"), py::arg("n_tasks"),
           py::arg("n"), py::arg("d_in"), py::arg("d_out"), py::arg("loss"), py::arg("is_double"))
      .def_readonly("is_double", &Dataset::is_double)
      .def_readonly("n_tasks", &Dataset::n_tasks)
      .def_readonly("n", &Dataset::n)
      .def_readonly("d_in", &Dataset::d_in)
      .def_readonly("d_out", &Dataset::d_out);

  py::module_::import("atexit").attr("register")(py::cpp_function(&hold_threads));

  m.def("set_num_threads", &set_num_threads);
  m.def("get_num_threads", &num_threads);
  m.def("isas", [] {
    std::vector<std::string> out;
    for (const Isa* isa : compiled_isas())
      if (isa->supported()) out.push_back(isa->name);
    return out;
  });
  m.def("isa", [] { return std::string(current_isa().name); });
  m.def("select_isa", &select_isa);
  m.def("build_info", [] {
    py::dict d;
    std::vector<std::string> names;
    for (const Isa* isa : compiled_isas()) names.push_back(isa->name);
    d["compiler"] = EDT_COMPILER;
    d["isas"] = names;
    d["max_order"] = kMaxOrder;
#if defined(EDT_HAVE_CUDA)
    d["cuda"] = true;
    d["cuda_code"] = EDT_CUDA_CODE;
    d["cuda_compiler"] = EDT_CUDA_COMPILER;
#else
    d["cuda"] = false;
#endif
    d["version"] = EDT_VERSION;
    return d;
  });
  m.def("fma_peak", &fma_peak, py::arg("is_double"), py::arg("n_threads"), py::arg("seconds"),
        py::arg("beside") = 0, py::call_guard<Unlocked>());

  m.def("activation", [](int act, int order, int64_t n, Pointer in, Pointer out, bool is_double) {
    if (act < 0 || act >= kActivations || order < 0 || order > kMaxOrder)
      throw py::value_error("activation code or order out of range");
    const Isa& isa = current_isa();
    if (is_double) isa.f64->activation(act, order, n, at<const double>(in), at<double>(out));
    else isa.f32->activation(act, order, n, at<const float>(in), at<float>(out));
  });

  bind_taps(m);
  bind_chain(m);

  m.def("predict", [](const Plan& plan, const Dataset& data, Pointer task, int act, Pointer theta,
                      Pointer active, Pointer out) {
    run(plan, data, task, act, active, [&](const Call& c) {
      by_type(data, [&](auto t) {
        using T = decltype(t);
        predict<T>(c, at<const T>(theta), at<T>(out));
      });
    });
  });
  m.def("loss", [](const Plan& plan, const Dataset& data, Pointer task, int act, Pointer theta,
                   Pointer active, Pointer out) {
    run(plan, data, task, act, active, [&](const Call& c) {
      by_type(data, [&](auto t) {
        using T = decltype(t);
        loss<T>(c, at<const T>(theta), at<double>(out));
      });
    });
  });
  m.def("loss_and_grad", [](const Plan& plan, const Dataset& data, Pointer task, int act,
                            Pointer theta, Pointer active, Pointer out, Pointer grad) {
    run(plan, data, task, act, active, [&](const Call& c) {
      by_type(data, [&](auto t) {
        using T = decltype(t);
        loss_and_grad<T>(c, at<const T>(theta), at<double>(out), at<T>(grad));
      });
    });
  });
  m.def("vjp", [](const Plan& plan, const Dataset& data, Pointer task, int act, Pointer theta,
                  Pointer active, Pointer cotangent, Pointer grad) {
    run(plan, data, task, act, active, [&](const Call& c) {
      by_type(data, [&](auto t) {
        using T = decltype(t);
        vjp<T>(c, at<const T>(theta), at<const T>(cotangent), at<T>(grad));
      });
    });
  });
  m.def("second_directional",
        [](const Plan& plan, const Dataset& data, Pointer task, int act, Pointer theta,
           Pointer active, Pointer step, Pointer reach, Pointer out) {
          run(plan, data, task, act, active, [&](const Call& c) {
            by_type(data, [&](auto t) {
              using T = decltype(t);
              second_directional<T>(c, at<const T>(theta), at<const T>(step), at<const T>(reach),
                                    at<T>(out));
            });
          });
        });
  m.def("hvp", [](const Plan& plan, const Dataset& data, Pointer task, int act, Pointer theta,
                  Pointer active, int k, Pointer v, Pointer out, int64_t stride, bool ggn) {
    if (k < 1) throw py::value_error("hvp needs at least one vector");
    run(plan, data, task, act, active, [&](const Call& c) {
      by_type(data, [&](auto t) {
        using T = decltype(t);
        hvp<T>(c, at<const T>(theta), k, at<const T>(v), at<T>(out), stride, ggn);
      });
    });
  });
  m.def("prefer_huge_pages",
        [](Pointer p, int64_t bytes) { prefer_huge_pages(at<char>(p), size_t(bytes)); });
  m.def("prepare_matrices", [](Pointer out, int64_t item, Pointer offsets, Pointer sizes,
                               int64_t n) {
    prepare_matrices(at<char>(out), item, at<const int64_t>(offsets), at<const int64_t>(sizes), n);
  });
  m.def("hessian", [](const Plan& plan, const Dataset& data, Pointer task, int act, Pointer theta,
                      Pointer active, Pointer out, Pointer offsets, bool ggn) {
    run(plan, data, task, act, active, [&](const Call& c) {
      by_type(data, [&](auto t) {
        using T = decltype(t);
        hessian<T>(c, at<const T>(theta), at<T>(out), at<const int64_t>(offsets), ggn);
      });
    });
  });
  m.def("jacobian", [](const Plan& plan, const Dataset& data, Pointer task, int act, Pointer theta,
                       Pointer active, Pointer out, Pointer offsets, bool weighted) {
    run(plan, data, task, act, active, [&](const Call& c) {
      by_type(data, [&](auto t) {
        using T = decltype(t);
        jacobian<T>(c, at<const T>(theta), at<T>(out), at<const int64_t>(offsets), weighted);
      });
    });
  });
  m.def("train", [](const Plan& plan, const Dataset& data, Pointer task, int act, Pointer theta,
                    Pointer active, const py::dict& hyper, const py::dict& state) {
    const HyperParameters hp = read_hyper(hyper);
    by_type(data, [&](auto t) {
      using T = decltype(t);
      const auto st = read_train_state(state, hp, at<T>(theta), int64_t(plan.nets.size()));
      run(plan, data, task, act, active, [&](const Call& c) { train<T>(c, hp, st); });
    });
  });
  m.def("lbfgs", [](const Plan& plan, const Dataset& data, Pointer task, int act, Pointer theta,
                    Pointer active, int memory, int64_t iterations, double tol, Pointer done,
                    Pointer status, Pointer loss_, Pointer grad_norm) {
    if (memory < 1) throw py::value_error("memory must be at least 1");
    run(plan, data, task, act, active, [&](const Call& c) {
      by_type(data, [&](auto t) {
        using T = decltype(t);
        lbfgs<T>(c, LbfgsState<T>{at<T>(theta), memory, iterations, tol, at<int64_t>(done),
                                  at<int8_t>(status), at<double>(loss_), at<double>(grad_norm)});
      });
    });
  });
  m.def("newton", [](const Plan& plan, const Dataset& data, Pointer task, int act, Pointer theta,
                     Pointer active, const py::dict& rule, const py::dict& state) {
    const NewtonRule rules = read_newton_rule(rule);
    by_type(data, [&](auto t) {
      using T = decltype(t);
      const auto st = read_newton<T>(state, at<T>(theta));
      run(plan, data, task, act, active, [&](const Call& c) { newton<T>(c, rules, st); });
    });
  });
  m.def("levenberg", [](const Plan& plan, const Dataset& data, Pointer task, int act, Pointer theta,
                        Pointer active, const py::dict& rule, const py::dict& state) {
    const LevenbergRule rules = read_levenberg_rule(rule);
    by_type(data, [&](auto t) {
      using T = decltype(t);
      if (data.get<T>().loss != Loss::mse)
        throw py::value_error("Levenberg-Marquardt is for squared error");
      const auto st = read_levenberg<T>(state, at<T>(theta));
      run(plan, data, task, act, active, [&](const Call& c) { levenberg<T>(c, rules, st); });
    });
  });
  m.def("excursions",
        [](const Plan& plan, const Dataset& data, Pointer task, int act, Pointer theta,
           Pointer active, const py::dict& rule, const py::dict& state) {
          const ExcursionRule rules = read_excursion_rule(rule);
          by_type(data, [&](auto t) {
            using T = decltype(t);
            if (data.get<T>().loss != Loss::mse)
              throw py::value_error("excursions are for squared error");
            const auto st = read_excursions<T>(state, at<T>(theta));
            run(plan, data, task, act, active, [&](const Call& c) { excursions<T>(c, rules, st); });
          });
        });
}
