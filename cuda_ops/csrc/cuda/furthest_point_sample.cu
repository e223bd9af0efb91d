#include <torch/csrc/stable/library.h>

#include "furthest_point_sample.cuh"
#include "glue.h"

namespace pointnet2 {

// kernel: a cuda::FpsKernel.
static Tensor furthest_point_sample_by_cuda(const Tensor& points, int64_t npoint, int64_t kernel) {
  check_coordinates(points, "xyz");
  const Tensor xyz = torch::stable::contiguous(points);
  const int64_t B = xyz.size(0), N = xyz.size(1);
  require<std::invalid_argument>(npoint >= 0 && npoint <= N && N <= kMaxPoints,
                                 "npoint must be in [0, N] and N at most 2^30, got npoint=", npoint,
                                 " with N=", N);
  require<std::invalid_argument>(kernel >= -1 && kernel <= 3, "kernel must be in [-1, 3], got ", kernel);
  Tensor idx = torch::stable::new_empty(xyz, {B, npoint}, ScalarType::Int);
  if (idx.numel() == 0) return idx;
  const CudaScope scope("furthest_point_sample", xyz);
  switch_coordinates(xyz.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    const int size = static_cast<int>(N);
    cuda::FpsPlan plan;
    scope.check(cuda::fps_plan<T>(size, static_cast<cuda::FpsKernel>(kernel), &plan));
    const Tensor scratch =
        torch::stable::new_empty(xyz, {cuda::fps_scratch_bytes<T>(B, size, plan)}, ScalarType::Byte);
    scope.check(cuda::launch_furthest_point_sample(data_of<T>(xyz), B, size, static_cast<int>(npoint), plan,
                                                   mutable_data_of<int>(idx), mutable_data_of<char>(scratch),
                                                   scope.stream()));
  });
  return idx;
}

static Tensor furthest_point_sample_cuda(const Tensor& points, int64_t npoint) {
  return furthest_point_sample_by_cuda(points, npoint, static_cast<int64_t>(cuda::FpsKernel::kChoose));
}

STABLE_TORCH_LIBRARY_IMPL(pointnet2_ops, CUDA, m) {
  m.impl("furthest_point_sample", TORCH_BOX(&furthest_point_sample_cuda));
  m.impl("furthest_point_sample_by", TORCH_BOX(&furthest_point_sample_by_cuda));
}

}  // namespace pointnet2
