// Interface of the geometry kernels. They know no torch: memory is the caller's, threads come through
// `Threads`.
// The instruction set is chosen at run time; results depend neither on it nor on the number of threads. Tests
// force one with set_isa (isa.h).
//
// B clouds, N points, M queries or known points. Squared distances are ((dx*dx + dy*dy) + dz*dz) in T, left
// to right, every operation rounded (compile with -ffp-contract=off). All arrays are contiguous; coordinates
// must be finite.
#pragma once

#include <cstdint>
#include <type_traits>

namespace pointnet2 {

// Runs body(begin, end) over disjoint ranges covering [0, n), on up to `count` threads. body must not throw.
struct Threads {
  int count;
  void (*run)(int64_t n, void* context, void (*body)(void* context, int64_t begin, int64_t end));
};

// Calls body(begin, end) over [0, n) on the threads; body is any callable.
template <class Body>
inline void parallel(const Threads& threads, int64_t n, Body&& body) {
  threads.run(n, &body, [](void* context, int64_t begin, int64_t end) {
    (*static_cast<std::remove_reference_t<Body>*>(context))(begin, end);
  });
}

// idx [B, npoint]: starts at point 0, then the point farthest from all chosen ones; ties go to the lowest
// index.
template <class T>
void furthest_point_sample(const T* xyz, int64_t B, int64_t N, int64_t npoint, int32_t* idx,
                           const Threads& threads);

// idx [B, M, nsample]: the first nsample points in index order with squared distance < T(radius) * T(radius),
// padded with the first one (0 if there is none); count [B, M]: how many of the slots are hits.
template <class T>
void ball_query(const T* xyz, const T* new_xyz, int64_t B, int64_t N, int64_t M, double radius,
                int64_t nsample, int32_t* idx, int32_t* count, const Threads& threads);

// dist2, idx [B, N, 3]: the three smallest (squared distance, index) of the M >= 1 known points, ascending.
// Missing neighbours (M < 3, or an infinite distance) have index 0 and squared distance infinity.
template <class T>
void three_nn(const T* unknown, const T* known, int64_t B, int64_t N, int64_t M, T* dist2, int32_t* idx,
              const Threads& threads);

}  // namespace pointnet2
