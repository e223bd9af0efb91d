// What every kernel here shares: exact arithmetic, warp reductions, shared memory, launching. Knows no torch.
//
// Letters: B clouds, N points of a cloud, M queries or centres, C channels, E edges (entries of an index
// array).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

namespace pointnet2::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kMaxBlock = 1024;
constexpr int64_t kMaxGridYZ = 65535;

// ---- exact arithmetic
// ---------------------------------------------------------------------------------------- Every operation
// rounds on its own, left to right, so that the compiler cannot contract a product and a sum into one FMA:
// indices must equal those of the CPU kernels and of the reference, bit for bit.

__device__ __forceinline__ float sub(float a, float b) { return __fsub_rn(a, b); }
__device__ __forceinline__ double sub(double a, double b) { return __dsub_rn(a, b); }

__device__ __forceinline__ float sum_of_squares(float x, float y, float z) {
  return __fadd_rn(__fadd_rn(__fmul_rn(x, x), __fmul_rn(y, y)), __fmul_rn(z, z));
}
__device__ __forceinline__ double sum_of_squares(double x, double y, double z) {
  return __dadd_rn(__dadd_rn(__dmul_rn(x, x), __dmul_rn(y, y)), __dmul_rn(z, z));
}

__device__ __forceinline__ float root(float x) { return __fsqrt_rn(x); }
__device__ __forceinline__ double root(double x) { return __dsqrt_rn(x); }

template <class T>
struct Point {
  T x, y, z;
};

template <class T>
__device__ __forceinline__ Point<T> load_point(const T* __restrict__ xyz, int64_t i) {
  return {__ldg(xyz + 3 * i), __ldg(xyz + 3 * i + 1), __ldg(xyz + 3 * i + 2)};
}

template <class T>
__device__ __forceinline__ T squared_distance(const Point<T>& a, const Point<T>& b) {
  return sum_of_squares(sub(a.x, b.x), sub(a.y, b.y), sub(a.z, b.z));
}

template <class T>
__device__ __forceinline__ T infinity() {
  return static_cast<T>(__int_as_float(0x7f800000));
}

// ---- warp reductions: every lane gets the result
// ----------------------------------------------------------------

// Maximum of values >= 0. Non-negative floats order like their bits, which one `redux.sync` reduces (sm_80
// on).
__device__ __forceinline__ float warp_max(float value) {
#if __CUDA_ARCH__ >= 800
  return __uint_as_float(__reduce_max_sync(kAllLanes, __float_as_uint(value)));
#else
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, value, offset);
    value = other > value ? other : value;
  }
  return value;
#endif
}

__device__ __forceinline__ double warp_max(double value) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const double other = __shfl_xor_sync(kAllLanes, value, offset);
    value = other > value ? other : value;
  }
  return value;
}

__device__ __forceinline__ int warp_min(int value) {
#if __CUDA_ARCH__ >= 800
  return __reduce_min_sync(kAllLanes, value);
#else
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const int other = __shfl_xor_sync(kAllLanes, value, offset);
    value = other < value ? other : value;
  }
  return value;
#endif
}

// Minimum or maximum of coordinates of either sign.
template <bool kMaximum, class T>
__device__ __forceinline__ T warp_extreme(T value) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const T other = __shfl_xor_sync(kAllLanes, value, offset);
    if (kMaximum ? other > value : other < value) value = other;
  }
  return value;
}

// Minimum of values >= 0.
__device__ __forceinline__ float warp_min(float value) {
#if __CUDA_ARCH__ >= 800
  return __uint_as_float(__reduce_min_sync(kAllLanes, __float_as_uint(value)));
#else
  return warp_extreme<false>(value);
#endif
}

__device__ __forceinline__ int warp_inclusive_sum(int value, int lane) {
  for (int offset = 1; offset < kWarp; offset *= 2) {
    const int other = __shfl_up_sync(kAllLanes, value, offset);
    if (lane >= offset) value += other;
  }
  return value;
}

// ---- shared memory
// ---------------------------------------------------------------------------------------------- A kernel
// takes its arrays one after another from the block's dynamic shared memory; the launcher adds up the same
// sizes with shared_bytes(). The emulator puts guard zones between the arrays.

constexpr size_t kSharedAlignment = 16;

template <class T>
__host__ __device__ constexpr size_t shared_bytes(int64_t count) {
  return (static_cast<size_t>(count) * sizeof(T) + kSharedAlignment - 1) / kSharedAlignment *
         kSharedAlignment;
}

#ifdef POINTNET2_EMULATOR
using SharedMemory = ::emulator::SharedMemory;
#else
class SharedMemory {
 public:
  template <class T>
  __device__ __forceinline__ T* take(int64_t count) {
    extern __shared__ __align__(16) unsigned char block_shared[];
    T* array = reinterpret_cast<T*>(block_shared + used_);
    used_ += shared_bytes<T>(count);
    return array;
  }

 private:
  size_t used_ = 0;
};
#endif

// In place: counts[0..size), written before a barrier, become their exclusive prefix sums. All threads of the
// block call it, blockDim.x is a multiple of 32; `warp_sums` holds 32 ints. Ends with a barrier. `counts` may
// be shared or global memory.
__device__ __forceinline__ void block_exclusive_scan(int* counts, int64_t size, int* warp_sums) {
  constexpr int kEach = 4;  // neighbours that a thread sums itself
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  int carry = 0;
  for (int64_t begin = 0; begin < size; begin += kEach * blockDim.x) {
    const int64_t first = begin + kEach * threadIdx.x;
    int value[kEach], sum = 0;
#pragma unroll
    for (int k = 0; k < kEach; ++k) value[k] = first + k < size ? counts[first + k] : 0;
#pragma unroll
    for (int k = 0; k < kEach; ++k) sum += value[k];
    const int inclusive = warp_inclusive_sum(sum, lane);
    if (lane == kWarp - 1) warp_sums[warp] = inclusive;
    __syncthreads();
    const int others = warp_inclusive_sum(lane < warps ? warp_sums[lane] : 0, lane);
    const int before = __shfl_sync(kAllLanes, others, warp > 0 ? warp - 1 : 0);
    int place = carry + (warp > 0 ? before : 0) + inclusive - sum;
#pragma unroll
    for (int k = 0; k < kEach; ++k) {
      if (first + k < size) counts[first + k] = place;
      place += value[k];
    }
    carry += __shfl_sync(kAllLanes, others, kWarp - 1);
    __syncthreads();  // warp_sums is written again, and counts are complete after the last round
  }
}

// ---- launching
// --------------------------------------------------------------------------------------------------

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline unsigned clamp_grid(int64_t blocks, int64_t limit = kMaxGridYZ) {
  return static_cast<unsigned>(blocks < limit ? blocks : limit);
}

inline cudaError_t device_attribute(cudaDeviceAttr attribute, int* value) {
  int device = 0;
  const cudaError_t error = cudaGetDevice(&device);
  return error == cudaSuccess ? cudaDeviceGetAttribute(value, attribute, device) : error;
}

// Launches `kernel` on `stream`; more than 48 KiB of shared memory has to be asked for.
template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                   Arguments... arguments) {
  if (shared > 48 * 1024) {
    const cudaError_t error =
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    if (error != cudaSuccess) return error;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

}  // namespace pointnet2::cuda
