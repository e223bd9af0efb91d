// Ball query, plain version: every centre looks at every point until it has enough.
#pragma once

#include "kernels.h"

namespace pointnet2 {

template <class T>
void ball_query(const T* xyz, const T* new_xyz, int64_t B, int64_t N, int64_t M, double radius, int64_t nsample,
                int32_t* idx, int32_t* count, const Threads& threads) {
  const T limit = static_cast<T>(radius) * static_cast<T>(radius);
  parallel(threads, B * M, [=](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      const T* cloud = xyz + q / M * N * 3;
      const T x = new_xyz[q * 3], y = new_xyz[q * 3 + 1], z = new_xyz[q * 3 + 2];
      int32_t* row = idx + q * nsample;
      int64_t hits = 0;
      for (int64_t j = 0; j < N && hits < nsample; ++j) {
        const T dx = cloud[j * 3] - x, dy = cloud[j * 3 + 1] - y, dz = cloud[j * 3 + 2] - z;
        if ((dx * dx + dy * dy) + dz * dz < limit) row[hits++] = static_cast<int32_t>(j);
      }
      const int32_t padding = hits > 0 ? row[0] : 0;
      for (int64_t s = hits; s < nsample; ++s) row[s] = padding;
      count[q] = static_cast<int32_t>(hits);
    }
  });
}

}  // namespace pointnet2
