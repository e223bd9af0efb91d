#include <torch/csrc/stable/library.h>

#include "scatter_add.h"
#include "three_interpolate.cuh"

namespace pointnet2 {

static Tensor three_interpolate_cuda(const Tensor& input, const Tensor& index, const Tensor& weights) {
  check_shape(input, "features", {-1, -1, -1});
  check_same_device(input, index, "features and idx");
  check_same_device(input, weights, "features and weight");
  const bool channels_last = is_channels_last(input);
  const Tensor features = in_format(input, channels_last);
  const int64_t B = features.size(0), C = features.size(1), M = features.size(2);
  check_shape(index, "idx", {B, -1, 3});
  const int64_t N = index.size(1);
  check_shape(weights, "weight", {B, N, 3});
  const Tensor idx = int32_indices(index), weight = checked_weight(weights, features.scalar_type());
  Tensor output = empty_features(features, B, C, N, channels_last, features.scalar_type());
  if (output.numel() == 0) return output;
  require<std::out_of_range>(M >= 1, "features must hold at least one point, got ", shape_of(features));
  const CudaScope scope("three_interpolate", features);
  switch_cuda_features(features.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    const cuda::Interpolation<T> problem = {
        view_of<T>(features, channels_last), data_of<int>(idx), B, C, M, N};
    scope.check(cuda::launch_three_interpolate(problem, data_of<cuda::Sum<T>>(weight), channels_last,
                                               mutable_data_of<T>(output), scope.stream()));
  });
  return output;
}

static Tensor three_interpolate_backward_cuda(const Tensor& grad_output, const Tensor& index,
                                              const Tensor& weights, int64_t M, bool channels_last,
                                              bool deterministic) {
  check_shape(grad_output, "grad", {-1, -1, -1});
  check_same_device(grad_output, index, "grad and idx");
  check_same_device(grad_output, weights, "grad and weight");
  const Tensor grad = in_format(grad_output, channels_last);
  const int64_t B = grad.size(0), N = grad.size(2);
  check_shape(index, "idx", {B, N, 3});
  check_shape(weights, "weight", {B, N, 3});
  const Tensor weight = checked_weight(weights, grad.scalar_type());
  return scatter_add<true>("three_interpolate_backward", grad, int32_indices(index), &weight, 3 * N, M,
                           channels_last, deterministic);
}

static Tensor three_interpolate_weight_backward_cuda(const Tensor& grad_output, const Tensor& input,
                                                     const Tensor& index) {
  check_shape(input, "features", {-1, -1, -1});
  check_same_device(grad_output, input, "grad and features");
  check_same_device(grad_output, index, "grad and idx");
  check_same_type(grad_output, input, "grad and features");
  const bool channels_last = is_channels_last(input);
  const Tensor features = in_format(input, channels_last), grad = in_format(grad_output, channels_last);
  const int64_t B = features.size(0), C = features.size(1), M = features.size(2);
  check_shape(index, "idx", {B, -1, 3});
  const int64_t N = index.size(1);
  check_shape(grad_output, "grad", {B, C, N});
  const Tensor idx = int32_indices(index);
  Tensor output = torch::stable::new_empty(grad, {B, N, 3}, accumulate_type(grad.scalar_type()));
  if (output.numel() == 0) return output;
  if (C == 0) return torch::stable::zero_(output);
  require<std::out_of_range>(M >= 1, "features must hold at least one point, got ", shape_of(features));
  const CudaScope scope("three_interpolate_weight_backward", features);
  switch_cuda_features(features.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    const cuda::Interpolation<T> problem = {
        view_of<T>(features, channels_last), data_of<int>(idx), B, C, M, N};
    scope.check(
        cuda::launch_interpolation_weight_gradient(problem, view_of<T>(grad, channels_last), channels_last,
                                                   mutable_data_of<cuda::Sum<T>>(output), scope.stream()));
  });
  return output;
}

STABLE_TORCH_LIBRARY_IMPL(pointnet2_ops, CUDA, m) {
  m.impl("three_interpolate", TORCH_BOX(&three_interpolate_cuda));
  m.impl("three_interpolate_backward", TORCH_BOX(&three_interpolate_backward_cuda));
  m.impl("three_interpolate_weight_backward", TORCH_BOX(&three_interpolate_weight_backward_cuda));
}

}  // namespace pointnet2
