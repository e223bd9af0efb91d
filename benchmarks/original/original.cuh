// The algorithms of the original pointnet2_ops, written anew as a baseline to measure against: one block for
// each cloud whatever the batch, a shared-memory tree for the arg max, one thread for each query, atomics in
// backward passes. Float32, int32 indices, channels first; for benchmarks only.
#pragma once

#include "cuda/common.cuh"

namespace pointnet2::original {

using cuda::SharedMemory;

// The largest power of two up to `work`, at most 512.
inline int threads_for(int64_t work) {
  int threads = 1;
  while (threads < 512 && threads * 2 <= work) threads *= 2;
  return threads;
}

// Threads along `x` first, what is left along `y`.
inline dim3 block_for(int64_t x, int64_t y) {
  const int wide = threads_for(x), room = 512 / wide, high = threads_for(y);
  return dim3(wide, high < room ? high : room);
}

// Two buffers instead of the original's one: with one, a fast thread may overwrite the result that others
// still read.
inline size_t fps_shared_bytes(int threads) {
  return cuda::shared_bytes<float>(2 * threads) + cuda::shared_bytes<int>(2 * threads);
}

// `nearest` [B, N] starts as 1e10. Points within 1e-3 (squared) of the origin are never picked, as in the
// original.
static __global__ void furthest_point_sample_kernel(const float* xyz, int N, int npoint, float* nearest,
                                                    int* idx) {
  const int threads = blockDim.x, thread = threadIdx.x;
  SharedMemory shared;
  float* distances = shared.take<float>(2 * threads);
  int* indices = shared.take<int>(2 * threads);
  xyz += static_cast<int64_t>(blockIdx.x) * N * 3;
  nearest += static_cast<int64_t>(blockIdx.x) * N;
  idx += static_cast<int64_t>(blockIdx.x) * npoint;

  int pick = 0;
  if (thread == 0) idx[0] = 0;
  for (int step = 1; step < npoint; ++step) {
    const float px = xyz[3 * pick], py = xyz[3 * pick + 1], pz = xyz[3 * pick + 2];
    float best = -1;
    int best_index = 0;
    for (int i = thread; i < N; i += threads) {
      const float x = xyz[3 * i], y = xyz[3 * i + 1], z = xyz[3 * i + 2];
      if (x * x + y * y + z * z <= 1e-3f) continue;
      const float d = fminf((x - px) * (x - px) + (y - py) * (y - py) + (z - pz) * (z - pz), nearest[i]);
      nearest[i] = d;
      best_index = d > best ? i : best_index;
      best = d > best ? d : best;
    }
    float* distance = distances + (step & 1) * threads;
    int* index = indices + (step & 1) * threads;
    distance[thread] = best;
    index[thread] = best_index;
    __syncthreads();
    for (int width = threads / 2; width > 0; width /= 2) {
      if (thread < width && distance[thread + width] > distance[thread]) {
        distance[thread] = distance[thread + width];
        index[thread] = index[thread + width];
      }
      __syncthreads();
    }
    pick = index[0];
    if (thread == 0) idx[step] = pick;
  }
}

// idx [B, M, nsample] starts as zeros.
static __global__ void ball_query_kernel(const float* xyz, const float* new_xyz, int N, int M,
                                         float squared_radius, int nsample, int* idx) {
  const int64_t b = blockIdx.x;
  xyz += b * N * 3;
  new_xyz += b * M * 3;
  idx += b * M * nsample;
  for (int m = threadIdx.x; m < M; m += blockDim.x) {
    const float x = new_xyz[3 * m], y = new_xyz[3 * m + 1], z = new_xyz[3 * m + 2];
    for (int i = 0, hits = 0; i < N && hits < nsample; ++i) {
      const float dx = x - xyz[3 * i], dy = y - xyz[3 * i + 1], dz = z - xyz[3 * i + 2];
      if (dx * dx + dy * dy + dz * dz < squared_radius) {
        for (int k = 0; hits == 0 && k < nsample; ++k) idx[m * nsample + k] = i;
        idx[m * nsample + hits++] = i;
      }
    }
  }
}

static __global__ void three_nn_kernel(const float* unknown, const float* known, int N, int M,
                                       float* distances, int* idx) {
  const int64_t b = blockIdx.x;
  unknown += b * N * 3;
  known += b * M * 3;
  for (int n = threadIdx.x; n < N; n += blockDim.x) {
    const float x = unknown[3 * n], y = unknown[3 * n + 1], z = unknown[3 * n + 2];
    double best[3] = {1e40, 1e40, 1e40};
    int index[3] = {0, 0, 0};
    for (int m = 0; m < M; ++m) {
      const float dx = x - known[3 * m], dy = y - known[3 * m + 1], dz = z - known[3 * m + 2];
      const float d = dx * dx + dy * dy + dz * dz;
      int place = 3;
      while (place > 0 && d < best[place - 1]) --place;
      for (int k = 2; k > place; --k) {
        best[k] = best[k - 1];
        index[k] = index[k - 1];
      }
      if (place < 3) {
        best[place] = d;
        index[place] = m;
      }
    }
    for (int k = 0; k < 3; ++k) {
      distances[(b * N + n) * 3 + k] = static_cast<float>(best[k]);
      idx[(b * N + n) * 3 + k] = index[k];
    }
  }
}

// features [B, C, N], idx [B, M, K] -> [B, C, M, K]: a block for each cloud.
static __global__ void group_kernel(const float* features, const int* idx, int C, int N, int M, int K,
                                    float* out) {
  const int64_t b = blockIdx.x;
  for (int c = threadIdx.y; c < C; c += blockDim.y) {
    for (int m = threadIdx.x; m < M; m += blockDim.x) {
      for (int k = 0; k < K; ++k) {
        out[((b * C + c) * M + m) * K + k] = features[(b * C + c) * N + idx[(b * M + m) * K + k]];
      }
    }
  }
}

// `out` [B, C, N] starts as zeros.
static __global__ void group_backward_kernel(const float* grad, const int* idx, int C, int N, int M, int K,
                                             float* out) {
  const int64_t b = blockIdx.x;
  for (int c = threadIdx.y; c < C; c += blockDim.y) {
    for (int m = threadIdx.x; m < M; m += blockDim.x) {
      for (int k = 0; k < K; ++k) {
        atomicAdd(out + (b * C + c) * N + idx[(b * M + m) * K + k], grad[((b * C + c) * M + m) * K + k]);
      }
    }
  }
}

// features [B, C, M], idx and weight [B, N, 3] -> [B, C, N]
static __global__ void interpolate_kernel(const float* features, const int* idx, const float* weight, int C,
                                          int M, int N, float* out) {
  const int64_t b = blockIdx.x;
  for (int c = threadIdx.y; c < C; c += blockDim.y) {
    const float* plane = features + (b * C + c) * M;
    for (int n = threadIdx.x; n < N; n += blockDim.x) {
      const int64_t edge = (b * N + n) * 3;
      out[(b * C + c) * N + n] = plane[idx[edge]] * weight[edge] + plane[idx[edge + 1]] * weight[edge + 1] +
                                 plane[idx[edge + 2]] * weight[edge + 2];
    }
  }
}

// `out` [B, C, M] starts as zeros.
static __global__ void interpolate_backward_kernel(const float* grad, const int* idx, const float* weight,
                                                   int C, int M, int N, float* out) {
  const int64_t b = blockIdx.x;
  for (int c = threadIdx.y; c < C; c += blockDim.y) {
    for (int n = threadIdx.x; n < N; n += blockDim.x) {
      for (int64_t edge = (b * N + n) * 3, k = 0; k < 3; ++k) {
        atomicAdd(out + (b * C + c) * M + idx[edge + k], grad[(b * C + c) * N + n] * weight[edge + k]);
      }
    }
  }
}

}  // namespace pointnet2::original
