// Three nearest neighbours, plain version: every query looks at every known point.
#pragma once

#include <limits>

#include "kernels.h"

namespace pointnet2 {

template <class T>
void three_nn(const T* unknown, const T* known, int64_t B, int64_t N, int64_t M, T* dist2, int32_t* idx,
              const Threads& threads) {
  parallel(threads, B * N, [=](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      const T* cloud = known + q / N * M * 3;
      const T x = unknown[q * 3], y = unknown[q * 3 + 1], z = unknown[q * 3 + 2];
      T* best = dist2 + q * 3;
      int32_t* where = idx + q * 3;
      for (int k = 0; k < 3; ++k) best[k] = std::numeric_limits<T>::infinity(), where[k] = 0;
      for (int64_t j = 0; j < M; ++j) {
        const T dx = cloud[j * 3] - x, dy = cloud[j * 3 + 1] - y, dz = cloud[j * 3 + 2] - z;
        const T d = (dx * dx + dy * dy) + dz * dz;
        if (!(d < best[2])) continue;
        int k = 2;
        for (; k > 0 && d < best[k - 1]; --k) best[k] = best[k - 1], where[k] = where[k - 1];
        best[k] = d, where[k] = static_cast<int32_t>(j);
      }
    }
  });
}

}  // namespace pointnet2
