// Between tensors and the CUDA launchers: the device, its current stream, launch errors, indices, element
// types.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <torch/csrc/stable/accelerator.h>

#include <vector>

#include "../tensors.h"
#include "features.cuh"
#include "indices.cuh"

namespace pointnet2 {

// Makes the device of `tensor` current while it lives, and takes that device's current stream.
class CudaScope {
 public:
  CudaScope(const char* op, const Tensor& tensor) : op_(op), guard_(tensor.get_device_index()) {
    const int32_t device = tensor.get_device_index();
    // This library has a CUDA runtime of its own, linked statically; it must agree with torch's about the
    // device.
    check(cudaSetDevice(device));
    void* stream = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device, &stream));
    stream_ = static_cast<cudaStream_t>(stream);
  }

  cudaStream_t stream() const { return stream_; }

  // Turns what a launcher returned into RuntimeError.
  void check(cudaError_t error) const {
    if (error == cudaSuccess) return;
    cudaGetLastError();  // or the next, innocent launch would report it again
    require<std::runtime_error>(false, op_, ": CUDA error ", static_cast<int>(error), ": ",
                                cudaGetErrorString(error));
  }

 private:
  const char* op_;
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_ = nullptr;
};

inline void check_same_device(const Tensor& a, const Tensor& b, const char* names) {
  require<std::invalid_argument>(a.is_cuda() && b.is_cuda() && a.get_device_index() == b.get_device_index(),
                                 names, " must be on the same CUDA device");
}

// idx, of int32 or int64, as contiguous int32. Values are not reported: that would stall the stream. Kernels
// treat an index outside the points as such (see features.cuh), and so do they one outside of int32.
inline Tensor int32_indices(const Tensor& idx) {
  const ScalarType type = idx.scalar_type();
  require<std::invalid_argument>(type == ScalarType::Int || type == ScalarType::Long,
                                 "idx must be int32 or int64, got ", torch::headeronly::toString(type));
  const Tensor dense = torch::stable::contiguous(idx);
  if (type == ScalarType::Int) return dense;
  std::vector<int64_t> sizes(dense.dim());
  for (size_t i = 0; i < sizes.size(); ++i) sizes[i] = dense.size(static_cast<int64_t>(i));
  const Tensor narrow = torch::stable::new_empty(dense, sizes, ScalarType::Int);
  if (narrow.numel() == 0) return narrow;
  const CudaScope scope("int32_indices", dense);
  scope.check(cuda::launch_narrow_indices(data_of<int64_t>(dense), dense.numel(),
                                          mutable_data_of<int>(narrow), scope.stream()));
  return narrow;
}

inline Tensor checked_weight(const Tensor& weight, ScalarType features) {
  const ScalarType expected = accumulate_type(features);
  require<std::invalid_argument>(weight.scalar_type() == expected, "weight must be ",
                                 torch::headeronly::toString(expected), " for features of ",
                                 torch::headeronly::toString(features), ", got ",
                                 torch::headeronly::toString(weight.scalar_type()));
  return torch::stable::contiguous(weight);
}

// visit(T{}) with the CUDA type of the features.
template <class Visit>
inline void switch_cuda_features(ScalarType type, const Visit& visit) {
  switch (type) {
    case ScalarType::Float:
      return visit(float{});
    case ScalarType::Double:
      return visit(double{});
    case ScalarType::BFloat16:
      return visit(__nv_bfloat16{});
    case ScalarType::Half:
      return visit(__half{});
    default:
      require<std::invalid_argument>(false, "features must be float32, float64, bfloat16 or float16, got ",
                                     torch::headeronly::toString(type));
  }
}

// x [B, C, N] as in_format() returned it.
template <class T>
inline cuda::Features<const T> view_of(const Tensor& x, bool channels_last) {
  return {data_of<T>(x), x.stride(0), x.stride(channels_last ? 2 : 1)};
}

constexpr int64_t kMaxPoints = int64_t{1} << 30;  // positions are int32, with room for rounding up

}  // namespace pointnet2
