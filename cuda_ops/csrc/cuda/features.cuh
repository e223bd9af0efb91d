// Feature tensors as kernels see them: memory formats, element types, groups of elements that move together.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "common.cuh"

namespace pointnet2::cuda {

// Features [B, C, N] in one of two formats, not necessarily dense:
//   rows    (channels last): element (b, c, n) lies at data + b * batch + n * stride + c
//   planes  (channels first): element (b, c, n) lies at data + b * batch + c * stride + n
// Strides count elements of T. Results are always dense.
template <class T>
struct Features {
  T* data;
  int64_t batch, stride;
};

// Sums are taken in float32, for float64 in float64.
template <class T>
struct SumOf {
  using type = float;
};
template <>
struct SumOf<double> {
  using type = double;
};
template <class T>
using Sum = typename SumOf<T>::type;

__device__ __forceinline__ float to_sum(float x) { return x; }
__device__ __forceinline__ double to_sum(double x) { return x; }
__device__ __forceinline__ float to_sum(__half x) { return __half2float(x); }
__device__ __forceinline__ float to_sum(__nv_bfloat16 x) { return __bfloat162float(x); }

template <class T>
__device__ __forceinline__ T from_sum(Sum<T> x) {
  if constexpr (std::is_same_v<T, __half>)
    return __float2half_rn(x);
  else if constexpr (std::is_same_v<T, __nv_bfloat16>)
    return __float2bfloat16_rn(x);
  else
    return x;
}

// V neighbouring elements, moved by one load or store.
template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
  T element[V];
};

// What an index outside [0, N) reads: all bits set, which is a NaN in every floating point type. Nothing is
// read or written out of bounds, and the mistake cannot go unnoticed.
template <class Word>
__device__ __forceinline__ Word all_bits_set();
template <>
__device__ __forceinline__ unsigned short all_bits_set() {
  return 0xffffu;
}
template <>
__device__ __forceinline__ unsigned all_bits_set() {
  return 0xffffffffu;
}
template <>
__device__ __forceinline__ uint2 all_bits_set() {
  return make_uint2(0xffffffffu, 0xffffffffu);
}
template <>
__device__ __forceinline__ uint4 all_bits_set() {
  return make_uint4(0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu);
}

__device__ __forceinline__ bool in_range(int index, int64_t size) { return index >= 0 && index < size; }

// ---- shapes of blocks and grids
// -------------------------------------------------------------------------------------

constexpr int kFeatureBlock = 256;
constexpr int kPlaneGroup = 8;  // channels of a plane kernel that share one look at the indices

// Rows: threadIdx.x runs over the packs of a row, threadIdx.y over rows; grid x over rows, y over clouds.
struct RowShape {
  dim3 grid, block;
};
inline RowShape row_shape(int64_t B, int64_t rows, int64_t packs) {
  unsigned width = 1;
  while (width < static_cast<unsigned>(kWarp) && width < packs) width *= 2;
  const unsigned height = kFeatureBlock / width;
  return {dim3(static_cast<unsigned>(ceil_div(rows, height)), clamp_grid(B)), dim3(width, height)};
}

// Planes: a thread per point; grid x over points, y over groups of channels, z over clouds.
inline dim3 plane_grid(int64_t B, int64_t C, int64_t points) {
  return dim3(static_cast<unsigned>(ceil_div(points, kFeatureBlock)), clamp_grid(ceil_div(C, kPlaneGroup)),
              clamp_grid(B));
}

// True if packs of `bytes` may move whole: the first element and every stride are multiples of it.
template <class T>
bool aligned(const Features<T>& x, int64_t C, int64_t bytes) {
  const int64_t size = sizeof(T);
  return reinterpret_cast<uintptr_t>(x.data) % bytes == 0 && x.batch * size % bytes == 0 &&
         x.stride * size % bytes == 0 && C * size % bytes == 0;
}

}  // namespace pointnet2::cuda
