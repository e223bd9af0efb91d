#include <torch/csrc/stable/library.h>

#include "glue.h"
#include "kernels/fps.h"

namespace pointnet2 {

static Tensor furthest_point_sample_cpu(const Tensor& points, int64_t npoint) {
  check_coordinates(points, "xyz");
  const Tensor xyz = torch::stable::contiguous(points);
  const int64_t B = xyz.size(0), N = xyz.size(1);
  require<std::invalid_argument>(npoint >= 0 && npoint <= N && N <= std::numeric_limits<int32_t>::max(),
                                 "npoint must be in [0, N], got npoint=", npoint, " with N=", N);
  Tensor idx = torch::stable::new_empty(xyz, {B, npoint}, ScalarType::Int);
  if (idx.numel() == 0) return idx;
  switch_coordinates(xyz.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    check_finite<T>(xyz, "xyz");
    furthest_point_sample(data_of<T>(xyz), B, N, npoint, mutable_data_of<int32_t>(idx), torch_threads());
  });
  return idx;
}

STABLE_TORCH_LIBRARY_IMPL(pointnet2_ops, CPU, m) {
  m.impl("furthest_point_sample", TORCH_BOX(&furthest_point_sample_cpu));
}

}  // namespace pointnet2
