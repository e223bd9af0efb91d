// int64 indices as the int32 that the kernels read. Knows no torch.
#pragma once

#include "common.cuh"

namespace pointnet2::cuda {

constexpr int kIndexBlock = 256;

// What does not fit becomes -1, an index that reads nothing; its low 32 bits could be a valid one.
template <class Wide>
__global__ void __launch_bounds__(kIndexBlock)
    narrow_indices_kernel(const Wide* __restrict__ idx, int64_t count, int* __restrict__ narrow) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
    const Wide value = __ldg(idx + i);
    narrow[i] = value == static_cast<int>(value) ? static_cast<int>(value) : -1;
  }
}

// count >= 1
template <class Wide>
cudaError_t launch_narrow_indices(const Wide* idx, int64_t count, int* narrow, cudaStream_t stream) {
  return launch(narrow_indices_kernel<Wide>, dim3(clamp_grid(ceil_div(count, kIndexBlock))),
                dim3(kIndexBlock), 0, stream, idx, count, narrow);
}

}  // namespace pointnet2::cuda
