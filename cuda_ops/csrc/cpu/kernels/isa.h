// Which instruction set the kernels run on: the best one this machine has, unless a test forces another.
#pragma once

#include <atomic>

#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
#define POINTNET2_X86 1
#else
#define POINTNET2_X86 0
#endif

namespace pointnet2 {

enum Isa : int { kPortable = 0, kAvx2 = 1, kAvx512 = 2 };

inline Isa best_isa() {
#if POINTNET2_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
    return kAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return kAvx2;
#endif
  return kPortable;
}

// Whether products of bfloat16 may be used beside kAvx512.
inline bool has_bfloat16() {
#if POINTNET2_X86
  static const bool has = __builtin_cpu_supports("avx512bf16");
  return has;
#else
  return false;
#endif
}

// For the tests: every path must give the same indices.
inline std::atomic<int>& isa_cell() {
  static std::atomic<int> cell{best_isa()};
  return cell;
}

inline Isa active_isa() { return static_cast<Isa>(isa_cell().load(std::memory_order_relaxed)); }

// Forces an instruction set (an Isa value); negative, or one that this machine lacks, chooses the best.
// Returns the one now active.
inline int set_isa(int isa) {
  const int best = best_isa();
  isa_cell().store(isa < 0 || isa > best ? best : isa, std::memory_order_relaxed);
  return active_isa();
}

}  // namespace pointnet2

// Calls a function of the namespace of an instruction set (see foreach_isa.h).
#if POINTNET2_X86
#define POINTNET2_DISPATCH(isa, call) \
  do {                                \
    if (isa == kAvx512)               \
      avx512::call;                   \
    else if (isa == kAvx2)            \
      avx2::call;                     \
    else                              \
      portable::call;                 \
  } while (false)
#else
#define POINTNET2_DISPATCH(isa, call) (static_cast<void>(isa), portable::call)
#endif
