// Furthest point sampling, exact for any N. See kernels.h for what it computes.
//
// The points lie in a box tree (box_tree.h). Every leaf and every box knows the largest distance to the
// samples that is left inside. A new sample can change only boxes that are nearer to it than that distance;
// as box distances never exceed computed distances, skipping the others is exact. On a chunk of 8192 points a
// step looks at 4 nodes and 10 leaves of 16 points on average, instead of 512. The farthest point is then
// found from the top down; of several at the same distance the lowest original index is taken, in whatever
// leaves they are.
//
// A point that repeats another one can only be taken when everything is at distance 0, and then point 0 is:
// repeated points are dropped beforehand.
//
// Steps follow from each other and take 0.2 - 0.6 us, less than waking a thread: one thread samples a cloud.
// Threads share the clouds, and the preparation of large ones.
//
// Measured (2 threads, AVX-512): 8 x 8192 -> 1024 in 1.3 ms, a third of it for the order and the tree.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_FPS_H
#define POINTNET2_FPS_H

#include <vector>

#include "box_tree.h"
#include "kernels.h"

namespace pointnet2 {

template <class T>
struct FpsCloud {
  OrderScratch sort;
  Buffer<int32_t> order;
  BoxTree<T> tree;
  Buffer<T> nearest;  // [leaves, 16] squared distance of each point to the nearest sample
  Buffer<T> farthest[BoxTree<T>::kLevels];  // [nodes, 16] the largest of them below each child of each node

  void prepare(const T* xyz, int64_t n, Isa isa, const Threads& threads) {
    int32_t* const points = order.resize(n);
    spatial_order(xyz, n, points, sort, isa, threads);
    n = drop_repeated(xyz, points, n);
    tree.build(xyz, points, n, threads);
    set_farthest(nearest, n, tree.leaves * kLanes);
    for (int level = 0; level <= tree.top; ++level)
      set_farthest(farthest[level], level == 0 ? tree.leaves : tree.nodes[level - 1],
                   tree.nodes[level] * kLanes);
  }

 private:
  // Infinity before the first sample; -1 where there is nothing, which is therefore never the farthest.
  static void set_farthest(Buffer<T>& buffer, int64_t used, int64_t size) {
    T* p = buffer.resize(size);
    std::fill(p, p + used, std::numeric_limits<T>::infinity());
    std::fill(p + used, p + size, T(-1));
  }
};

}  // namespace pointnet2

#define POINTNET2_FILE "fps.h"
#include "foreach_isa.h"

namespace pointnet2 {

template <class T>
void furthest_point_sample(const T* xyz, int64_t B, int64_t N, int64_t npoint, int32_t* idx,
                           const Threads& threads) {
  if (B == 0 || npoint == 0) return;
  const Isa isa = active_isa();
  const auto prepare = [=](int64_t b, FpsCloud<T>& cloud, const Threads& helpers) {
    cloud.prepare(xyz + 3 * N * b, N, isa, helpers);
  };
  const auto sample = [=](int64_t b, FpsCloud<T>& cloud) {
    POINTNET2_DISPATCH(isa, sample_cloud(xyz + 3 * N * b, npoint, idx + npoint * b, cloud));
  };
  if (B < threads.count) {
    std::vector<FpsCloud<T>> clouds(B);
    prepare_clouds(B, N, threads, [&](int64_t b, const Threads& helpers) { prepare(b, clouds[b], helpers); });
    parallel(threads, B, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) sample(b, clouds[b]);
    });
  } else {
    parallel(threads, B, [&](int64_t begin, int64_t end) {
      FpsCloud<T> cloud;  // its memory serves one cloud after the other
      for (int64_t b = begin; b < end; ++b) {
        prepare(b, cloud, kOneThread);
        sample(b, cloud);
      }
    });
  }
}

}  // namespace pointnet2
#endif  // POINTNET2_FPS_H

#else  // once per instruction set

namespace pointnet2 {
namespace POINTNET2_ISA {

// Takes the sample q into account below a node, in every leaf whose farthest point may now be nearer.
// Returns the largest distances left below its 16 children.
template <int level, class T>
POINTNET2_INLINE Pack<T> add_sample(const Point<T>& q, int64_t node, FpsCloud<T>& s) {
  T* const stored = s.farthest[level].data() + node * kLanes;
  Pack<T> farthest = load(stored);
  Bits children = bits(less(box_distance2(s.tree.boxes[level][node], q), farthest));
  if (children == 0) return farthest;
  for (; children != 0; children &= children - 1) {
    const int64_t child = node * kLanes + lowest_bit(children);
    Pack<T> below;
    if constexpr (level == 0) {
      T* const nearest = s.nearest.data() + child * kLanes;
      below = min(load(nearest), distance2(s.tree.leaf[child], q));
      store(nearest, below);
    } else {
      below = add_sample<level - 1>(q, child, s);
    }
    farthest = replace_lane(farthest, children & -children, max_everywhere(below));
  }
  store(stored, farthest);
  return farthest;
}

struct Farthest {
  int32_t index;  // of the point
  int64_t place;  // in the tree: 16 * leaf + lane
};

// The point of lowest index at the distance `wanted` below a node, if it beats `best`.
template <int level, class T>
POINTNET2_INLINE void find_farthest(Pack<T> wanted, int64_t node, const FpsCloud<T>& s, Farthest& best) {
  Bits children = bits(equal(load(s.farthest[level].data() + node * kLanes), wanted));
  for (; children != 0; children &= children - 1) {
    const int64_t child = node * kLanes + lowest_bit(children);
    if constexpr (level == 0) {
      Bits lanes = bits(equal(load(s.nearest.data() + child * kLanes), wanted));
      for (; lanes != 0; lanes &= lanes - 1) {
        const int lane = lowest_bit(lanes);
        const int32_t index = s.tree.leaf[child].index[lane];
        if (index < best.index) best = {index, child * kLanes + lane};
      }
    } else {
      find_farthest<level - 1>(wanted, child, s, best);
    }
  }
}

template <int level, class T>
inline void sample_below(const T* xyz, int64_t npoint, int32_t* idx, FpsCloud<T>& s) {
  const int64_t nodes = s.tree.nodes[level];
  Point<T> q = broadcast_point(xyz[0], xyz[1], xyz[2]);
  idx[0] = 0;
  for (int64_t i = 1; i < npoint; ++i) {
    Pack<T> farthest = broadcast(T(-1));
    for (int64_t node = 0; node < nodes; ++node) farthest = max(farthest, add_sample<level>(q, node, s));
    farthest = max_everywhere(farthest);
    if (first_lane(farthest) ==
        0) {  // every point lies on a sample: the lowest index of all, again and again
      for (; i < npoint; ++i) idx[i] = 0;
      return;
    }
    Farthest best{std::numeric_limits<int32_t>::max(), 0};
    for (int64_t node = 0; node < nodes; ++node) find_farthest<level>(farthest, node, s, best);
    idx[i] = best.index;
    const Leaf<T>& leaf = s.tree.leaf[best.place / kLanes];
    const int64_t lane = best.place % kLanes;
    q = broadcast_point(leaf.xyz[0][lane], leaf.xyz[1][lane], leaf.xyz[2][lane]);
  }
}

template <class T>
inline void sample_cloud(const T* xyz, int64_t npoint, int32_t* idx, FpsCloud<T>& s) {
  if (s.tree.top == 0)
    sample_below<0>(xyz, npoint, idx, s);
  else if (s.tree.top == 1)
    sample_below<1>(xyz, npoint, idx, s);
  else
    sample_below<2>(xyz, npoint, idx, s);
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
