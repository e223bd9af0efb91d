// Test only: the launchers of the geometry kernels, for ctypes. Compiled with -fsanitize=thread, see
// emulator.h.
#include "../csrc/cuda/ball_query.cuh"
#include "../csrc/cuda/furthest_point_sample.cuh"
#include "../csrc/cuda/three_nn.cuh"

using namespace pointnet2::cuda;

extern "C" {

// kernel: a FpsKernel.
int64_t fps_scratch(int is_double, int64_t B, int size, int kernel) {
  FpsPlan plan;
  if (is_double) {
    fps_plan<double>(size, static_cast<FpsKernel>(kernel), &plan);
    return fps_scratch_bytes<double>(B, size, plan);
  }
  fps_plan<float>(size, static_cast<FpsKernel>(kernel), &plan);
  return fps_scratch_bytes<float>(B, size, plan);
}

// points_per_thread: 0 leaves it to the plan.
int furthest_point_sample(int is_double, const void* xyz, int64_t B, int size, int npoint, int kernel,
                          int points_per_thread, int* idx, char* scratch) {
  const auto start = [&](auto tag) -> int {
    using T = decltype(tag);
    FpsPlan plan;
    const cudaError_t error = fps_plan<T>(size, static_cast<FpsKernel>(kernel), &plan);
    if (error != cudaSuccess) return error;
    if (points_per_thread > 0) plan.points_per_thread = points_per_thread;
    return launch_furthest_point_sample(static_cast<const T*>(xyz), B, size, npoint, plan, idx, scratch,
                                        nullptr);
  };
  return is_double ? start(double{}) : start(float{});
}

// Bytes of scratch for ball_query (M = 0) or three_nn if `kernel` is the ordered one.
int64_t order_scratch(int64_t B, int64_t N, int64_t M) {
  return OrderMemory(B, N).bytes + (M > 0 ? OrderMemory(B, M).bytes : 0);
}

// kernel: a BallQueryKernel.
int ball_query(int is_double, const void* xyz, const void* new_xyz, int64_t B, int64_t N, int64_t M,
               double squared_radius, int nsample, int kernel, int* idx, int* count, char* scratch) {
  const auto start = [&](auto tag) -> int {
    using T = decltype(tag);
    bool ordered = false;
    const cudaError_t error = ball_query_plan<T>(B, N, M, static_cast<BallQueryKernel>(kernel), &ordered);
    if (error != cudaSuccess) return error;
    return launch_ball_query(static_cast<const T*>(xyz), static_cast<const T*>(new_xyz), B, N, M,
                             static_cast<T>(squared_radius), nsample, idx, count, ordered, scratch, nullptr);
  };
  return is_double ? start(double{}) : start(float{});
}

// kernel: a ThreeNnKernel.
int three_nn(int is_double, const void* unknown, const void* known, int64_t B, int64_t N, int64_t M,
             int kernel, void* distance, int* idx, char* scratch) {
  const auto start = [&](auto tag) -> int {
    using T = decltype(tag);
    bool ordered = false;
    const cudaError_t error = three_nn_plan<T>(B, N, M, static_cast<ThreeNnKernel>(kernel), &ordered);
    if (error != cudaSuccess) return error;
    return launch_three_nn(static_cast<const T*>(unknown), static_cast<const T*>(known), B, N, M,
                           static_cast<T*>(distance), idx, ordered, scratch, nullptr);
  };
  return is_double ? start(double{}) : start(float{});
}
}
