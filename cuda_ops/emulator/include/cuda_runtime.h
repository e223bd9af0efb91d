// Test only: the part of CUDA's vocabulary that the kernels in csrc/cuda use, for a C++ compiler. This folder
// stands in for the toolkit's on the include path, so the kernels' own sources compile unchanged. See
// ../README.md.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>

#include "emulator.h"

#ifndef __CUDA_ARCH__
#define __CUDA_ARCH__ 900
#endif
#define __host__
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

// ---- types
// ----------------------------------------------------------------------------------------------------

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

static constexpr const ::emulator::Size3& threadIdx = ::emulator::builtins.thread;
static constexpr const ::emulator::Size3& blockIdx = ::emulator::builtins.block;
static constexpr const ::emulator::Size3& blockDim = ::emulator::builtins.block_size;
static constexpr const ::emulator::Size3& gridDim = ::emulator::builtins.grid_size;

// ---- arithmetic: compile with -ffp-contract=off
// -----------------------------------------------------------------

using std::max;
using std::min;
inline int64_t min(int64_t a, int b) { return a < b ? a : b; }
inline int64_t min(int a, int64_t b) { return a < b ? a : b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dsqrt_rn(double a) { return std::sqrt(a); }
using std::fmax;
using std::fmin;
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(unsigned x) { return x == 0 ? 0 : std::countr_zero(x) + 1; }

// ---- memory
// -------------------------------------------------------------------------------------------------------

template <class T>
T __ldg(const T* address) {
  ::emulator::check_read_only(address, sizeof(T));
  return *address;
}

template <class T>
T atomicAdd(T* address, T value) {
  return ::emulator::atomic(address, ::emulator::AtomicOp::kAdd, value);
}
inline float4 atomicAdd(float4* address, float4 value) {
  ::emulator::check_aligned(address, sizeof(float4));
  float* word = reinterpret_cast<float*>(address);
  return {atomicAdd(word, value.x), atomicAdd(word + 1, value.y), atomicAdd(word + 2, value.z),
          atomicAdd(word + 3, value.w)};
}
template <class T>
T atomicMax(T* address, T value) {
  return ::emulator::atomic(address, ::emulator::AtomicOp::kMax, value);
}
template <class T>
T atomicMin(T* address, T value) {
  return ::emulator::atomic(address, ::emulator::AtomicOp::kMin, value);
}
inline unsigned atomicOr(unsigned* address, unsigned value) {
  return ::emulator::atomic(address, ::emulator::AtomicOp::kOr, value);
}
template <class T>
T atomicExch(T* address, T value) {
  return ::emulator::atomic(address, ::emulator::AtomicOp::kExchange, value);
}
template <class T>
T atomicCAS(T* address, T expected, T value) {
  return ::emulator::atomic(address, ::emulator::AtomicOp::kCompareAndSwap, value, expected);
}

// ---- barriers and warp collectives; the default arguments name the call
// --------------------------------------------

#define EMULATOR_SITE ::emulator::Site site = {__builtin_FILE(), __builtin_LINE()}

inline void __syncthreads(EMULATOR_SITE) { ::emulator::barrier(true, site); }
inline int __syncthreads_and(int predicate, EMULATOR_SITE) {
  const auto votes = ::emulator::barrier(predicate != 0, site);
  return votes.yes == votes.all;
}
inline int __syncthreads_or(int predicate, EMULATOR_SITE) {
  return ::emulator::barrier(predicate != 0, site).yes > 0;
}
inline int __syncthreads_count(int predicate, EMULATOR_SITE) {
  return ::emulator::barrier(predicate != 0, site).yes;
}

inline void __syncwarp(unsigned mask = 0xffffffffu, EMULATOR_SITE) {
  ::emulator::collective(::emulator::WarpOp::kSync, mask, 0, 0, site);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, EMULATOR_SITE) {
  return static_cast<unsigned>(
      ::emulator::collective(::emulator::WarpOp::kBallot, mask, predicate != 0, 0, site));
}
inline int __any_sync(unsigned mask, int predicate, EMULATOR_SITE) {
  return ::emulator::collective(::emulator::WarpOp::kBallot, mask, predicate != 0, 0, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, EMULATOR_SITE) {
  return ::emulator::collective(::emulator::WarpOp::kBallot, mask, predicate != 0, 0, site) == mask;
}

namespace emulator {
template <class T>
uint64_t to_bits(T value) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  if constexpr (sizeof(T) == 4)
    return std::bit_cast<uint32_t>(value);
  else
    return std::bit_cast<uint64_t>(value);
}
template <class T>
T from_bits(uint64_t bits) {
  if constexpr (sizeof(T) == 4)
    return std::bit_cast<T>(static_cast<uint32_t>(bits));
  else
    return std::bit_cast<T>(bits);
}
template <class T>
T shuffle(unsigned mask, T value, int source, Site site) {
  return from_bits<T>(collective(WarpOp::kShuffle, mask, to_bits(value), source, site));
}
inline int own_lane() { return static_cast<int>(builtins.linear_thread % 32); }
}  // namespace emulator

inline unsigned __match_any_sync(unsigned mask, int value, EMULATOR_SITE) {
  return static_cast<unsigned>(
      ::emulator::collective(::emulator::WarpOp::kMatchAny, mask, ::emulator::to_bits(value), 0, site));
}

// Shuffles within a whole warp (width 32).
template <class T>
T __shfl_sync(unsigned mask, T value, int source, EMULATOR_SITE) {
  return ::emulator::shuffle(mask, value, source & 31, site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, EMULATOR_SITE) {
  return ::emulator::shuffle(mask, value, ::emulator::own_lane() ^ lanes, site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, int delta, EMULATOR_SITE) {
  const int lane = ::emulator::own_lane();
  return ::emulator::shuffle(mask, value, lane < delta ? lane : lane - delta, site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, int delta, EMULATOR_SITE) {
  const int lane = ::emulator::own_lane();
  return ::emulator::shuffle(mask, value, lane + delta > 31 ? lane : lane + delta, site);
}

inline unsigned __reduce_max_sync(unsigned mask, unsigned value, EMULATOR_SITE) {
  return static_cast<unsigned>(
      ::emulator::collective(::emulator::WarpOp::kMaxUnsigned, mask, value, 0, site));
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned value, EMULATOR_SITE) {
  return static_cast<unsigned>(
      ::emulator::collective(::emulator::WarpOp::kMinUnsigned, mask, value, 0, site));
}
inline int __reduce_max_sync(unsigned mask, int value, EMULATOR_SITE) {
  return static_cast<int>(
      ::emulator::collective(::emulator::WarpOp::kMaxSigned, mask, static_cast<unsigned>(value), 0, site));
}
inline int __reduce_min_sync(unsigned mask, int value, EMULATOR_SITE) {
  return static_cast<int>(
      ::emulator::collective(::emulator::WarpOp::kMinSigned, mask, static_cast<unsigned>(value), 0, site));
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned value, EMULATOR_SITE) {
  return static_cast<unsigned>(::emulator::collective(::emulator::WarpOp::kAdd, mask, value, 0, site));
}

// ---- the host's side
// ----------------------------------------------------------------------------------------------

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorLaunchFailure = 719
};
enum cudaDeviceAttr { cudaDevAttrComputeCapabilityMajor = 75 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
using cudaStream_t = void*;

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};

inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = __CUDA_ARCH__ / 100;
  return cudaSuccess;
}
inline cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int bytes) {
  return ::emulator::allow_shared(kernel, bytes) ? cudaSuccess : cudaErrorInvalidValue;
}
inline cudaError_t cudaMemsetAsync(void* address, int value, size_t bytes, cudaStream_t) {
  return ::emulator::fill(address, value, bytes) ? cudaSuccess : cudaErrorInvalidValue;
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> parameters;
    static void run(const void* call) {
      const auto* self = static_cast<const Call*>(call);
      std::apply(self->kernel, self->parameters);
    }
  };
  const Call call = {kernel, {std::forward<Arguments>(arguments)...}};
  const dim3 grid = config->gridDim, block = config->blockDim;
  const ::emulator::Launch launch = {{grid.x, grid.y, grid.z},
                                     {block.x, block.y, block.z},
                                     config->dynamicSmemBytes,
                                     reinterpret_cast<const void*>(kernel),
                                     &Call::run,
                                     &call,
                                     sizeof(Call)};
  switch (::emulator::run(launch)) {
    case ::emulator::Outcome::kDone:
      return cudaSuccess;
    case ::emulator::Outcome::kRefused:
      return cudaErrorInvalidConfiguration;
    default:
      return cudaErrorLaunchFailure;
  }
}
