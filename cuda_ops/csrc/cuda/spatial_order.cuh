// A cloud in spatial order, cut into groups of 32 neighbouring points, with the box of each group: what
// ball_query and three_nn prune by. float32, at most 16384 points.
//
// One block sorts one cloud (cell_order.cuh) in some ten microseconds; worth it where many queries follow.
#pragma once

#include "cell_order.cuh"

namespace pointnet2::cuda {

constexpr int kOrderCellBits = 4;
constexpr int kOrderCells = 1 << (3 * kOrderCellBits);
constexpr int kMaxOrderedPoints = 16384;

// Clouds [B, size]; groups = ceil(size / 32).
struct SpatialOrder {
  float4* points;  // [B, groups * 32] x, y, z and the bits of the index; NaN beyond the cloud: near nothing
  float* boxes;    // [B, 6, groups] low x, y, z, high x, y, z; NaN coordinates do not count
  int size, groups;

  __device__ __forceinline__ const float4* group(int64_t b, int g) const {
    return points + (b * groups + g) * kWarp;
  }

  __device__ __forceinline__ Box<float> box(int64_t b, int g) const {
    const float* low = boxes + b * 6 * groups + g;
    const float* high = low + 3 * groups;
    return {{__ldg(low), __ldg(low + groups), __ldg(low + 2 * groups)},
            {__ldg(high), __ldg(high + groups), __ldg(high + 2 * groups)}};
  }
};

// The memory of a SpatialOrder of B clouds; both parts keep float4 aligned, so that orders may follow each
// other.
struct OrderMemory {
  int64_t groups, points_bytes, bytes;
  OrderMemory(int64_t B, int64_t size)
      : groups(ceil_div(size, kWarp)),
        points_bytes(B * groups * kWarp * int64_t{sizeof(float4)}),
        bytes(points_bytes + ceil_div(B * groups * 6, 4) * int64_t{sizeof(float4)}) {}
  SpatialOrder at(char* memory, int64_t size) const {
    return {reinterpret_cast<float4*>(memory), reinterpret_cast<float*>(memory + points_bytes),
            static_cast<int>(size), static_cast<int>(groups)};
  }
};

inline size_t spatial_order_shared_bytes(int size) {
  return cell_order_shared_bytes<float>() + shared_bytes<int>(kOrderCells) + shared_bytes<uint16_t>(size);
}

// A block for a cloud.
template <int kThreads>
__global__ void __launch_bounds__(kThreads)
    spatial_order_kernel(const float* __restrict__ xyz, SpatialOrder out) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  const int size = out.size;
  SharedMemory shared;
  int* counts = shared.take<int>(kOrderCells);
  uint16_t* order = shared.take<uint16_t>(size);
  const int64_t b = blockIdx.x;
  xyz += b * size * 3;
  sort_by_cell<kOrderCellBits>(xyz, size, counts, order, shared);
  for (int g = warp; g < out.groups; g += warps) {
    const int slot = g * kWarp + lane;
    const float nan = __int_as_float(0x7fffffff);
    float4 point = make_float4(nan, nan, nan, nan);
    Box<float> box = empty_box<float>();
    if (slot < size) {
      const int i = order[slot];
      const Point<float> p = load_point(xyz, i);
      extend(box, p);
      point = make_float4(p.x, p.y, p.z, __int_as_float(i));
    }
    out.points[b * out.groups * kWarp + slot] = point;
    box = warp_union(box);
    const float corner[6] = {box.low.x, box.low.y, box.low.z, box.high.x, box.high.y, box.high.z};
    if (lane == 0) {
#pragma unroll
      for (int k = 0; k < 6; ++k) out.boxes[(b * 6 + k) * out.groups + g] = corner[k];
    }
  }
}

// xyz [B, size, 3]; B, size >= 1.
inline cudaError_t launch_spatial_order(const float* xyz, int64_t B, const SpatialOrder& out,
                                        cudaStream_t stream) {
  return launch(spatial_order_kernel<kMaxBlock>, dim3(static_cast<unsigned>(B)), dim3(kMaxBlock),
                spatial_order_shared_bytes(out.size), stream, xyz, out);
}

}  // namespace pointnet2::cuda
