// Arithmetic on rows of channels. T is the type of features, A the one that sums are taken in. Elementwise
// and without FMA, so every instruction set gives the same bits.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_ROWS_H
#define POINTNET2_ROWS_H

#include <cstdint>

#include "isa.h"

#define POINTNET2_FILE "rows.h"
#include "foreach_isa.h"

namespace pointnet2 {

// Rows are read in the order of an index, which no hardware prefetcher foresees.
template <class T>
inline void prefetch_row(const T* row, int64_t channels) {
  const char* bytes = reinterpret_cast<const char*>(row);
  for (int64_t at = 0; at < channels * static_cast<int64_t>(sizeof(T)); at += 64)
    __builtin_prefetch(bytes + at);
}

template <class T, class A>
using AddScaled = void (*)(A* sum, const T* row, A weight, int64_t channels);

template <class T, class A>
using Blend = void (*)(T* out, const T* const* rows, const A* weight, int64_t channels);

#if POINTNET2_X86
#define POINTNET2_PICK(isa, function) \
  (isa == kAvx512 ? avx512::function<T, A> : isa == kAvx2 ? avx2::function<T, A> : portable::function<T, A>)
#else
#define POINTNET2_PICK(isa, function) (portable::function<T, A>)
#endif

// sum += weight * row
template <class T, class A>
AddScaled<T, A> add_scaled(Isa isa) {
  return POINTNET2_PICK(isa, add_scaled);
}

// out = (weight[0] * rows[0] + weight[1] * rows[1]) + weight[2] * rows[2]
template <class T, class A>
Blend<T, A> blend(Isa isa) {
  return POINTNET2_PICK(isa, blend);
}

}  // namespace pointnet2

#endif  // POINTNET2_ROWS_H
#else   // once per instruction set

namespace pointnet2 {
namespace POINTNET2_ISA {

template <class T, class A>
void add_scaled(A* __restrict sum, const T* __restrict row, A weight, int64_t channels) {
  for (int64_t c = 0; c < channels; ++c) sum[c] += weight * static_cast<A>(row[c]);
}

template <class T, class A>
void blend(T* __restrict out, const T* const* rows, const A* weight, int64_t channels) {
  const T *a = rows[0], *b = rows[1], *c = rows[2];
  const A x = weight[0], y = weight[1], z = weight[2];
  for (int64_t i = 0; i < channels; ++i)
    out[i] = static_cast<T>((x * static_cast<A>(a[i]) + y * static_cast<A>(b[i])) + z * static_cast<A>(c[i]));
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
