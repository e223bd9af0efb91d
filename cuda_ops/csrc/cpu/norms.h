// Between tensors and the kernels of BatchNorm over rows.
#pragma once

#include <cmath>
#include <optional>
#include <vector>

#include "glue.h"
#include "kernels/batch_norm.h"

namespace pointnet2 {

// Dense rows [R >= 1, C] and their counts; owns what the kernels read.
struct CountedRows {
  Tensor rows;
  std::optional<Tensor> count;
  ScalarType sums;  // the type of counts and of everything of length C

  CountedRows(const Tensor& x, const std::optional<Tensor>& counts) : rows(torch::stable::contiguous(x)) {
    require<std::invalid_argument>(x.dim() == 2 && x.size(0) > 0, "rows must be [R, C] with R >= 1, got ",
                                   shape_of(x));
    sums = accumulate_type(x.scalar_type());
    if (counts) count = dense_vector(*counts, "count", x.size(0));
  }

  Tensor dense_vector(const Tensor& x, const char* name, int64_t length) const {
    require<std::invalid_argument>(x.dim() == 1 && x.size(0) == length && x.scalar_type() == sums, name,
                                   " must be [", length, "] ", torch::headeronly::toString(sums), ", got ",
                                   shape_of(x), " ", torch::headeronly::toString(x.scalar_type()));
    return torch::stable::contiguous(x);
  }

  Tensor vector(const Tensor& x, const char* name) const { return dense_vector(x, name, rows.size(1)); }

  // A gradient of the rows.
  Tensor same(const Tensor& x, const char* name) const {
    require<std::invalid_argument>(x.dim() == 2 && x.size(0) == rows.size(0) && x.size(1) == rows.size(1) &&
                                       x.scalar_type() == rows.scalar_type(),
                                   name, " must be of the shape and type of rows, ", shape_of(rows), ", got ",
                                   shape_of(x));
    return torch::stable::contiguous(x);
  }

  Tensor empty_vector() const { return torch::stable::new_empty(rows, {rows.size(1)}, sums); }

  template <class T, class A = typename Accumulate<T>::type>
  NormRows<T, A> view() const {
    return {data_of<T>(rows), count ? data_of<A>(*count) : nullptr, rows.size(0), rows.size(1)};
  }
};

// BatchNorm's parameters and statistics [C].
struct Norm {
  Tensor mean, variance, weight, bias;
  double eps;

  Norm(const CountedRows& x, const Tensor& mean, const Tensor& variance, const Tensor& weight,
       const Tensor& bias, double eps)
      : mean(x.vector(mean, "mean")),
        variance(x.vector(variance, "variance")),
        weight(x.vector(weight, "weight")),
        bias(x.vector(bias, "bias")),
        eps(eps) {}
};

// The affine map of statistics and parameters [C]; `scale` and `inverse` are the memory that it points to.
template <class A>
inline NormMap<A> map_of(const A* mean, const A* variance, const A* weight, const A* bias, int64_t C,
                         double eps, std::vector<A>& inverse, std::vector<A>& scale) {
  inverse.resize(C), scale.resize(C);
  for (int64_t c = 0; c < C; ++c) {
    inverse[c] = static_cast<A>(1 / std::sqrt(static_cast<double>(variance[c]) + eps));
    scale[c] = weight[c] * inverse[c];
  }
  return {mean, scale.data(), bias};
}

template <class A>
inline NormMap<A> map_of(const Norm& norm, std::vector<A>& inverse, std::vector<A>& scale) {
  return map_of(data_of<A>(norm.mean), data_of<A>(norm.variance), data_of<A>(norm.weight),
                data_of<A>(norm.bias), norm.mean.size(0), norm.eps, inverse, scale);
}

}  // namespace pointnet2
