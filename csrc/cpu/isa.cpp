// Which of the compiled instruction sets runs.
#include <cstdlib>
#include <stdexcept>

#include "cpu/chain_kernels.h"
#include "cpu/kernels.h"
#include "cpu/runs.h"
#include "cpu/tap_kernels.h"

namespace edt {

#define EDT_ISA(ns)                                                                                \
  namespace ns {                                                                                   \
  extern const KernelTable<float> table_float;                                                     \
  extern const KernelTable<double> table_double;                                                   \
  extern const TapTable<float> taps_float;                                                         \
  extern const TapTable<double> taps_double;                                                       \
  extern const ChainTable<float> chain_float;                                                      \
  extern const ChainTable<double> chain_double;                                                    \
  static const Isa isa{#ns,         runs_##ns,    &table_float, &table_double,                     \
                       &taps_float, &taps_double, &chain_float, &chain_double};                    \
  }
#if defined(EDT_HAVE_AVX512)
EDT_ISA(avx512)
#endif
#if defined(EDT_HAVE_AVX2)
EDT_ISA(avx2)
#endif
#if defined(EDT_HAVE_BASELINE)
EDT_ISA(baseline)
#endif

const std::vector<const Isa*>& compiled_isas() {
  static const std::vector<const Isa*> all = {
#if defined(EDT_HAVE_AVX512)
      &avx512::isa,
#endif
#if defined(EDT_HAVE_AVX2)
      &avx2::isa,
#endif
#if defined(EDT_HAVE_BASELINE)
      &baseline::isa,
#endif
  };
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
  throw std::runtime_error(
      "this edt was compiled for another processor; build it here (make build), or with "
      "EDT_ISAS=all for any");
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

template <>
const TapTable<float>& tap_table<float>() {
  return *current_isa().taps_f32;
}
template <>
const TapTable<double>& tap_table<double>() {
  return *current_isa().taps_f64;
}
template <>
const ChainTable<float>& chain_table<float>() {
  return *current_isa().chain_f32;
}
template <>
const ChainTable<double>& chain_table<double>() {
  return *current_isa().chain_f64;
}

void select_isa(const std::string& name) { chosen.store(find_isa(name)); }

}  // namespace edt
