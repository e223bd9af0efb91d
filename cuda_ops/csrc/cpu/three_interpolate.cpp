// Weighted sum of three feature columns, and its backward for features and weights. Channels-last features
// are processed row by row, otherwise channel by channel.
#include <torch/csrc/stable/library.h>

#include "scatter.h"

namespace pointnet2 {

namespace {

void check_neighbours(const Tensor& x, const char* name, int64_t B, int64_t N) {
  check_shape(x, name, {B, N, 3});
}

Tensor checked_weight(const Tensor& weight, ScalarType features) {
  const ScalarType expected = accumulate_type(features);
  require<std::invalid_argument>(weight.scalar_type() == expected, "weight must be ",
                                 torch::headeronly::toString(expected), " for features of ",
                                 torch::headeronly::toString(features), ", got ",
                                 torch::headeronly::toString(weight.scalar_type()));
  return torch::stable::contiguous(weight);
}

}  // namespace

static Tensor three_interpolate_cpu(const Tensor& input, const Tensor& index, const Tensor& weights) {
  check_shape(input, "features", {-1, -1, -1});
  const bool channels_last = is_channels_last(input);
  const Tensor features = in_format(input, channels_last);
  const int64_t B = features.size(0), C = features.size(1), M = features.size(2);
  check_neighbours(index, "idx", B, -1);
  const int64_t N = index.size(1);
  check_neighbours(weights, "weight", B, N);
  const Tensor idx = checked_indices(index, M), weight = checked_weight(weights, features.scalar_type());
  Tensor output = empty_features(features, B, C, N, channels_last, features.scalar_type());
  const int32_t* point = data_of<int32_t>(idx);
  switch_features(features.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = typename Accumulate<T>::type;
    const A* w = data_of<A>(weight);
    const Columns<T> in = columns_of<T>(features, channels_last);
    T* out = mutable_data_of<T>(output);
    if (channels_last) {
      const Blend<T, A> blend_row = blend<T, A>(active_isa());
      parallel_for(B * N, 3 * C, [=](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int32_t* i = point + row * 3;
          const T* rows[] = {in.at(row / N, i[0]), in.at(row / N, i[1]), in.at(row / N, i[2])};
          for (int64_t k = 6; k < 9 && row + 2 < end; ++k) prefetch_row(in.at((row + 2) / N, i[k]), C);
          blend_row(out + row * C, rows, w + row * 3, C);
        }
      });
    } else {
      parallel_for(B * C, 3 * N, [=](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t b = row / C;
          const T* f = in.at(b, row % C);
          const int32_t* i = point + b * N * 3;
          const A* v = w + b * N * 3;
          for (int64_t n = 0; n < N; ++n, i += 3, v += 3) {
            out[row * N + n] =
                static_cast<T>((v[0] * static_cast<A>(f[i[0]]) + v[1] * static_cast<A>(f[i[1]])) +
                               v[2] * static_cast<A>(f[i[2]]));
          }
        }
      });
    }
  });
  return output;
}

static Tensor three_interpolate_backward_cpu(const Tensor& grad_output, const Tensor& index,
                                             const Tensor& weights, int64_t M, bool channels_last,
                                             bool /*deterministic*/) {
  check_shape(grad_output, "grad", {-1, -1, -1});
  const Tensor grad = in_format(grad_output, channels_last);
  const int64_t B = grad.size(0), C = grad.size(1), N = grad.size(2);
  check_neighbours(index, "idx", B, N);
  check_neighbours(weights, "weight", B, N);
  const Tensor idx = checked_indices(index, M), weight = checked_weight(weights, grad.scalar_type());
  Tensor output = empty_features(grad, B, C, M, channels_last, grad.scalar_type());
  const int32_t* point = data_of<int32_t>(idx);
  switch_features(grad.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    const auto* w = data_of<typename Accumulate<T>::type>(weight);
    scatter(grad, channels_last, M, mutable_data_of<T>(output), [=](int64_t b, int64_t n, const auto& add) {
      const int64_t row = (b * N + n) * 3;
      for (int64_t k = row; k < row + 3; ++k) add(point[k], w[k]);
    });
  });
  return output;
}

static Tensor three_interpolate_weight_backward_cpu(const Tensor& grad_output, const Tensor& input,
                                                    const Tensor& index) {
  check_shape(input, "features", {-1, -1, -1});
  const int64_t B = input.size(0), C = input.size(1), M = input.size(2);
  check_shape(grad_output, "grad", {B, C, -1});
  check_same_type(grad_output, input, "grad and features");
  const int64_t N = grad_output.size(2);
  check_neighbours(index, "idx", B, N);
  const Tensor idx = checked_indices(index, M);
  const Tensor features = in_format(input, true), grad = in_format(grad_output, true);
  Tensor output = torch::stable::new_empty(features, {B, N, 3}, accumulate_type(features.scalar_type()));
  const int32_t* point = data_of<int32_t>(idx);
  switch_features(features.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = typename Accumulate<T>::type;
    const Columns<T> f = columns_of<T>(features, true), g = columns_of<T>(grad, true);
    A* out = mutable_data_of<A>(output);
    parallel_for(B * N, 3 * C, [=](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* grad_row = g.at(row / N, row % N);
        for (int k = 0; k < 3; ++k) {
          const T* feature_row = f.at(row / N, point[row * 3 + k]);
          A sum = 0;
          for (int64_t c = 0; c < C; ++c) sum += static_cast<A>(grad_row[c]) * static_cast<A>(feature_row[c]);
          out[row * 3 + k] = sum;
        }
      }
    });
  });
  return output;
}

STABLE_TORCH_LIBRARY_IMPL(pointnet2_ops, CPU, m) {
  m.impl("three_interpolate", TORCH_BOX(&three_interpolate_cpu));
  m.impl("three_interpolate_backward", TORCH_BOX(&three_interpolate_backward_cpu));
  m.impl("three_interpolate_weight_backward", TORCH_BOX(&three_interpolate_weight_backward_cpu));
}

}  // namespace pointnet2
