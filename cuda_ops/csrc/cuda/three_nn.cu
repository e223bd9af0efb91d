#include <torch/csrc/stable/library.h>

#include <tuple>

#include "glue.h"
#include "three_nn.cuh"

namespace pointnet2 {

// kernel: a cuda::ThreeNnKernel.
static std::tuple<Tensor, Tensor> three_nn_by_cuda(const Tensor& unknown_points, const Tensor& known_points,
                                                   int64_t kernel) {
  check_coordinates(unknown_points, "unknown");
  check_coordinates(known_points, "known", unknown_points.size(0));
  check_same_type(unknown_points, known_points, "unknown and known");
  check_same_device(unknown_points, known_points, "unknown and known");
  const Tensor unknown = torch::stable::contiguous(unknown_points),
               known = torch::stable::contiguous(known_points);
  const int64_t B = unknown.size(0), N = unknown.size(1), M = known.size(1);
  require<std::invalid_argument>(M <= kMaxPoints && (M >= 1 || B * N == 0),
                                 "known must hold between 1 and 2^30 points, got ", M);
  require<std::invalid_argument>(kernel >= -1 && kernel <= 1, "kernel must be in [-1, 1], got ", kernel);
  Tensor distance = torch::stable::new_empty(unknown, {B, N, 3});
  Tensor idx = torch::stable::new_empty(unknown, {B, N, 3}, ScalarType::Int);
  if (B * N == 0) return {distance, idx};
  const CudaScope scope("three_nn", unknown);
  switch_coordinates(unknown.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    bool ordered = false;
    scope.check(cuda::three_nn_plan<T>(B, N, M, static_cast<cuda::ThreeNnKernel>(kernel), &ordered));
    const int64_t bytes = ordered ? cuda::OrderMemory(B, N).bytes + cuda::OrderMemory(B, M).bytes : 0;
    const Tensor scratch = torch::stable::new_empty(unknown, {bytes}, ScalarType::Byte);
    scope.check(cuda::launch_three_nn(data_of<T>(unknown), data_of<T>(known), B, N, M,
                                      mutable_data_of<T>(distance), mutable_data_of<int>(idx), ordered,
                                      mutable_data_of<char>(scratch), scope.stream()));
  });
  return {distance, idx};
}

static std::tuple<Tensor, Tensor> three_nn_cuda(const Tensor& unknown, const Tensor& known) {
  return three_nn_by_cuda(unknown, known, static_cast<int64_t>(cuda::ThreeNnKernel::kChoose));
}

STABLE_TORCH_LIBRARY_IMPL(pointnet2_ops, CUDA, m) {
  m.impl("three_nn", TORCH_BOX(&three_nn_cuda));
  m.impl("three_nn_by", TORCH_BOX(&three_nn_by_cuda));
}

}  // namespace pointnet2
