// Test only: the benchmarks' baseline kernels, for ctypes. Compiled with -fsanitize=thread, see emulator.h.
#include "../../benchmarks/original/original.cuh"

using namespace pointnet2::original;
using pointnet2::cuda::launch;

extern "C" {

int original_furthest_point_sample(const float* xyz, unsigned B, int N, int npoint, float* nearest,
                                   int* idx) {
  const int threads = threads_for(N);
  return launch(furthest_point_sample_kernel, dim3(B), dim3(threads), fps_shared_bytes(threads), nullptr, xyz,
                N, npoint, nearest, idx);
}

int original_ball_query(const float* xyz, const float* new_xyz, unsigned B, int N, int M,
                        float squared_radius, int nsample, int* idx) {
  return launch(ball_query_kernel, dim3(B), dim3(threads_for(M)), 0, nullptr, xyz, new_xyz, N, M,
                squared_radius, nsample, idx);
}

int original_three_nn(const float* unknown, const float* known, unsigned B, int N, int M, float* distances,
                      int* idx) {
  return launch(three_nn_kernel, dim3(B), dim3(threads_for(N)), 0, nullptr, unknown, known, N, M, distances,
                idx);
}

int original_group(const float* features, const int* idx, unsigned B, int C, int N, int M, int K,
                   float* out) {
  return launch(group_kernel, dim3(B), block_for(M, C), 0, nullptr, features, idx, C, N, M, K, out);
}

int original_group_backward(const float* grad, const int* idx, unsigned B, int C, int N, int M, int K,
                            float* out) {
  return launch(group_backward_kernel, dim3(B), block_for(M, C), 0, nullptr, grad, idx, C, N, M, K, out);
}

int original_interpolate(const float* features, const int* idx, const float* weight, unsigned B, int C, int M,
                         int N, float* out) {
  return launch(interpolate_kernel, dim3(B), block_for(N, C), 0, nullptr, features, idx, weight, C, M, N,
                out);
}

int original_interpolate_backward(const float* grad, const int* idx, const float* weight, unsigned B, int C,
                                  int M, int N, float* out) {
  return launch(interpolate_backward_kernel, dim3(B), block_for(N, C), 0, nullptr, grad, idx, weight, C, M, N,
                out);
}

// What the glue does before a launch: `count` floats of an output become `value`.
int original_fill(float* out, int64_t count, float value) {
  const cudaError_t error = cudaMemsetAsync(out, 0, count * sizeof(float), nullptr);
  for (int64_t i = 0; i < count; ++i) out[i] = value;
  return error;
}
}
