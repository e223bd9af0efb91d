// Ball query, first hits in index order. See kernels.h for what it computes.
//
// A ball is looked up in a box tree: leaves whose box is nearer than the radius (box distances never exceed
// computed distances, see box_tree.h). Hits come leaf by leaf and are then put in index order. A ball that
// holds much of the cloud overlaps many leaves, but then its first hits are found soon by reading the points
// in index order. Which of the two answers a query is a matter of cost only (see Plan).
//
// Measured (2 threads, AVX-512): 8 x 1024 balls of r = 0.1, k = 32 on chunks of 8192 points in 1.1 - 1.8 ms
// (31 - 78 points in a ball), 0.5 ms of it for the order and the tree.
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
// (26 L) cycles. They are equal where L = sqrt(k N) / 32 (measured: / 24). The scan gives up after about
// twice the points it should need.
struct Plan {
  int64_t tree_leaves, scan_leaves;

  Plan(int64_t n, int64_t nsample) {
    const double root = std::sqrt(static_cast<double>(n) * static_cast<double>(nsample));
    tree_leaves = static_cast<int64_t>(root / 24);
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

// What one thread needs for a query: lists of leaves and hits, and to put hits in order a bitmap over the
// indices, and one over its words. Both bitmaps are all zero between queries. The upper one has copies, added
// up when read: with one, each hit would wait for the one before.
struct HitScratch {
  static constexpr int kCopies = 4;
  Buffer<int32_t> leaves, hits;
  Buffer<uint64_t> words;
  Buffer<uint64_t> pages;  // [page_count, kCopies] of 64 words each
  int64_t page_count;

  explicit HitScratch(int64_t points) : page_count((points + 4095) / 4096) {
    leaves.resize(groups_of_16(points) + kLanes);
    hits.resize(points + kLanes);
    std::fill_n(words.resize(64 * page_count), 64 * page_count, uint64_t(0));
    std::fill_n(pages.resize(kCopies * page_count), kCopies * page_count, uint64_t(0));
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

// Reads at most `most` leaves in index order and puts the first `nsample` hits, or a few more, into `hits`;
// their number, or kGaveUp.
template <class T>
POINTNET2_INLINE int64_t scan(const Point<T>& q, Pack<T> limit, int64_t nsample, int64_t most,
                              const BallCloud<T>& cloud, int32_t* hits) {
  int64_t found = 0;
  for (int64_t l = 0; l < cloud.leaves && found < nsample; ++l) {
    if (l == most) return kGaveUp;
    const Bits inside = bits(less(distance2(cloud.in_order[l], q), limit));
    if (inside != 0) found += store_lanes(hits + found, inside, static_cast<int32_t>(l * kLanes));
  }
  return found;
}

// Puts all hits into s.hits, in no particular order; their number, or kGaveUp if more than `most` leaves are
// near.
template <class T>
POINTNET2_INLINE int64_t search(const Point<T>& q, Pack<T> limit, int64_t most, const BallCloud<T>& cloud,
                                const HitScratch& s) {
  int64_t leaves = 0;
  const auto near = [&](const Boxes<T>& boxes) POINTNET2_LAMBDA {
    return leaves > most ? 0 : bits(less(box_distance2(boxes, q), limit));
  };
  const auto list = [&](int64_t node, Bits children) POINTNET2_LAMBDA {
    leaves += store_lanes(s.leaves.data() + leaves, children, static_cast<int32_t>(node * kLanes));
  };
  walk_nodes(cloud.tree, near, list);
  if (leaves > most) return kGaveUp;
  int64_t found = 0;
  for (int64_t i = 0; i < leaves; ++i) {
    const Leaf<T>& leaf = cloud.tree.leaf[s.leaves[i]];
    found += compress_store(s.hits.data() + found, bits(less(distance2(leaf, q), limit)), leaf.index);
  }
  return found;
}

// Up to here comparing all hits with all others is faster than a bitmap.
constexpr int64_t kFewHits = POINTNET2_ISA_LEVEL == 2 ? 128 : POINTNET2_ISA_LEVEL == 1 ? 48 : 16;

// Few hits: each one's place is the number of lower ones.
POINTNET2_INLINE int64_t order_few(int64_t hits, int64_t nsample, const HitScratch& s, int32_t* row) {
  int32_t* const hit = s.hits.data();
  store(hit + hits, broadcast(std::numeric_limits<int32_t>::max()));  // fills the last pack
  int32_t places[kFewHits + kLanes], ordered[kFewHits];
  for (int64_t first = 0; first < hits; first += kLanes) {
    const Pack<int32_t> pack = load(hit + first);
    Pack<int32_t> place = broadcast(int32_t(0));
    for (int64_t i = 0; i < hits; ++i) place = count_less(place, broadcast(hit[i]), pack);
    store(places + first, place);
  }
  for (int64_t i = 0; i < hits; ++i) ordered[places[i]] = hit[i];
  const int64_t found = hits < nsample ? hits : nsample;
  std::memcpy(row, ordered, sizeof(int32_t) * static_cast<size_t>(found));
  return found;
}

// Many hits are put in order by a bitmap over the indices.
POINTNET2_INLINE int64_t order_many(int64_t hits, int64_t nsample, const HitScratch& s, int32_t* row) {
  for (int64_t i = 0; i < hits; ++i) {
    const int32_t word = s.hits[i] >> 6, page = word >> 6;
    s.words[word] |= uint64_t(1) << (s.hits[i] & 63);
    s.pages[page * HitScratch::kCopies + i % HitScratch::kCopies] |= uint64_t(1) << (word & 63);
  }
  int64_t found = 0;
  for (int64_t page = 0; page < s.page_count && found < nsample; ++page) {
    uint64_t used = 0;
    for (int c = 0; c < HitScratch::kCopies; ++c) used |= s.pages[page * HitScratch::kCopies + c];
    for (; used != 0 && found < nsample; used &= used - 1) {
      const int32_t word = static_cast<int32_t>(page * 64 + __builtin_ctzll(used));
      for (uint64_t set = s.words[word]; set != 0 && found < nsample; set &= set - 1)
        row[found++] = word * 64 + __builtin_ctzll(set);
    }
  }
  for (int64_t i = 0; i < hits; ++i) s.words[s.hits[i] >> 6] = 0;
  for (int64_t i = 0; i < s.page_count * HitScratch::kCopies; ++i) s.pages[i] = 0;
  return found;
}

// The lowest `nsample` of the hits go to row, ascending; returns how many.
POINTNET2_INLINE int64_t put_in_order(int64_t hits, int64_t nsample, const HitScratch& s, int32_t* row) {
  return hits <= kFewHits ? order_few(hits, nsample, s, row) : order_many(hits, nsample, s, row);
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
    int32_t* const hits = s.hits.data();
    int64_t found = cloud.has_tree ? search(q, limits, plan.tree_leaves, cloud, s) : kGaveUp;
    bool in_order = found == kGaveUp;
    if (in_order)
      found = scan(q, limits, nsample, cloud.has_tree ? plan.scan_leaves : cloud.leaves, cloud, hits);
    if (found == kGaveUp) {
      found = search(q, limits, cloud.leaves, cloud, s);
      in_order = false;
    }
    if (in_order) {
      found = found < nsample ? found : nsample;
      std::memcpy(row, hits, sizeof(int32_t) * found);
    } else {
      found = put_in_order(found, nsample, s, row);
    }
    const int32_t padding = found > 0 ? row[0] : 0;
    for (int64_t k = found; k < nsample; ++k) row[k] = padding;
    count[i] = static_cast<int32_t>(found);
  }
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
