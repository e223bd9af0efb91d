#include "kernels/three_nn.h"

#include <torch/csrc/stable/library.h>

#include <tuple>

#include "glue.h"

namespace pointnet2 {

static std::tuple<Tensor, Tensor> three_nn_cpu(const Tensor& unknown_points, const Tensor& known_points) {
  check_coordinates(unknown_points, "unknown");
  check_coordinates(known_points, "known", unknown_points.size(0));
  check_same_type(unknown_points, known_points, "unknown and known");
  const Tensor unknown = torch::stable::contiguous(unknown_points),
               known = torch::stable::contiguous(known_points);
  const int64_t B = unknown.size(0), N = unknown.size(1), M = known.size(1);
  require<std::invalid_argument>(M <= std::numeric_limits<int32_t>::max() && (M >= 1 || B * N == 0),
                                 "known must hold between 1 and 2^31 - 1 points, got ", M);
  Tensor distance = torch::stable::new_empty(unknown, {B, N, 3});
  Tensor idx = torch::stable::new_empty(unknown, {B, N, 3}, ScalarType::Int);
  if (B * N == 0) return {distance, idx};
  switch_coordinates(unknown.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    check_finite<T>(unknown, "unknown");
    check_finite<T>(known, "known");
    T* out = mutable_data_of<T>(distance);
    three_nn(data_of<T>(unknown), data_of<T>(known), B, N, M, out, mutable_data_of<int32_t>(idx),
             torch_threads());
    parallel_for(B * N * 3, 4, [out](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] = std::sqrt(out[i]);
    });
  });
  return {distance, idx};
}

STABLE_TORCH_LIBRARY_IMPL(pointnet2_ops, CPU, m) { m.impl("three_nn", TORCH_BOX(&three_nn_cpu)); }

}  // namespace pointnet2
