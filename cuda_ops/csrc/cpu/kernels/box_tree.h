// A flat tree of bounding boxes over spatially ordered points: leaves of 16 points, groups of 16 leaves,
// blocks of 16 groups. One vector operation tests 16 boxes.
//
// Why pruning with it is exact. For a query q and a point p in a box [lo, hi], p >= lo gives
// round(p - q) >= round(lo - q), because rounding is monotonic; likewise round(q - p) >= round(q - hi).
// Squaring and adding non-negative numbers are monotonic after rounding as well. So a box distance that is
// computed with the operations and the order of the point distance,
//     gap = max(lo - q, q - hi, 0) per axis,  (gx*gx + gy*gy) + gz*gz,
// is never larger than the *computed* distance of any point of the box: no safety margin is needed, at any
// scale. The same holds between two boxes.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_BOX_TREE_H
#define POINTNET2_BOX_TREE_H

#include <cstdint>
#include <limits>

#include "pack.h"
#include "spatial_order.h"

namespace pointnet2 {

// 16 boxes, or fewer and then the others are inside out (lo = inf, hi = -inf): their distance is infinite.
template <class T>
struct Boxes {
  T lo[3][kLanes], hi[3][kLanes];

  void clear() {
    for (int a = 0; a < 3; ++a)
      for (int i = 0; i < kLanes; ++i) {
        lo[a][i] = std::numeric_limits<T>::infinity();
        hi[a][i] = -std::numeric_limits<T>::infinity();
      }
  }
};

// 16 points, or fewer and then the other lanes lie at infinity with index INT32_MAX.
template <class T>
struct Leaf {
  T xyz[3][kLanes];
  int32_t index[kLanes];
};

// Puts points order[0 .. n) of xyz into a leaf, 1 <= n <= 16.
template <class T>
inline void gather_leaf(const T* xyz, const int32_t* order, int64_t n, Leaf<T>& leaf) {
  for (int64_t i = 0; i < n; ++i) {
    const T* p = xyz + 3 * static_cast<int64_t>(order[i]);
    for (int a = 0; a < 3; ++a) leaf.xyz[a][i] = p[a];
    leaf.index[i] = order[i];
  }
  for (int64_t i = n; i < kLanes; ++i) {
    for (int a = 0; a < 3; ++a) leaf.xyz[a][i] = std::numeric_limits<T>::infinity();
    leaf.index[i] = std::numeric_limits<int32_t>::max();
  }
}

template <class T>
struct BoxTree {
  int64_t leaves = 0, groups = 0, blocks = 0;
  Buffer<Leaf<T>> leaf;    // [leaves]
  Buffer<Boxes<T>> group;  // [groups] boxes of the 16 leaves of a group
  Buffer<Boxes<T>> block;  // [blocks] boxes of the 16 groups of a block

  // order [n]: which points, in which order.
  void build(const T* xyz, const int32_t* order, int64_t n) {
    constexpr T inf = std::numeric_limits<T>::infinity();
    leaves = (n + kLanes - 1) / kLanes;
    groups = (leaves + kLanes - 1) / kLanes;
    blocks = (groups + kLanes - 1) / kLanes;
    leaf.resize(leaves);
    group.resize(groups);
    block.resize(blocks);
    for (int64_t b = 0; b < blocks; ++b) block.data()[b].clear();
    for (int64_t g = 0; g < groups; ++g) {
      Boxes<T>& boxes = group.data()[g];
      boxes.clear();
      Boxes<T>& above = block.data()[g / kLanes];
      const int lane = static_cast<int>(g % kLanes);
      const int64_t end = std::min(leaves, (g + 1) * kLanes);
      for (int64_t l = g * kLanes; l < end; ++l) {
        const int64_t used = std::min<int64_t>(kLanes, n - l * kLanes);
        gather_leaf(xyz, order + l * kLanes, used, leaf.data()[l]);
        for (int a = 0; a < 3; ++a) {
          const T* v = leaf.data()[l].xyz[a];
          T lo = v[0], hi = v[0];
          for (int64_t i = 1; i < used; ++i) {
            lo = v[i] < lo ? v[i] : lo;
            hi = v[i] > hi ? v[i] : hi;
          }
          boxes.lo[a][l - g * kLanes] = lo;
          boxes.hi[a][l - g * kLanes] = hi;
        }
      }
      for (int a = 0; a < 3; ++a) {
        T lo = inf, hi = -inf;
        for (int i = 0; i < kLanes; ++i) {
          lo = std::min(lo, boxes.lo[a][i]);
          hi = std::max(hi, boxes.hi[a][i]);
        }
        above.lo[a][lane] = lo;
        above.hi[a][lane] = hi;
      }
    }
  }
};

}  // namespace pointnet2

#define POINTNET2_FILE "box_tree.h"
#include "foreach_isa.h"
#endif  // POINTNET2_BOX_TREE_H

#else  // once per instruction set

namespace pointnet2 {
namespace POINTNET2_ISA {

template <class T>
struct Point {
  Pack<T> x, y, z;
};

template <class T>
POINTNET2_INLINE Point<T> broadcast_point(T x, T y, T z) {
  return {broadcast(x), broadcast(y), broadcast(z)};
}

template <class T>
POINTNET2_INLINE Pack<T> squared(Pack<T> dx, Pack<T> dy, Pack<T> dz) {
  return (dx * dx + dy * dy) + dz * dz;
}

// Squared distances of the 16 points of a leaf to the point(s) q.
template <class T>
POINTNET2_INLINE Pack<T> distance2(const Leaf<T>& leaf, const Point<T>& q) {
  return squared(load(leaf.xyz[0]) - q.x, load(leaf.xyz[1]) - q.y, load(leaf.xyz[2]) - q.z);
}

// Lower bounds of the squared distances between 16 boxes [lo, hi] and the box from `qlo` to `qhi`.
template <class T>
POINTNET2_INLINE Pack<T> box_distance2(const T (&lo)[3][kLanes], const T (&hi)[3][kLanes],
                                       const Point<T>& qlo, const Point<T>& qhi) {
  const Pack<T> zero = broadcast(T(0));
  return squared(max(max(load(lo[0]) - qhi.x, qlo.x - load(hi[0])), zero),
                 max(max(load(lo[1]) - qhi.y, qlo.y - load(hi[1])), zero),
                 max(max(load(lo[2]) - qhi.z, qlo.z - load(hi[2])), zero));
}
template <class T>
POINTNET2_INLINE Pack<T> box_distance2(const Boxes<T>& boxes, const Point<T>& qlo, const Point<T>& qhi) {
  return box_distance2(boxes.lo, boxes.hi, qlo, qhi);
}
// Between 16 points and a box, and between 16 boxes and a point.
template <class T>
POINTNET2_INLINE Pack<T> box_distance2(const Leaf<T>& leaf, const Point<T>& qlo, const Point<T>& qhi) {
  return box_distance2(leaf.xyz, leaf.xyz, qlo, qhi);
}
template <class T>
POINTNET2_INLINE Pack<T> box_distance2(const Boxes<T>& boxes, const Point<T>& q) {
  return box_distance2(boxes.lo, boxes.hi, q, q);
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
