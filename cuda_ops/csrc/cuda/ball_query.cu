#include <torch/csrc/stable/library.h>

#include <cmath>
#include <tuple>

#include "ball_query.cuh"
#include "glue.h"

namespace pointnet2 {

// kernel: a cuda::BallQueryKernel.
static std::tuple<Tensor, Tensor> ball_query_by_cuda(const Tensor& points, const Tensor& centres,
                                                     double radius, int64_t nsample, int64_t kernel) {
  check_coordinates(points, "xyz");
  check_coordinates(centres, "new_xyz", points.size(0));
  check_same_type(points, centres, "xyz and new_xyz");
  check_same_device(points, centres, "xyz and new_xyz");
  const Tensor xyz = torch::stable::contiguous(points), new_xyz = torch::stable::contiguous(centres);
  const int64_t B = xyz.size(0), N = xyz.size(1), M = new_xyz.size(1);
  require<std::invalid_argument>(nsample >= 1 && nsample <= kMaxPoints, "nsample must be in [1, 2^30], got ",
                                 nsample);
  require<std::invalid_argument>(radius > 0 && std::isfinite(radius),
                                 "radius must be positive and finite, got ", radius);
  require<std::invalid_argument>(N <= kMaxPoints && (N >= 1 || B * M == 0),
                                 "xyz must hold between 1 and 2^30 points, got ", N);
  require<std::invalid_argument>(kernel >= -1 && kernel <= 1, "kernel must be in [-1, 1], got ", kernel);
  Tensor idx = torch::stable::new_empty(xyz, {B, M, nsample}, ScalarType::Int);
  Tensor count = torch::stable::new_empty(xyz, {B, M}, ScalarType::Int);
  if (B * M == 0) return {idx, count};
  const CudaScope scope("ball_query", xyz);
  switch_coordinates(xyz.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    const T r = static_cast<T>(radius);
    bool ordered = false;
    scope.check(cuda::ball_query_plan<T>(B, N, M, static_cast<cuda::BallQueryKernel>(kernel), &ordered));
    const int64_t bytes = ordered ? cuda::OrderMemory(B, N).bytes : 0;
    const Tensor scratch = torch::stable::new_empty(xyz, {bytes}, ScalarType::Byte);
    scope.check(cuda::launch_ball_query(data_of<T>(xyz), data_of<T>(new_xyz), B, N, M, r * r,
                                        static_cast<int>(nsample), mutable_data_of<int>(idx),
                                        mutable_data_of<int>(count), ordered, mutable_data_of<char>(scratch),
                                        scope.stream()));
  });
  return {idx, count};
}

static std::tuple<Tensor, Tensor> ball_query_cuda(const Tensor& points, const Tensor& centres, double radius,
                                                  int64_t nsample) {
  return ball_query_by_cuda(points, centres, radius, nsample,
                            static_cast<int64_t>(cuda::BallQueryKernel::kChoose));
}

STABLE_TORCH_LIBRARY_IMPL(pointnet2_ops, CUDA, m) {
  m.impl("ball_query", TORCH_BOX(&ball_query_cuda));
  m.impl("ball_query_by", TORCH_BOX(&ball_query_by_cuda));
}

}  // namespace pointnet2
