// Furthest point sampling, exact for any N. See kernels.h for what it computes.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_FPS_H
#define POINTNET2_FPS_H

#include "box_tree.h"
#include "kernels.h"

namespace pointnet2 {

template <class T>
struct FpsScratch {
  OrderScratch sort;
  Buffer<int32_t> order;
  BoxTree<T> tree;
  Buffer<T> nearest;         // [leaves, 16] squared distance of each point to the nearest sample
  Buffer<T> leaf_farthest;   // [groups, 16] the largest of them in each leaf
  Buffer<T> group_farthest;  // [blocks, 16] the largest of them in each group

  void prepare(const T* xyz, int64_t n, Isa isa) {
    int32_t* const points = order.resize(n);
    spatial_order(xyz, n, points, sort, isa);
    n = drop_repeated(xyz, points, n);
    tree.build(xyz, points, n);
    set_farthest(nearest, n, tree.leaves * kLanes);
    set_farthest(leaf_farthest, tree.leaves, tree.groups * kLanes);
    set_farthest(group_farthest, tree.groups, tree.blocks * kLanes);
  }

 private:
  // Infinity before the first sample; -1 in lanes without a point, which are therefore never the farthest.
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
  if (npoint == 0) return;
  const Isa isa = active_isa();
  parallel(threads, B, [=](int64_t begin, int64_t end) {
    FpsScratch<T> scratch;
    for (int64_t b = begin; b < end; ++b) {
      const T* cloud = xyz + 3 * N * b;
      int32_t* samples = idx + npoint * b;
      POINTNET2_DISPATCH(isa, sample_cloud(cloud, N, npoint, samples, scratch));
    }
  });
}

}  // namespace pointnet2
#endif  // POINTNET2_FPS_H

#else  // once per instruction set

namespace pointnet2 {
namespace POINTNET2_ISA {

// Takes the sample q into account: in every leaf whose farthest point may now be nearer.
// Returns the largest distance left.
template <class T>
POINTNET2_INLINE T add_sample(const Point<T>& q, FpsScratch<T>& s) {
  Pack<T> farthest = broadcast(T(-1));
  for (int64_t b = 0; b < s.tree.blocks; ++b) {
    T* const group_farthest = s.group_farthest.data() + b * kLanes;
    Pack<T> of_groups = load(group_farthest);
    Bits groups = bits(less(box_distance2(s.tree.block.data()[b], q), of_groups));
    for (; groups != 0; groups &= groups - 1) {
      const int64_t g = b * kLanes + lowest_bit(groups);
      T* const leaf_farthest = s.leaf_farthest.data() + g * kLanes;
      Pack<T> of_leaves = load(leaf_farthest);
      Bits leaves = bits(less(box_distance2(s.tree.group.data()[g], q), of_leaves));
      for (; leaves != 0; leaves &= leaves - 1) {
        const int64_t l = g * kLanes + lowest_bit(leaves);
        T* const nearest = s.nearest.data() + l * kLanes;
        const Pack<T> d = min(load(nearest), distance2(s.tree.leaf.data()[l], q));
        store(nearest, d);
        of_leaves = replace_lane(of_leaves, leaves & -leaves, max_everywhere(d));
      }
      store(leaf_farthest, of_leaves);
      of_groups = replace_lane(of_groups, groups & -groups, max_everywhere(of_leaves));
    }
    store(group_farthest, of_groups);
    farthest = max(farthest, of_groups);
  }
  return first_lane(max_everywhere(farthest));
}

// The lowest original index among the points at distance `farthest`; `at` becomes its place in the tree.
template <class T>
POINTNET2_INLINE int32_t find_farthest(T farthest, const FpsScratch<T>& s, int64_t& at) {
  const Pack<T> wanted = broadcast(farthest);
  int32_t best = std::numeric_limits<int32_t>::max();
  for (int64_t b = 0; b < s.tree.blocks; ++b) {
    Bits groups = bits(equal(load(s.group_farthest.data() + b * kLanes), wanted));
    for (; groups != 0; groups &= groups - 1) {
      const int64_t g = b * kLanes + lowest_bit(groups);
      Bits leaves = bits(equal(load(s.leaf_farthest.data() + g * kLanes), wanted));
      for (; leaves != 0; leaves &= leaves - 1) {
        const int64_t l = g * kLanes + lowest_bit(leaves);
        Bits lanes = bits(equal(load(s.nearest.data() + l * kLanes), wanted));
        for (; lanes != 0; lanes &= lanes - 1) {
          const int lane = lowest_bit(lanes);
          const int32_t index = s.tree.leaf.data()[l].index[lane];
          if (index < best) {
            best = index;
            at = l * kLanes + lane;
          }
        }
      }
    }
  }
  return best;
}

template <class T>
inline void sample_cloud(const T* xyz, int64_t n, int64_t npoint, int32_t* idx, FpsScratch<T>& s) {
  idx[0] = 0;
  if (npoint == 1) return;
  s.prepare(xyz, n, static_cast<Isa>(POINTNET2_ISA_LEVEL));
  Point<T> q = broadcast_point(xyz[0], xyz[1], xyz[2]);
  for (int64_t i = 1; i < npoint; ++i) {
    const T farthest = add_sample(q, s);
    if (farthest == 0) {  // every point coincides with a sample: the lowest index of all, again and again
      std::fill(idx + i, idx + npoint, 0);
      return;
    }
    int64_t at = 0;
    idx[i] = find_farthest(farthest, s, at);
    const Leaf<T>& leaf = s.tree.leaf.data()[at / kLanes];
    const int64_t lane = at % kLanes;
    q = broadcast_point(leaf.xyz[0][lane], leaf.xyz[1][lane], leaf.xyz[2][lane]);
  }
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
