// Ball query: for every centre the first `nsample` points, in index order, with squared distance < radius^2.
//
// Two kernels:
// - ball_query_kernel: brute force with a warp per Q centres: lane = point. A ballot says which of 32 points
// lie
//   in a centre's ball, and the number of set bits below a lane is its place in the output, so the index
//   order comes for free. The block's warps share tiles of points in shared memory, and stop when all their
//   balls are full.
// - ball_query_ordered_kernel (float32, 2048 <= N <= 16384, many centres): a warp per centre looks only at
// the
//   groups of a SpatialOrder whose boxes reach into the ball, marks hits in a bitmask over the cloud in
//   shared memory, and reads the first `nsample` bits off it.
//
// Exactness: squared distances as in common.cuh, the comparison is strict; a group is left out only if the
// lower bound of its computed distances (box_squared_distance) is not below radius^2; brute force looks at
// every point before the last hit.
//
// Bottleneck: arithmetic. Brute force: 9 operations and a ballot for a pair; Q centres reuse each point a
// lane has loaded. Ordered: about a fifth of that for a chunk of 8192 points and a radius of 0.1.
#pragma once

#include "spatial_order.cuh"

namespace pointnet2::cuda {

constexpr int kBallQueryBlock = 256;
constexpr int kBallQueryTile = 1024;

template <class T>
constexpr size_t ball_query_shared_bytes() {
  return shared_bytes<T>(3 * kBallQueryTile);
}

// grid: x over groups of warps * Q centres, y over clouds. count may be null.
template <int Q, class T>
__global__ void __launch_bounds__(kBallQueryBlock)
    ball_query_kernel(const T* __restrict__ xyz, const T* __restrict__ new_xyz, int64_t B, int64_t N,
                      int64_t M, T squared_radius, int nsample, int* __restrict__ idx,
                      int* __restrict__ count) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  const int64_t first_centre = (static_cast<int64_t>(blockIdx.x) * warps + warp) * Q;
  SharedMemory shared;
  T* tile = shared.take<T>(3 * kBallQueryTile);

  for (int64_t b = blockIdx.y; b < B; b += gridDim.y) {
    const T* cloud = xyz + b * N * 3;
    Point<T> centre[Q];
    int hits[Q], first_hit[Q];
    int open = 0;  // balls of this warp that are not full
#pragma unroll
    for (int q = 0; q < Q; ++q) {
      const bool exists = first_centre + q < M;
      centre[q] = exists ? load_point(new_xyz + b * M * 3, first_centre + q) : Point<T>{0, 0, 0};
      hits[q] = exists ? 0 : nsample;
      first_hit[q] = 0;
      open += exists && nsample > 0;
    }
    for (int64_t begin = 0; begin < N; begin += kBallQueryTile) {
      if (__syncthreads_and(open == 0)) break;  // also keeps the tile until every warp has read it
      const int size = static_cast<int>(N - begin < kBallQueryTile ? N - begin : kBallQueryTile);
      for (int i = threadIdx.x; i < 3 * size; i += blockDim.x) tile[i] = __ldg(cloud + 3 * begin + i);
      __syncthreads();
      for (int base = 0; base < size && open > 0; base += kWarp) {
        const bool real = base + lane < size;
        const int i = real ? base + lane : 0;
        const Point<T> point = {tile[3 * i], tile[3 * i + 1], tile[3 * i + 2]};
        bool inside[Q];
        unsigned ball[Q], any = 0;
#pragma unroll
        for (int q = 0; q < Q; ++q) {
          inside[q] = real && squared_distance(point, centre[q]) < squared_radius;
          ball[q] = __ballot_sync(kAllLanes, inside[q]);
          any |= ball[q];
        }
        if (any == 0) continue;
#pragma unroll
        for (int q = 0; q < Q; ++q) {
          if (ball[q] == 0 || hits[q] >= nsample) continue;
          if (hits[q] == 0) first_hit[q] = static_cast<int>(begin) + base + __ffs(ball[q]) - 1;
          const int place = hits[q] + __popc(ball[q] & ((1u << lane) - 1));
          if (inside[q] && place < nsample) {
            idx[(b * M + first_centre + q) * nsample + place] = static_cast<int>(begin) + i;
          }
          hits[q] += __popc(ball[q]);
          open -= hits[q] >= nsample;
        }
      }
    }
#pragma unroll
    for (int q = 0; q < Q; ++q) {
      if (first_centre + q >= M) break;
      const int64_t row = b * M + first_centre + q;
      for (int64_t place = hits[q] + lane; place < nsample; place += kWarp)
        idx[row * nsample + place] = first_hit[q];
      if (lane == 0 && count != nullptr) count[row] = hits[q] < nsample ? hits[q] : nsample;
    }
    __syncthreads();  // the next cloud's first tile overwrites this one's last
  }
}

template <int kWarps>
inline size_t ball_query_ordered_shared_bytes(int64_t groups) {
  return shared_bytes<unsigned>(kWarps * groups);
}

// grid: x over groups of warps, y over clouds.
template <int kWarps>
__global__ void __launch_bounds__(kWarps* kWarp)
    ball_query_ordered_kernel(SpatialOrder cloud, const float* __restrict__ new_xyz, int64_t B, int64_t M,
                              float squared_radius, int nsample, int* __restrict__ idx,
                              int* __restrict__ count) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int groups = cloud.groups;
  const int64_t m = static_cast<int64_t>(blockIdx.x) * kWarps + warp;
  SharedMemory shared;
  unsigned* inside =
      shared.take<unsigned>(kWarps * groups) + warp * groups;  // bit i: point i lies in the ball
  if (m >= M) return;                                          // whole warps leave

  for (int64_t b = blockIdx.y; b < B; b += gridDim.y) {
    const int64_t row = b * M + m;
    const Point<float> centre = load_point(new_xyz, row);
    for (int w = lane; w < groups; w += kWarp) inside[w] = 0;
    __syncwarp();
    for (int begin = 0; begin < groups; begin += kWarp) {
      const int g = begin + lane;
      unsigned near = __ballot_sync(
          kAllLanes, g < groups && box_squared_distance(cloud.box(b, g), centre) < squared_radius);
      for (; near != 0; near &= near - 1) {
        const float4 p = __ldg(cloud.group(b, begin + __ffs(near) - 1) + lane);
        if (squared_distance(Point<float>{p.x, p.y, p.z}, centre) < squared_radius) {
          const int i = __float_as_int(p.w);
          atomicOr(&inside[i / kWarp], 1u << (i % kWarp));
        }
      }
    }
    __syncwarp();
    int hits = 0, first_hit = 0;
    for (int begin = 0; begin < groups && hits < nsample; begin += kWarp) {
      unsigned word = begin + lane < groups ? inside[begin + lane] : 0;
      const unsigned filled = __ballot_sync(kAllLanes, word != 0);
      if (filled == 0) continue;
      const int last = warp_inclusive_sum(__popc(word), lane);  // place behind this lane's hits
      int place = hits + last - __popc(word);
      if (hits == 0) {
        const int leader = __ffs(filled) - 1;
        first_hit = (begin + leader) * kWarp + __ffs(__shfl_sync(kAllLanes, word, leader)) - 1;
      }
      for (; word != 0 && place < nsample; word &= word - 1, ++place) {
        idx[row * nsample + place] = (begin + lane) * kWarp + __ffs(word) - 1;
      }
      hits += __shfl_sync(kAllLanes, last, kWarp - 1);
    }
    for (int64_t place = hits + lane; place < nsample; place += kWarp) idx[row * nsample + place] = first_hit;
    if (lane == 0 && count != nullptr) count[row] = hits < nsample ? hits : nsample;
    __syncwarp();  // the next cloud clears the bitmask
  }
}

enum class BallQueryKernel { kChoose = -1, kBruteForce = 0, kOrdered = 1 };

// Sets `ordered` if the wanted kernel is the ordered one; kChoose: where it is faster.
template <class T>
cudaError_t ball_query_plan(int64_t B, int64_t N, int64_t M, BallQueryKernel wanted, bool* ordered) {
  const bool possible = std::is_same_v<T, float> && N >= 1 && N <= kMaxOrderedPoints;
  const bool worth_it = N >= 2048 && B * M * N >= int64_t{1} << 25;
  *ordered =
      possible && (wanted == BallQueryKernel::kOrdered || (wanted == BallQueryKernel::kChoose && worth_it));
  return wanted == BallQueryKernel::kOrdered && !possible ? cudaErrorInvalidValue : cudaSuccess;
}

inline cudaError_t launch_ball_query_ordered(const float* xyz, const float* new_xyz, int64_t B, int64_t N,
                                             int64_t M, float squared_radius, int nsample, int* idx,
                                             int* count, char* scratch, cudaStream_t stream) {
  constexpr int kWarps = 4;
  const SpatialOrder cloud = OrderMemory(B, N).at(scratch, N);
  const cudaError_t error = launch_spatial_order(xyz, B, cloud, stream);
  if (error != cudaSuccess) return error;
  return launch(ball_query_ordered_kernel<kWarps>,
                dim3(static_cast<unsigned>(ceil_div(M, kWarps)), clamp_grid(B)), dim3(kWarps * kWarp),
                ball_query_ordered_shared_bytes<kWarps>(cloud.groups), stream, cloud, new_xyz, B, M,
                squared_radius, nsample, idx, count);
}

// xyz [B, N, 3], new_xyz [B, M, 3], idx [B, M, nsample], count [B, M] or null; B, M >= 1, N and nsample may
// be 0. `scratch` holds OrderMemory(B, N).bytes if `ordered`.
template <class T>
cudaError_t launch_ball_query(const T* xyz, const T* new_xyz, int64_t B, int64_t N, int64_t M,
                              T squared_radius, int nsample, int* idx, int* count, bool ordered,
                              char* scratch, cudaStream_t stream) {
  if constexpr (std::is_same_v<T, float>) {
    if (ordered) {
      return launch_ball_query_ordered(xyz, new_xyz, B, N, M, squared_radius, nsample, idx, count, scratch,
                                       stream);
    }
  }
  constexpr int kWarps = kBallQueryBlock / kWarp;
  const auto start = [&](auto* kernel, int centres_a_warp) {
    return launch(kernel, dim3(static_cast<unsigned>(ceil_div(M, kWarps * centres_a_warp)), clamp_grid(B)),
                  dim3(kBallQueryBlock), ball_query_shared_bytes<T>(), stream, xyz, new_xyz, B, N, M,
                  squared_radius, nsample, idx, count);
  };
  // Reusing a point for four centres pays once there are enough warps to fill a large GPU anyway.
  return B * M >= 8192 ? start(ball_query_kernel<4, T>, 4) : start(ball_query_kernel<1, T>, 1);
}

}  // namespace pointnet2::cuda
