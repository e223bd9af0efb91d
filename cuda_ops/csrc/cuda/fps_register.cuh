// Furthest point sampling of clouds that fit one multiprocessor's registers (float32, N <= 16384): see
// furthest_point_sample.cuh.
//
// A counting sort along a Morton curve comes first; then every warp owns a bucket of 32 * P neighbouring
// points and keeps their coordinates and distances in registers. The bucket's candidate is its farthest
// point, found by redux.sync on the bits of the distance; the candidates of all warps meet in shared memory.
#pragma once

#include <climits>

#include "cell_order.cuh"

namespace pointnet2::cuda {

constexpr int kRegisterCellBits = 4;
constexpr int kRegisterCells = 1 << (3 * kRegisterCellBits);
constexpr uint16_t kNoPoint = 0xffff;  // larger than every index of a cloud of at most 16384 points
constexpr int kMaxRegisterPoints = 16384;

// At P = 16 a block's points no longer fit the register file (65536 x 4 bytes): y and z move to shared
// memory.
__host__ __device__ constexpr bool yz_in_shared(int points_per_thread) { return points_per_thread > 8; }

// y and z take the place of the counts of the sort, which are dead by then.
__host__ __device__ constexpr int yz_slots(int slots) {
  constexpr int kCounts = kRegisterCells * sizeof(int) / sizeof(float2);
  return slots > kCounts ? slots : kCounts;
}

template <int P>
constexpr size_t register_bucket_shared_bytes(int threads) {
  return cell_order_shared_bytes<float>() + shared_bytes<uint16_t>(threads * P) +
         (yz_in_shared(P) ? shared_bytes<float2>(yz_slots(threads * P)) + shared_bytes<Box<float>>(kWarp)
                          : shared_bytes<int>(kRegisterCells));
}

// A warp's bucket; each lane holds P of its points. Slots beyond the cloud have distance 0 and the index
// kNoPoint: a real point always beats them. Every warp has at least one real point.
template <int P>
class RegisterBucket {
 public:
  // Sorts the cloud: all threads of the block call it. Ends without a barrier; no thread reads another's
  // slots.
  __device__ __forceinline__ RegisterBucket(const float* __restrict__ xyz, int size, SharedMemory& shared) {
    const int lane = threadIdx.x % kWarp, slots = blockDim.x * P;
    const int first = threadIdx.x / kWarp * P * kWarp + lane;  // slot of this lane's first point
    uint16_t* order = shared.take<uint16_t>(slots);
    float2* yz = kYzInShared ? shared.take<float2>(yz_slots(slots)) : nullptr;
    int* counts = kYzInShared ? reinterpret_cast<int*>(yz) : shared.take<int>(kRegisterCells);
    for (int s = size + threadIdx.x; s < slots; s += blockDim.x) order[s] = kNoPoint;
    sort_by_cell<kRegisterCellBits>(xyz, size, counts, order, shared);
    order_ = order + first;
    if constexpr (kYzInShared) yz_ = yz + first;
    Box<float> box = empty_box<float>();
#pragma unroll
    for (int p = 0; p < P; ++p) {
      const bool real = first + p * kWarp < size;
      const Point<float> point = real ? load_point(xyz, index(p)) : Point<float>{0, 0, 0};
      if (real) extend(box, point);
      x_[p] = point.x;
      distance_[p] = real ? infinity<float>() : 0.0f;
      if constexpr (kYzInShared) {
        yz_[p * kWarp] = make_float2(point.y, point.z);
      } else {
        y_[p] = point.y;
        z_[p] = point.z;
      }
    }
    box = warp_union(box);
    if constexpr (kYzInShared) {
      box_ = shared.take<Box<float>>(kWarp) + threadIdx.x / kWarp;
      if (lane == 0) *box_ = box;
      __syncwarp();
    } else {
      box_ = box;
    }
  }

  __device__ __forceinline__ Box<float> box() const {
    if constexpr (kYzInShared)
      return *box_;
    else
      return box_;
  }

  // Takes account of a pick.
  __device__ __forceinline__ void update(const Point<float>& pick) {
#pragma unroll
    for (int p = 0; p < P; ++p) distance_[p] = fminf(distance_[p], squared_distance(point(p), pick));
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
  static constexpr bool kYzInShared = yz_in_shared(P);

  __device__ __forceinline__ int index(int p) const { return order_[p * kWarp]; }

  __device__ __forceinline__ Point<float> point(int p) const {
    if constexpr (kYzInShared) {
      const float2 other = yz_[p * kWarp];
      return {x_[p], other.x, other.y};
    } else {
      return {x_[p], y_[p], z_[p]};
    }
  }

  float x_[P], y_[kYzInShared ? 1 : P], z_[kYzInShared ? 1 : P], distance_[P];
  std::conditional_t<kYzInShared, Box<float>*, Box<float>> box_;
  const uint16_t* order_;  // of this lane's points, 32 apart
  float2* yz_ = nullptr;
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
//
// Let the candidates stand in the order of (distance descending, index ascending). The first is the next
// pick. So is each one after it, as long as no earlier one
// - lies nearer to it than its own distance (it would shrink), or
// - comes from a bucket whose runner-up is as far (some other point there might be next).
// Points of other buckets are beaten by their own candidates. The longest such run is taken at once: on rooms
// of 8192 points some 230 rounds replace 1023 steps.

struct alignas(16) RoundCandidate {
  float x, y, z, distance;
};

// The index, and the largest distance of the bucket's other points.
struct alignas(8) CandidateRest {
  int index;
  float runner_up;
};

// A candidate at its place in the order; index -1: not a pick.
struct alignas(16) RankedPick {
  float x, y, z;
  int index;
};

template <int P>
constexpr size_t fps_round_shared_bytes(int threads) {
  return register_bucket_shared_bytes<P>(threads) + shared_bytes<RoundCandidate>(kWarp) +
         shared_bytes<CandidateRest>(kWarp) + shared_bytes<RankedPick>(kWarp);
}

template <int P>
__global__ void __launch_bounds__(kMaxBlock)
    fps_round_kernel(const float* __restrict__ xyz, int size, int npoint, int* __restrict__ idx) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  xyz += static_cast<int64_t>(blockIdx.x) * size * 3;
  idx += static_cast<int64_t>(blockIdx.x) * npoint;
  SharedMemory shared;
  RegisterBucket<P> bucket(xyz, size, shared);
  RoundCandidate* candidates = shared.take<RoundCandidate>(kWarp);
  CandidateRest* rest = shared.take<CandidateRest>(kWarp);
  RankedPick* ranked = shared.take<RankedPick>(kWarp);

  Point<float> own = {0, 0, 0};  // this warp's candidate
  float distance = infinity<float>();
  int index = 0;
  if (threadIdx.x == 0) idx[0] = 0;
  Point<float> pick = load_point(xyz, 0);  // lane k: the k-th pick of the last round
  int picks = 1;
  for (int picked = 1; picked < npoint; picked += picks) {
    // 1. The picks that can change this bucket do so.
    unsigned near =
        __ballot_sync(kAllLanes, lane < picks && box_squared_distance(bucket.box(), pick) < distance);
    if (near != 0 || picked == 1) {
      for (; near != 0; near &= near - 1) {
        const int k = __ffs(near) - 1;
        bucket.update({__shfl_sync(kAllLanes, pick.x, k), __shfl_sync(kAllLanes, pick.y, k),
                       __shfl_sync(kAllLanes, pick.z, k)});
      }
      const float2 farthest = bucket.two_farthest();
      distance = warp_max(farthest.x);
      const unsigned holders = __ballot_sync(kAllLanes, farthest.x == distance);
      // Another holder is a runner-up at the same distance.
      const float runner_up = warp_max(lane == __ffs(holders) - 1 ? farthest.y : farthest.x);
      index = warp_min(farthest.x == distance ? bucket.lowest_at(distance) : INT_MAX);
      own = load_point(xyz, index);
      if (lane == 0) {
        candidates[warp] = {own.x, own.y, own.z, distance};
        rest[warp] = {index, runner_up};
      }
    }
    __syncthreads();
    // 2. Every warp finds the place of its own candidate and whether one before it forbids it.
    bool before = false, forbids = false;
    if (lane < warps) {
      const RoundCandidate other = candidates[lane];
      const CandidateRest other_rest = rest[lane];
      before = other.distance > distance || (other.distance == distance && other_rest.index < index);
      forbids = before && (other_rest.runner_up >= distance ||
                           squared_distance(own, Point<float>{other.x, other.y, other.z}) < distance);
    }
    const int rank = __popc(__ballot_sync(kAllLanes, before));
    const bool forbidden = __any_sync(kAllLanes, forbids);
    if (lane == 0) ranked[rank] = {own.x, own.y, own.z, forbidden ? -1 : index};
    __syncthreads();
    // 3. The run of picks ends at the first that is forbidden.
    const RankedPick next = lane < warps ? ranked[lane] : RankedPick{0, 0, 0, -1};
    const unsigned refused = __ballot_sync(kAllLanes, next.index < 0 || picked + lane >= npoint);
    picks = refused == 0 ? kWarp : __ffs(refused) - 1;
    pick = {next.x, next.y, next.z};
    if (warp == 0 && lane < picks) idx[picked + lane] = next.index;
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
