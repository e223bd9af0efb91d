// The inverse of an index: which edges point at each target, in ascending order. A stable counting sort of
// idx [B, E].
//
// The edges of a cloud are cut into S slices. counts[b][target][slice] is first counted, then summed, then
// moved on by one warp a slice that places its edges in order; so the result does not depend on the order in
// which threads run. Edges whose target is outside [0, points) are left out.
//
// Bottleneck: latency of the placing warps, a memory round trip for 32 edges.
#pragma once

#include <algorithm>

#include "features.cuh"

namespace pointnet2::cuda {

constexpr int kMaxSlices = 16;
constexpr int kSliceEdges = 1024;
constexpr int kCountsPerEdge = 4;  // more slices than that are not worth their memory

struct InversePlan {
  int64_t B, edges, points;
  int slices;
  int64_t slice_edges;

  InversePlan(int64_t B, int64_t edges, int64_t points) : B(B), edges(edges), points(points) {
    const int64_t wanted = std::min(ceil_div(edges, kSliceEdges), kCountsPerEdge * edges / points);
    slices = static_cast<int>(std::clamp<int64_t>(wanted, 1, kMaxSlices));
    slice_edges = ceil_div(edges, slices);
  }
  int64_t counts_size() const { return B * points * slices; }
  int64_t sorted_size() const { return B * edges; }
};

// After launch_inverse_index: the edges of target t of cloud b are sorted[b * edges + i] for begin(b, t) <= i
// < end(b, t).
struct InverseIndex {
  const int* counts;
  const int* sorted;
  int64_t edges, points;
  int slices;

  __device__ __forceinline__ int begin(int64_t b, int64_t target) const {
    return target == 0 ? 0 : __ldg(counts + (b * points + target) * slices - 1);
  }
  __device__ __forceinline__ int end(int64_t b, int64_t target) const {
    return __ldg(counts + (b * points + target + 1) * slices - 1);
  }
};

// grid: x over edges, y over clouds.
template <int kThreads>
__global__ void __launch_bounds__(kThreads)
    count_edges_kernel(const int* __restrict__ idx, InversePlan plan, int* __restrict__ counts) {
  const int64_t edge = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (edge >= plan.edges) return;
  for (int64_t b = blockIdx.y; b < plan.B; b += gridDim.y) {
    const int target = __ldg(idx + b * plan.edges + edge);
    if (!in_range(target, plan.points)) continue;
    atomicAdd(counts + (b * plan.points + target) * plan.slices + edge / plan.slice_edges, 1);
  }
}

// A block for a cloud.
template <int kThreads>
__global__ void __launch_bounds__(kThreads) sum_counts_kernel(InversePlan plan, int* counts) {
  SharedMemory shared;
  int* warp_sums = shared.take<int>(kWarp);
  const int64_t size = plan.points * plan.slices;
  for (int64_t b = blockIdx.x; b < plan.B; b += gridDim.x)
    block_exclusive_scan(counts + b * size, size, warp_sums);
}

// A warp for a slice: grid x over clouds, blockDim.x = 32 * slices.
template <int kThreads>
__global__ void __launch_bounds__(kThreads, 1)
    place_edges_kernel(const int* __restrict__ idx, InversePlan plan, int* counts, int* __restrict__ sorted) {
  const int lane = threadIdx.x % kWarp, slice = threadIdx.x / kWarp;
  const int64_t slice_begin = slice * plan.slice_edges;
  const int64_t slice_end = min(slice_begin + plan.slice_edges, plan.edges);
  for (int64_t b = blockIdx.x; b < plan.B; b += gridDim.x) {
    const auto load = [&](int64_t edge) {
      return edge < slice_end ? __ldg(idx + b * plan.edges + edge) : -1;
    };
    int next = load(slice_begin + lane);
    for (int64_t base = slice_begin; base < slice_end; base += kWarp) {
      const int64_t edge = base + lane;
      const int target = next;
      next = load(edge + kWarp);  // while this round waits for its counts
      const bool valid = in_range(target, plan.points);
      // Lanes with the same target take consecutive places, in lane order; the lowest of them moves the count
      // on.
      const unsigned peers = __match_any_sync(kAllLanes, valid ? target : -1);
      const int leader = __ffs(peers) - 1;
      int* count = counts + (b * plan.points + (valid ? target : 0)) * plan.slices + slice;
      int place = 0;
      if (valid && lane == leader) {
        place = *count;
        *count = place + __popc(peers);
      }
      place = __shfl_sync(kAllLanes, place, leader);
      if (valid) sorted[b * plan.edges + place + __popc(peers & ((1u << lane) - 1))] = static_cast<int>(edge);
      __syncwarp();  // the next round may have another leader for the same count
    }
  }
}

// counts: plan.counts_size() ints, sorted: plan.sorted_size() ints; idx [B, E] with B, E, points >= 1.
inline cudaError_t launch_inverse_index(const int* idx, const InversePlan& plan, int* counts, int* sorted,
                                        cudaStream_t stream) {
  cudaError_t error = cudaMemsetAsync(counts, 0, plan.counts_size() * sizeof(int), stream);
  if (error != cudaSuccess) return error;
  const dim3 edge_grid(static_cast<unsigned>(ceil_div(plan.edges, kFeatureBlock)), clamp_grid(plan.B));
  error =
      launch(count_edges_kernel<kFeatureBlock>, edge_grid, dim3(kFeatureBlock), 0, stream, idx, plan, counts);
  if (error != cudaSuccess) return error;
  error = launch(sum_counts_kernel<kMaxBlock>, dim3(clamp_grid(plan.B)), dim3(kMaxBlock),
                 shared_bytes<int>(kWarp), stream, plan, counts);
  if (error != cudaSuccess) return error;
  return launch(place_edges_kernel<kWarp * kMaxSlices>, dim3(clamp_grid(plan.B)), dim3(kWarp * plan.slices),
                0, stream, idx, plan, counts, sorted);
}

}  // namespace pointnet2::cuda
