// Three nearest neighbours by pruning a box tree, 16 queries at a time. See kernels.h for what it computes.
//
// Queries and known points are both put in spatial order. 16 consecutive queries, one a lane, share a walk
// through the tree of the known points: a leaf is skipped when its box is farther from every lane than the
// lane's third best so far (equal distances are looked at, their index may be lower). Box distances never
// exceed the computed distances (box_tree.h), so the result is the exact (distance, index) order whatever the
// walk. Queries at the same place are answered once.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_THREE_NN_H
#define POINTNET2_THREE_NN_H

#include "box_tree.h"
#include "kernels.h"

namespace pointnet2 {

// The answers of 16 queries.
template <class T>
struct Neighbours {
  T dist2[3][kLanes];
  int32_t index[3][kLanes];
};

template <class T>
struct ThreeNnScratch {
  OrderScratch sort;
  Buffer<int32_t> order, slot;
  BoxTree<T> known;
  Buffer<Leaf<T>> queries;
  Buffer<Neighbours<T>> answers;
};

}  // namespace pointnet2

#define POINTNET2_FILE "three_nn.h"
#include "foreach_isa.h"

namespace pointnet2 {

// unknown [n, 3] against the tree of known points -> dist2, idx [n, 3]
template <class T>
void answer_queries(const T* unknown, int64_t n, T* dist2, int32_t* idx, ThreeNnScratch<T>& s, Isa isa) {
  int32_t* const order = s.order.resize(n);
  int32_t* const slot = s.slot.resize(n);
  spatial_order(unknown, n, order, s.sort, isa);
  // `order` is shortened in place, so where each query goes must be known first: sorted place -> query, slot.
  Buffer<int32_t> sorted;
  std::copy(order, order + n, sorted.resize(n));
  const int64_t distinct = drop_repeated(unknown, order, n, slot);
  const int64_t packs = (distinct + kLanes - 1) / kLanes;
  Leaf<T>* const queries = s.queries.resize(packs);
  Neighbours<T>* const answers = s.answers.resize(packs);
  for (int64_t p = 0; p < packs; ++p)
    gather_leaf(unknown, order + p * kLanes, std::min<int64_t>(kLanes, distinct - p * kLanes), queries[p]);
  for (int64_t i = distinct; i < packs * kLanes; ++i)  // unused lanes ask what the pack's first one asks
    for (auto& axis : queries[packs - 1].xyz) axis[i % kLanes] = axis[0];
  POINTNET2_DISPATCH(isa, find_neighbours(s.known, queries, packs, answers));
  for (int64_t i = 0; i < n; ++i) {
    const Neighbours<T>& found = answers[slot[i] / kLanes];
    const int lane = slot[i] % kLanes;
    const int64_t row = 3 * static_cast<int64_t>(sorted.data()[i]);
    for (int k = 0; k < 3; ++k) {
      dist2[row + k] = found.dist2[k][lane];
      idx[row + k] = found.index[k][lane];
    }
  }
}

template <class T>
void three_nn(const T* unknown, const T* known, int64_t B, int64_t N, int64_t M, T* dist2, int32_t* idx,
              const Threads& threads) {
  if (B == 0 || N == 0) return;
  const Isa isa = active_isa();
  // One work item a cloud, or several parts of a cloud when there are fewer clouds than threads.
  constexpr int64_t kSmallestPart = 1024;
  const int64_t wanted = (threads.count + B - 1) / B;
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(wanted, N / kSmallestPart));
  parallel(threads, B * parts, [=](int64_t begin, int64_t end) {
    ThreeNnScratch<T> s;
    int64_t cloud_in_tree = -1;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t b = item / parts, part = item % parts;
      if (b != cloud_in_tree) {
        spatial_order(known + 3 * M * b, M, s.order.resize(M), s.sort, isa);
        s.known.build(known + 3 * M * b, s.order.data(), M);
        cloud_in_tree = b;
      }
      const int64_t first = N * part / parts, last = N * (part + 1) / parts;
      const int64_t offset = 3 * (N * b + first);
      answer_queries(unknown + offset, last - first, dist2 + offset, idx + offset, s, isa);
    }
  });
}

}  // namespace pointnet2
#endif  // POINTNET2_THREE_NN_H

#else  // once per instruction set

namespace pointnet2 {
namespace POINTNET2_ISA {

// The three best candidates of 16 queries, each lane ascending by (distance, index).
template <class T>
struct Best {
  Pack<T> d1, d2, d3;
  Pack<int32_t> i1, i2, i3;

  POINTNET2_INLINE void insert(Pack<T> d, int32_t index) {
    const Pack<int32_t> i = broadcast(index);
    Mask<T> before1 = less(d, d1), before2 = less(d, d2), before3 = less(d, d3);
    const Mask<T> tie1 = equal(d, d1), tie2 = equal(d, d2), tie3 = equal(d, d3);
    if (any(tie1 | tie2 | tie3)) {  // rare but for lattices: the lower index goes first
      before1 = before1 | (tie1 & less_index<T>(i, i1));
      before2 = before2 | (tie2 & less_index<T>(i, i2));
      before3 = before3 | (tie3 & less_index<T>(i, i3));
    }
    d3 = min(d3, max(d2, d));
    i3 = select_index(before2, i2, select_index(before3, i, i3));
    d2 = min(d2, max(d1, d));
    i2 = select_index(before1, i1, select_index(before2, i, i2));
    d1 = min(d1, d);
    i1 = select_index(before1, i, i1);
  }
};

// 16 queries and the box around them.
template <class T>
struct QueryPack {
  Point<T> q, lo, hi;
  Best<T> best;
  Pack<T> worst;  // in every lane: the largest third best distance, beyond which nothing matters

  POINTNET2_INLINE explicit QueryPack(const Leaf<T>& queries) {
    const auto box = [&](int axis, Pack<T>& v, Pack<T>& least, Pack<T>& most) POINTNET2_LAMBDA {
      v = load(queries.xyz[axis]);
      least = min_everywhere(v);
      most = max_everywhere(v);
    };
    box(0, q.x, lo.x, hi.x);
    box(1, q.y, lo.y, hi.y);
    box(2, q.z, lo.z, hi.z);
    worst = best.d1 = best.d2 = best.d3 = broadcast(std::numeric_limits<T>::infinity());
    best.i1 = best.i2 = best.i3 = broadcast(int32_t(0));
  }

  POINTNET2_INLINE Bits may_matter(const Boxes<T>& boxes) const {
    return bits(less_equal(box_distance2(boxes, lo, hi), worst));
  }

  POINTNET2_INLINE void look_at(const Leaf<T>& leaf) {
    Bits points = bits(less_equal(box_distance2(leaf, lo, hi), worst));
    if (points == 0) return;
    for (; points != 0; points &= points - 1) {
      const int j = lowest_bit(points);
      const Point<T> p = broadcast_point(leaf.xyz[0][j], leaf.xyz[1][j], leaf.xyz[2][j]);
      best.insert(squared(p.x - q.x, p.y - q.y, p.z - q.z), leaf.index[j]);
    }
    worst = max_everywhere(best.d3);
  }
};

// A leaf near q: the nearest box of the nearest group.
template <class T>
POINTNET2_INLINE int64_t nearest_leaf(const BoxTree<T>& tree, const Point<T>& q) {
  Pack<T> nearest = broadcast(std::numeric_limits<T>::infinity());
  int64_t group = 0;
  for (int64_t b = 0; b < tree.blocks; ++b) {
    const Pack<T> d = box_distance2(tree.block.data()[b], q);
    if (!any(less(d, nearest))) continue;
    nearest = min_everywhere(d);
    group = b * kLanes + lowest_bit(bits(equal(d, nearest)));
  }
  const Pack<T> d = box_distance2(tree.group.data()[group], q);
  return group * kLanes + lowest_bit(bits(equal(d, min_everywhere(d))));
}

template <class T>
inline void find_neighbours(const BoxTree<T>& tree, const Leaf<T>* queries, int64_t packs,
                            Neighbours<T>* answers) {
  for (int64_t p = 0; p < packs; ++p) {
    QueryPack<T> pack(queries[p]);
    const int64_t start = nearest_leaf(tree, pack.lo);  // most of the others can then be skipped
    pack.look_at(tree.leaf.data()[start]);
    for (int64_t b = 0; b < tree.blocks; ++b) {
      Bits groups = pack.may_matter(tree.block.data()[b]);
      for (; groups != 0; groups &= groups - 1) {
        const int64_t g = b * kLanes + lowest_bit(groups);
        if (g >= tree.groups) break;  // lanes without a group are infinitely far, as everything may be
        Bits leaves = pack.may_matter(tree.group.data()[g]);
        for (; leaves != 0; leaves &= leaves - 1) {
          const int64_t l = g * kLanes + lowest_bit(leaves);
          if (l >= tree.leaves) break;
          if (l != start) pack.look_at(tree.leaf.data()[l]);
        }
      }
    }
    Neighbours<T>& out = answers[p];
    store(out.dist2[0], pack.best.d1);
    store(out.dist2[1], pack.best.d2);
    store(out.dist2[2], pack.best.d3);
    store(out.index[0], pack.best.i1);
    store(out.index[1], pack.best.i2);
    store(out.index[2], pack.best.i3);
  }
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
