// Which instruction sets this processor runs. The build asks, too (EDT_ISAS=native).
#pragma once

namespace edt {

inline bool runs_baseline() { return true; }
#if defined(__x86_64__)
inline bool runs_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
inline bool runs_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") && runs_avx2();
}
#endif

}  // namespace edt
