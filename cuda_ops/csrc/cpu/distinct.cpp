// Rows that occur several times, found: equal points of a cloud, the distinct neighbours in a ball, and the
// maximum over what is then of different length for each ball.
#include <torch/csrc/stable/library.h>

#include <cstring>
#include <optional>
#include <tuple>
#include <vector>

#include "glue.h"
#include "kernels/segment_max.h"

namespace pointnet2 {

// first[i]: the lowest row with the same bytes as row i, of N rows of `size` bytes, a multiple of 4.
static void first_equal_rows(const char* rows, int64_t N, int64_t size, int32_t* first) {
  size_t slots = 64;
  while (slots < 2 * static_cast<size_t>(N)) slots *= 2;
  std::vector<int32_t> table(slots, -1);  // the first row of each kind
  for (int64_t i = 0; i < N; ++i) {
    const char* row = rows + i * size;
    uint64_t hash = 0;
    for (int64_t at = 0; at < size; at += 4) {
      uint32_t word;
      std::memcpy(&word, row + at, 4);
      hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
      hash ^= hash >> 32;
    }
    size_t slot = hash & (slots - 1);
    while (table[slot] >= 0 && std::memcmp(rows + table[slot] * size, row, size) != 0)
      slot = (slot + 1) & (slots - 1);
    if (table[slot] < 0) table[slot] = static_cast<int32_t>(i);
    first[i] = table[slot];
  }
}

static Tensor first_equal_row_cpu(const Tensor& input) {
  check_shape(input, "rows", {-1, -1, -1});
  const ScalarType type = input.scalar_type();
  require<std::invalid_argument>(type == ScalarType::Float || type == ScalarType::Double,
                                 "rows must be float32 or float64, got ", torch::headeronly::toString(type));
  const Tensor rows = torch::stable::contiguous(input);
  const int64_t B = rows.size(0), N = rows.size(1);
  const int64_t size = rows.size(2) * (type == ScalarType::Double ? 8 : 4);
  Tensor first = torch::stable::new_empty(rows, {B, N}, ScalarType::Int);
  const char* from = static_cast<const char*>(rows.const_data_ptr());
  int32_t* to = mutable_data_of<int32_t>(first);
  parallel_for(B, N * size, [=](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) first_equal_rows(from + b * N * size, N, size, to + b * N);
  });
  return first;
}

static std::tuple<Tensor, Tensor, Tensor, Tensor> distinct_neighbours_cpu(
    const Tensor& index, const std::optional<Tensor>& representative, int64_t N) {
  check_shape(index, "idx", {-1, -1, -1});
  const Tensor idx = checked_indices(index, N);
  const int64_t B = idx.size(0), M = idx.size(1), K = idx.size(2), balls = B * M;
  require<std::invalid_argument>(K > 0, "idx must hold at least one neighbour, got ", shape_of(idx));
  std::optional<Tensor> first;
  if (representative) {
    require<std::invalid_argument>(
        representative->dim() == 2 && representative->size(0) == B && representative->size(1) == N,
        "first must be [", B, ", ", N, "], got ", shape_of(*representative));
    first = checked_indices(*representative, N);
  }
  const int32_t* from = data_of<int32_t>(idx);
  const int32_t* lowest = first ? data_of<int32_t>(*first) : nullptr;
  // Each ball's distinct neighbours at the front of its K slots; then all moved together.
  std::vector<int32_t> kinds(balls * K), numbers(balls * K);
  Tensor start = torch::stable::new_empty(idx, {balls + 1});
  int32_t* starts = mutable_data_of<int32_t>(start);
  parallel_for(balls, K * K, [&](int64_t begin, int64_t end) {
    for (int64_t ball = begin; ball < end; ++ball) {
      const int64_t cloud = ball / M * N;
      int32_t *kind = kinds.data() + ball * K, *number = numbers.data() + ball * K;
      int32_t found = 0;
      for (int64_t k = 0; k < K; ++k) {
        const int32_t point = from[ball * K + k];
        const int32_t global = static_cast<int32_t>(cloud + (lowest ? lowest[cloud + point] : point));
        const int32_t at = static_cast<int32_t>(std::find(kind, kind + found, global) - kind);
        if (at == found) kind[found] = global, number[found++] = 0;
        ++number[at];
      }
      starts[ball + 1] = found;
    }
  });
  starts[0] = 0;
  for (int64_t ball = 0; ball < balls; ++ball) starts[ball + 1] += starts[ball];
  const int64_t R = starts[balls];
  Tensor point = torch::stable::new_empty(idx, {R}), centre = torch::stable::new_empty(idx, {R});
  Tensor count = torch::stable::new_empty(idx, {R});
  int32_t *points = mutable_data_of<int32_t>(point), *centres = mutable_data_of<int32_t>(centre),
          *counts = mutable_data_of<int32_t>(count);
  parallel_for(balls, K, [&](int64_t begin, int64_t end) {
    for (int64_t ball = begin; ball < end; ++ball) {
      const int64_t length = starts[ball + 1] - starts[ball];
      std::copy_n(kinds.data() + ball * K, length, points + starts[ball]);
      std::copy_n(numbers.data() + ball * K, length, counts + starts[ball]);
      std::fill_n(centres + starts[ball], length, static_cast<int32_t>(ball));
    }
  });
  return {point, centre, count, start};
}

static std::tuple<Tensor, Tensor> segment_max_cpu(const Tensor& input, const Tensor& starts) {
  require<std::invalid_argument>(input.dim() == 2, "rows must be [R, C], got ", shape_of(input));
  require<std::invalid_argument>(
      starts.dim() == 1 && starts.size(0) > 0 && starts.scalar_type() == ScalarType::Int,
      "start must be [S + 1] int32, got ", shape_of(starts));
  const Tensor rows = torch::stable::contiguous(input), start = torch::stable::contiguous(starts);
  const int64_t R = rows.size(0), C = rows.size(1), S = start.size(0) - 1;
  const int32_t* bounds = data_of<int32_t>(start);
  const int64_t bad =
      first_position(S, [bounds](int64_t s) { return !(bounds[s] >= 0 && bounds[s] < bounds[s + 1]); });
  require<std::invalid_argument>(bad == S && (S == 0 || bounds[S] <= R),
                                 "start must ascend from 0 or more to at most R=", R);
  Tensor output = torch::stable::new_empty(rows, {S, C});
  Tensor index = torch::stable::new_empty(rows, {S, C}, ScalarType::Int);
  switch_features(rows.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    segment_max<typename Accumulate<T>::type>(data_of<T>(rows), bounds, S, C, mutable_data_of<T>(output),
                                              mutable_data_of<int32_t>(index), torch_threads());
  });
  return {output, index};
}

STABLE_TORCH_LIBRARY_IMPL(pointnet2_ops, CPU, m) {
  m.impl("first_equal_row", TORCH_BOX(&first_equal_row_cpu));
  m.impl("distinct_neighbours", TORCH_BOX(&distinct_neighbours_cpu));
  m.impl("segment_max", TORCH_BOX(&segment_max_cpu));
}

}  // namespace pointnet2
