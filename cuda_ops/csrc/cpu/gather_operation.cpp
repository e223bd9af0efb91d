// Gather of feature columns and its backward. Channels-last features are copied row by row; otherwise every
// channel is a row of points that is gathered on its own.
#include <torch/csrc/stable/library.h>

#include <cstring>

#include "segments.h"

namespace pointnet2 {

static Tensor gather_operation_cpu(const Tensor& input, const Tensor& index) {
  check_shape(input, "features", {-1, -1, -1});
  const bool channels_last = is_channels_last(input);
  const Tensor features = in_format(input, channels_last);
  const int64_t B = features.size(0), C = features.size(1), N = features.size(2);
  require<std::invalid_argument>(index.dim() == 2 && index.size(0) == B, "idx must be [B, Q] with B=", B,
                                 ", got ", shape_of(index));
  const Tensor idx = checked_indices(index, N);
  const int64_t Q = idx.size(1);
  Tensor output = empty_features(features, B, C, Q, channels_last, features.scalar_type());
  const int32_t* point = data_of<int32_t>(idx);
  const int64_t batch = features.stride(0), stride = features.stride(channels_last ? 2 : 1);
  switch_features(features.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    const T* in = data_of<T>(features);
    T* out = mutable_data_of<T>(output);
    if (channels_last) {
      parallel_for(B * Q, C, [=](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          std::memcpy(out + row * C, in + row / Q * batch + point[row] * stride, C * sizeof(T));
        }
      });
    } else {
      parallel_for(B * C, Q, [=](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t b = row / C;
          const T* from = in + b * batch + row % C * stride;
          for (int64_t q = 0; q < Q; ++q) out[row * Q + q] = from[point[b * Q + q]];
        }
      });
    }
  });
  return output;
}

// One row of channels per point: the sum of the gradient rows of the queries that read it.
template <class T>
static void sum_rows(const T* grad, int64_t batch, int64_t stride, const Segments& segments, int64_t B,
                     int64_t C, T* out) {
  using A = typename Accumulate<T>::type;
  const int64_t N = segments.points;
  parallel_for(B * N, C * (1 + segments.queries / std::max<int64_t>(1, N)), [&](int64_t begin, int64_t end) {
    std::vector<A> sum(C);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t b = row / N;
      const int32_t* first = segments.first.data() + b * (N + 1) + row % N;
      const int32_t* query = segments.query.data() + b * segments.queries;
      std::fill(sum.begin(), sum.end(), A(0));
      for (int32_t i = first[0]; i < first[1]; ++i) {
        const T* from = grad + b * batch + query[i] * stride;
        for (int64_t c = 0; c < C; ++c) sum[c] += static_cast<A>(from[c]);
      }
      for (int64_t c = 0; c < C; ++c) out[row * C + c] = static_cast<T>(sum[c]);
    }
  });
}

// One channel at a time: queries add to their points in ascending order.
template <class T>
static void scatter_channels(const T* grad, int64_t batch, int64_t stride, const int32_t* point, int64_t B,
                             int64_t C, int64_t Q, int64_t N, T* out) {
  using A = typename Accumulate<T>::type;
  parallel_for(B * C, N + Q, [=](int64_t begin, int64_t end) {
    std::vector<A> sum(N);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t b = row / C;
      const T* from = grad + b * batch + row % C * stride;
      std::fill(sum.begin(), sum.end(), A(0));
      for (int64_t q = 0; q < Q; ++q) sum[point[b * Q + q]] += static_cast<A>(from[q]);
      for (int64_t n = 0; n < N; ++n) out[row * N + n] = static_cast<T>(sum[n]);
    }
  });
}

static Tensor gather_operation_backward_cpu(const Tensor& grad_output, const Tensor& index, int64_t N,
                                            bool channels_last, bool /*deterministic*/) {
  check_shape(grad_output, "grad", {-1, -1, -1});
  const Tensor grad = in_format(grad_output, channels_last);
  const int64_t B = grad.size(0), C = grad.size(1), Q = grad.size(2);
  require<std::invalid_argument>(index.dim() == 2 && index.size(0) == B && index.size(1) == Q,
                                 "idx must be [B, Q] with B=", B, ", Q=", Q, ", got ", shape_of(index));
  const Tensor idx = checked_indices(index, N);
  Tensor output = empty_features(grad, B, C, N, channels_last, grad.scalar_type());
  const int32_t* point = data_of<int32_t>(idx);
  const int64_t batch = grad.stride(0), stride = grad.stride(channels_last ? 2 : 1);
  switch_features(grad.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    T* out = mutable_data_of<T>(output);
    if (channels_last) {
      sum_rows(data_of<T>(grad), batch, stride, segments_of(point, B, Q, N), B, C, out);
    } else {
      scatter_channels(data_of<T>(grad), batch, stride, point, B, C, Q, N, out);
    }
  });
  return output;
}

STABLE_TORCH_LIBRARY_IMPL(pointnet2_ops, CPU, m) {
  m.impl("gather_operation", TORCH_BOX(&gather_operation_cpu));
  m.impl("gather_operation_backward", TORCH_BOX(&gather_operation_backward_cpu));
}

}  // namespace pointnet2
