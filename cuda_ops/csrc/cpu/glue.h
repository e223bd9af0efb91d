// Between tensors and the CPU kernels: threads, and the checks that have to look at the data.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "../tensors.h"
#include "kernels/kernels.h"

namespace pointnet2 {

// PyTorch's thread pool. Ranges of one element may go to different threads: callers split work coarsely
// enough.
inline Threads torch_threads() {
  return {static_cast<int>(torch::stable::get_num_threads()),
          [](int64_t n, void* context, void (*body)(void*, int64_t, int64_t)) {
            torch::stable::parallel_for(0, n, 1,
                                        [=](int64_t begin, int64_t end) { body(context, begin, end); });
          }};
}

// Calls body(begin, end) over [0, n); `work` is the cost of one element, so that small jobs stay on one
// thread.
template <class Body>
inline void parallel_for(int64_t n, int64_t work, const Body& body) {
  constexpr int64_t kWorthAThread = 16384;
  torch::stable::parallel_for(0, n, std::max<int64_t>(1, kWorthAThread / std::max<int64_t>(1, work)), body);
}

// The lowest position in [0, n) where bad(i) holds, or n.
template <class Bad>
inline int64_t first_position(int64_t n, const Bad& bad) {
  std::atomic<bool> found{false};
  // Looking at everything, without an early exit, runs at memory speed; a second thread seldom pays.
  torch::stable::parallel_for(0, n, int64_t{1} << 18, [&](int64_t begin, int64_t end) {
    int any = 0;
    for (int64_t i = begin; i < end; ++i) any |= bad(i);
    if (any) found = true;
  });
  if (!found) return n;
  int64_t i = 0;
  while (!bad(i)) ++i;
  return i;
}

template <class T>
inline void check_finite(const Tensor& xyz, const char* name) {
  const T* data = data_of<T>(xyz);
  // x - x is 0 for finite x and NaN otherwise.
  const int64_t at = first_position(xyz.numel(), [data](int64_t i) { return !(data[i] - data[i] == T(0)); });
  if (at == xyz.numel()) return;
  const int64_t points = xyz.size(1);
  require<std::invalid_argument>(false, name, " must be finite, got ", data[at], " at cloud ",
                                 at / 3 / points, ", point ", at / 3 % points, ", axis ", at % 3);
}

template <class Index>
inline void check_index_range(const Tensor& idx, int64_t points) {
  const Index* data = data_of<Index>(idx);
  const int64_t at =
      first_position(idx.numel(), [data, points](int64_t i) { return (data[i] < 0) | (data[i] >= points); });
  require<std::out_of_range>(at == idx.numel(), "idx must be in [0, ", points, "), got ",
                             at < idx.numel() ? data[at] : 0, " at flat position ", at);
}

// idx, of int32 or int64, as contiguous int32 with every index in [0, points).
inline Tensor checked_indices(const Tensor& idx, int64_t points) {
  const ScalarType type = idx.scalar_type();
  require<std::invalid_argument>(type == ScalarType::Int || type == ScalarType::Long,
                                 "idx must be int32 or int64, got ", torch::headeronly::toString(type));
  const Tensor dense = torch::stable::contiguous(idx);
  if (type == ScalarType::Int) {
    check_index_range<int32_t>(dense, points);
    return dense;
  }
  check_index_range<int64_t>(dense, points);
  return torch::stable::to(dense, ScalarType::Int);
}

}  // namespace pointnet2
