// The three nearest known points of every unknown point, ascending by (squared distance, index); distances
// are returned as correctly rounded roots.
//
// Brute force with a thread per unknown point; the block's threads share tiles of known points, which all
// lanes read at once (a broadcast). Known points are visited in index order and a new one is taken in only if
// it is strictly nearer than the third so far, so among equally distant points the lower index stays in
// front: the order is exact.
//
// Where unknown points are too few to fill the GPU, G lanes share one: each looks at every G-th known point,
// and the G sorted triples are merged by (distance, index).
//
// Bottleneck: arithmetic, 9 operations a pair; the insertions become rare after the first tiles.
#pragma once

#include <climits>

#include "common.cuh"

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

// unknown [B, N, 3], known [B, M, 3], distances and idx [B, N, 3]; B, N, M >= 1.
template <class T>
cudaError_t launch_three_nn(const T* unknown, const T* known, int64_t B, int64_t N, int64_t M, T* distances,
                            int* idx, cudaStream_t stream) {
  const auto start = [&](auto* kernel, int lanes_a_point) {
    return launch(
        kernel, dim3(static_cast<unsigned>(ceil_div(N * lanes_a_point, kThreeNnBlock)), clamp_grid(B)),
        dim3(kThreeNnBlock), three_nn_shared_bytes<T>(), stream, unknown, known, B, N, M, distances, idx);
  };
  // A large GPU holds 132 * 2048 threads.
  return B * N >= 65536 ? start(three_nn_kernel<1, T>, 1) : start(three_nn_kernel<8, T>, 8);
}

}  // namespace pointnet2::cuda
