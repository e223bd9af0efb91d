// Furthest point sampling: idx[0] = 0, then always the point whose distance to the points picked so far is
// largest; of equally distant points the one with the lowest index.
//
// Each step depends on the one before it, so its latency is what counts. One thread block works on one cloud.
// - fps_register_kernel (float32, N <= 16384): every warp owns 32 * P neighbouring points (a counting sort
// along a
//   Morton curve comes first) and keeps coordinates and distances in registers. The warp's farthest point is
//   found by redux.sync, once on the bits of the distance and once on the index; the warps' candidates meet
//   in a double-buffered slot, so that a step has one barrier.
// - fps_bucket_kernel (any N, float32 and float64): up to 1024 buckets of neighbouring points in global
// memory (L2), a
//   thread watches one bucket, and warps update only the buckets that the last pick can change.
//
// Exactness. Both skip a bucket whose box is not nearer to the last pick than the bucket's own largest
// distance: then no distance in it can shrink (box_squared_distance) and the remembered candidate stays.
// Distances are >= 0, so their bits order like their values. Ties are decided by the original index
// everywhere, so the order of the sort is invisible.
//
// Bottleneck: barrier, reduction and load latency, a few hundred cycles a step; the arithmetic only in the
// first steps, when every bucket still changes.
#pragma once

#include <climits>

#include "cell_order.cuh"

namespace pointnet2::cuda {

constexpr int kRegisterCellBits = 4;
constexpr int kRegisterCells = 1 << (3 * kRegisterCellBits);
constexpr uint16_t kNoPoint = 0xffff;  // larger than every index of a cloud of at most 16384 points
constexpr int kMaxRegisterPoints = 16384;

struct Candidate {
  float distance;
  int index;
};

// At P = 16 a block's points no longer fit the register file (65536 x 4 bytes): y and z move to shared
// memory.
__host__ __device__ constexpr bool yz_in_shared(int points_per_thread) { return points_per_thread > 8; }

// y and z take the place of the counts of the sort, which are dead by then.
__host__ __device__ constexpr int yz_slots(int slots) {
  constexpr int kCounts = kRegisterCells * sizeof(int) / sizeof(float2);
  return slots > kCounts ? slots : kCounts;
}

template <int P>
constexpr size_t fps_register_shared_bytes(int threads) {
  return cell_order_shared_bytes<float>() + shared_bytes<uint16_t>(threads * P) +
         shared_bytes<Candidate>(2 * kWarp) +
         (yz_in_shared(P) ? shared_bytes<float2>(yz_slots(threads * P)) : shared_bytes<int>(kRegisterCells));
}

template <int P>
__global__ void __launch_bounds__(kMaxBlock)
    fps_register_kernel(const float* __restrict__ xyz, int size, int npoint, int* __restrict__ idx) {
  constexpr bool kYzInShared = yz_in_shared(P);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  const int slots = blockDim.x * P;
  xyz += static_cast<int64_t>(blockIdx.x) * size * 3;
  idx += static_cast<int64_t>(blockIdx.x) * npoint;

  SharedMemory shared;
  uint16_t* order = shared.take<uint16_t>(slots);
  Candidate* candidates = shared.take<Candidate>(2 * kWarp);
  float2* yz = kYzInShared ? shared.take<float2>(yz_slots(slots)) : nullptr;
  int* counts = kYzInShared ? reinterpret_cast<int*>(yz) : shared.take<int>(kRegisterCells);
  for (int s = size + threadIdx.x; s < slots; s += blockDim.x) order[s] = kNoPoint;
  sort_by_cell<kRegisterCellBits>(xyz, size, counts, order, shared);

  // Slots beyond the cloud have distance 0 and the index kNoPoint: a real point always beats them.
  float x[P], y[kYzInShared ? 1 : P], z[kYzInShared ? 1 : P], distance[P];
  Box<float> box = empty_box<float>();
  int first = INT_MAX;
#pragma unroll
  for (int p = 0; p < P; ++p) {
    const int slot = (warp * P + p) * kWarp + lane;
    const bool real = slot < size;
    const Point<float> point = real ? load_point(xyz, order[slot]) : Point<float>{0, 0, 0};
    if (real) extend(box, point);
    first = min(first, static_cast<int>(order[slot]));
    x[p] = point.x;
    distance[p] = real ? infinity<float>() : 0.0f;
    if constexpr (kYzInShared) {
      yz[slot] = make_float2(point.y, point.z);
    } else {
      y[p] = point.y;
      z[p] = point.z;
    }
  }
  box = warp_union(box);
  float warp_distance = warp * P * kWarp < size ? infinity<float>() : 0.0f;
  int warp_index = warp_min(first);

  Point<float> pick = load_point(xyz, 0);
  if (threadIdx.x == 0) idx[0] = 0;
  for (int step = 1; step < npoint; ++step) {
    if (box_squared_distance(box, pick) < warp_distance) {
      float farthest = 0;
#pragma unroll
      for (int p = 0; p < P; ++p) {
        Point<float> point;
        if constexpr (kYzInShared) {
          [[maybe_unused]] const float2 other = yz[(warp * P + p) * kWarp + lane];
          point = {x[p], other.x, other.y};
        } else {
          point = {x[p], y[p], z[p]};
        }
        distance[p] = fminf(distance[p], squared_distance(point, pick));
        farthest = fmaxf(farthest, distance[p]);
      }
      warp_distance = warp_max(farthest);
      int lowest = INT_MAX;
      if (farthest == warp_distance) {
#pragma unroll
        for (int p = 0; p < P; ++p) {
          if (distance[p] == warp_distance) {
            lowest = min(lowest, static_cast<int>(order[(warp * P + p) * kWarp + lane]));
          }
        }
      }
      warp_index = warp_min(lowest);
    }
    // Slot of this step's parity: it is written again two steps on, after a barrier that every reader has
    // passed.
    Candidate* slot = candidates + (step & 1) * kWarp;
    if (lane == 0) slot[warp] = {warp_distance, warp_index};
    __syncthreads();
    const Candidate candidate = lane < warps ? slot[lane] : Candidate{0.0f, INT_MAX};
    const float best = warp_max(candidate.distance);
    const int winner = warp_min(candidate.distance == best ? candidate.index : INT_MAX);
    if (threadIdx.x == 0) idx[step] = winner;
    pick = load_point(xyz, winner);
  }
}

constexpr int kBucketCellBits = 5;
constexpr int kBucketCells = 1 << (3 * kBucketCellBits);

// How a cloud of `size` points is cut into buckets, and the global memory that takes.
template <class T>
struct BucketPlan {
  int bucket_size;  // a multiple of 32
  int buckets;      // at most 1024
  int64_t slots;    // buckets * bucket_size

  __host__ __device__ explicit BucketPlan(int size) {
    bucket_size = ((size - 1) / kMaxBlock / kWarp + 1) * kWarp;
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
  return cell_order_shared_bytes<T>() + shared_bytes<T>(kMaxBlock) + shared_bytes<T>(kWarp) +
         2 * shared_bytes<int>(kMaxBlock) + shared_bytes<int>(kWarp) + shared_bytes<int>(2);
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
__global__ void __launch_bounds__(kMaxBlock)
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
  T* bucket_distance = shared.take<T>(kMaxBlock);
  T* warp_distance = shared.take<T>(kWarp);
  int* bucket_index = shared.take<int>(kMaxBlock);
  int* warp_index = shared.take<int>(kWarp);
  int* active = shared.take<int>(kMaxBlock);
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

// ---- launchers: xyz [B, size, 3], idx [B, npoint]; size, npoint >= 1
// -------------------------------------------------

template <int P>
cudaError_t launch_fps_register(const float* xyz, int64_t B, int size, int npoint, int* idx,
                                cudaStream_t stream) {
  const int threads = static_cast<int>(ceil_div(ceil_div(size, P), kWarp) * kWarp);
  return launch(fps_register_kernel<P>, dim3(static_cast<unsigned>(B)), dim3(threads),
                fps_register_shared_bytes<P>(threads), stream, xyz, size, npoint, idx);
}

// The points each thread of fps_register_kernel holds, or 0 where the bucket kernel has to do it.
template <class T>
cudaError_t fps_points_per_thread(int size, int* points) {
  *points = 0;
  if constexpr (std::is_same_v<T, float>) {
    if (size <= 4096)
      *points = 4;
    else if (size <= 8192)
      *points = 8;
    else if (size <= kMaxRegisterPoints) {
      size_t limit = 0;
      const cudaError_t error = max_shared_bytes(&limit);
      if (error != cudaSuccess) return error;
      if (fps_register_shared_bytes<16>(kMaxBlock) <= limit) *points = 16;
    }
  }
  return cudaSuccess;
}

template <class T>
int64_t fps_scratch_bytes(int64_t B, int size, int points_per_thread) {
  return points_per_thread > 0 ? 0 : B * BucketPlan<T>(size).scratch_bytes();
}

template <class T>
cudaError_t launch_furthest_point_sample(const T* xyz, int64_t B, int size, int npoint, int points_per_thread,
                                         int* idx, char* scratch, cudaStream_t stream) {
  if constexpr (std::is_same_v<T, float>) {
    if (points_per_thread == 4) return launch_fps_register<4>(xyz, B, size, npoint, idx, stream);
    if (points_per_thread == 8) return launch_fps_register<8>(xyz, B, size, npoint, idx, stream);
    if (points_per_thread == 16) return launch_fps_register<16>(xyz, B, size, npoint, idx, stream);
  }
  const int64_t threads = ceil_div(ceil_div(size, 8), kWarp) * kWarp;
  return launch(fps_bucket_kernel<T>, dim3(static_cast<unsigned>(B)),
                dim3(static_cast<unsigned>(threads < kMaxBlock ? threads : kMaxBlock)),
                fps_bucket_shared_bytes<T>(), stream, xyz, size, npoint, idx, scratch);
}

}  // namespace pointnet2::cuda
