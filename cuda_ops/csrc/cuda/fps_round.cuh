// Several picks of furthest point sampling at once, exactly.
//
// The cloud is cut into sets of points. Of each set, a warp knows its candidate, the set's next pick
// (farthest, of the lowest index), and a bound of its runner-up, the largest distance of its other points.
// Let the candidates stand in the order of (distance descending, index ascending). The first is the next
// pick. So is each one after it, as long as no earlier one
// - lies nearer to it than its own distance (it would shrink), or
// - comes from a set whose runner-up is as far (another point of that set might be next).
// Points of other sets are beaten by their own candidates. The longest such run is taken in one round: with
// 32 sets, on rooms of 8192 points, some 230 rounds replace 1023 steps.
#pragma once

#include <climits>

#include "common.cuh"

namespace pointnet2::cuda {

template <class T>
struct FpsCandidate {
  Point<T> point;
  T distance, runner_up;
  int index;

  __device__ __forceinline__ bool stands_before(const FpsCandidate& other) const {
    return distance > other.distance || (distance == other.distance && index < other.index);
  }
};

// A candidate at its place in the order; index -1: not a pick.
template <class T>
struct FpsPick {
  Point<T> point;
  int index;
};

// What the warps of a block share: at most 32 candidates, one a warp, and the picks of a round.
template <class T>
class FpsRound {
 public:
  static constexpr size_t shared_bytes() {
    return cuda::shared_bytes<FpsCandidate<T>>(kWarp) + cuda::shared_bytes<FpsPick<T>>(kWarp);
  }

  // `candidates`: of the warps 0, 1, ... that have one.
  __device__ __forceinline__ FpsRound(SharedMemory& shared, int candidates)
      : candidates_(shared.take<FpsCandidate<T>>(kWarp)),
        ranked_(shared.take<FpsPick<T>>(kWarp)),
        count_(candidates) {}

  // The first point, as the pick 0. A barrier must follow.
  __device__ __forceinline__ void start(const Point<T>& first) {
    if (threadIdx.x == 0) ranked_[0] = {first, 0};
  }

  // This warp's candidate, until it nominates another. A barrier must follow.
  __device__ __forceinline__ void nominate(const FpsCandidate<T>& own) {
    if (lane() == 0 && warp() < count_) candidates_[warp()] = own;
  }

  // Every warp finds the place of its own candidate and whether one before it forbids it. A barrier must
  // follow.
  __device__ __forceinline__ void rank() {
    if (warp() >= count_) return;
    const FpsCandidate<T> own = candidates_[warp()];
    bool before = false, forbids = false;
    if (lane() < count_) {
      const FpsCandidate<T> other = candidates_[lane()];
      before = other.stands_before(own);
      forbids = before &&
                (other.runner_up >= own.distance || squared_distance(own.point, other.point) < own.distance);
    }
    const int place = __popc(__ballot_sync(kAllLanes, before));
    const bool forbidden = __any_sync(kAllLanes, forbids);
    if (lane() == 0) ranked_[place] = {own.point, forbidden ? -1 : own.index};
  }

  // The run of picks, up to the first that is forbidden, and at most `wanted`: lane k gets the k-th. Returns
  // how many.
  __device__ __forceinline__ int take(int wanted, FpsPick<T>* pick) const {
    *pick = lane() < count_ ? ranked_[lane()] : FpsPick<T>{{0, 0, 0}, -1};
    const unsigned refused = __ballot_sync(kAllLanes, pick->index < 0 || lane() >= wanted);
    return refused == 0 ? kWarp : __ffs(refused) - 1;
  }

  // Pick k of this round, for all lanes.
  __device__ __forceinline__ Point<T> picked(int k) const { return ranked_[k].point; }

 private:
  static __device__ __forceinline__ int lane() { return threadIdx.x % kWarp; }
  static __device__ __forceinline__ int warp() { return threadIdx.x / kWarp; }

  FpsCandidate<T>* candidates_;
  FpsPick<T>* ranked_;
  int count_;
};

}  // namespace pointnet2::cuda
