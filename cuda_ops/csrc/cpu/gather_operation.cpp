// Gather of feature columns and its backward. Channels-last features are copied row by row; otherwise every
// channel is a row of points that is gathered on its own.
#include <torch/csrc/stable/library.h>

#include <cstring>

#include "scatter.h"

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
  switch_features(features.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    const Columns<T> in = columns_of<T>(features, channels_last);
    T* out = mutable_data_of<T>(output);
    if (channels_last) {
      parallel_for(B * Q, C, [=](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          std::memcpy(out + row * C, in.at(row / Q, point[row]), C * sizeof(T));
        }
      });
    } else {
      parallel_for(B * C, Q, [=](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t b = row / C;
          const T* from = in.at(b, row % C);
          for (int64_t q = 0; q < Q; ++q) out[row * Q + q] = from[point[b * Q + q]];
        }
      });
    }
  });
  return output;
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
  switch_features(grad.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    scatter(grad, channels_last, N, mutable_data_of<T>(output), [=](int64_t b, int64_t q, const auto& add) {
      add(point[b * Q + q], typename Accumulate<T>::type(1));
    });
  });
  return output;
}

STABLE_TORCH_LIBRARY_IMPL(pointnet2_ops, CPU, m) {
  m.impl("gather_operation", TORCH_BOX(&gather_operation_cpu));
  m.impl("gather_operation_backward", TORCH_BOX(&gather_operation_backward_cpu));
}

}  // namespace pointnet2
