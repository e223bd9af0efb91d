// The backward of gather_operation and three_interpolate: every edge adds its gradient to the point it came
// from.
//   out[b, c, idx[b, e]] += weight[b, e] * grad[b, c, e / K]      K = 1 without weights, K = 3 with them
//
// - atomic_*_kernel (float32, float64): atomicAdd in memory; the order of additions, and so the last bits,
// vary.
// - segment_*_kernel: each result is summed by one thread over the inverse index, in ascending order of
// edges, and
//   written once. Deterministic, and the only way for 16-bit types, which need a float32 sum.
//
// Bottleneck: memory traffic; with atomics the L2's atomic units where many edges share a point.
#pragma once

#include "inverse_index.cuh"

namespace pointnet2::cuda {

template <class T>
struct ScatterProblem {
  Features<const T> grad;
  const int* idx;        // [B, E]
  const Sum<T>* weight;  // [B, E], read by weighted kernels only
  int64_t B, C, edges, points;
};

template <bool kWeighted, class T>
__device__ __forceinline__ Sum<T> edge_weight(const ScatterProblem<T>& problem, int64_t b, int64_t edge) {
  if constexpr (kWeighted)
    return __ldg(problem.weight + b * problem.edges + edge);
  else
    return 1;
}

template <bool kWeighted>
__device__ __forceinline__ int64_t grad_position(int edge) {
  return kWeighted ? edge / 3 : edge;
}

// ---- atomics: `out` starts as zeros
// -----------------------------------------------------------------------------------

#if __CUDA_ARCH__ >= 900
constexpr bool kVectorAtomics = true;  // one atomic for four floats
#else
constexpr bool kVectorAtomics = false;
#endif

template <int V, class T>
__device__ __forceinline__ void atomic_add(T* to, const Pack<T, V>& value) {
  if constexpr (kVectorAtomics && V == 4 && std::is_same_v<T, float>) {
    atomicAdd(reinterpret_cast<float4*>(to),
              make_float4(value.element[0], value.element[1], value.element[2], value.element[3]));
  } else {
#pragma unroll
    for (int v = 0; v < V; ++v) atomicAdd(to + v, value.element[v]);
  }
}

template <bool kWeighted, int V, class T>
__global__ void __launch_bounds__(kFeatureBlock) atomic_rows_kernel(ScatterProblem<T> problem, T* out) {
  using Packed = Pack<T, V>;
  const int64_t edge = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (edge >= problem.edges) return;
  for (int64_t b = blockIdx.y; b < problem.B; b += gridDim.y) {
    const int target = __ldg(problem.idx + b * problem.edges + edge);
    if (!in_range(target, problem.points)) continue;
    const T weight = edge_weight<kWeighted>(problem, b, edge);
    const T* from = problem.grad.data + b * problem.grad.batch +
                    grad_position<kWeighted>(static_cast<int>(edge)) * problem.grad.stride;
    T* to = out + (b * problem.points + target) * problem.C;
    for (int64_t c = threadIdx.x * V; c < problem.C; c += static_cast<int64_t>(blockDim.x) * V) {
      Packed value = *reinterpret_cast<const Packed*>(from + c);
#pragma unroll
      for (int v = 0; v < V; ++v) value.element[v] *= weight;
      atomic_add<V>(to + c, value);
    }
  }
}

template <bool kWeighted, class T>
__global__ void __launch_bounds__(kFeatureBlock) atomic_planes_kernel(ScatterProblem<T> problem, T* out) {
  const int64_t edge = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (edge >= problem.edges) return;
  for (int64_t b = blockIdx.z; b < problem.B; b += gridDim.z) {
    const int target = __ldg(problem.idx + b * problem.edges + edge);
    if (!in_range(target, problem.points)) continue;
    const T weight = edge_weight<kWeighted>(problem, b, edge);
    const T* from =
        problem.grad.data + b * problem.grad.batch + grad_position<kWeighted>(static_cast<int>(edge));
    T* to = out + b * problem.C * problem.points + target;
    for (int64_t group = blockIdx.y; group * kPlaneGroup < problem.C; group += gridDim.y) {
#pragma unroll
      for (int k = 0; k < kPlaneGroup; ++k) {
        const int64_t c = group * kPlaneGroup + k;
        if (c < problem.C) atomicAdd(to + c * problem.points, weight * __ldg(from + c * problem.grad.stride));
      }
    }
  }
}

// ---- segment sums
// -------------------------------------------------------------------------------------------------------

constexpr int kSegmentUnroll = 4;

template <bool kWeighted, int V, class T>
__global__ void __launch_bounds__(kFeatureBlock)
    segment_rows_kernel(ScatterProblem<T> problem, InverseIndex inverse, T* __restrict__ out) {
  using Packed = Pack<T, V>;
  const int64_t target = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (target >= problem.points) return;
  for (int64_t b = blockIdx.y; b < problem.B; b += gridDim.y) {
    const int begin = inverse.begin(b, target), end = inverse.end(b, target);
    const int* edges = inverse.sorted + b * problem.edges;
    const T* grad = problem.grad.data + b * problem.grad.batch;
    for (int64_t c = threadIdx.x * V; c < problem.C; c += static_cast<int64_t>(blockDim.x) * V) {
      Sum<T> sum[V] = {};
      const auto load = [&](int i, Packed* row, Sum<T>* weight) {
        const int edge = __ldg(edges + i);
        *weight = edge_weight<kWeighted>(problem, b, edge);
        *row =
            *reinterpret_cast<const Packed*>(grad + grad_position<kWeighted>(edge) * problem.grad.stride + c);
      };
      const auto add = [&](const Packed& row, Sum<T> weight) {
#pragma unroll
        for (int v = 0; v < V; ++v) sum[v] += weight * to_sum(row.element[v]);
      };
      int i = begin;
      for (; i + kSegmentUnroll <= end; i += kSegmentUnroll) {  // loads in flight together, added in order
        Packed row[kSegmentUnroll];
        Sum<T> weight[kSegmentUnroll];
#pragma unroll
        for (int k = 0; k < kSegmentUnroll; ++k) load(i + k, &row[k], &weight[k]);
#pragma unroll
        for (int k = 0; k < kSegmentUnroll; ++k) add(row[k], weight[k]);
      }
      for (; i < end; ++i) {
        Packed row;
        Sum<T> weight;
        load(i, &row, &weight);
        add(row, weight);
      }
      Packed result;
#pragma unroll
      for (int v = 0; v < V; ++v) result.element[v] = from_sum<T>(sum[v]);
      *reinterpret_cast<Packed*>(out + (b * problem.points + target) * problem.C + c) = result;
    }
  }
}

template <bool kWeighted, class T>
__global__ void __launch_bounds__(kFeatureBlock)
    segment_planes_kernel(ScatterProblem<T> problem, InverseIndex inverse, T* __restrict__ out) {
  const int64_t target = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (target >= problem.points) return;
  for (int64_t b = blockIdx.z; b < problem.B; b += gridDim.z) {
    const int begin = inverse.begin(b, target), end = inverse.end(b, target);
    const int* edges = inverse.sorted + b * problem.edges;
    const T* grad = problem.grad.data + b * problem.grad.batch;
    for (int64_t group = blockIdx.y; group * kPlaneGroup < problem.C; group += gridDim.y) {
      Sum<T> sum[kPlaneGroup] = {};
      for (int i = begin; i < end; ++i) {
        const int edge = __ldg(edges + i);
        const Sum<T> weight = edge_weight<kWeighted>(problem, b, edge);
        const T* from = grad + grad_position<kWeighted>(edge);
#pragma unroll
        for (int k = 0; k < kPlaneGroup; ++k) {
          const int64_t c = group * kPlaneGroup + k;
          if (c < problem.C) sum[k] += weight * to_sum(from[c * problem.grad.stride]);
        }
      }
#pragma unroll
      for (int k = 0; k < kPlaneGroup; ++k) {
        const int64_t c = group * kPlaneGroup + k;
        if (c < problem.C) out[(b * problem.C + c) * problem.points + target] = from_sum<T>(sum[k]);
      }
    }
  }
}

// ---- launchers: B, C, edges, points >= 1; `out` is dense in the format of the gradient
// --------------------------------

template <bool kWeighted, class T>
cudaError_t launch_scatter_atomic(const ScatterProblem<T>& problem, bool channels_last, T* out,
                                  cudaStream_t stream) {
  const cudaError_t error =
      cudaMemsetAsync(out, 0, problem.B * problem.C * problem.points * sizeof(T), stream);
  if (error != cudaSuccess) return error;
  if (!channels_last) {
    return launch(atomic_planes_kernel<kWeighted, T>, plane_grid(problem.B, problem.C, problem.edges),
                  dim3(kFeatureBlock), 0, stream, problem, out);
  }
  const auto start = [&](auto* kernel, int64_t pack) {
    const RowShape shape = row_shape(problem.B, problem.edges, problem.C / pack);
    return launch(kernel, shape.grid, shape.block, 0, stream, problem, out);
  };
  if constexpr (std::is_same_v<T, float>) {
    int major = 0;
    const cudaError_t unknown = device_attribute(cudaDevAttrComputeCapabilityMajor, &major);
    if (unknown != cudaSuccess) return unknown;
    if (major >= 9 && aligned(problem.grad, problem.C, 16))
      return start(atomic_rows_kernel<kWeighted, 4, T>, 4);
  }
  return start(atomic_rows_kernel<kWeighted, 1, T>, 1);
}

template <bool kWeighted, int V, class T>
cudaError_t launch_segment_rows(const ScatterProblem<T>& problem, const InverseIndex& inverse, T* out,
                                cudaStream_t stream) {
  const RowShape shape = row_shape(problem.B, problem.points, problem.C / V);
  return launch(segment_rows_kernel<kWeighted, V, T>, shape.grid, shape.block, 0, stream, problem, inverse,
                out);
}

// counts and sorted as for launch_inverse_index.
template <bool kWeighted, class T>
cudaError_t launch_scatter_sorted(const ScatterProblem<T>& problem, bool channels_last, int* counts,
                                  int* sorted, T* out, cudaStream_t stream) {
  const InversePlan plan(problem.B, problem.edges, problem.points);
  const cudaError_t error = launch_inverse_index(problem.idx, plan, counts, sorted, stream);
  if (error != cudaSuccess) return error;
  const InverseIndex inverse = {counts, sorted, plan.edges, plan.points, plan.slices};
  if (!channels_last) {
    return launch(segment_planes_kernel<kWeighted, T>, plane_grid(problem.B, problem.C, problem.points),
                  dim3(kFeatureBlock), 0, stream, problem, inverse, out);
  }
  constexpr int kPack = 8 / sizeof(T);  // 8 bytes: enough to fill sectors, few enough registers
  if (kPack > 1 && aligned(problem.grad, problem.C, 8)) {
    return launch_segment_rows<kWeighted, kPack>(problem, inverse, out, stream);
  }
  return launch_segment_rows<kWeighted, 1>(problem, inverse, out, stream);
}

}  // namespace pointnet2::cuda
