// Orders points along a Hilbert curve, so that neighbours in the order are neighbours in space.
//
// Only speed depends on this order: the kernels are exact for any permutation. So the curve may be coarse (a
// few points a cell), coordinates may be clamped, and degenerate extents simply leave the points in index
// order.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_SPATIAL_ORDER_H
#define POINTNET2_SPATIAL_ORDER_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>

#include "pack.h"

namespace pointnet2 {

// Uninitialised memory, aligned for any vector, kept from one cloud to the next and grown when needed.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { release(); }

  T* resize(int64_t n) {
    if (n > capacity_) {
      release();
      data_ = static_cast<T*>(::operator new(static_cast<size_t>(n) * sizeof(T), std::align_val_t(64)));
      capacity_ = n;
    }
    return data_;
  }
  T* data() const { return data_; }

 private:
  void release() {
    if (data_ != nullptr) ::operator delete(data_, std::align_val_t(64));
    data_ = nullptr;
  }
  T* data_ = nullptr;
  int64_t capacity_ = 0;
};

struct OrderScratch {
  Buffer<uint64_t> items, swap;
};

// Smallest and largest coordinate of xyz [n, 3], n >= 1.
template <class T>
inline void coordinate_range(const T* xyz, int64_t n, T lo[3], T hi[3]) {
  constexpr int kRun = 12;  // four points side by side: the compiler keeps them in vectors
  T least[kRun], most[kRun];
  for (int j = 0; j < kRun; ++j) least[j] = most[j] = xyz[j % 3];
  int64_t i = 0;
  for (; i + kRun <= 3 * n; i += kRun)
    for (int j = 0; j < kRun; ++j) {
      least[j] = xyz[i + j] < least[j] ? xyz[i + j] : least[j];
      most[j] = xyz[i + j] > most[j] ? xyz[i + j] : most[j];
    }
  for (int j = 0; i < 3 * n; ++i, ++j) {
    least[j] = std::min(least[j], xyz[i]);
    most[j] = std::max(most[j], xyz[i]);
  }
  for (int a = 0; a < 3; ++a) {
    lo[a] = std::min(std::min(least[a], least[a + 3]), std::min(least[a + 6], least[a + 9]));
    hi[a] = std::max(std::max(most[a], most[a + 3]), std::max(most[a + 6], most[a + 9]));
  }
}

// Bits a coordinate: fine enough that a surface cut into 4^bits cells has about one point a cell.
inline int curve_bits(int64_t n) {
  int bits = 4;
  while (bits < 10 && (int64_t(1) << 2 * bits) < n) ++bits;
  return bits;
}

// The cube of 2^bits cells a side that the curve runs through.
template <class T>
struct CurveCells {
  T lo[3], scale;
  int bits;
};

}  // namespace pointnet2

#define POINTNET2_FILE "spatial_order.h"
#include "foreach_isa.h"

namespace pointnet2 {

// order [n]: the permutation; points in the same cell of the curve keep their index order.
template <class T>
inline void spatial_order(const T* xyz, int64_t n, int32_t* order, OrderScratch& scratch, Isa isa) {
  if (n == 0) return;
  T lo[3], hi[3];
  coordinate_range(xyz, n, lo, hi);
  const int bits = curve_bits(n);
  const T limit = static_cast<T>((1 << bits) - 1);
  // Halves, so that the extent of the widest cloud cannot overflow.
  const T extent = std::max(std::max(hi[0] / 2 - lo[0] / 2, hi[1] / 2 - lo[1] / 2), hi[2] / 2 - lo[2] / 2);
  const bool sortable =
      extent > std::numeric_limits<T>::min() * 1024 && extent < std::numeric_limits<T>::max() / 4;
  if (n <= 16 || !sortable) {
    for (int64_t i = 0; i < n; ++i) order[i] = static_cast<int32_t>(i);
    return;
  }
  const CurveCells<T> cells{{lo[0], lo[1], lo[2]}, limit / (2 * extent), bits};
  uint64_t* from = scratch.items.resize(n);
  uint64_t* to = scratch.swap.resize(n);
  POINTNET2_DISPATCH(isa, curve_keys(xyz, n, cells, from));

  const int digits = (3 * bits + 10) / 11;             // passes of at most 11 bits
  const int width = (3 * bits + digits - 1) / digits;  // bits a pass
  const uint32_t mask = (1u << width) - 1;
  uint32_t counts[3][1 << 11];
  for (int d = 0; d < digits; ++d) std::fill(counts[d], counts[d] + (1 << width), 0u);
  for (int64_t i = 0; i < n; ++i)
    for (int d = 0; d < digits; ++d) ++counts[d][from[i] >> (32 + d * width) & mask];
  for (int d = 0; d < digits; ++d) {
    uint32_t sum = 0;
    for (uint32_t v = 0; v <= mask; ++v) {
      const uint32_t c = counts[d][v];
      counts[d][v] = sum;
      sum += c;
    }
    for (int64_t i = 0; i < n; ++i) to[counts[d][from[i] >> (32 + d * width) & mask]++] = from[i];
    std::swap(from, to);
  }
  for (int64_t i = 0; i < n; ++i) order[i] = static_cast<int32_t>(from[i] & 0xFFFFFFFFu);
}

// Drops points that repeat an earlier one of the order, in place; returns how many are kept. Points of equal
// index order are adjacent after spatial_order, so the lowest index of equal points stays. slot [n], if
// wanted: for each place of the given order, the place of the kept point that equals it. Looks at the last
// few kept points only: a repetition that it misses costs time, not exactness.
template <class T>
inline int64_t drop_repeated(const T* xyz, int32_t* order, int64_t n, int32_t* slot = nullptr) {
  constexpr int64_t kLookBack = 3;
  int64_t kept = 0;
  for (int64_t i = 0; i < n; ++i) {
    const T* p = xyz + 3 * static_cast<int64_t>(order[i]);
    int64_t same = kept;
    for (int64_t j = kept - 1; j >= 0 && j >= kept - kLookBack; --j) {
      const T* o = xyz + 3 * static_cast<int64_t>(order[j]);
      same = (p[0] == o[0]) & (p[1] == o[1]) & (p[2] == o[2]) ? j : same;
    }
    if (slot != nullptr) slot[i] = static_cast<int32_t>(same);
    order[kept] = order[i];
    kept += same == kept;
  }
  return kept;
}

}  // namespace pointnet2
#endif  // POINTNET2_SPATIAL_ORDER_H

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

// items [n]: place on the curve << 32 | index. The transform is John Skilling's ("Programming the Hilbert
// curve", 2004): level by level the axes are flipped or swapped as the curve turns, then the Gray code is
// undone.
template <class T>
inline void curve_keys(const T* xyz, int64_t n, const CurveCells<T>& cells, uint64_t* items) {
  constexpr int kBlock = 64;
  const T limit = static_cast<T>((1 << cells.bits) - 1);
  for (int64_t first = 0; first < n; first += kBlock) {
    const int used = static_cast<int>(n - first < kBlock ? n - first : kBlock);
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
