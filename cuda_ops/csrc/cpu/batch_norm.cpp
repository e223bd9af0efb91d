// BatchNorm with ReLU over rows that may stand for several equal ones, in training, alone and with the linear
// map that follows.
#include <torch/csrc/stable/library.h>

#include <optional>
#include <tuple>

#include "kernels/norm_linear.h"
#include "norms.h"

namespace pointnet2 {

static std::tuple<Tensor, Tensor> row_moments_cpu(const Tensor& rows, const std::optional<Tensor>& count) {
  const CountedRows x(rows, count);
  Tensor mean = x.empty_vector(), variance = x.empty_vector();
  switch_features(rows.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = typename Accumulate<T>::type;
    row_moments<T, A>(x.view<T>(), mutable_data_of<A>(mean), mutable_data_of<A>(variance), torch_threads());
  });
  return {mean, variance};
}

// to = (1 - momentum) to + momentum * factor * from
template <class T>
static void move_towards(const Tensor& to, const Tensor& from, double momentum, double factor) {
  T* own = mutable_data_of<T>(to);
  const T* batch = data_of<T>(from);
  for (int64_t c = 0; c < to.numel(); ++c)
    own[c] +=
        static_cast<T>(momentum * (factor * static_cast<double>(batch[c]) - static_cast<double>(own[c])));
}

static void move_statistics_cpu(const std::vector<Tensor>& means, const std::vector<Tensor>& variances,
                                const std::vector<Tensor>& tracked, const std::vector<Tensor>& batch_means,
                                const std::vector<Tensor>& batch_variances, double momentum, int64_t count) {
  const size_t norms = means.size();
  require<std::invalid_argument>(variances.size() == norms && tracked.size() == norms &&
                                     batch_means.size() == norms && batch_variances.size() == norms,
                                 "there must be as many of everything as means, ", norms);
  require<std::invalid_argument>(count > 1, "count must be at least 2, got ", count);
  const auto move = [&](const Tensor& to, const Tensor& batch, const char* name, double factor) {
    const ScalarType type = to.scalar_type();
    require<std::invalid_argument>(type == ScalarType::Float || type == ScalarType::Double, name,
                                   " must be float32 or float64, got ", torch::headeronly::toString(type));
    require<std::invalid_argument>(to.is_contiguous() && batch.scalar_type() == type && batch.dim() == 1 &&
                                       to.dim() == 1 && batch.size(0) == to.size(0),
                                   "batch_", name, " must be ", shape_of(to), " of its type, got ",
                                   shape_of(batch));
    const Tensor dense = torch::stable::contiguous(batch);
    switch_coordinates(type, [&](auto tag) { move_towards<decltype(tag)>(to, dense, momentum, factor); });
  };
  const double unbiased = static_cast<double>(count) / static_cast<double>(count - 1);
  for (size_t i = 0; i < norms; ++i) {
    require<std::invalid_argument>(tracked[i].numel() == 1 && tracked[i].scalar_type() == ScalarType::Long,
                                   "tracked must be one int64 each, got ", shape_of(tracked[i]));
    move(means[i], batch_means[i], "means", 1);
    move(variances[i], batch_variances[i], "variances", unbiased);
    ++*mutable_data_of<int64_t>(tracked[i]);
  }
}

static Tensor norm_relu_cpu(const Tensor& rows, const Tensor& mean, const Tensor& variance,
                            const Tensor& weight, const Tensor& bias, double eps, bool relu) {
  const CountedRows x(rows, std::nullopt);
  const Norm norm(x, mean, variance, weight, bias, eps);
  Tensor output = torch::stable::new_empty(rows, {rows.size(0), rows.size(1)});
  switch_features(rows.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = typename Accumulate<T>::type;
    std::vector<A> inverse, scale;
    const NormMap<A> map = map_of<A>(norm, inverse, scale);
    const auto run = relu ? norm_relu<true, T, A> : norm_relu<false, T, A>;
    run(x.view<T>(), map, mutable_data_of<T>(output), torch_threads());
  });
  return output;
}

static std::tuple<Tensor, Tensor, Tensor> norm_relu_backward_cpu(const Tensor& gradient, const Tensor& rows,
                                                                 const std::optional<Tensor>& count,
                                                                 const Tensor& mean, const Tensor& variance,
                                                                 const Tensor& weight, const Tensor& bias,
                                                                 double eps, bool relu) {
  const CountedRows x(rows, count);
  const Tensor grad = x.same(gradient, "grad");
  const Norm norm(x, mean, variance, weight, bias, eps);
  Tensor grad_rows = torch::stable::new_empty(rows, {rows.size(0), rows.size(1)});
  Tensor grad_weight = x.empty_vector(), grad_bias = x.empty_vector();
  switch_features(rows.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = typename Accumulate<T>::type;
    std::vector<A> inverse, scale;
    const NormMap<A> map = map_of<A>(norm, inverse, scale);
    const auto run = relu ? norm_relu_backward<true, T, A> : norm_relu_backward<false, T, A>;
    run(data_of<T>(grad), x.view<T>(), map, inverse.data(), mutable_data_of<T>(grad_rows),
        {mutable_data_of<A>(grad_weight), mutable_data_of<A>(grad_bias), {}, {}}, torch_threads());
  });
  return {grad_rows, grad_weight, grad_bias};
}

// The linear map [outputs, C] that takes rows [R, C], both of float32 or float64.
static Tensor linear_after(const CountedRows& x, const Tensor& linear) {
  const ScalarType type = x.rows.scalar_type();
  require<std::invalid_argument>(type == ScalarType::Float || type == ScalarType::Double,
                                 "rows must be float32 or float64, got ", torch::headeronly::toString(type));
  require<std::invalid_argument>(
      linear.dim() == 2 && linear.size(1) == x.rows.size(1) && linear.scalar_type() == type,
      "linear must be [outputs, ", x.rows.size(1), "] ", torch::headeronly::toString(type), ", got ",
      shape_of(linear), " ", torch::headeronly::toString(linear.scalar_type()));
  return torch::stable::contiguous(linear);
}

static std::tuple<Tensor, Tensor, Tensor> norm_relu_linear_cpu(const Tensor& rows,
                                                               const std::optional<Tensor>& count,
                                                               const Tensor& mean, const Tensor& variance,
                                                               const Tensor& weight, const Tensor& bias,
                                                               double eps, const Tensor& map) {
  const CountedRows x(rows, count);
  const Norm norm(x, mean, variance, weight, bias, eps);
  const Tensor linear = linear_after(x, map);
  const int64_t outputs = linear.size(0);
  Tensor y = torch::stable::new_empty(x.rows, {rows.size(0), outputs});
  Tensor mean_y = torch::stable::new_empty(x.rows, {outputs}), variance_y = torch::stable::empty_like(mean_y);
  switch_coordinates(rows.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    std::vector<T> inverse, scale;
    norm_relu_linear<T>({x.view<T>(), map_of<T>(norm, inverse, scale), data_of<T>(linear), outputs},
                        mutable_data_of<T>(y), mutable_data_of<T>(mean_y), mutable_data_of<T>(variance_y),
                        torch_threads());
  });
  return {y, mean_y, variance_y};
}

static std::tuple<Tensor, Tensor, Tensor, Tensor> norm_relu_linear_backward_cpu(
    const Tensor& gradient, const Tensor& rows, const std::optional<Tensor>& count, const Tensor& mean,
    const Tensor& variance, const Tensor& weight, const Tensor& bias, double eps, const Tensor& map) {
  const CountedRows x(rows, count);
  const Norm norm(x, mean, variance, weight, bias, eps);
  const Tensor linear = linear_after(x, map);
  const int64_t outputs = linear.size(0);
  require<std::invalid_argument>(
      gradient.dim() == 2 && gradient.size(0) == rows.size(0) && gradient.size(1) == outputs &&
          gradient.scalar_type() == rows.scalar_type(),
      "grad must be [", rows.size(0), ", ", outputs, "] of the type of rows, got ", shape_of(gradient));
  const Tensor grad = torch::stable::contiguous(gradient);
  Tensor grad_rows = torch::stable::empty_like(x.rows), grad_linear = torch::stable::empty_like(linear);
  Tensor grad_weight = x.empty_vector(), grad_bias = x.empty_vector();
  switch_coordinates(rows.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    std::vector<T> inverse, scale;
    const NormMap<T> map = map_of<T>(norm, inverse, scale);
    norm_relu_linear_backward<T>(data_of<T>(grad), {x.view<T>(), map, data_of<T>(linear), outputs},
                                 inverse.data(), mutable_data_of<T>(grad_rows),
                                 {mutable_data_of<T>(grad_weight), mutable_data_of<T>(grad_bias), {}, {}},
                                 mutable_data_of<T>(grad_linear), torch_threads());
  });
  return {grad_rows, grad_weight, grad_bias, grad_linear};
}

STABLE_TORCH_LIBRARY_IMPL(pointnet2_ops, CPU, m) {
  m.impl("row_moments", TORCH_BOX(&row_moments_cpu));
  m.impl("move_statistics", TORCH_BOX(&move_statistics_cpu));
  m.impl("norm_relu", TORCH_BOX(&norm_relu_cpu));
  m.impl("norm_relu_backward", TORCH_BOX(&norm_relu_backward_cpu));
  m.impl("norm_relu_linear", TORCH_BOX(&norm_relu_linear_cpu));
  m.impl("norm_relu_linear_backward", TORCH_BOX(&norm_relu_linear_backward_cpu));
}

}  // namespace pointnet2
