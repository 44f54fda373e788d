// Which of the compiled instruction sets runs.
#include <cstdlib>
#include <stdexcept>

#include "cpu/kernels.h"

namespace edt {

#if defined(EDT_HAVE_AVX512)
namespace avx512 { extern const Isa isa; }
#endif
#if defined(EDT_HAVE_AVX2)
namespace avx2 { extern const Isa isa; }
#endif
namespace baseline { extern const Isa isa; }

const std::vector<const Isa*>& compiled_isas() {
  static const std::vector<const Isa*> all = {
#if defined(EDT_HAVE_AVX512)
      &avx512::isa,
#endif
#if defined(EDT_HAVE_AVX2)
      &avx2::isa,
#endif
      &baseline::isa};
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
