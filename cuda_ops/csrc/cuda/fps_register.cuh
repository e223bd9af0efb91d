// Furthest point sampling of clouds that fit one multiprocessor's registers (float32, N <= 8192): see
// furthest_point_sample.cuh.
//
// A counting sort along a Morton curve comes first; then every warp owns a bucket of 32 * P neighbouring
// points and keeps their coordinates and distances in registers. The bucket's candidate is its farthest
// point, found by redux.sync on the bits of the distance; the candidates of all warps meet in shared memory.
#pragma once

#include <climits>

#include "cell_order.cuh"
#include "fps_round.cuh"

namespace pointnet2::cuda {

constexpr int kRegisterCellBits = 4;
constexpr int kRegisterCells = 1 << (3 * kRegisterCellBits);
constexpr uint16_t kNoPoint = 0xffff;     // larger than every index of a cloud
constexpr int kMaxRegisterPoints = 8192;  // 64 registers a thread of 1024, half of them points

template <int P>
constexpr size_t register_bucket_shared_bytes(int threads) {
  return cell_order_shared_bytes<float>() + shared_bytes<uint16_t>(threads * P) +
         shared_bytes<int>(kRegisterCells);
}

// A warp's bucket; each lane holds P of its points. Slots beyond the cloud have distance 0 and the index
// kNoPoint: a real point always beats them. Every warp has at least one real point.
template <int P>
class RegisterBucket {
 public:
  // Sorts the cloud: all threads of the block call it.
  __device__ __forceinline__ RegisterBucket(const float* __restrict__ xyz, int size, SharedMemory& shared) {
    const int lane = threadIdx.x % kWarp, slots = blockDim.x * P;
    const int first = threadIdx.x / kWarp * P * kWarp + lane;  // slot of this lane's first point
    uint16_t* order = shared.take<uint16_t>(slots);
    int* counts = shared.take<int>(kRegisterCells);
    for (int s = size + threadIdx.x; s < slots; s += blockDim.x) order[s] = kNoPoint;
    sort_by_cell<kRegisterCellBits>(xyz, size, counts, order, shared);
    order_ = order + first;
    box_ = empty_box<float>();
#pragma unroll
    for (int p = 0; p < P; ++p) {
      const bool real = first + p * kWarp < size;
      point_[p] = real ? load_point(xyz, index(p)) : Point<float>{0, 0, 0};
      if (real) extend(box_, point_[p]);
      distance_[p] = real ? infinity<float>() : 0.0f;
    }
    box_ = warp_union(box_);
  }

  __device__ __forceinline__ const Box<float>& box() const { return box_; }

  // Takes account of a pick.
  __device__ __forceinline__ void update(const Point<float>& pick) {
#pragma unroll
    for (int p = 0; p < P; ++p) distance_[p] = fminf(distance_[p], squared_distance(point_[p], pick));
  }

  // This lane's largest distance, and the largest of its others.
  __device__ __forceinline__ float2 two_farthest() const {
    float first = 0, second = 0;
#pragma unroll
    for (int p = 0; p < P; ++p) {
      second = fmaxf(second, fminf(first, distance_[p]));
      first = fmaxf(first, distance_[p]);
    }
    return make_float2(first, second);
  }

  // The lowest index of this lane's points at `distance`.
  __device__ __forceinline__ int lowest_at(float distance) const {
    int lowest = INT_MAX;
#pragma unroll
    for (int p = 0; p < P; ++p) {
      if (distance_[p] == distance) lowest = min(lowest, index(p));
    }
    return lowest;
  }

 private:
  __device__ __forceinline__ int index(int p) const { return order_[p * kWarp]; }

  Point<float> point_[P];
  float distance_[P];
  Box<float> box_;
  const uint16_t* order_;  // original indices of this lane's points, 32 apart
};

// ---- one pick a step, one barrier a step

struct Candidate {
  float distance;
  int index;
};

template <int P>
constexpr size_t fps_step_shared_bytes(int threads) {
  return register_bucket_shared_bytes<P>(threads) + shared_bytes<Candidate>(2 * kWarp);
}

template <int P>
__global__ void __launch_bounds__(kMaxBlock)
    fps_step_kernel(const float* __restrict__ xyz, int size, int npoint, int* __restrict__ idx) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  xyz += static_cast<int64_t>(blockIdx.x) * size * 3;
  idx += static_cast<int64_t>(blockIdx.x) * npoint;
  SharedMemory shared;
  RegisterBucket<P> bucket(xyz, size, shared);
  Candidate* candidates = shared.take<Candidate>(2 * kWarp);
  Candidate own = {infinity<float>(), 0};  // the first pick updates every bucket

  Point<float> pick = load_point(xyz, 0);
  if (threadIdx.x == 0) idx[0] = 0;
  for (int step = 1; step < npoint; ++step) {
    if (box_squared_distance(bucket.box(), pick) < own.distance) {
      bucket.update(pick);
      const float farthest = bucket.two_farthest().x;
      own.distance = warp_max(farthest);
      own.index = warp_min(farthest == own.distance ? bucket.lowest_at(own.distance) : INT_MAX);
    }
    // Slot of this step's parity: it is written again two steps on, after a barrier that every reader has
    // passed.
    Candidate* slot = candidates + (step & 1) * kWarp;
    if (lane == 0) slot[warp] = own;
    __syncthreads();
    const Candidate candidate = lane < warps ? slot[lane] : Candidate{0.0f, INT_MAX};
    const float best = warp_max(candidate.distance);
    const int winner = warp_min(candidate.distance == best ? candidate.index : INT_MAX);
    if (threadIdx.x == 0) idx[step] = winner;
    pick = load_point(xyz, winner);
  }
}

// ---- several picks a round, two barriers a round

template <int P>
constexpr size_t fps_round_shared_bytes(int threads) {
  return register_bucket_shared_bytes<P>(threads) + FpsRound<float>::shared_bytes();
}

template <int P>
__global__ void __launch_bounds__(kMaxBlock)
    fps_round_kernel(const float* __restrict__ xyz, int size, int npoint, int* __restrict__ idx) {
  const int lane = threadIdx.x % kWarp;
  xyz += static_cast<int64_t>(blockIdx.x) * size * 3;
  idx += static_cast<int64_t>(blockIdx.x) * npoint;
  SharedMemory shared;
  RegisterBucket<P> bucket(xyz, size, shared);
  FpsRound<float> round(shared, blockDim.x / kWarp);
  FpsCandidate<float> own = {{0, 0, 0}, infinity<float>(), infinity<float>(), 0};
  FpsPick<float> pick = {load_point(xyz, 0), 0};  // lane k: the k-th pick of the last round
  round.start(pick.point);
  if (threadIdx.x == 0) idx[0] = 0;
  __syncthreads();
  for (int picked = 1, picks = 1; picked < npoint; picked += picks) {
    // The picks that can change this bucket do so. Its candidate stays the farthest point as long as its own
    // distance stays; then the runner-up is a bound that may be too large, which is safe.
    const bool mine = lane < picks;
    unsigned near =
        __ballot_sync(kAllLanes, mine && box_squared_distance(bucket.box(), pick.point) < own.distance);
    const bool shrinks =
        __any_sync(kAllLanes, mine && squared_distance(own.point, pick.point) < own.distance);
    for (; near != 0; near &= near - 1) bucket.update(round.picked(__ffs(near) - 1));
    if (shrinks || picked == 1) {
      const float2 farthest = bucket.two_farthest();
      own.distance = warp_max(farthest.x);
      const unsigned holders = __ballot_sync(kAllLanes, farthest.x == own.distance);
      // Another holder is a runner-up at the same distance.
      own.runner_up = warp_max(lane == __ffs(holders) - 1 ? farthest.y : farthest.x);
      own.index = warp_min(farthest.x == own.distance ? bucket.lowest_at(own.distance) : INT_MAX);
      own.point = load_point(xyz, own.index);
      round.nominate(own);
    }
    __syncthreads();
    round.rank();
    __syncthreads();
    picks = round.take(npoint - picked, &pick);
    if (threadIdx.x < picks) idx[picked + lane] = pick.index;
  }
}

// ---- launchers: xyz [B, size, 3], idx [B, npoint]; size, npoint >= 1

inline int register_threads(int size, int points_per_thread) {
  return static_cast<int>(ceil_div(ceil_div(size, points_per_thread), kWarp) * kWarp);
}

template <int P>
cudaError_t launch_fps_step(const float* xyz, int64_t B, int size, int npoint, int* idx,
                            cudaStream_t stream) {
  const int threads = register_threads(size, P);
  return launch(fps_step_kernel<P>, dim3(static_cast<unsigned>(B)), dim3(threads),
                fps_step_shared_bytes<P>(threads), stream, xyz, size, npoint, idx);
}

template <int P>
cudaError_t launch_fps_round(const float* xyz, int64_t B, int size, int npoint, int* idx,
                             cudaStream_t stream) {
  const int threads = register_threads(size, P);
  return launch(fps_round_kernel<P>, dim3(static_cast<unsigned>(B)), dim3(threads),
                fps_round_shared_bytes<P>(threads), stream, xyz, size, npoint, idx);
}

}  // namespace pointnet2::cuda
