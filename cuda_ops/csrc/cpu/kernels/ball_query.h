// Ball query, first hits in index order. See kernels.h for what it computes.
//
// A ball is looked up in a box tree: leaves whose box is nearer than the radius (box distances never exceed
// computed distances, see box_tree.h). Hits come leaf by leaf; a bitmap over the indices puts them in order.
// A ball that holds much of the cloud overlaps many leaves, but then its first hits are found soon by reading
// the points in index order. Which of the two answers a query is a matter of cost only (see Plan).
//
// Measured (2 threads, AVX-512): 8 x 1024 balls of r = 0.1, k = 32 on chunks of 8192 points in 1.3 ms, a
// third of it for the order and the tree.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_BALL_QUERY_H
#define POINTNET2_BALL_QUERY_H

#include <cmath>
#include <vector>

#include "box_tree.h"
#include "kernels.h"

namespace pointnet2 {

// How far to go with the tree before trying a scan, and with the scan before going back to the tree.
//
// Take a ball that overlaps L leaves and hits half of their points. The tree costs about 40 L cycles, most of
// them for putting hits in order. A scan for k hits reads about k N / (8 L) points, 16 at a time, in k N /
// (26 L) cycles. They are equal where L = sqrt(k N) / 32. The scan gives up after twice the points it should
// need there.
struct Plan {
  int64_t tree_leaves, scan_leaves;

  Plan(int64_t n, int64_t nsample) {
    const double root = std::sqrt(static_cast<double>(n) * static_cast<double>(nsample));
    tree_leaves = static_cast<int64_t>(root / 32);
    scan_leaves = static_cast<int64_t>(root / 2);
  }
};

template <class T>
struct BallCloud {
  OrderScratch sort;
  Buffer<int32_t> order;
  int64_t points = 0, leaves = 0;
  Buffer<Leaf<T>> in_order;  // [leaves] the points in index order
  bool has_tree = false;
  BoxTree<T> tree;

  void prepare(const T* xyz, int64_t n, Isa isa, const Threads& threads) {
    constexpr int64_t kTooFewForATree = 512;
    points = n;
    leaves = groups_of_16(n);
    int32_t* const at = order.resize(n);
    for (int64_t i = 0; i < n; ++i) at[i] = static_cast<int32_t>(i);
    in_order.resize(leaves);
    for (int64_t l = 0; l < leaves; ++l)
      gather_leaf(xyz, at + l * kLanes, std::min<int64_t>(kLanes, n - l * kLanes), in_order[l]);
    has_tree = n > kTooFewForATree;
    if (!has_tree) return;
    spatial_order(xyz, n, at, sort, isa, threads);
    tree.build(xyz, at, n, threads);
  }
};

// What one thread needs to put hits in order.
struct HitScratch {
  Buffer<int32_t> hits;
  Buffer<uint64_t> words, pages;  // bitmap over the indices, bitmap over its words: all zero between queries

  explicit HitScratch(int64_t points) {
    const int64_t used = (points + 63) / 64, above = (used + 63) / 64;
    hits.resize(points + kLanes);
    std::fill_n(words.resize(used), used, uint64_t(0));
    std::fill_n(pages.resize(above), above, uint64_t(0));
  }
};

}  // namespace pointnet2

#define POINTNET2_FILE "ball_query.h"
#include "foreach_isa.h"

namespace pointnet2 {

template <class T>
void ball_query(const T* xyz, const T* new_xyz, int64_t B, int64_t N, int64_t M, double radius,
                int64_t nsample, int32_t* idx, int32_t* count, const Threads& threads) {
  if (B == 0 || M == 0) return;
  const T limit = static_cast<T>(radius) * static_cast<T>(radius);
  const Isa isa = active_isa();
  const auto prepare = [=](int64_t b, BallCloud<T>& cloud, const Threads& helpers) {
    cloud.prepare(xyz + 3 * N * b, N, isa, helpers);
  };
  const auto query = [=](int64_t b, int64_t first, int64_t last, const BallCloud<T>& cloud,
                         HitScratch& scratch) {
    const int64_t row = M * b + first;
    POINTNET2_DISPATCH(isa, query_balls(new_xyz + 3 * row, last - first, limit, nsample, idx + nsample * row,
                                        count + row, cloud, scratch));
  };
  if (B < threads.count) {
    std::vector<BallCloud<T>> clouds(B);
    prepare_clouds(B, N, threads, [&](int64_t b, const Threads& helpers) { prepare(b, clouds[b], helpers); });
    const int64_t parts = std::min<int64_t>((threads.count + B - 1) / B, M);
    parallel(threads, B * parts, [&](int64_t begin, int64_t end) {
      HitScratch scratch(N);
      for (int64_t i = begin; i < end; ++i)
        query(i / parts, M * (i % parts) / parts, M * (i % parts + 1) / parts, clouds[i / parts], scratch);
    });
  } else {
    parallel(threads, B, [&](int64_t begin, int64_t end) {
      HitScratch scratch(N);
      BallCloud<T> cloud;  // its memory serves one cloud after the other
      for (int64_t b = begin; b < end; ++b) {
        prepare(b, cloud, kOneThread);
        query(b, 0, M, cloud, scratch);
      }
    });
  }
}

}  // namespace pointnet2
#endif  // POINTNET2_BALL_QUERY_H

#else  // once per instruction set

namespace pointnet2 {
namespace POINTNET2_ISA {

constexpr int64_t kGaveUp = -1;

// Reads at most `most` leaves in index order; the number of hits put into row, or kGaveUp.
template <class T>
POINTNET2_INLINE int64_t scan(const Point<T>& q, Pack<T> limit, int64_t nsample, int64_t most,
                              const BallCloud<T>& cloud, int32_t* row) {
  int64_t found = 0;
  for (int64_t l = 0; l < cloud.leaves; ++l) {
    if (l == most) return kGaveUp;
    Bits hits = bits(less(distance2(cloud.in_order[l], q), limit));
    for (; hits != 0; hits &= hits - 1) {
      row[found++] = static_cast<int32_t>(l * kLanes + lowest_bit(hits));
      if (found == nsample) return found;
    }
  }
  return found;
}

// Puts all hits into `hits`, in no particular order; their number, or kGaveUp if more than `most` leaves are
// near.
template <class T>
POINTNET2_INLINE int64_t search(const Point<T>& q, Pack<T> limit, int64_t most, const BallCloud<T>& cloud,
                                int32_t* hits) {
  int64_t found = 0, leaves_near = 0;
  const auto near = [&](const Boxes<T>& boxes, int level) POINTNET2_LAMBDA {
    const Bits children = bits(less(box_distance2(boxes, q), limit));
    if (level == 0) leaves_near += count_bits(children);
    return leaves_near > most ? 0 : children;
  };
  const auto visit = [&](int64_t l) POINTNET2_LAMBDA {
    const Leaf<T>& leaf = cloud.tree.leaf[l];
    found += compress_store(hits + found, bits(less(distance2(leaf, q), limit)), leaf.index);
  };
  walk(cloud.tree, near, visit);
  return leaves_near > most ? kGaveUp : found;
}

// The lowest `nsample` of the hits go to row, ascending; returns how many.
POINTNET2_INLINE int64_t put_in_order(int64_t hits, int64_t nsample, const HitScratch& s, int32_t* row) {
  int32_t last_page = 0;
  for (int64_t i = 0; i < hits; ++i) {
    const int32_t hit = s.hits[i], word = hit >> 6, page = hit >> 12;
    s.words[word] |= uint64_t(1) << (hit & 63);
    s.pages[page] |= uint64_t(1) << (word & 63);
    last_page = page > last_page ? page : last_page;
  }
  int64_t found = 0;
  for (int32_t page = 0; page <= last_page; ++page) {
    for (uint64_t used = s.pages[page]; used != 0; used &= used - 1) {
      const int32_t word = page * 64 + __builtin_ctzll(used);
      uint64_t set = s.words[word];
      s.words[word] = 0;
      for (; set != 0 && found < nsample; set &= set - 1) row[found++] = word * 64 + __builtin_ctzll(set);
    }
    s.pages[page] = 0;
  }
  return found;
}

// centres [n, 3] -> rows [n, nsample], count [n]
template <class T>
inline void query_balls(const T* centres, int64_t n, T limit, int64_t nsample, int32_t* rows, int32_t* count,
                        const BallCloud<T>& cloud, HitScratch& s) {
  const Plan plan(cloud.points, nsample);
  const Pack<T> limits = broadcast(limit);
  for (int64_t i = 0; i < n; ++i) {
    const Point<T> q = broadcast_point(centres[3 * i], centres[3 * i + 1], centres[3 * i + 2]);
    int32_t* const row = rows + nsample * i;
    int64_t found;
    if (!cloud.has_tree) {
      found = scan(q, limits, nsample, cloud.leaves, cloud, row);
    } else {
      int64_t hits = search(q, limits, plan.tree_leaves, cloud, s.hits.data());
      found = hits == kGaveUp ? scan(q, limits, nsample, plan.scan_leaves, cloud, row) : 0;
      if (found == kGaveUp) hits = search(q, limits, cloud.leaves, cloud, s.hits.data());
      if (hits != kGaveUp) found = put_in_order(hits, nsample, s, row);
    }
    const int32_t padding = found > 0 ? row[0] : 0;
    for (int64_t k = found; k < nsample; ++k) row[k] = padding;
    count[i] = static_cast<int32_t>(found);
  }
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
