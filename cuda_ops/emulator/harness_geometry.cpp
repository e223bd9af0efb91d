// Test only: the launchers of the geometry kernels, for ctypes. Compiled with -fsanitize=thread, see
// emulator.h.
#include "../csrc/cuda/ball_query.cuh"
#include "../csrc/cuda/furthest_point_sample.cuh"
#include "../csrc/cuda/three_nn.cuh"

using namespace pointnet2::cuda;

extern "C" {

// points_per_thread: -1 lets the launcher choose, 0 is the bucket kernel; else 4, 8 or 16 points in
// registers.
int64_t fps_scratch(int is_double, int64_t B, int size, int points_per_thread) {
  int points = points_per_thread;
  if (points < 0 && is_double) fps_points_per_thread<double>(size, &points);
  if (points < 0 && !is_double) fps_points_per_thread<float>(size, &points);
  return is_double ? fps_scratch_bytes<double>(B, size, 0) : fps_scratch_bytes<float>(B, size, points);
}

int furthest_point_sample(int is_double, const void* xyz, int64_t B, int size, int npoint,
                          int points_per_thread, int* idx, char* scratch) {
  int points = points_per_thread;
  if (is_double) {
    return launch_furthest_point_sample(static_cast<const double*>(xyz), B, size, npoint, 0, idx, scratch,
                                        nullptr);
  }
  if (points < 0) fps_points_per_thread<float>(size, &points);
  return launch_furthest_point_sample(static_cast<const float*>(xyz), B, size, npoint, points, idx, scratch,
                                      nullptr);
}

int ball_query(int is_double, const void* xyz, const void* new_xyz, int64_t B, int64_t N, int64_t M,
               double squared_radius, int nsample, int* idx, int* count) {
  if (is_double) {
    return launch_ball_query(static_cast<const double*>(xyz), static_cast<const double*>(new_xyz), B, N, M,
                             squared_radius, nsample, idx, count, nullptr);
  }
  return launch_ball_query(static_cast<const float*>(xyz), static_cast<const float*>(new_xyz), B, N, M,
                           static_cast<float>(squared_radius), nsample, idx, count, nullptr);
}

int three_nn(int is_double, const void* unknown, const void* known, int64_t B, int64_t N, int64_t M,
             void* distance, int* idx) {
  if (is_double) {
    return launch_three_nn(static_cast<const double*>(unknown), static_cast<const double*>(known), B, N, M,
                           static_cast<double*>(distance), idx, nullptr);
  }
  return launch_three_nn(static_cast<const float*>(unknown), static_cast<const float*>(known), B, N, M,
                         static_cast<float*>(distance), idx, nullptr);
}
}
