// The inverse of an index: which queries read each point. Backward passes sum over it, so every result is
// written by one thread, in one order, without atomics.
#pragma once

#include <cstdint>
#include <vector>

#include "glue.h"

namespace pointnet2 {

struct Segments {
  int64_t points, queries;
  std::vector<int32_t> first;  // [B, points + 1]: where a point's queries begin in `query`
  std::vector<int32_t> query;  // [B, queries]: sorted by point, ascending within a point
};

// Stable counting sort of idx [B, queries], every index in [0, points).
inline Segments segments_of(const int32_t* idx, int64_t B, int64_t queries, int64_t points) {
  Segments result{points, queries, std::vector<int32_t>(B * (points + 1)), std::vector<int32_t>(B * queries)};
  parallel_for(B, queries + points, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int32_t* point = idx + b * queries;
      int32_t* first = result.first.data() + b * (points + 1);
      int32_t* query = result.query.data() + b * queries;
      // first[p + 1] counts p; after the sum, placing a query of p moves first[p] up; one shift restores it.
      for (int64_t q = 0; q < queries; ++q) ++first[point[q] + 1];
      for (int64_t p = 0; p < points; ++p) first[p + 1] += first[p];
      for (int64_t q = 0; q < queries; ++q) query[first[point[q]]++] = static_cast<int32_t>(q);
      for (int64_t p = points; p > 0; --p) first[p] = first[p - 1];
      first[0] = 0;
    }
  });
  return result;
}

}  // namespace pointnet2
