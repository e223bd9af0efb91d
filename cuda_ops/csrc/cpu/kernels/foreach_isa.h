// Compiles POINTNET2_FILE once per instruction set: `#include`d again with POINTNET2_ISA naming the namespace
// (portable, avx2, avx512) and the compiler allowed to use those instructions in the functions it finds
// there. The file must include every header it needs before it comes here, so that no foreign function is
// compiled for a machine that may lack the instructions. With POINTNET2_BFLOAT16 a fourth time: as
// avx512bf16.

#define POINTNET2_ISA portable
#define POINTNET2_ISA_LEVEL 0
#include POINTNET2_FILE
#undef POINTNET2_ISA
#undef POINTNET2_ISA_LEVEL

#if POINTNET2_X86

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define POINTNET2_ISA avx2
#define POINTNET2_ISA_LEVEL 1
#include POINTNET2_FILE
#undef POINTNET2_ISA
#undef POINTNET2_ISA_LEVEL
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq")
#endif
#define POINTNET2_ISA avx512
#define POINTNET2_ISA_LEVEL 2
#include POINTNET2_FILE
#undef POINTNET2_ISA
#undef POINTNET2_ISA_LEVEL
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#ifdef POINTNET2_BFLOAT16
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx512bf16"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")
#endif
#define POINTNET2_ISA avx512bf16
#define POINTNET2_ISA_LEVEL 3
#include POINTNET2_FILE
#undef POINTNET2_ISA
#undef POINTNET2_ISA_LEVEL
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif  // POINTNET2_BFLOAT16

#endif  // POINTNET2_X86

#undef POINTNET2_BFLOAT16
#undef POINTNET2_FILE
