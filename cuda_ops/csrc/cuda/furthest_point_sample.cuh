// Furthest point sampling: idx[0] = 0, then always the point whose distance to the points picked so far is
// largest; of equally distant points the one with the lowest index.
//
// Each pick depends on the ones before it, so latency is what counts. One thread block works on one cloud, by
// one of these kernels:
// - rounds: buckets of points in the registers of a warp (fps_register.cuh), several picks a round
// (fps_round.cuh);
// - buckets: any size, float32 and float64, buckets in global memory (fps_bucket.cuh), several picks a round;
// - steps and bucket steps: the same with one pick a step, for comparison.
//
// Exactness. All skip a bucket whose box is not nearer to a pick than the bucket's own largest distance: then
// no distance in it can shrink (box_squared_distance) and the remembered candidate stays. Distances are >= 0,
// so their bits order like their values. Ties are decided by the original index everywhere, so the order of
// the sort is invisible.
//
// Bottleneck: barrier, reduction and load latency, some thousand cycles a round.
#pragma once

#include "fps_bucket.cuh"
#include "fps_register.cuh"

namespace pointnet2::cuda {

enum class FpsKernel { kChoose = -1, kBuckets = 0, kSteps = 1, kRounds = 2, kBucketSteps = 3 };

// The kernel and the points each of its threads holds in registers; 0 for buckets.
struct FpsPlan {
  FpsKernel kernel = FpsKernel::kBuckets;
  int points_per_thread = 0;
};

// The kernel that is wanted, if it can take this cloud; kChoose: the fastest that can.
template <class T>
cudaError_t fps_plan(int size, FpsKernel wanted, FpsPlan* plan) {
  const bool in_registers = std::is_same_v<T, float> && size <= kMaxRegisterPoints;
  if (wanted == FpsKernel::kChoose) wanted = in_registers ? FpsKernel::kRounds : FpsKernel::kBuckets;
  *plan = {wanted, 0};
  if (wanted == FpsKernel::kBuckets || wanted == FpsKernel::kBucketSteps) return cudaSuccess;
  plan->points_per_thread = wanted == FpsKernel::kSteps || size > 4096 ? 8 : size > 2048 ? 4 : 2;
  return in_registers ? cudaSuccess : cudaErrorInvalidValue;
}

template <class T>
int64_t fps_scratch_bytes(int64_t B, int size, const FpsPlan& plan) {
  return plan.points_per_thread > 0 ? 0 : B * BucketPlan<T>(size).scratch_bytes();
}

// xyz [B, size, 3], idx [B, npoint]; size, npoint >= 1.
template <class T>
cudaError_t launch_furthest_point_sample(const T* xyz, int64_t B, int size, int npoint, const FpsPlan& plan,
                                         int* idx, char* scratch, cudaStream_t stream) {
  if constexpr (std::is_same_v<T, float>) {
    if (plan.kernel == FpsKernel::kSteps) return launch_fps_step<8>(xyz, B, size, npoint, idx, stream);
    switch (plan.points_per_thread) {
      case 2:
        return launch_fps_round<2>(xyz, B, size, npoint, idx, stream);
      case 4:
        return launch_fps_round<4>(xyz, B, size, npoint, idx, stream);
      case 8:
        return launch_fps_round<8>(xyz, B, size, npoint, idx, stream);
    }
  }
  const int64_t threads = ceil_div(ceil_div(size, 8), kWarp) * kWarp;
  return launch(fps_bucket_kernel<T>, dim3(static_cast<unsigned>(B)),
                dim3(static_cast<unsigned>(threads < kBucketBlock<T> ? threads : kBucketBlock<T>)),
                fps_bucket_shared_bytes<T>(), stream, xyz, size, npoint,
                plan.kernel == FpsKernel::kBucketSteps ? 1 : kWarp, idx, scratch);
}

}  // namespace pointnet2::cuda
