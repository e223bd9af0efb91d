// Places of points on a Hilbert curve through a cube of cells.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_HILBERT_H
#define POINTNET2_HILBERT_H

#include "pack.h"

namespace pointnet2 {

// The cube: 2^bits cells a side, at most 2^10, the first one at `lo`.
template <class T>
struct CurveCells {
  T lo[3], scale;  // cell = (coordinate - lo) * scale
  int bits;
};

}  // namespace pointnet2

#define POINTNET2_FILE "hilbert.h"
#include "foreach_isa.h"
#endif  // POINTNET2_HILBERT_H

#else  // once per instruction set: plain loops that the compiler vectorises

namespace pointnet2 {
namespace POINTNET2_ISA {

// Bits 0..9 moved to bits 0, 3, 6, ..., 27.
POINTNET2_INLINE uint32_t spread_bits(uint32_t v) {
  v = (v | v << 16) & 0x030000FFu;
  v = (v | v << 8) & 0x0300F00Fu;
  v = (v | v << 4) & 0x030C30C3u;
  return (v | v << 2) & 0x09249249u;
}

// items [begin, end): place on the curve << 32 | index. The transform is John Skilling's ("Programming the
// Hilbert curve", 2004): level by level the axes are flipped or swapped as the curve turns, then a Gray code
// is undone.
template <class T>
inline void curve_keys(const T* xyz, int64_t begin, int64_t end, const CurveCells<T>& cells,
                       uint64_t* items) {
  constexpr int kBlock = 64;
  const T limit = static_cast<T>((1 << cells.bits) - 1);
  for (int64_t first = begin; first < end; first += kBlock) {
    const int used = static_cast<int>(end - first < kBlock ? end - first : kBlock);
    uint32_t x[kBlock] = {}, y[kBlock] = {}, z[kBlock] = {};
    const T* p = xyz + 3 * first;
    const auto cell = [&](int i, int axis) POINTNET2_LAMBDA {
      const T c = (p[3 * i + axis] - cells.lo[axis]) * cells.scale;
      return static_cast<uint32_t>(static_cast<int32_t>(c < limit ? c : limit));
    };
    for (int i = 0; i < used; ++i) {
      x[i] = cell(i, 0);
      y[i] = cell(i, 1);
      z[i] = cell(i, 2);
    }
    for (uint32_t level = 1u << (cells.bits - 1); level > 1; level >>= 1) {
      const uint32_t below = level - 1;
      for (int i = 0; i < kBlock; ++i) {
        uint32_t a = x[i];
        a ^= a & level ? below : 0;
        const uint32_t swap_y = y[i] & level ? 0 : (a ^ y[i]) & below;
        a ^= y[i] & level ? below : swap_y;
        y[i] ^= swap_y;
        const uint32_t swap_z = z[i] & level ? 0 : (a ^ z[i]) & below;
        a ^= z[i] & level ? below : swap_z;
        z[i] ^= swap_z;
        x[i] = a;
      }
    }
    uint32_t keys[kBlock];
    for (int i = 0; i < kBlock; ++i) {
      const uint32_t b = y[i] ^ x[i], c = z[i] ^ b;
      uint32_t odd = c >> 1;  // at each bit, whether an odd number of higher bits of c is set
      odd ^= odd >> 1;
      odd ^= odd >> 2;
      odd ^= odd >> 4;
      odd ^= odd >> 8;
      keys[i] = spread_bits(x[i] ^ odd) << 2 | spread_bits(b ^ odd) << 1 | spread_bits(c ^ odd);
    }
    for (int i = 0; i < used; ++i)
      items[first + i] = static_cast<uint64_t>(keys[i]) << 32 | static_cast<uint64_t>(first + i);
  }
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
