// Orders points along a Hilbert curve, so that neighbours in the order are neighbours in space.
//
// Only speed depends on this order: the kernels are exact for any permutation. So the curve may be coarse
// (about a point a cell on a surface), and degenerate extents simply leave the points in index order.
//
// 8192 points take about 60 us on one AVX-512 core: a third for the curve, the rest for the radix sort.
#pragma once

#include <algorithm>
#include <limits>

#include "buffer.h"
#include "hilbert.h"
#include "kernels.h"

namespace pointnet2 {

constexpr Threads kOneThread{
    1, [](int64_t n, void* context, void (*body)(void* context, int64_t begin, int64_t end)) {
      body(context, 0, n);
    }};
constexpr int64_t kWorthThreads = 32768;  // points: below that a cloud is put in order by one thread

// Calls prepare(b, threads) for all B clouds of n points: clouds side by side, or one by one with the threads
// inside if they are few and large.
template <class Prepare>
inline void prepare_clouds(int64_t B, int64_t n, const Threads& threads, const Prepare& prepare) {
  if (B < threads.count && n >= kWorthThreads) {
    for (int64_t b = 0; b < B; ++b) prepare(b, threads);
  } else {
    parallel(threads, B, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) prepare(b, kOneThread);
    });
  }
}

struct OrderScratch {
  Buffer<uint64_t> items, swap;
  Buffer<uint32_t> counts;
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

// Bits a coordinate: a surface cut into 4^bits cells has about one point a cell.
inline int curve_bits(int64_t n) {
  int bits = 4;
  while (bits < 10 && (int64_t(1) << 2 * bits) < n) ++bits;
  return bits;
}

// Stable radix sort of items [n] by bits 32 .. 32 + bits, in passes of at most 11 bits. Returns the sorted
// array, which is one of the two.
inline uint64_t* radix_sort(uint64_t* items, uint64_t* swap, int64_t n, int bits, Buffer<uint32_t>& scratch,
                            const Threads& threads) {
  const int passes = (bits + 10) / 11, width = (bits + passes - 1) / passes;
  const int64_t values = int64_t(1) << width;
  const int64_t parts = n < kWorthThreads ? 1 : std::min(threads.count, 16);
  uint32_t* const counts =
      scratch.resize(parts * values);  // [parts, values], then where each part puts each value
  for (int pass = 0; pass < passes; ++pass) {
    const int shift = 32 + pass * width;
    const auto value = [=](uint64_t item) { return item >> shift & static_cast<uint64_t>(values - 1); };
    parallel(threads, parts, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        uint32_t* const count = counts + part * values;
        std::fill(count, count + values, 0u);
        for (int64_t i = n * part / parts; i < n * (part + 1) / parts; ++i) ++count[value(items[i])];
      }
    });
    uint32_t sum = 0;
    for (int64_t v = 0; v < values; ++v)
      for (int64_t part = 0; part < parts; ++part) {
        const uint32_t count = counts[part * values + v];
        counts[part * values + v] = sum;
        sum += count;
      }
    parallel(threads, parts, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        uint32_t* const place = counts + part * values;
        for (int64_t i = n * part / parts; i < n * (part + 1) / parts; ++i)
          swap[place[value(items[i])]++] = items[i];
      }
    });
    std::swap(items, swap);
  }
  return items;
}

// order [n]: the permutation; points in the same cell of the curve keep their index order.
template <class T>
inline void spatial_order(const T* xyz, int64_t n, int32_t* order, OrderScratch& scratch, Isa isa,
                          const Threads& threads) {
  if (n == 0) return;
  T lo[3], hi[3];
  coordinate_range(xyz, n, lo, hi);
  // Halves, so that the extent of the widest cloud cannot overflow.
  const T extent = std::max(std::max(hi[0] / 2 - lo[0] / 2, hi[1] / 2 - lo[1] / 2), hi[2] / 2 - lo[2] / 2);
  const bool sortable =
      extent > std::numeric_limits<T>::min() * 1024 && extent < std::numeric_limits<T>::max() / 4;
  if (n <= kLanes || !sortable) {
    for (int64_t i = 0; i < n; ++i) order[i] = static_cast<int32_t>(i);
    return;
  }
  const int bits = curve_bits(n);
  const CurveCells<T> cells{{lo[0], lo[1], lo[2]}, static_cast<T>((1 << bits) - 1) / (2 * extent), bits};
  uint64_t* const items = scratch.items.resize(n);
  const Threads& helpers = n < kWorthThreads ? kOneThread : threads;
  parallel(helpers, n, [&](int64_t begin, int64_t end) {
    POINTNET2_DISPATCH(isa, curve_keys(xyz, begin, end, cells, items));
  });
  const uint64_t* sorted = radix_sort(items, scratch.swap.resize(n), n, 3 * bits, scratch.counts, helpers);
  for (int64_t i = 0; i < n; ++i) order[i] = static_cast<int32_t>(sorted[i] & 0xFFFFFFFFu);
}

// Drops points that repeat an earlier one of the order, in place; returns how many are kept. Equal points are
// in the same cell, so in index order, and the one of lowest index stays. slot [n], if wanted: for each place
// of the given order, the new place of the kept point that equals it. Looks at the last few kept points only:
// a repetition that it misses costs time, not exactness.
template <class T>
inline int64_t drop_repeated(const T* xyz, int32_t* order, int64_t n, int32_t* slot = nullptr) {
  constexpr int64_t kLookBack = 3;
  int64_t kept = 0;
  for (int64_t i = 0; i < n; ++i) {
    const T* p = xyz + 3 * static_cast<int64_t>(order[i]);
    int64_t same = kept;
    for (int64_t j = kept - 1; j >= 0 && j >= kept - kLookBack; --j) {
      const T* o = xyz + 3 * static_cast<int64_t>(order[j]);
      const bool equal = (p[0] == o[0]) & (p[1] == o[1]) & (p[2] == o[2]);
      same = equal ? j : same;
    }
    if (slot != nullptr) slot[i] = static_cast<int32_t>(same);
    order[kept] = order[i];
    kept += same == kept;
  }
  return kept;
}

}  // namespace pointnet2
