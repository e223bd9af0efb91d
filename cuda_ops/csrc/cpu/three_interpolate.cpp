// Weighted sum of three feature columns, and its backward for features and weights. Channels-last features
// are processed row by row, otherwise channel by channel.
#include <torch/csrc/stable/library.h>

#include "segments.h"

namespace pointnet2 {

namespace {

// features or gradients [B, C, length] in one of the two formats
template <class T>
struct Columns {
  const T* data;
  int64_t batch, stride;  // of clouds; of points (channels last) or channels (else)
  const T* at(int64_t b, int64_t i) const { return data + b * batch + i * stride; }
};

template <class T>
Columns<T> columns_of(const Tensor& x, bool channels_last) {
  return {data_of<T>(x), x.stride(0), x.stride(channels_last ? 2 : 1)};
}

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
      parallel_for(B * N, 3 * C, [=](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t b = row / N;
          const T *f0 = in.at(b, point[row * 3]), *f1 = in.at(b, point[row * 3 + 1]),
                  *f2 = in.at(b, point[row * 3 + 2]);
          const A w0 = w[row * 3], w1 = w[row * 3 + 1], w2 = w[row * 3 + 2];
          T* to = out + row * C;
          for (int64_t c = 0; c < C; ++c) {
            to[c] = static_cast<T>((w0 * static_cast<A>(f0[c]) + w1 * static_cast<A>(f1[c])) +
                                   w2 * static_cast<A>(f2[c]));
          }
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

template <class T, class A>
static void sum_weighted_rows(const Columns<T>& grad, const A* weight, const Segments& segments, int64_t B,
                              int64_t C, T* out) {
  const int64_t M = segments.points,
                queries = segments.queries;  // a query is one of the 3 N (point, slot) pairs
  parallel_for(B * M, C * (1 + queries / std::max<int64_t>(1, M)), [&](int64_t begin, int64_t end) {
    std::vector<A> sum(C);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t b = row / M;
      const int32_t* first = segments.first.data() + b * (M + 1) + row % M;
      const int32_t* query = segments.query.data() + b * queries;
      std::fill(sum.begin(), sum.end(), A(0));
      for (int32_t i = first[0]; i < first[1]; ++i) {
        const T* from = grad.at(b, query[i] / 3);
        const A w = weight[b * queries + query[i]];
        for (int64_t c = 0; c < C; ++c) sum[c] += w * static_cast<A>(from[c]);
      }
      for (int64_t c = 0; c < C; ++c) out[row * C + c] = static_cast<T>(sum[c]);
    }
  });
}

template <class T, class A>
static void scatter_weighted_channels(const Columns<T>& grad, const int32_t* point, const A* weight,
                                      int64_t B, int64_t C, int64_t N, int64_t M, T* out) {
  parallel_for(B * C, 3 * N + M, [=](int64_t begin, int64_t end) {
    std::vector<A> sum(M);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t b = row / C;
      const T* from = grad.at(b, row % C);
      const int32_t* i = point + b * N * 3;
      const A* v = weight + b * N * 3;
      std::fill(sum.begin(), sum.end(), A(0));
      for (int64_t n = 0; n < N; ++n, i += 3, v += 3) {
        const A g = static_cast<A>(from[n]);
        for (int k = 0; k < 3; ++k) sum[i[k]] += v[k] * g;
      }
      for (int64_t m = 0; m < M; ++m) out[row * M + m] = static_cast<T>(sum[m]);
    }
  });
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
    using A = typename Accumulate<T>::type;
    const Columns<T> in = columns_of<T>(grad, channels_last);
    T* out = mutable_data_of<T>(output);
    if (channels_last) {
      sum_weighted_rows(in, data_of<A>(weight), segments_of(point, B, 3 * N, M), B, C, out);
    } else {
      scatter_weighted_channels(in, point, data_of<A>(weight), B, C, N, M, out);
    }
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
