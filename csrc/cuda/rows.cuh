// Rows of samples, and how the threads of a block share out what is computed from them.
//
// Rows (units) of samples lie `ld` entries apart; `tile` samples are a power of two of 16-byte
// packs. ld is one pack more than the tile, so that threads on neighbouring rows hit other banks.
// Sums over lanes go by shuffles, in an order that depends on nothing.
#pragma once
#include "cuda/platform.h"

namespace edt::cuda {

template <class T>
struct alignas(16) Pack {
  static constexpr int N = kPack<T>;
  T v[N];
};
template <class T>
EDT_DEVICE Pack<T> load(const T* p) {
  return *reinterpret_cast<const Pack<T>*>(p);
}
template <class T>
EDT_DEVICE void store(T* p, const Pack<T>& x) {
  *reinterpret_cast<Pack<T>*>(p) = x;
}
// Stores `offset` entries on in shared memory, at once: the compiler may store a structure number
// by number, and lanes that do so 16 bytes apart hit one bank in fours. What is stored is read
// again behind a barrier.
#if defined(__CUDACC__)
EDT_DEVICE void store_shared(float* p, const Pack<float>& x, int offset = 0) {
  const unsigned at = unsigned(__cvta_generic_to_shared(p)) + 4 * offset;
  asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(at), "f"(x.v[0]), "f"(x.v[1]),
               "f"(x.v[2]), "f"(x.v[3]));
}
EDT_DEVICE void store_shared(double* p, const Pack<double>& x) { store(p, x); }
#else
template <class T>
EDT_DEVICE void store_shared(T* p, const Pack<T>& x, int offset = 0) {
  store(p + offset, x);
}
#endif
template <class T>
EDT_DEVICE void store_shared(T* p, T x) {
  *p = x;
}
template <bool Shared, class T>
EDT_DEVICE void store(T* p, const Pack<T>& x) {
  if constexpr (Shared) store_shared(p, x);
  else store(p, x);
}

// Two numbers that are read at once, at even places.
template <class T>
struct alignas(2 * sizeof(T)) Two {
  T v[2];
};
template <class T>
EDT_DEVICE Two<T> two(const T* p) {
  return *reinterpret_cast<const Two<T>*>(p);
}
template <class T>
EDT_DEVICE Pack<T> splat(T x) {
  Pack<T> out;
  EDT_UNROLL
  for (int e = 0; e < Pack<T>::N; ++e) out.v[e] = x;
  return out;
}
template <class T>
EDT_DEVICE void add_scaled(Pack<T>& acc, T w, const Pack<T>& x) {
  EDT_UNROLL
  for (int e = 0; e < Pack<T>::N; ++e) acc.v[e] = fma(w, x.v[e], acc.v[e]);
}

// Rows of samples: base, distance of rows.
template <class T>
struct Rows {
  T* p;
  int ld;
  EDT_DEVICE T* at(int row, int sample) const { return p + row * ld + sample; }
  EDT_DEVICE Rows row(int r) const { return {p + r * ld, ld}; }
};

// The tile's samples as packs: 2^shift of them.
struct Tile {
  int samples, shift;
};
template <class T>
EDT_DEVICE Tile tile_of(int samples) {
  int shift = 0;
  while ((kPack<T> << shift) < samples) ++shift;
  return {kPack<T> << shift, shift};
}

// A number that the compiler does not compute again where it is used.
EDT_DEVICE int held(int x) {
#if defined(__CUDACC__)
  asm volatile("" : "+r"(x));
#endif
  return x;
}
// So many bytes on: a step that is held in bytes is one addition.
template <class T>
EDT_DEVICE const T* bytes_on(const T* p, int bytes) {
  return reinterpret_cast<const T*>(reinterpret_cast<const char*>(p) + bytes);
}

EDT_DEVICE int smaller(int a, int b) { return a < b ? a : b; }

// body(first row, first sample) for every piece of `height` rows by one pack, over the block.
template <class T, int R, class Body>
EDT_DEVICE void for_pieces(int rows, Tile tile, const Body& body) {
  const int pieces = ((rows + R - 1) / R) << tile.shift;
  for (int t = int(threadIdx.x); t < pieces; t += int(blockDim.x))
    body((t >> tile.shift) * R, (t & ((1 << tile.shift) - 1)) * kPack<T>);
}

// body(column, first row, step) for 2^shift columns, so that the block's threads share out all
// rows: whatever follows from a column is a thread's once.
template <class Body>
EDT_DEVICE void for_columns(int shift, const Body& body) {
  const int across = int(blockDim.x) >> shift, step = across > 1 ? across : 1;
  const int rank = int(threadIdx.x) >> shift, columns = 1 << shift;
  if (rank >= step) return;
  for (int c = int(threadIdx.x) & (columns - 1); c < columns; c += int(blockDim.x))
    body(c, rank, step);
}

// How the samples of a gradient are shared out: `slices` neighbouring lanes each take every
// slices-th pack; with several groups (of whole warps) each group takes its part of the packs.
struct Share {
  int group, groups;
  EDT_DEVICE int threads() const { return int(blockDim.x) / groups; }
  EDT_DEVICE int rank() const { return int(threadIdx.x) - group * threads(); }
};

template <class T>
EDT_DEVICE T lane_sum(T x, int slices) {
  for (int d = slices / 2; d > 0; d /= 2) x += __shfl_xor_sync(kFullMask, x, d);
  return x;
}

// Sums of eight numbers a lane over the warp: lane l gets that of entry `eight_sums_entry(l)`, by
// exchanging halves: 9 shuffles instead of 40.
EDT_DEVICE int eight_sums_entry(int lane) { return (lane & 1) * 4 + (lane & 2) + (lane >> 2 & 1); }
template <class T>
EDT_DEVICE T eight_sums(T (&x)[8]) {
  const int lane = int(threadIdx.x) % kWarp;
  EDT_UNROLL
  for (int half = 4, bit = 1; half > 0; half /= 2, bit *= 2) {
    const bool upper = (lane & bit) != 0;
    EDT_UNROLL
    for (int q = 0; q < half; ++q) {
      const T mine = upper ? x[q + half] : x[q], other = upper ? x[q] : x[q + half];
      x[q] = mine + __shfl_xor_sync(kFullMask, other, bit);
    }
  }
  T sum = x[0];
  EDT_UNROLL
  for (int d = 8; d < kWarp; d *= 2) sum += __shfl_xor_sync(kFullMask, sum, d);
  return sum;
}

// body(piece, slice, slices, valid) with all lanes of a warp together, so that body may shuffle.
template <class Body>
EDT_DEVICE void for_sums(int pieces, int packs, Share share, const Body& body) {
  int slices = kWarp;
  while (slices > 1 && (slices > packs || pieces * slices / 2 >= share.threads())) slices /= 2;
  const int total = pieces * slices, rank = share.rank();
  for (int first = rank / kWarp * kWarp; first < total; first += share.threads()) {
    const int t = first + rank % kWarp;
    body(t / slices, t % slices, slices, t < total);
  }
}

// Sums of N numbers a lane over `slices` neighbouring lanes (a power of two, at most N): a lane
// gets those of the N / slices entries from the one returned on, in x[0], x[1], ... Halves are
// exchanged: N - N / slices shuffles.
template <int N, int Half = N / 2, int Bit = 1, class T>
EDT_DEVICE int shared_sums(T (&x)[N], int slices) {
  if constexpr (Bit == kWarp || Half == 0) return 0;
  else {
    const bool upper = (int(threadIdx.x) & Bit) != 0;
    if (Bit >= slices) return 0;
    EDT_UNROLL
    for (int q = 0; q < Half; ++q) {
      const T mine = upper ? x[q + Half] : x[q], other = upper ? x[q] : x[q + Half];
      x[q] = mine + __shfl_xor_sync(kFullMask, other, Bit);
    }
    return (upper ? Half : 0) + shared_sums<N, Half / 2, Bit * 2>(x, slices);
  }
}

}  // namespace edt::cuda
