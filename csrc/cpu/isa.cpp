// Which of the compiled instruction sets runs.
#include <cstdlib>
#include <stdexcept>

#include "cpu/kernels.h"

namespace edt {

#define EDT_DECLARE(ns)                \
  namespace ns {                       \
  KernelTable<float> table_of(float);  \
  KernelTable<double> table_of(double); \
  }
#if defined(EDT_HAVE_AVX512)
EDT_DECLARE(avx512)
#endif
#if defined(EDT_HAVE_AVX2)
EDT_DECLARE(avx2)
#endif
EDT_DECLARE(baseline)

namespace {

#if defined(EDT_HAVE_AVX512)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
}
#endif
#if defined(EDT_HAVE_AVX2)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif
bool always() { return true; }

#define EDT_MAKE(ns, supported)                                       \
  [] {                                                                \
    static const KernelTable<float> f32 = ns::table_of(float{});      \
    static const KernelTable<double> f64 = ns::table_of(double{});    \
    static const Isa isa{#ns, supported, &f32, &f64};                 \
    return &isa;                                                      \
  }()

}  // namespace

const std::vector<const Isa*>& compiled_isas() {
  static const std::vector<const Isa*> all = {
#if defined(EDT_HAVE_AVX512)
      EDT_MAKE(avx512, has_avx512),
#endif
#if defined(EDT_HAVE_AVX2)
      EDT_MAKE(avx2, has_avx2),
#endif
      EDT_MAKE(baseline, always)};
  return all;
}

namespace {

const Isa* find_isa(const std::string& name) {
  std::string known;
  for (const Isa* isa : compiled_isas()) {
    if (name == isa->name) {
      if (isa->supported()) return isa;
      throw std::invalid_argument("this processor cannot run instruction set '" + name + "'");
    }
    known += std::string(known.empty() ? "" : ", ") + "'" + isa->name + "'";
  }
  throw std::invalid_argument("instruction set must be one of " + known + ", got '" + name + "'");
}

const Isa* first_choice() {
  if (const char* name = std::getenv("EDT_CPU_ISA")) {
    if (*name) return find_isa(name);
  }
  for (const Isa* isa : compiled_isas())
    if (isa->supported()) return isa;
  throw std::runtime_error("no compiled instruction set runs on this processor");
}

std::atomic<const Isa*> chosen{nullptr};

}  // namespace

const Isa& current_isa() {
  const Isa* isa = chosen.load();
  if (!isa) {
    isa = first_choice();
    chosen.store(isa);
  }
  return *isa;
}

void select_isa(const std::string& name) { chosen.store(find_isa(name)); }

}  // namespace edt
