// The three nearest known points of every unknown point, ascending by (squared distance, index); distances
// are returned as correctly rounded roots.
//
// Two kernels:
// - three_nn_kernel: brute force with a thread per unknown point; the block's threads share tiles of known
// points,
//   which all lanes read at once (a broadcast). Known points are visited in index order and a new one is
//   taken in only if it is strictly nearer than the third so far, so among equally distant points the lower
//   index stays in front: the order is exact. Where unknown points are too few to fill the GPU, G lanes share
//   one: each looks at every G-th known point, and the G sorted triples are merged by (distance, index).
// - three_nn_ordered_kernel (float32, up to 16384 points, many queries): both clouds in spatial order; a warp
// takes
//   32 neighbouring unknown points and visits groups of 32 known ones, nearest box first, until no box is
//   nearer than the warp's farthest third neighbour.
//
// Bottleneck: arithmetic, 9 operations a pair; the insertions become rare after the first tiles or groups.
#pragma once

#include <climits>

#include "spatial_order.cuh"

namespace pointnet2::cuda {

constexpr int kThreeNnBlock = 256;
constexpr int kThreeNnTile = 1024;

// A known point in shared memory: float32 coordinates come with one 16-byte load.
template <class T>
struct alignas(16) TilePoint {
  T x, y, z, unused;
};

template <class T>
__device__ __forceinline__ Point<T> coordinates(const TilePoint<T>& p) {
  return {p.x, p.y, p.z};
}

template <class T>
constexpr size_t three_nn_shared_bytes() {
  return shared_bytes<TilePoint<T>>(kThreeNnTile);
}

// The three nearest so far, ascending by (distance, index).
template <class T>
struct Nearest {
  T distance[3];
  int index[3];

  // `i` is larger than every index seen before: a tie goes behind.
  __device__ __forceinline__ void visit(T d, int i) {
    if (!(d < distance[2])) return;
    if (d < distance[1]) {
      distance[2] = distance[1];
      index[2] = index[1];
      if (d < distance[0]) {
        distance[1] = distance[0];
        index[1] = index[0];
        distance[0] = d;
        index[0] = i;
      } else {
        distance[1] = d;
        index[1] = i;
      }
    } else {
      distance[2] = d;
      index[2] = i;
    }
  }

  // Points come in any order: of equally distant ones the lower index goes in front. Takes the place of an
  // empty one (inf, -1) only if `d` is finite.
  __device__ __forceinline__ void visit_unordered(T d, int i) {
    if (!nearer(d, i, 2)) return;
    if (nearer(d, i, 1)) {
      distance[2] = distance[1];
      index[2] = index[1];
      if (nearer(d, i, 0)) {
        distance[1] = distance[0];
        index[1] = index[0];
        distance[0] = d;
        index[0] = i;
      } else {
        distance[1] = d;
        index[1] = i;
      }
    } else {
      distance[2] = d;
      index[2] = i;
    }
  }

  __device__ __forceinline__ bool nearer(T d, int i, int place) const {
    return d < distance[place] || (d == distance[place] && i < index[place]);
  }

  // Removes the front. An empty place is (inf, INT_MAX): behind everything.
  __device__ __forceinline__ void pop() {
    distance[0] = distance[1];
    index[0] = index[1];
    distance[1] = distance[2];
    index[1] = index[2];
    distance[2] = infinity<T>();
    index[2] = INT_MAX;
  }
};

// grid: x over groups of blockDim.x / G unknown points, y over clouds.
template <int G, class T>
__global__ void __launch_bounds__(kThreeNnBlock)
    three_nn_kernel(const T* __restrict__ unknown, const T* __restrict__ known, int64_t B, int64_t N,
                    int64_t M, T* __restrict__ distances, int* __restrict__ idx) {
  const int member = threadIdx.x % G;
  const int64_t n = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / G;
  const bool exists = n < N;
  SharedMemory shared;
  TilePoint<T>* tile = shared.take<TilePoint<T>>(kThreeNnTile);

  for (int64_t b = blockIdx.y; b < B; b += gridDim.y) {
    const Point<T> point = exists ? load_point(unknown + b * N * 3, n) : Point<T>{0, 0, 0};
    const T inf = infinity<T>();
    Nearest<T> nearest = {{inf, inf, inf}, {INT_MAX, INT_MAX, INT_MAX}};
    for (int64_t begin = 0; begin < M; begin += kThreeNnTile) {
      const int size = static_cast<int>(M - begin < kThreeNnTile ? M - begin : kThreeNnTile);
      __syncthreads();  // the last tile has been read
      for (int i = threadIdx.x; i < size; i += blockDim.x) {
        const Point<T> other = load_point(known + (b * M + begin) * 3, i);
        tile[i] = {other.x, other.y, other.z, 0};
      }
      __syncthreads();
      int i = member;
      for (; i + 3 * G < size; i += 4 * G) {
        T d[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) d[k] = squared_distance(point, coordinates(tile[i + k * G]));
        // One test for four points: most of them are not among the nearest.
        if (fmin(fmin(d[0], d[1]), fmin(d[2], d[3])) < nearest.distance[2]) {
#pragma unroll
          for (int k = 0; k < 4; ++k) nearest.visit(d[k], static_cast<int>(begin) + i + k * G);
        }
      }
      for (; i < size; i += G) {
        nearest.visit(squared_distance(point, coordinates(tile[i])), static_cast<int>(begin) + i);
      }
    }
    // The group's best front is the next result; the member that holds it drops it. Distances may tie,
    // indices not.
    T best[3];
    int best_index[3];
#pragma unroll
    for (int k = 0; k < 3; ++k) {
      best[k] = nearest.distance[0];
      best_index[k] = nearest.index[0];
#pragma unroll
      for (int offset = G / 2; offset > 0; offset /= 2) {
        const T d = __shfl_xor_sync(kAllLanes, best[k], offset);
        const int i = __shfl_xor_sync(kAllLanes, best_index[k], offset);
        if (d < best[k] || (d == best[k] && i < best_index[k])) {
          best[k] = d;
          best_index[k] = i;
        }
      }
      if (nearest.index[0] == best_index[k]) nearest.pop();
    }
    if (!exists || member != 0) continue;
#pragma unroll
    for (int k = 0; k < 3; ++k) {
      distances[(b * N + n) * 3 + k] = root(best[k]);
      idx[(b * N + n) * 3 + k] =
          best_index[k] == INT_MAX ? 0 : best_index[k];  // fewer than three known points
    }
  }
}

// A lower bound of the computed squared distance between any two points of the boxes: exact for the reason
// given at box_squared_distance.
template <class T>
__device__ __forceinline__ T box_squared_distance(const Box<T>& a, const Box<T>& b) {
  const T zero = 0;
  return sum_of_squares(fmax(fmax(sub(a.low.x, b.high.x), sub(b.low.x, a.high.x)), zero),
                        fmax(fmax(sub(a.low.y, b.high.y), sub(b.low.y, a.high.y)), zero),
                        fmax(fmax(sub(a.low.z, b.high.z), sub(b.low.z, a.high.z)), zero));
}

constexpr int kOrderedBlock = 128;

// A warp for a group of unknown points. grid: x over groups, y over clouds.
template <int kThreads>
__global__ void __launch_bounds__(kThreads)
    three_nn_ordered_kernel(SpatialOrder unknown, SpatialOrder known, int64_t B,
                            float* __restrict__ distances, int* __restrict__ idx) {
  const int lane = threadIdx.x % kWarp;
  const int group = blockIdx.x * (kThreads / kWarp) + threadIdx.x / kWarp;
  if (group >= unknown.groups) return;  // whole warps leave

  for (int64_t b = blockIdx.y; b < B; b += gridDim.y) {
    const float4 own = __ldg(unknown.group(b, group) + lane);
    const Point<float> point = {own.x, own.y, own.z};
    const bool exists = group * kWarp + lane < unknown.size;
    const Box<float> box = unknown.box(b, group);
    const float inf = infinity<float>();
    Nearest<float> nearest = {{inf, inf, inf}, {-1, -1, -1}};
    float worst = inf;  // the warp's farthest third neighbour
    for (int begin = 0; begin < known.groups; begin += kWarp) {
      // A lane holds the bound of one group, until the warp has visited it.
      const bool real = begin + lane < known.groups;
      float bound = real ? box_squared_distance(known.box(b, begin + lane), box) : inf;
      unsigned left = __ballot_sync(kAllLanes, real && bound <= worst);
      while (left != 0) {
        const bool mine = left >> lane & 1;
        const float first = warp_min(mine ? bound : inf);
        const int next = __ffs(__ballot_sync(kAllLanes, mine && bound == first)) - 1;
        const float4* points = known.group(b, begin + next);
#pragma unroll 2
        for (int i = 0; i < kWarp; i += 4) {
          float d[4];
          int index[4];
#pragma unroll
          for (int k = 0; k < 4; ++k) {
            const float4 p = __ldg(points + i + k);
            d[k] = squared_distance(point, Point<float>{p.x, p.y, p.z});
            index[k] = __float_as_int(p.w);
          }
          if (fminf(fminf(d[0], d[1]), fminf(d[2], d[3])) <= nearest.distance[2]) {
#pragma unroll
            for (int k = 0; k < 4; ++k) nearest.visit_unordered(d[k], index[k]);
          }
        }
        worst = warp_max(exists ? nearest.distance[2] : 0.0f);
        left = __ballot_sync(kAllLanes, mine && lane != next && bound <= worst);
      }
    }
    if (!exists) continue;
    const int64_t n = b * unknown.size + __float_as_int(own.w);
#pragma unroll
    for (int k = 0; k < 3; ++k) {
      distances[n * 3 + k] = root(nearest.distance[k]);
      idx[n * 3 + k] = max(nearest.index[k], 0);  // fewer than three known points
    }
  }
}

enum class ThreeNnKernel { kChoose = -1, kBruteForce = 0, kOrdered = 1 };

// Sets `ordered` if the wanted kernel is the ordered one; kChoose: where it is faster.
template <class T>
cudaError_t three_nn_plan(int64_t B, int64_t N, int64_t M, ThreeNnKernel wanted, bool* ordered) {
  const bool possible = std::is_same_v<T, float> && N <= kMaxOrderedPoints && M <= kMaxOrderedPoints;
  const bool worth_it = N >= 2048 && M >= 256 && B * M * N >= int64_t{1} << 25;
  *ordered =
      possible && (wanted == ThreeNnKernel::kOrdered || (wanted == ThreeNnKernel::kChoose && worth_it));
  return wanted == ThreeNnKernel::kOrdered && !possible ? cudaErrorInvalidValue : cudaSuccess;
}

inline cudaError_t launch_three_nn_ordered(const float* unknown, const float* known, int64_t B, int64_t N,
                                           int64_t M, float* distances, int* idx, char* scratch,
                                           cudaStream_t stream) {
  const OrderMemory unknown_memory(B, N), known_memory(B, M);
  const SpatialOrder queries = unknown_memory.at(scratch, N),
                     cloud = known_memory.at(scratch + unknown_memory.bytes, M);
  cudaError_t error = launch_spatial_order(unknown, B, queries, stream);
  if (error == cudaSuccess) error = launch_spatial_order(known, B, cloud, stream);
  if (error != cudaSuccess) return error;
  return launch(three_nn_ordered_kernel<kOrderedBlock>,
                dim3(static_cast<unsigned>(ceil_div(queries.groups, kOrderedBlock / kWarp)), clamp_grid(B)),
                dim3(kOrderedBlock), 0, stream, queries, cloud, B, distances, idx);
}

// unknown [B, N, 3], known [B, M, 3], distances and idx [B, N, 3]; B, N, M >= 1. `scratch` holds
// OrderMemory(B, N).bytes + OrderMemory(B, M).bytes if `ordered`.
template <class T>
cudaError_t launch_three_nn(const T* unknown, const T* known, int64_t B, int64_t N, int64_t M, T* distances,
                            int* idx, bool ordered, char* scratch, cudaStream_t stream) {
  if constexpr (std::is_same_v<T, float>) {
    if (ordered) return launch_three_nn_ordered(unknown, known, B, N, M, distances, idx, scratch, stream);
  }
  const auto start = [&](auto* kernel, int lanes_a_point) {
    return launch(
        kernel, dim3(static_cast<unsigned>(ceil_div(N * lanes_a_point, kThreeNnBlock)), clamp_grid(B)),
        dim3(kThreeNnBlock), three_nn_shared_bytes<T>(), stream, unknown, known, B, N, M, distances, idx);
  };
  // A large GPU holds 132 * 2048 threads.
  return B * N >= 65536 ? start(three_nn_kernel<1, T>, 1) : start(three_nn_kernel<8, T>, 8);
}

}  // namespace pointnet2::cuda
