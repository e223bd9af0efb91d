// The glue of both backward passes: chooses between atomics and sorted sums, and allocates what they need.
#pragma once

#include "glue.h"
#include "scatter_add.cuh"

namespace pointnet2 {

// grad [B, C, rows] in the given format, idx int32 [B, edges]; weight null, or [B, edges] with three edges a
// row.
template <bool kWeighted>
inline Tensor scatter_add(const char* op, const Tensor& grad, const Tensor& idx, const Tensor* weight,
                          int64_t edges, int64_t points, bool channels_last, bool deterministic) {
  const int64_t B = grad.size(0), C = grad.size(1);
  require<std::invalid_argument>(points >= 0 && points <= kMaxPoints && edges <= kMaxPoints, op,
                                 ": at most 2^30 points and 2^30 indices, got ", points, " and ", edges);
  Tensor output = empty_features(grad, B, C, points, channels_last, grad.scalar_type());
  if (output.numel() == 0) return output;
  if (edges == 0) return torch::stable::zero_(output);
  const CudaScope scope(op, grad);
  switch_cuda_features(grad.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    const cuda::ScatterProblem<T> problem = {view_of<T>(grad, channels_last),
                                             data_of<int>(idx),
                                             kWeighted ? data_of<cuda::Sum<T>>(*weight) : nullptr,
                                             B,
                                             C,
                                             edges,
                                             points};
    T* out = mutable_data_of<T>(output);
    if constexpr (sizeof(T) >= 4) {
      if (!deterministic) {
        return scope.check(
            cuda::launch_scatter_atomic<kWeighted>(problem, channels_last, out, scope.stream()));
      }
    }
    const cuda::InversePlan plan(B, edges, points);
    const Tensor counts = torch::stable::new_empty(idx, {plan.counts_size()}, ScalarType::Int);
    const Tensor sorted = torch::stable::new_empty(idx, {plan.sorted_size()}, ScalarType::Int);
    scope.check(cuda::launch_scatter_sorted<kWeighted>(problem, channels_last, mutable_data_of<int>(counts),
                                                       mutable_data_of<int>(sorted), out, scope.stream()));
  });
  return output;
}

}  // namespace pointnet2
