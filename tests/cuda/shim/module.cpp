// The shim as a Python module: the functions of edt._core.cuda, on CPU memory.
#include "bindings/cuda.h"
#include "shim.h"

PYBIND11_MODULE(edt_cuda_shim, m) {
  edt::bind_cuda(m);
  m.def("set_order", [](const std::string& order, uint64_t seed) {
    auto& s = edt_shim::settings();
    s.order = order == "forward"    ? edt_shim::Order::forward
              : order == "backward" ? edt_shim::Order::backward
                                    : edt_shim::Order::shuffled;
    s.seed = seed;
  });
  m.def("set_limits", [](int sms, int64_t shared_block, int64_t shared_sm) {
    auto& s = edt_shim::settings();
    s.sms = sms;
    s.shared_block = shared_block;
    s.shared_sm = shared_sm;
  });
}
