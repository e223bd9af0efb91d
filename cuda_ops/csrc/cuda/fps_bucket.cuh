// Furthest point sampling of large clouds and of float64: see furthest_point_sample.cuh.
//
// Up to 1024 (float64: 512) buckets of neighbouring points in global memory (L2); a thread watches one
// bucket, and warps update only the buckets that the last picks can change. The farthest point of the 32
// buckets that a warp watches is its candidate for the next round.
#pragma once

#include <climits>

#include "cell_order.cuh"
#include "fps_round.cuh"

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
  // x, y, z, distance, original index of every slot; then the counts of the sort.
  __host__ __device__ int64_t scratch_bytes() const {
    return slots * (4 * sizeof(T) + sizeof(int)) + kBucketCells * sizeof(int);
  }
};

// What a warp found out about a bucket.
template <class T>
struct BucketState {
  T distance, runner_up;  // largest distance; largest of the other points
  int index;              // of the farthest point, the lowest if there are several
};

template <class T>
constexpr size_t fps_bucket_shared_bytes() {
  return cell_order_shared_bytes<T>() + FpsRound<T>::shared_bytes() + shared_bytes<Box<T>>(kWarp) +
         shared_bytes<Box<T>>(kBucketBlock<T>) + shared_bytes<BucketState<T>>(kBucketBlock<T>) +
         shared_bytes<unsigned>(kBucketBlock<T>) + shared_bytes<int>(kBucketBlock<T>) + shared_bytes<int>(2);
}

// The points of one bucket, in global memory.
template <class T>
struct BucketPoints {
  const T *x, *y, *z;
  T* distance;
  const int* order;  // original indices
  int size;          // a multiple of 32

  // Takes account of the picks in the mask `near`: the whole warp.
  __device__ __forceinline__ BucketState<T> update(const FpsRound<T>& round, unsigned near, int lane) const {
    constexpr int kTogether = sizeof(T) == 8 ? 4 : 3;  // points a lane loads at once, to wait for memory once
    T first = -1, second = -1;                         // this lane's largest distances
    int lowest = INT_MAX;
    for (int begin = lane; begin < size; begin += kTogether * kWarp) {
      Point<T> point[kTogether];
      T d[kTogether];
      int index[kTogether];
#pragma unroll
      for (int k = 0; k < kTogether; ++k) {
        const int s = begin + k * kWarp;
        if (s < size) {
          point[k] = {x[s], y[s], z[s]};
          d[k] = distance[s];
          index[k] = order[s];
        }
      }
      for (unsigned left = near; left != 0; left &= left - 1) {
        const Point<T> pick = round.picked(__ffs(left) - 1);
#pragma unroll
        for (int k = 0; k < kTogether; ++k) d[k] = fmin(d[k], squared_distance(point[k], pick));
      }
#pragma unroll
      for (int k = 0; k < kTogether; ++k) {
        const int s = begin + k * kWarp;
        if (s >= size) break;
        distance[s] = d[k];
        second = fmax(second, fmin(first, d[k]));
        if (d[k] > first || (d[k] == first && index[k] < lowest)) lowest = index[k];
        first = fmax(first, d[k]);
      }
    }
    BucketState<T> state;
    state.distance = warp_max(first);
    const unsigned holders = __ballot_sync(kAllLanes, first == state.distance);
    // Another holder is a runner-up at the same distance.
    state.runner_up = warp_max(fmax(lane == __ffs(holders) - 1 ? second : first, static_cast<T>(0)));
    state.index = warp_min(first == state.distance ? lowest : INT_MAX);
    return state;
  }
};

// blockDim.x >= the number of buckets. `scratch` has BucketPlan::scratch_bytes() for every cloud. At most
// `most` picks a round.
template <class T>
__global__ void __launch_bounds__(kBucketBlock<T>, 1)
    fps_bucket_kernel(const T* __restrict__ xyz, int size, int npoint, int most, int* __restrict__ idx,
                      char* scratch) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  const BucketPlan<T> plan(size);
  const int bucket_size = plan.bucket_size, buckets = plan.buckets;
  const int each = (buckets + warps - 1) / warps;  // the buckets that a warp's first lanes watch
  const int bucket = warp * each + lane;
  const bool watching = lane < each && bucket < buckets;
  xyz += static_cast<int64_t>(blockIdx.x) * size * 3;
  idx += static_cast<int64_t>(blockIdx.x) * npoint;
  T* x = reinterpret_cast<T*>(scratch + blockIdx.x * plan.scratch_bytes());
  T *y = x + plan.slots, *z = y + plan.slots, *distance = z + plan.slots;
  int* order = reinterpret_cast<int*>(distance + plan.slots);
  int* counts = order + plan.slots;

  SharedMemory shared;
  FpsRound<T> round(shared, (buckets + each - 1) / each);
  Box<T>* warp_box = shared.take<Box<T>>(kWarp) + warp;  // around the buckets that this warp's threads watch
  Box<T>* boxes = shared.take<Box<T>>(kBucketBlock<T>);
  BucketState<T>* states = shared.take<BucketState<T>>(kBucketBlock<T>);
  unsigned* near_picks = shared.take<unsigned>(kBucketBlock<T>);
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
      states[b] = {infinity<T>(), infinity<T>(), first};
    }
  }
  __syncthreads();
  BucketState<T> state = watching ? states[bucket] : BucketState<T>{0, 0, INT_MAX};
  const Box<T> all = warp_union(watching ? boxes[bucket] : empty_box<T>());
  if (lane == 0) *warp_box = all;

  FpsCandidate<T> own = {
      {0, 0, 0}, infinity<T>(), infinity<T>(), INT_MAX};  // the best of this warp's buckets
  FpsPick<T> pick = {load_point(xyz, 0), 0};              // lane k: the k-th of the last round
  round.start(pick.point);
  if (threadIdx.x == 0) idx[0] = 0;
  __syncthreads();
  for (int picked = 1, picks = 1, parity = 0; picked < npoint; picked += picks, parity ^= 1) {
    // 1. Every thread asks which picks can change its bucket; the buckets they can change are listed.
    unsigned near = 0,
             warp_near = __ballot_sync(
                 kAllLanes, lane < picks && box_squared_distance(*warp_box, pick.point) < own.distance);
    for (; warp_near != 0; warp_near &= warp_near - 1) {
      const int k = __ffs(warp_near) - 1;
      near |= static_cast<unsigned>(watching &&
                                    box_squared_distance(boxes[bucket], round.picked(k)) < state.distance)
              << k;
    }
    const unsigned changing = __ballot_sync(kAllLanes, near != 0);
    int begin = 0;
    if (lane == 0 && changing != 0) begin = atomicAdd(&active_count[parity], __popc(changing));
    begin = __shfl_sync(kAllLanes, begin, 0);
    if (near != 0) {
      active[begin + __popc(changing & ((1u << lane) - 1))] = bucket;
      near_picks[bucket] = near;
    }
    __syncthreads();
    // 2. Warps update the listed buckets.
    const int listed = active_count[parity];
    if (threadIdx.x == 0) active_count[parity ^ 1] = 0;
    for (int a = warp; a < listed; a += warps) {
      const int b = active[a];
      const int64_t s = static_cast<int64_t>(b) * bucket_size;
      const BucketPoints<T> points = {x + s, y + s, z + s, distance + s, order + s, bucket_size};
      const BucketState<T> found = points.update(round, near_picks[b], lane);
      if (lane == 0) states[b] = found;
    }
    __syncthreads();
    // 3. The farthest of a warp's buckets' points is its candidate.
    if (changing != 0 || picked == 1) {
      if (near != 0) state = states[bucket];
      own.distance = warp_max(state.distance);
      own.index = warp_min(state.distance == own.distance ? state.index : INT_MAX);
      own.runner_up = warp_max(state.index == own.index ? state.runner_up : state.distance);
      if (own.index != INT_MAX) own.point = load_point(xyz, own.index);  // else a warp without buckets
      round.nominate(own);
    }
    __syncthreads();
    round.rank();
    __syncthreads();
    picks = round.take(min(most, npoint - picked), &pick);
    if (threadIdx.x < picks) idx[picked + lane] = pick.index;
  }
}

}  // namespace pointnet2::cuda
