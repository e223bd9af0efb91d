// Interpolation from three neighbours: out[b, c, n] = sum_k weight[b, n, k] * features[b, c, idx[b, n, k]],
// summed in float32 (float64 for float64) in the order k = 0, 1, 2. The gradient of the features is in
// scatter_add.cuh; the gradient of the weights is a dot product over channels, here.
//
// Bottleneck: memory traffic. Rows: three rows read (from L2, known points are few), one written.
#pragma once

#include "features.cuh"

namespace pointnet2::cuda {

template <class T>
struct Interpolation {
  Features<const T> features;  // [B, C, M]
  const int* idx;              // [B, N, 3]
  int64_t B, C, M, N;
};

// The three indices of (b, n); false if one of them is outside [0, M).
template <class T>
__device__ __forceinline__ bool load_neighbours(const Interpolation<T>& problem, int64_t b, int64_t n,
                                                int index[3]) {
  bool valid = true;
#pragma unroll
  for (int k = 0; k < 3; ++k) {
    index[k] = __ldg(problem.idx + (b * problem.N + n) * 3 + k);
    if (!in_range(index[k], problem.M)) {
      valid = false;
      index[k] = 0;
    }
  }
  return valid;
}

template <class T>
__device__ __forceinline__ Sum<T> nan_if(bool invalid, Sum<T> value) {
  return invalid ? static_cast<Sum<T>>(__int_as_float(0x7fffffff)) : value;
}

template <int V, class T>
__global__ void __launch_bounds__(kFeatureBlock)
    interpolate_rows_kernel(Interpolation<T> problem, const Sum<T>* __restrict__ weight,
                            T* __restrict__ out) {
  using Packed = Pack<T, V>;
  const int64_t n = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (n >= problem.N) return;
  for (int64_t b = blockIdx.y; b < problem.B; b += gridDim.y) {
    int index[3];
    const bool valid = load_neighbours(problem, b, n, index);
    const Sum<T>* w = weight + (b * problem.N + n) * 3;
    const Sum<T> weights[3] = {__ldg(w), __ldg(w + 1), __ldg(w + 2)};
    const T* from = problem.features.data + b * problem.features.batch;
    for (int64_t c = threadIdx.x * V; c < problem.C; c += static_cast<int64_t>(blockDim.x) * V) {
      Packed row[3];
#pragma unroll
      for (int k = 0; k < 3; ++k) {
        row[k] = *reinterpret_cast<const Packed*>(from + index[k] * problem.features.stride + c);
      }
      Packed result;
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const Sum<T> sum = weights[0] * to_sum(row[0].element[v]) + weights[1] * to_sum(row[1].element[v]) +
                           weights[2] * to_sum(row[2].element[v]);
        result.element[v] = from_sum<T>(nan_if<T>(!valid, sum));
      }
      *reinterpret_cast<Packed*>(out + (b * problem.N + n) * problem.C + c) = result;
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kFeatureBlock)
    interpolate_planes_kernel(Interpolation<T> problem, const Sum<T>* __restrict__ weight,
                              T* __restrict__ out) {
  const int64_t n = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (n >= problem.N) return;
  for (int64_t b = blockIdx.z; b < problem.B; b += gridDim.z) {
    int index[3];
    const bool valid = load_neighbours(problem, b, n, index);
    const Sum<T>* w = weight + (b * problem.N + n) * 3;
    const Sum<T> weights[3] = {__ldg(w), __ldg(w + 1), __ldg(w + 2)};
    const T* from = problem.features.data + b * problem.features.batch;
    for (int64_t group = blockIdx.y; group * kPlaneGroup < problem.C; group += gridDim.y) {
#pragma unroll
      for (int g = 0; g < kPlaneGroup; ++g) {
        const int64_t c = group * kPlaneGroup + g;
        if (c >= problem.C) break;
        const T* plane = from + c * problem.features.stride;
        const Sum<T> sum = weights[0] * to_sum(plane[index[0]]) + weights[1] * to_sum(plane[index[1]]) +
                           weights[2] * to_sum(plane[index[2]]);
        out[(b * problem.C + c) * problem.N + n] = from_sum<T>(nan_if<T>(!valid, sum));
      }
    }
  }
}

// Rows: a warp for each n, grid x over n (blockDim.x = 32), y over clouds. grad [B, C, N] in rows.
template <class T>
__global__ void __launch_bounds__(kFeatureBlock)
    weight_gradient_rows_kernel(Interpolation<T> problem, Features<const T> grad, Sum<T>* __restrict__ out) {
  const int64_t n = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (n >= problem.N) return;  // whole warps leave: blockDim.x is 32
  for (int64_t b = blockIdx.y; b < problem.B; b += gridDim.y) {
    int index[3];
    const bool valid = load_neighbours(problem, b, n, index);
    const T* from = problem.features.data + b * problem.features.batch;
    const T* row = grad.data + b * grad.batch + n * grad.stride;
    Sum<T> sum[3] = {};
    for (int64_t c = threadIdx.x; c < problem.C; c += kWarp) {
      const Sum<T> g = to_sum(row[c]);
#pragma unroll
      for (int k = 0; k < 3; ++k) sum[k] += g * to_sum(from[index[k] * problem.features.stride + c]);
    }
#pragma unroll
    for (int k = 0; k < 3; ++k) {
      for (int offset = kWarp / 2; offset > 0; offset /= 2)
        sum[k] += __shfl_xor_sync(kAllLanes, sum[k], offset);
      if (threadIdx.x == 0) out[(b * problem.N + n) * 3 + k] = nan_if<T>(!valid, sum[k]);
    }
  }
}

// Planes: a thread for each n, grid x over n, y over clouds. grad [B, C, N] in planes.
template <class T>
__global__ void __launch_bounds__(kFeatureBlock)
    weight_gradient_planes_kernel(Interpolation<T> problem, Features<const T> grad,
                                  Sum<T>* __restrict__ out) {
  const int64_t n = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (n >= problem.N) return;
  for (int64_t b = blockIdx.y; b < problem.B; b += gridDim.y) {
    int index[3];
    const bool valid = load_neighbours(problem, b, n, index);
    const T* from = problem.features.data + b * problem.features.batch;
    Sum<T> sum[3] = {};
    for (int64_t c = 0; c < problem.C; ++c) {
      const Sum<T> g = to_sum(grad.data[b * grad.batch + c * grad.stride + n]);
#pragma unroll
      for (int k = 0; k < 3; ++k) sum[k] += g * to_sum(from[c * problem.features.stride + index[k]]);
    }
#pragma unroll
    for (int k = 0; k < 3; ++k) out[(b * problem.N + n) * 3 + k] = nan_if<T>(!valid, sum[k]);
  }
}

// ---- launchers: B, C, M, N >= 1; results are dense, `out` [B, C, N] in the format of the features
// ------------------------

template <int V, class T>
cudaError_t launch_interpolate_rows(const Interpolation<T>& problem, const Sum<T>* weight, T* out,
                                    cudaStream_t stream) {
  const RowShape shape = row_shape(problem.B, problem.N, problem.C / V);
  return launch(interpolate_rows_kernel<V, T>, shape.grid, shape.block, 0, stream, problem, weight, out);
}

template <class T>
cudaError_t launch_three_interpolate(const Interpolation<T>& problem, const Sum<T>* weight,
                                     bool channels_last, T* out, cudaStream_t stream) {
  if (!channels_last) {
    return launch(interpolate_planes_kernel<T>, plane_grid(problem.B, problem.C, problem.N),
                  dim3(kFeatureBlock), 0, stream, problem, weight, out);
  }
  constexpr int kPack = 16 / sizeof(T);
  if (aligned(problem.features, problem.C, 16))
    return launch_interpolate_rows<kPack>(problem, weight, out, stream);
  return launch_interpolate_rows<1>(problem, weight, out, stream);
}

template <class T>
cudaError_t launch_interpolation_weight_gradient(const Interpolation<T>& problem,
                                                 const Features<const T>& grad, bool channels_last,
                                                 Sum<T>* out, cudaStream_t stream) {
  if (channels_last) {
    constexpr int kRows = kFeatureBlock / kWarp;
    return launch(weight_gradient_rows_kernel<T>,
                  dim3(static_cast<unsigned>(ceil_div(problem.N, kRows)), clamp_grid(problem.B)),
                  dim3(kWarp, kRows), 0, stream, problem, grad, out);
  }
  return launch(weight_gradient_planes_kernel<T>,
                dim3(static_cast<unsigned>(ceil_div(problem.N, kFeatureBlock)), clamp_grid(problem.B)),
                dim3(kFeatureBlock), 0, stream, problem, grad, out);
}

}  // namespace pointnet2::cuda
