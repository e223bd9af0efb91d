// Ball query, first hits in index order. See kernels.h for what it computes.
//
// A ball is looked up in a box tree: leaves whose box is nearer than the radius (box distances never exceed
// computed distances, see box_tree.h). Its hits come leaf by leaf; a bitmap over the indices restores their
// order. A ball that holds much of the cloud overlaps many leaves, but then its first hits are found soon by
// looking at the points in index order. Which of the two answers a query is a matter of cost only (see Plan).
#ifndef POINTNET2_ISA
#ifndef POINTNET2_BALL_QUERY_H
#define POINTNET2_BALL_QUERY_H

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
constexpr int64_t kTooFewForATree = 512;  // points

template <class T>
struct BallScratch {
  OrderScratch sort;
  Buffer<int32_t> order;
  BoxTree<T> tree;
  Buffer<Leaf<T>> in_order;       // the points in index order
  Buffer<int32_t> hits;           // of the ball at hand
  Buffer<uint64_t> words, pages;  // bitmap over the indices, bitmap over its words: zero between queries
  int64_t leaves = 0;
  bool has_tree = false;

  void prepare(const T* xyz, int64_t n, Isa isa) {
    leaves = (n + kLanes - 1) / kLanes;
    int32_t* const points = order.resize(n);
    for (int64_t i = 0; i < n; ++i) points[i] = static_cast<int32_t>(i);
    in_order.resize(leaves);
    for (int64_t l = 0; l < leaves; ++l)
      gather_leaf(xyz, points + l * kLanes, std::min<int64_t>(kLanes, n - l * kLanes), in_order.data()[l]);
    has_tree = n > kTooFewForATree;
    if (!has_tree) return;
    spatial_order(xyz, n, points, sort, isa);
    tree.build(xyz, points, n);
    hits.resize(n + kLanes);
    const int64_t used = (n + 63) / 64, above = (used + 63) / 64;
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
  // One work item a cloud, or several parts of its centres when there are fewer clouds than threads.
  const int64_t parts = std::min<int64_t>((threads.count + B - 1) / B, M);
  parallel(threads, B * parts, [=](int64_t begin, int64_t end) {
    BallScratch<T> scratch;
    int64_t prepared = -1;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t b = item / parts, part = item % parts;
      if (b != prepared) scratch.prepare(xyz + 3 * N * b, N, isa);
      prepared = b;
      const int64_t first = M * part / parts, last = M * (part + 1) / parts, row = M * b + first;
      POINTNET2_DISPATCH(isa, query_balls(new_xyz + 3 * row, last - first, limit, nsample, N,
                                          idx + nsample * row, count + row, scratch));
    }
  });
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
                              const BallScratch<T>& s, int32_t* row) {
  int64_t found = 0;
  for (int64_t l = 0; l < s.leaves; ++l) {
    if (l == most) return kGaveUp;
    Bits hits = bits(less(distance2(s.in_order.data()[l], q), limit));
    for (; hits != 0; hits &= hits - 1) {
      row[found++] = static_cast<int32_t>(l * kLanes + lowest_bit(hits));
      if (found == nsample) return found;
    }
  }
  return found;
}

// Puts all hits into s.hits, in no particular order; their number, or kGaveUp if more than `most` leaves are
// near.
template <class T>
POINTNET2_INLINE int64_t search(const Point<T>& q, Pack<T> limit, int64_t most, const BallScratch<T>& s) {
  int64_t found = 0, near = 0;
  for (int64_t b = 0; b < s.tree.blocks; ++b) {
    Bits groups = bits(less(box_distance2(s.tree.block.data()[b], q), limit));
    for (; groups != 0; groups &= groups - 1) {
      const int64_t g = b * kLanes + lowest_bit(groups);
      Bits leaves = bits(less(box_distance2(s.tree.group.data()[g], q), limit));
      near += count_bits(leaves);
      if (near > most) return kGaveUp;
      for (; leaves != 0; leaves &= leaves - 1) {
        const Leaf<T>& leaf = s.tree.leaf.data()[g * kLanes + lowest_bit(leaves)];
        found += compress_store(s.hits.data() + found, bits(less(distance2(leaf, q), limit)), leaf.index);
      }
    }
  }
  return found;
}

// The lowest `nsample` of the hits go to row, ascending; returns how many.
template <class T>
POINTNET2_INLINE int64_t put_in_order(int64_t hits, int64_t nsample, BallScratch<T>& s, int32_t* row) {
  uint64_t* const words = s.words.data();
  uint64_t* const pages = s.pages.data();
  const int32_t* const hit = s.hits.data();
  int32_t last_page = 0;
  for (int64_t i = 0; i < hits; ++i) {
    const int32_t word = hit[i] >> 6, page = hit[i] >> 12;
    words[word] |= uint64_t(1) << (hit[i] & 63);
    pages[page] |= uint64_t(1) << (word & 63);
    last_page = page > last_page ? page : last_page;
  }
  int64_t found = 0;
  for (int32_t page = 0; page <= last_page; ++page) {
    for (uint64_t used = pages[page]; used != 0; used &= used - 1) {
      const int32_t word = page * 64 + __builtin_ctzll(used);
      uint64_t set = words[word];
      words[word] = 0;
      for (; set != 0 && found < nsample; set &= set - 1) row[found++] = word * 64 + __builtin_ctzll(set);
    }
    pages[page] = 0;
  }
  return found;
}

// centres [n, 3] -> rows [n, nsample], count [n]
template <class T>
inline void query_balls(const T* centres, int64_t n, T limit, int64_t nsample, int64_t points, int32_t* rows,
                        int32_t* count, BallScratch<T>& s) {
  const Plan plan(points, nsample);
  const Pack<T> limits = broadcast(limit);
  for (int64_t i = 0; i < n; ++i) {
    const Point<T> q = broadcast_point(centres[3 * i], centres[3 * i + 1], centres[3 * i + 2]);
    int32_t* const row = rows + nsample * i;
    int64_t found;
    if (!s.has_tree) {
      found = scan(q, limits, nsample, s.leaves, s, row);
    } else {
      int64_t hits = search(q, limits, plan.tree_leaves, s);
      found = hits == kGaveUp ? scan(q, limits, nsample, plan.scan_leaves, s, row) : 0;
      if (found == kGaveUp) hits = search(q, limits, s.leaves, s);
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
