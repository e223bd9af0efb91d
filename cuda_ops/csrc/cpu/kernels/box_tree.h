// A flat tree of bounding boxes over spatially ordered points: leaves of 16 points, boxes over 16 leaves,
// over 16 of those, and so on. One vector operation looks at 16 boxes.
//
// Why pruning with it is exact. For a query q and a point p in a box [lo, hi], p >= lo gives
// round(p - q) >= round(lo - q), because rounding is monotonic; likewise round(q - p) >= round(q - hi).
// Squaring and adding non-negative numbers stay monotonic after rounding. So a box distance that is computed
// with the operations and in the order of the point distance,
//     gap = max(lo - q, q - hi, 0) per axis,  (gx*gx + gy*gy) + gz*gz,
// is never larger than the *computed* distance of any point of the box: no safety margin is needed, at any
// scale. The same holds between two boxes.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_BOX_TREE_H
#define POINTNET2_BOX_TREE_H

#include "pack.h"
#include "spatial_order.h"

namespace pointnet2 {

// 16 points, or fewer and then the other lanes lie at infinity.
template <class T>
struct Leaf {
  T xyz[3][kLanes];
  int32_t index[kLanes];
};

// 16 boxes, or fewer and then the others are inside out (lo = inf, hi = -inf): infinitely far.
template <class T>
struct Boxes {
  T lo[3][kLanes], hi[3][kLanes];
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

inline int64_t groups_of_16(int64_t n) { return (n + kLanes - 1) / kLanes; }

template <class T>
struct BoxTree {
  static constexpr int kLevels = 3;
  int64_t leaves = 0;
  Buffer<Leaf<T>> leaf;
  // Node i of level 0 has the boxes of leaves 16 i .. 16 i + 15, of level k those of nodes 16 i .. of level k
  // - 1.
  int64_t nodes[kLevels] = {};
  Buffer<Boxes<T>> boxes[kLevels];
  // Walks start at all nodes of this level: the lowest one that has only a few.
  int top = 0;

  // order [n]: which points, in which order.
  void build(const T* xyz, const int32_t* order, int64_t n, const Threads& threads) {
    constexpr int64_t kFew = 16;
    leaves = groups_of_16(n);
    leaf.resize(leaves);
    for (int level = 0; level < kLevels; ++level) {
      nodes[level] = groups_of_16(level == 0 ? leaves : nodes[level - 1]);
      boxes[level].resize(nodes[level]);
      top = level;
      if (nodes[level] <= kFew) break;
    }
    parallel(n < kWorthThreads ? kOneThread : threads, nodes[0], [&](int64_t begin, int64_t end) {
      for (int64_t node = begin; node < end; ++node) fill_node(xyz, order, n, node);
    });
    for (int level = 1; level <= top; ++level)
      for (int64_t node = 0; node < nodes[level]; ++node) join_nodes(level, node);
  }

 private:
  static constexpr T kInf = std::numeric_limits<T>::infinity();

  void fill_node(const T* xyz, const int32_t* order, int64_t n, int64_t node) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const int64_t l = node * kLanes + lane;
      const int64_t used = std::max<int64_t>(0, std::min<int64_t>(kLanes, n - l * kLanes));
      if (used > 0) gather_leaf(xyz, order + l * kLanes, used, leaf[l]);
      for (int a = 0; a < 3; ++a) {
        T lo = kInf, hi = -kInf;
        for (int64_t i = 0; i < used; ++i) {
          const T v = leaf[l].xyz[a][i];
          lo = v < lo ? v : lo;
          hi = v > hi ? v : hi;
        }
        boxes[0][node].lo[a][lane] = lo;
        boxes[0][node].hi[a][lane] = hi;
      }
    }
  }

  void join_nodes(int level, int64_t node) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const int64_t child = node * kLanes + lane;
      for (int a = 0; a < 3; ++a) {
        T lo = kInf, hi = -kInf;
        for (int i = 0; child < nodes[level - 1] && i < kLanes; ++i) {
          lo = std::min(lo, boxes[level - 1][child].lo[a][i]);
          hi = std::max(hi, boxes[level - 1][child].hi[a][i]);
        }
        boxes[level][node].lo[a][lane] = lo;
        boxes[level][node].hi[a][lane] = hi;
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
// Between 16 boxes and a point, and between 16 points and a box.
template <class T>
POINTNET2_INLINE Pack<T> box_distance2(const Boxes<T>& boxes, const Point<T>& q) {
  return box_distance2(boxes.lo, boxes.hi, q, q);
}
template <class T>
POINTNET2_INLINE Pack<T> box_distance2(const Leaf<T>& leaf, const Point<T>& qlo, const Point<T>& qhi) {
  return box_distance2(leaf.xyz, leaf.xyz, qlo, qhi);
}

// Calls visit(node, children) for the nodes of level 0 that are reached through boxes that pass near(boxes):
// 16 bits for 16 boxes. `children` are those of the node's leaves that pass.
template <int level, class T, class Near, class Visit>
POINTNET2_INLINE void walk_node(const BoxTree<T>& tree, int64_t node, Near& near, Visit& visit) {
  Bits children = near(tree.boxes[level][node]);
  if constexpr (level == 0) {
    visit(node, children);
  } else {
    for (; children != 0; children &= children - 1) {
      const int64_t child = node * kLanes + lowest_bit(children);
      if (child >= tree.nodes[level - 1]) break;  // there is none: infinitely far, which `near` may accept
      walk_node<level - 1>(tree, child, near, visit);
    }
  }
}

template <int level, class T, class Near, class Visit>
POINTNET2_INLINE void walk_level(const BoxTree<T>& tree, Near& near, Visit& visit) {
  for (int64_t node = 0; node < tree.nodes[level]; ++node) walk_node<level>(tree, node, near, visit);
}

// The same for the whole tree.
template <class T, class Near, class Visit>
POINTNET2_INLINE void walk_nodes(const BoxTree<T>& tree, Near near, Visit visit) {
  if (tree.top == 0)
    walk_level<0>(tree, near, visit);
  else if (tree.top == 1)
    walk_level<1>(tree, near, visit);
  else
    walk_level<2>(tree, near, visit);
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
