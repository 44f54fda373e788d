// Reads programs, as ptx_assemble.py writes them: a line a kernel, constant or instruction.
//
//   kernel NAME MOST_THREADS REGISTERS
//   constant REGISTER BITS
//   argument REGISTER NUMBER
//   charge COSTS...
//   NAME KIND CHARGE LINE PREDICATE NEGATED BYTES VECTOR SIGNED SPACE OFFSET D0..D3 S0..S15
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <unordered_map>

#include "machine.h"

namespace ptx {

void load(const std::string& path, int capability) {
  static const std::unordered_map<std::string, Kind> kinds{{"compute", Kind::compute},
                                                           {"branch", Kind::branch},
                                                           {"call", Kind::call},
                                                           {"ret", Kind::ret},
                                                           {"barrier", Kind::barrier},
                                                           {"warp_barrier", Kind::warp_barrier},
                                                           {"arrive", Kind::cluster_arrive},
                                                           {"wait", Kind::cluster_wait},
                                                           {"shuffle", Kind::shuffle},
                                                           {"product", Kind::product},
                                                           {"load", Kind::load},
                                                           {"store", Kind::store},
                                                           {"parameter", Kind::parameter},
                                                           {"copy", Kind::copy},
                                                           {"await", Kind::await}};
  static const std::unordered_map<std::string, Space> spaces{{"global", Space::global},
                                                             {"shared", Space::shared},
                                                             {"generic", Space::generic},
                                                             {"cluster", Space::cluster}};
  std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot read " + path);
  std::string name, kind, space;
  Kernel* kernel = nullptr;
  while (in >> name) {
    if (name == "kernel") {
      in >> name;
      kernel = &(kernels()[name][capability] = {});
      kernel->name = name;
      in >> kernel->most_threads >> kernel->registers;
      continue;
    }
    if (!kernel) throw std::runtime_error(path + " does not begin with a kernel");
    if (name == "constant") {
      int at = 0;
      uint64_t value = 0;
      in >> at >> value;
      kernel->constants.emplace_back(at, value);
      continue;
    }
    if (name == "argument") {
      int at = 0, number = 0;
      in >> at >> number;
      kernel->arguments.emplace_back(at, number);
      continue;
    }
    if (name == "charge") {
      kernel->charges.emplace_back();
      for (int& cost : kernel->charges.back()) in >> cost;
      continue;
    }
    Instruction i;
    int bytes = 0, vector = 0;
    in >> kind >> i.charge >> i.line >> i.predicate >> i.negated >> bytes >> vector >>
        i.is_signed >> space >> i.offset;
    for (int& d : i.dst) in >> d;
    for (int& s : i.src) in >> s;
    i.bytes = uint8_t(bytes);
    i.vector = uint8_t(vector);
    i.kind = kinds.at(kind);
    i.space = spaces.at(space);
    if (i.kind == Kind::compute) {
      i.compute = compute_of(name);
      if (!i.compute) throw std::runtime_error("no meaning is known for " + name);
    }
    kernel->code.push_back(i);
  }
}

}  // namespace ptx
