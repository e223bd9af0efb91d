// The largest of some rows that follow one another, channel by channel, and where it is.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_SEGMENT_MAX_H
#define POINTNET2_SEGMENT_MAX_H

#include <algorithm>
#include <cstdint>
#include <vector>

#include "isa.h"
#include "kernels.h"

#define POINTNET2_FILE "segment_max.h"
#include "foreach_isa.h"

namespace pointnet2 {

// out and index [S, C]: segment s is rows start[s] to start[s + 1] - 1 of [R, C], at least one. The first of
// equal values counts; a NaN is larger than any number. Values of T are compared as A.
template <class A, class T>
inline void segment_max(const T* rows, const int32_t* start, int64_t S, int64_t C, T* out, int32_t* index,
                        const Threads& threads) {
  POINTNET2_DISPATCH(active_isa(), segment_max<A>(rows, start, S, C, out, index, threads));
}

}  // namespace pointnet2
#endif  // POINTNET2_SEGMENT_MAX_H

#else  // once per instruction set

namespace pointnet2 {
namespace POINTNET2_ISA {

template <class A, class T>
void segment_max(const T* rows, const int32_t* start, int64_t S, int64_t C, T* out, int32_t* index,
                 const Threads& threads) {
  parallel(threads, S, [&](int64_t begin, int64_t end) {
    std::vector<A> of_segment(C);
    A* __restrict largest = of_segment.data();
    for (int64_t s = begin; s < end; ++s) {
      int32_t* __restrict at = index + s * C;
      for (int64_t c = 0; c < C; ++c) largest[c] = static_cast<A>(rows[start[s] * C + c]);
      std::fill_n(at, C, start[s]);
      for (int32_t r = start[s] + 1; r < start[s + 1]; ++r) {
        const T* __restrict row = rows + r * C;
        for (int64_t c = 0; c < C; ++c) {
          const A value = static_cast<A>(row[c]), known = largest[c];
          const bool larger = (value > known) | ((value != value) & (known == known));
          largest[c] = larger ? value : known;
          at[c] = larger ? r : at[c];
        }
      }
      for (int64_t c = 0; c < C; ++c) out[s * C + c] = static_cast<T>(largest[c]);
    }
  });
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
