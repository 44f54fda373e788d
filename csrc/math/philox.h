// Philox4x32-10: a counter-based random number generator. The same (key, counter) gives the same
// numbers on every machine and in any order of evaluation.
//
// J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once
#include <cstdint>

#include "math/host_device.h"

namespace edt {

struct Philox {
  uint32_t out[4];

  EDT_HOST_DEVICE Philox(uint64_t key, uint64_t counter_low, uint64_t counter_high) {
    uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
    uint32_t c[4] = {uint32_t(counter_low), uint32_t(counter_low >> 32), uint32_t(counter_high),
                     uint32_t(counter_high >> 32)};
    for (int round = 0; round < 10; ++round) {
      const uint64_t p0 = uint64_t(0xD2511F53u) * c[0], p1 = uint64_t(0xCD9E8D57u) * c[2];
      const uint32_t n0 = uint32_t(p1 >> 32) ^ c[1] ^ k0, n2 = uint32_t(p0 >> 32) ^ c[3] ^ k1;
      c[0] = n0;
      c[1] = uint32_t(p1);
      c[2] = n2;
      c[3] = uint32_t(p0);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < 4; ++i) out[i] = c[i];
  }
  EDT_HOST_DEVICE uint64_t word(int i) const { return uint64_t(out[2 * i + 1]) << 32 | out[2 * i]; }
};

// Random permutation of 0..n-1 for one epoch (Fisher-Yates, multiply-shift bounded integers).
inline void shuffle(uint64_t seed, uint64_t epoch, int n, int* order) {
  for (int i = 0; i < n; ++i) order[i] = i;
  for (int i = n - 1; i > 0; --i) {
    const uint64_t bits = Philox(seed, uint64_t(i) >> 1, epoch).word(i & 1);
    const int j = int((unsigned __int128)(bits)*uint64_t(i + 1) >> 64);
    const int t = order[i];
    order[i] = order[j];
    order[j] = t;
  }
}

}  // namespace edt
