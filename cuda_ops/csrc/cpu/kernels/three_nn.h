// Three nearest neighbours, 16 queries at a time on a box tree. See kernels.h for what it computes.
//
// Queries and known points are both put in spatial order. 16 consecutive queries, one a lane, share a walk
// through the tree of the known points: boxes and points are skipped that are farther from the box around the
// queries than the worst third best distance so far (equal ones are looked at, their index may be lower). Box
// distances never exceed computed distances (box_tree.h), and what is looked at is inserted by (distance,
// index): the result is exact whatever the walk. Queries at the same place are answered once.
//
// Measured (2 threads, AVX-512): 8 x 8192 queries in 1024 points in 1.7 - 2.1 ms, 1.0 ms of it to order the
// queries and to gather and scatter them; 1.3 ms where 28 % of the queries are distinct.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_THREE_NN_H
#define POINTNET2_THREE_NN_H

#include <vector>

#include "box_tree.h"
#include "kernels.h"

namespace pointnet2 {

template <class T>
struct KnownCloud {
  OrderScratch sort;
  Buffer<int32_t> order;
  BoxTree<T> tree;

  void prepare(const T* xyz, int64_t n, Isa isa, const Threads& threads) {
    spatial_order(xyz, n, order.resize(n), sort, isa, threads);
    tree.build(xyz, order.data(), n, threads);
  }
};

// The answers of 16 queries.
template <class T>
struct Neighbours {
  T dist2[3][kLanes];
  int32_t index[3][kLanes];
};

template <class T>
struct QueryScratch {
  OrderScratch sort;
  Buffer<int32_t> order;     // [n] queries in spatial order
  Buffer<int32_t> distinct;  // [n] the same without repetitions
  Buffer<int32_t> slot;      // [n] for each place in `order`, the place in `distinct`
  Buffer<Leaf<T>> packs;
  Buffer<Neighbours<T>> answers;
};

}  // namespace pointnet2

#define POINTNET2_FILE "three_nn.h"
#include "foreach_isa.h"

namespace pointnet2 {

// unknown [n, 3] -> dist2, idx [n, 3]
template <class T>
void answer_queries(const T* unknown, int64_t n, const BoxTree<T>& known, T* dist2, int32_t* idx,
                    QueryScratch<T>& s, Isa isa) {
  int32_t* const order = s.order.resize(n);
  int32_t* const distinct = s.distinct.resize(n);
  spatial_order(unknown, n, order, s.sort, isa, kOneThread);
  std::copy(order, order + n, distinct);
  const int64_t kept = drop_repeated(unknown, distinct, n, s.slot.resize(n));
  const int64_t packs = groups_of_16(kept);
  s.packs.resize(packs);
  s.answers.resize(packs);
  for (int64_t p = 0; p < packs; ++p)
    gather_leaf(unknown, distinct + p * kLanes, std::min<int64_t>(kLanes, kept - p * kLanes), s.packs[p]);
  for (int64_t i = kept; i < packs * kLanes; ++i)  // unused lanes ask what the pack's first one asks
    for (auto& axis : s.packs[packs - 1].xyz) axis[i % kLanes] = axis[0];
  POINTNET2_DISPATCH(isa, find_neighbours(known, s.packs.data(), packs, s.answers.data()));
  for (int64_t i = 0; i < n; ++i) {
    const Neighbours<T>& found = s.answers[s.slot[i] / kLanes];
    const int lane = s.slot[i] % kLanes;
    const int64_t row = 3 * static_cast<int64_t>(order[i]);
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
  const auto prepare = [=](int64_t b, KnownCloud<T>& cloud, const Threads& helpers) {
    cloud.prepare(known + 3 * M * b, M, isa, helpers);
  };
  const auto answer = [=](int64_t b, int64_t first, int64_t last, const KnownCloud<T>& cloud,
                          QueryScratch<T>& scratch) {
    const int64_t row = 3 * (N * b + first);
    answer_queries(unknown + row, last - first, cloud.tree, dist2 + row, idx + row, scratch, isa);
  };
  if (B < threads.count) {
    std::vector<KnownCloud<T>> clouds(B);
    prepare_clouds(B, M, threads, [&](int64_t b, const Threads& helpers) { prepare(b, clouds[b], helpers); });
    // Fewer queries in a part lie farther apart, and packs of them need longer walks.
    constexpr int64_t kSmallestPart = 1024;
    const int64_t parts =
        std::max<int64_t>(1, std::min<int64_t>((threads.count + B - 1) / B, N / kSmallestPart));
    parallel(threads, B * parts, [&](int64_t begin, int64_t end) {
      QueryScratch<T> scratch;
      for (int64_t i = begin; i < end; ++i)
        answer(i / parts, N * (i % parts) / parts, N * (i % parts + 1) / parts, clouds[i / parts], scratch);
    });
  } else {
    parallel(threads, B, [&](int64_t begin, int64_t end) {
      QueryScratch<T> scratch;
      KnownCloud<T> cloud;  // its memory serves one cloud after the other
      for (int64_t b = begin; b < end; ++b) {
        prepare(b, cloud, kOneThread);
        answer(b, 0, N, cloud, scratch);
      }
    });
  }
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

// A leaf near q: the nearest box of the nearest node, level by level.
template <class T>
POINTNET2_INLINE int64_t nearest_leaf(const BoxTree<T>& tree, const Point<T>& q) {
  Pack<T> nearest = broadcast(std::numeric_limits<T>::infinity());
  int64_t at = 0;
  for (int64_t node = 0; node < tree.nodes[tree.top]; ++node) {
    const Pack<T> d = box_distance2(tree.boxes[tree.top][node], q);
    if (!any(less(d, nearest))) continue;
    nearest = min_everywhere(d);
    at = node * kLanes + lowest_bit(bits(equal(d, nearest)));
  }
  for (int level = tree.top - 1; level >= 0; --level) {
    const Pack<T> d = box_distance2(tree.boxes[level][at], q);
    at = at * kLanes + lowest_bit(bits(equal(d, min_everywhere(d))));
  }
  return at;
}

template <class T>
inline void find_neighbours(const BoxTree<T>& tree, const Leaf<T>* packs, int64_t n, Neighbours<T>* answers) {
  for (int64_t p = 0; p < n; ++p) {
    QueryPack<T> pack(packs[p]);
    // With good candidates from the start most boxes can be skipped.
    const int64_t start = nearest_leaf(tree, pack.lo);
    pack.look_at(tree.leaf[start]);
    const auto near = [&](const Boxes<T>& boxes) POINTNET2_LAMBDA {
      return bits(less_equal(box_distance2(boxes, pack.lo, pack.hi), pack.worst));
    };
    const auto visit = [&](int64_t node, Bits children) POINTNET2_LAMBDA {
      for (; children != 0; children &= children - 1) {
        const int64_t l = node * kLanes + lowest_bit(children);
        if (l < tree.leaves && l != start) pack.look_at(tree.leaf[l]);
      }
    };
    walk_nodes(tree, near, visit);
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
