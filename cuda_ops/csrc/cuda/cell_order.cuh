// Orders the points of a cloud so that neighbours in the order are neighbours in space: a counting sort by
// the Morton code of a cubic grid, done by one thread block.
//
// The order inside a cell depends on the order of atomics. Whoever uses it must not let that show: furthest
// point sampling only groups points by it and breaks ties by their original index.
#pragma once

#include "common.cuh"

namespace pointnet2::cuda {

// An axis-aligned box. The empty box has low = +inf, high = -inf.
template <class T>
struct Box {
  Point<T> low, high;
};

template <class T>
__device__ __forceinline__ Box<T> empty_box() {
  const T inf = infinity<T>();
  return {{inf, inf, inf}, {-inf, -inf, -inf}};
}

template <class T>
__device__ __forceinline__ void extend(Box<T>& box, const Point<T>& p) {
  box.low = {fmin(box.low.x, p.x), fmin(box.low.y, p.y), fmin(box.low.z, p.z)};
  box.high = {fmax(box.high.x, p.x), fmax(box.high.y, p.y), fmax(box.high.z, p.z)};
}

// The smallest box around the boxes of the warp's lanes.
template <class T>
__device__ __forceinline__ Box<T> warp_union(const Box<T>& box) {
  return {{warp_extreme<false>(box.low.x), warp_extreme<false>(box.low.y), warp_extreme<false>(box.low.z)},
          {warp_extreme<true>(box.high.x), warp_extreme<true>(box.high.y), warp_extreme<true>(box.high.z)}};
}

// A lower bound of the *computed* squared distance between p and any point q of the box: q.x - p.x >= low.x -
// p.x and p.x - q.x >= p.x - high.x hold before rounding, and rounding, squaring of non-negative numbers and
// adding keep the order. So the bound is exact: where it is not below a running minimum, the minimum cannot
// change.
template <class T>
__device__ __forceinline__ T box_squared_distance(const Box<T>& box, const Point<T>& p) {
  const T zero = 0;
  return sum_of_squares(fmax(fmax(sub(box.low.x, p.x), sub(p.x, box.high.x)), zero),
                        fmax(fmax(sub(box.low.y, p.y), sub(p.y, box.high.y)), zero),
                        fmax(fmax(sub(box.low.z, p.z), sub(p.z, box.high.z)), zero));
}

template <class T, int kBits>
struct CellGrid {
  Point<T> low;
  T cells_per_unit;

  static __device__ __forceinline__ unsigned spread(T offset) {
    int cell = static_cast<int>(offset);
    cell = cell < 0 ? 0 : cell;  // NaN and overflow must stay inside the grid, too
    unsigned bits = static_cast<unsigned>(cell < (1 << kBits) ? cell : (1 << kBits) - 1), spread = 0;
#pragma unroll
    for (int bit = 0; bit < kBits; ++bit) spread |= (bits >> bit & 1u) << (3 * bit);
    return spread;
  }

  __device__ __forceinline__ int cell(const Point<T>& p) const {
    return static_cast<int>(spread((p.x - low.x) * cells_per_unit) |
                            spread((p.y - low.y) * cells_per_unit) << 1 |
                            spread((p.z - low.z) * cells_per_unit) << 2);
  }
};

template <class T>
constexpr size_t cell_order_shared_bytes() {
  return shared_bytes<T>(6 * kWarp) + shared_bytes<int>(kWarp);
}

// Writes a permutation of [0, size) to `order`. `counts` holds 8^kBits ints (shared or global). Ends with a
// barrier.
template <int kBits, class T, class Index>
__device__ void sort_by_cell(const T* __restrict__ xyz, int size, int* counts, Index* order,
                             SharedMemory& shared) {
  T* corners = shared.take<T>(6 * kWarp);
  int* warp_sums = shared.take<int>(kWarp);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  constexpr int kCells = 1 << (3 * kBits);

  Box<T> box = empty_box<T>();
  for (int i = threadIdx.x; i < size; i += blockDim.x) extend(box, load_point(xyz, i));
  box = warp_union(box);
  if (lane == 0) {
    const T corner[6] = {box.low.x, box.low.y, box.low.z, box.high.x, box.high.y, box.high.z};
#pragma unroll
    for (int k = 0; k < 6; ++k) corners[k * kWarp + warp] = corner[k];
  }
  for (int cell = threadIdx.x; cell < kCells; cell += blockDim.x) counts[cell] = 0;
  __syncthreads();

  box = empty_box<T>();
  if (lane < warps) {
    box.low = {corners[lane], corners[kWarp + lane], corners[2 * kWarp + lane]};
    box.high = {corners[3 * kWarp + lane], corners[4 * kWarp + lane], corners[5 * kWarp + lane]};
  }
  box = warp_union(box);
  const T extent = fmax(fmax(box.high.x - box.low.x, box.high.y - box.low.y), box.high.z - box.low.z);
  const CellGrid<T, kBits> grid = {box.low,
                                   extent > 0 ? static_cast<T>(1 << kBits) / extent : static_cast<T>(0)};

  for (int i = threadIdx.x; i < size; i += blockDim.x) atomicAdd(&counts[grid.cell(load_point(xyz, i))], 1);
  __syncthreads();
  block_exclusive_scan(counts, kCells, warp_sums);
  for (int i = threadIdx.x; i < size; i += blockDim.x) {
    order[atomicAdd(&counts[grid.cell(load_point(xyz, i))], 1)] = static_cast<Index>(i);
  }
  __syncthreads();
}

}  // namespace pointnet2::cuda
