// Orders points along a Morton (Z) curve, so that neighbours in the order are neighbours in space.
//
// Only speed depends on this order: the kernels are exact for any permutation. So the curve may be coarse (a
// few points a cell), coordinates may be clamped, and degenerate extents simply leave the points in index
// order.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>

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

// Bits 0..9 moved to bits 0, 3, 6, ..., 27.
inline uint32_t spread_bits(uint32_t v) {
  v = (v | v << 16) & 0x030000FFu;
  v = (v | v << 8) & 0x0300F00Fu;
  v = (v | v << 4) & 0x030C30C3u;
  return (v | v << 2) & 0x09249249u;
}

// Bits a coordinate: fine enough that a surface cut into 4^bits cells has about one point a cell.
inline int curve_bits(int64_t n) {
  int bits = 4;
  while (bits < 10 && (int64_t(1) << 2 * bits) < n) ++bits;
  return bits;
}

// order [n]: the permutation; points in the same cell of the curve keep their index order.
template <class T>
inline void spatial_order(const T* xyz, int64_t n, int32_t* order, OrderScratch& scratch) {
  if (n == 0) return;
  T lo[3], hi[3];
  coordinate_range(xyz, n, lo, hi);
  const int bits = curve_bits(n);
  const T cells = static_cast<T>((1 << bits) - 1);
  // Halves, so that the extent of the widest cloud cannot overflow.
  const T extent = std::max(std::max(hi[0] / 2 - lo[0] / 2, hi[1] / 2 - lo[1] / 2), hi[2] / 2 - lo[2] / 2);
  const bool sortable =
      extent > std::numeric_limits<T>::min() * 1024 && extent < std::numeric_limits<T>::max() / 4;
  if (n <= 16 || !sortable) {
    for (int64_t i = 0; i < n; ++i) order[i] = static_cast<int32_t>(i);
    return;
  }
  const T scale = cells / (2 * extent);

  const int digits = (3 * bits + 10) / 11;             // passes of at most 11 bits
  const int width = (3 * bits + digits - 1) / digits;  // bits a pass
  const uint32_t mask = (1u << width) - 1;
  static_assert(std::numeric_limits<int32_t>::max() == 0x7FFFFFFF, "");
  uint32_t counts[3][1 << 11];
  for (int d = 0; d < digits; ++d) std::fill(counts[d], counts[d] + (1 << width), 0u);

  uint64_t* from = scratch.items.resize(n);
  uint64_t* to = scratch.swap.resize(n);
  for (int64_t i = 0; i < n; ++i) {
    uint32_t cell[3];
    for (int a = 0; a < 3; ++a) {
      const T c = (xyz[3 * i + a] - lo[a]) * scale;
      cell[a] = static_cast<uint32_t>(c < cells ? c : cells);
    }
    const uint32_t key = spread_bits(cell[0]) | spread_bits(cell[1]) << 1 | spread_bits(cell[2]) << 2;
    from[i] = static_cast<uint64_t>(key) << 32 | static_cast<uint64_t>(i);
  }
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

}  // namespace pointnet2
