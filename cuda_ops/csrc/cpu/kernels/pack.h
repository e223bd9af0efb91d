// Pack<T>: 16 lanes of T (float, double or int32_t) whatever the machine's vector width, so that each kernel
// is written once. Portable, AVX2 and AVX-512 versions live in namespaces of those names (foreach_isa.h).
//
//   load(p), store(p, a), broadcast(value)
//   a + b, a - b, a * b, min(a, b), max(a, b): lane by lane; where a or b is NaN, min and max give b
//   multiply_add(a, b, c): a * b + c, of float rounded once where the machine can; never for indices
//   max_everywhere(a), min_everywhere(a): the largest (smallest) lane, in every lane
//   first_lane(a): that lane
//   less(a, b), less_equal(a, b), equal(a, b): a Mask<T>
//   bits(mask): bit i for lane i; from_bits<T>(bits): back; any(mask); mask | mask, mask & mask
//   select(mask, a, b): a where the mask is set, b elsewhere
//   less_index<T>(i, j), select_index(mask, i, j): the same for the int32 pack that goes with a Pack<T>
//   count_less(sum, i, j): int32, sum plus one in the lanes where i < j
#ifndef POINTNET2_ISA
#ifndef POINTNET2_PACK_H
#define POINTNET2_PACK_H

#include <cstdint>
#include <cstring>

#include "isa.h"
#if POINTNET2_X86
#if defined(__GNUC__) && !defined(__clang__)  // GCC 12 warns about its own header's undefined registers
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif

#define POINTNET2_INLINE inline __attribute__((always_inline))
#define POINTNET2_LAMBDA __attribute__((always_inline))

namespace pointnet2 {
constexpr int kLanes = 16;
using Bits = uint32_t;  // 16 of them are used

inline int lowest_bit(Bits bits) { return __builtin_ctz(bits); }
inline int count_bits(Bits bits) { return __builtin_popcount(bits); }
}  // namespace pointnet2

#define POINTNET2_FILE "pack.h"
#include "foreach_isa.h"
#endif  // POINTNET2_PACK_H

#else  // once per instruction set

namespace pointnet2 {
namespace POINTNET2_ISA {

#if POINTNET2_ISA_LEVEL == 2
#include "pack_avx512.h"
#elif POINTNET2_ISA_LEVEL == 1
#include "pack_avx2.h"
#else
#include "pack_portable.h"
#endif

POINTNET2_INLINE Pack<double> multiply_add(const Pack<double>& a, const Pack<double>& b,
                                           const Pack<double>& c) {
  return a * b + c;
}

// `a` with one lane replaced by that lane of `b`.
template <class T>
POINTNET2_INLINE Pack<T> replace_lane(Pack<T> a, Bits lane_bit, Pack<T> b) {
  return select(from_bits<T>(lane_bit), b, a);
}

// A pack of the first `n` values at p, zeros after them.
POINTNET2_INLINE Pack<float> load_part(const float* p, int64_t n) {
  if (n >= kLanes) return load(p);
  float padded[kLanes] = {};
  std::memcpy(padded, p, static_cast<size_t>(n) * sizeof(float));
  return load(padded);
}

POINTNET2_INLINE void store_part(float* p, Pack<float> a, int64_t n) {
  if (n >= kLanes) return store(p, a);
  float padded[kLanes];
  store(padded, a);
  std::memcpy(p, padded, static_cast<size_t>(n) * sizeof(float));
}

// Stores the lanes whose bit is set one after another, in lane order; returns how many. Writes up to 16
// values.
POINTNET2_INLINE int compress_store(int32_t* out, Bits bits, const int32_t* from) {
#if POINTNET2_ISA_LEVEL == 2
  _mm512_storeu_si512(out,
                      _mm512_maskz_compress_epi32(static_cast<__mmask16>(bits), _mm512_loadu_si512(from)));
  return count_bits(bits);
#else
  int n = 0;
  for (; bits != 0; bits &= bits - 1) out[n++] = from[lowest_bit(bits)];
  return n;
#endif
}

// Stores first + lane for each lane whose bit is set; returns how many. Writes up to 16 values.
POINTNET2_INLINE int store_lanes(int32_t* out, Bits bits, int32_t first) {
#if POINTNET2_ISA_LEVEL == 2
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i value = _mm512_add_epi32(lane, _mm512_set1_epi32(first));
  _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(static_cast<__mmask16>(bits), value));
  return count_bits(bits);
#else
  int n = 0;
  for (; bits != 0; bits &= bits - 1) out[n++] = first + lowest_bit(bits);
  return n;
#endif
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
