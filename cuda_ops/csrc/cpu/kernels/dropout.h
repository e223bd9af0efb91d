// Dropout whose mask is a function of a seed: nothing of it is kept for the backward pass, which draws it
// again.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_DROPOUT_H
#define POINTNET2_DROPOUT_H

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "isa.h"
#include "kernels.h"

namespace pointnet2 {
constexpr int64_t kDropoutBlock = 256;  // elements
}

#define POINTNET2_FILE "dropout.h"
#include "foreach_isa.h"

namespace pointnet2 {

// out [n]: x times `scale`, or times 0 where the 16 random bits of an element are below `dropped`.
template <class A, class T>
inline void dropout(const T* x, int64_t n, uint64_t seed, int32_t dropped, A scale, T* out,
                    const Threads& threads) {
  POINTNET2_DISPATCH(active_isa(), dropout(x, n, seed, dropped, scale, out, threads));
}

}  // namespace pointnet2
#endif  // POINTNET2_DROPOUT_H

#else  // once per instruction set

namespace pointnet2 {
namespace POINTNET2_ISA {

// Number `at` of the generator SplitMix64 (Steele, Lea and Flood 2014).
inline uint64_t split_mix(uint64_t seed, uint64_t at) {
  uint64_t z = seed + (at + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// Of block number `block`, `count` elements.
template <class A, class T>
void drop_block(const T* __restrict x, int64_t block, int64_t count, uint64_t seed, int32_t dropped, A scale,
                T* __restrict out) {
  uint64_t words[kDropoutBlock / 4];
  uint16_t draws[kDropoutBlock];
  A factors[kDropoutBlock];
  for (int64_t i = 0; i < kDropoutBlock / 4; ++i)
    words[i] = split_mix(seed, static_cast<uint64_t>(block * (kDropoutBlock / 4) + i));
  std::memcpy(draws, words, sizeof draws);
  for (int64_t i = 0; i < kDropoutBlock; ++i) factors[i] = draws[i] < dropped ? A(0) : scale;
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<T>(static_cast<A>(x[i]) * factors[i]);
}

template <class A, class T>
void dropout(const T* x, int64_t n, uint64_t seed, int32_t dropped, A scale, T* out, const Threads& threads) {
  parallel(threads, (n + kDropoutBlock - 1) / kDropoutBlock, [=](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t from = block * kDropoutBlock;
      drop_block(x + from, block, std::min(kDropoutBlock, n - from), seed, dropped, scale, out + from);
    }
  });
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
