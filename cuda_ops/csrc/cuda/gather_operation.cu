#include <torch/csrc/stable/library.h>

#include "gather_operation.cuh"
#include "scatter_add.h"

namespace pointnet2 {

static Tensor gather_operation_cuda(const Tensor& input, const Tensor& index) {
  check_shape(input, "features", {-1, -1, -1});
  check_same_device(input, index, "features and idx");
  const bool channels_last = is_channels_last(input);
  const Tensor features = in_format(input, channels_last);
  const int64_t B = features.size(0), C = features.size(1), N = features.size(2);
  require<std::invalid_argument>(index.dim() == 2 && index.size(0) == B, "idx must be [B, Q] with B=", B,
                                 ", got ", shape_of(index));
  const Tensor idx = int32_indices(index);
  const int64_t Q = idx.size(1);
  Tensor output = empty_features(features, B, C, Q, channels_last, features.scalar_type());
  if (output.numel() == 0) return output;
  const CudaScope scope("gather_operation", features);
  const auto start = [&](auto bits) {
    using Bits = decltype(bits);
    scope.check(cuda::launch_gather_operation<Bits>(view_of<Bits>(features, channels_last), data_of<int>(idx),
                                                    B, C, N, Q, channels_last, mutable_data_of<Bits>(output),
                                                    scope.stream()));
  };
  switch_cuda_features(features.scalar_type(), [&](auto tag) {
    constexpr size_t kBytes = sizeof(tag);
    if constexpr (kBytes == 2)
      start(static_cast<unsigned short>(0));
    else if constexpr (kBytes == 4)
      start(0u);
    else
      start(uint2{});
  });
  return output;
}

static Tensor gather_operation_backward_cuda(const Tensor& grad_output, const Tensor& index, int64_t N,
                                             bool channels_last, bool deterministic) {
  check_shape(grad_output, "grad", {-1, -1, -1});
  check_same_device(grad_output, index, "grad and idx");
  const Tensor grad = in_format(grad_output, channels_last);
  const int64_t B = grad.size(0), Q = grad.size(2);
  require<std::invalid_argument>(index.dim() == 2 && index.size(0) == B && index.size(1) == Q,
                                 "idx must be [B, Q] with B=", B, ", Q=", Q, ", got ", shape_of(index));
  return scatter_add<false>("gather_operation_backward", grad, int32_indices(index), nullptr, Q, N,
                            channels_last, deterministic);
}

STABLE_TORCH_LIBRARY_IMPL(pointnet2_ops, CUDA, m) {
  m.impl("gather_operation", TORCH_BOX(&gather_operation_cuda));
  m.impl("gather_operation_backward", TORCH_BOX(&gather_operation_backward_cuda));
}

}  // namespace pointnet2
