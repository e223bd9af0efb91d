// Furthest point sampling of large clouds and of float64: see furthest_point_sample.cuh.
//
// Up to 1024 (float64: 512) buckets of neighbouring points in global memory (L2); a thread watches one
// bucket, and warps update only the buckets that the last pick can change.
#pragma once

#include <climits>

#include "cell_order.cuh"

namespace pointnet2::cuda {

constexpr int kBucketCellBits = 5;
constexpr int kBucketCells = 1 << (3 * kBucketCellBits);

// Threads of a block, and most buckets of a cloud: float64 takes more registers than 1024 threads can have.
template <class T>
constexpr int kBucketBlock = sizeof(T) == 8 ? 512 : kMaxBlock;

// How a cloud of `size` points is cut into buckets, and the global memory that takes.
template <class T>
struct BucketPlan {
  int bucket_size;  // a multiple of 32
  int buckets;      // at most kBucketBlock
  int64_t slots;    // buckets * bucket_size

  __host__ __device__ explicit BucketPlan(int size) {
    bucket_size = ((size - 1) / kBucketBlock<T> / kWarp + 1) * kWarp;
    buckets = (size - 1) / bucket_size + 1;
    slots = static_cast<int64_t>(buckets) * bucket_size;
  }
  // x, y, z, distance, original index of every slot; then the counts of the sort, whose place the boxes take
  // later.
  __host__ __device__ int64_t scratch_bytes() const {
    return slots * (4 * sizeof(T) + sizeof(int)) + kBucketCells * sizeof(int);
  }
};

template <class T>
constexpr size_t fps_bucket_shared_bytes() {
  return cell_order_shared_bytes<T>() + shared_bytes<T>(kBucketBlock<T>) + shared_bytes<T>(kWarp) +
         2 * shared_bytes<int>(kBucketBlock<T>) + shared_bytes<int>(kWarp) + shared_bytes<int>(2);
}

// Brings the distances of one bucket up to date with `pick`; returns its farthest point's distance and lowest
// index.
template <class T>
__device__ __forceinline__ T update_bucket(const T* x, const T* y, const T* z, T* distance, const int* order,
                                           int size, const Point<T>& pick, int lane, int* index) {
  T farthest = -1;
  int lowest = INT_MAX;
  for (int s = lane; s < size; s += kWarp) {
    const T d = fmin(distance[s], squared_distance(Point<T>{x[s], y[s], z[s]}, pick));
    distance[s] = d;
    if (d >= farthest) {
      const int i = order[s];
      if (d > farthest || i < lowest) lowest = i;
      farthest = d;
    }
  }
  const T warp_farthest = warp_max(farthest);
  *index = warp_min(farthest == warp_farthest ? lowest : INT_MAX);
  return warp_farthest;
}

// blockDim.x >= the number of buckets. `scratch` has BucketPlan::scratch_bytes() for every cloud.
template <class T>
__global__ void __launch_bounds__(kBucketBlock<T>, 1)
    fps_bucket_kernel(const T* __restrict__ xyz, int size, int npoint, int* __restrict__ idx, char* scratch) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  const BucketPlan<T> plan(size);
  const int bucket_size = plan.bucket_size, buckets = plan.buckets, bucket = threadIdx.x;
  xyz += static_cast<int64_t>(blockIdx.x) * size * 3;
  idx += static_cast<int64_t>(blockIdx.x) * npoint;
  T* x = reinterpret_cast<T*>(scratch + blockIdx.x * plan.scratch_bytes());
  T *y = x + plan.slots, *z = y + plan.slots, *distance = z + plan.slots;
  int* order = reinterpret_cast<int*>(distance + plan.slots);
  int* counts = order + plan.slots;

  SharedMemory shared;
  T* bucket_distance = shared.take<T>(kBucketBlock<T>);
  T* warp_distance = shared.take<T>(kWarp);
  int* bucket_index = shared.take<int>(kBucketBlock<T>);
  int* warp_index = shared.take<int>(kWarp);
  int* active = shared.take<int>(kBucketBlock<T>);
  int* active_count = shared.take<int>(2);
  sort_by_cell<kBucketCellBits>(xyz, size, counts, order, shared);

  // Slots beyond the cloud: distance 0 and the largest index, so that a real point always beats them.
  for (int64_t s = threadIdx.x; s < plan.slots; s += blockDim.x) {
    const bool real = s < size;
    const Point<T> point = real ? load_point(xyz, order[s]) : Point<T>{0, 0, 0};
    if (!real) order[s] = INT_MAX;
    x[s] = point.x;
    y[s] = point.y;
    z[s] = point.z;
    distance[s] = real ? infinity<T>() : static_cast<T>(0);
  }
  if (threadIdx.x < 2) active_count[threadIdx.x] = 0;
  __syncthreads();
  Box<T>* boxes = reinterpret_cast<Box<T>*>(counts);
  for (int b = warp; b < buckets; b += warps) {
    Box<T> box = empty_box<T>();
    int first = INT_MAX;
    for (int64_t s = static_cast<int64_t>(b) * bucket_size + lane; s < min(size, (b + 1) * bucket_size);
         s += kWarp) {
      extend(box, Point<T>{x[s], y[s], z[s]});
      first = min(first, order[s]);
    }
    box = warp_union(box);
    first = warp_min(first);
    if (lane == 0) {
      boxes[b] = box;
      bucket_index[b] = first;
    }
  }
  __syncthreads();
  const bool watching = bucket < buckets;
  const Box<T> box = watching ? boxes[bucket] : empty_box<T>();
  T farthest = watching ? infinity<T>() : static_cast<T>(0);
  int index = watching ? bucket_index[bucket] : INT_MAX;

  Point<T> pick = load_point(xyz, 0);
  if (threadIdx.x == 0) idx[0] = 0;
  for (int step = 1; step < npoint; ++step) {
    // 1. Every thread asks whether the pick can change its bucket; the buckets it can change are listed.
    const bool changes = watching && box_squared_distance(box, pick) < farthest;
    const unsigned changing = __ballot_sync(kAllLanes, changes);
    int begin = 0;
    if (lane == 0 && changing != 0) begin = atomicAdd(&active_count[step & 1], __popc(changing));
    begin = __shfl_sync(kAllLanes, begin, 0);
    if (changes) active[begin + __popc(changing & ((1u << lane) - 1))] = bucket;
    __syncthreads();
    // 2. Warps update the listed buckets.
    const int listed = active_count[step & 1];
    if (threadIdx.x == 0) active_count[(step + 1) & 1] = 0;
    for (int a = warp; a < listed; a += warps) {
      const int b = active[a];
      const int64_t s = static_cast<int64_t>(b) * bucket_size;
      int candidate;
      const T d =
          update_bucket(x + s, y + s, z + s, distance + s, order + s, bucket_size, pick, lane, &candidate);
      if (lane == 0) {
        bucket_distance[b] = d;
        bucket_index[b] = candidate;
      }
    }
    __syncthreads();
    // 3. The farthest of all buckets' candidates is the next pick.
    if (changes) {
      farthest = bucket_distance[bucket];
      index = bucket_index[bucket];
    }
    const T in_warp = warp_max(farthest);
    const int in_warp_index = warp_min(farthest == in_warp ? index : INT_MAX);
    if (lane == 0) {
      warp_distance[warp] = in_warp;
      warp_index[warp] = in_warp_index;
    }
    __syncthreads();
    const T candidate = lane < warps ? warp_distance[lane] : static_cast<T>(0);
    const T best = warp_max(candidate);
    const int winner = warp_min(lane < warps && candidate == best ? warp_index[lane] : INT_MAX);
    if (threadIdx.x == 0) idx[step] = winner;
    pick = load_point(xyz, winner);
  }
}

}  // namespace pointnet2::cuda
