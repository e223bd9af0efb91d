// Chains of layers on the rows of neighbourhoods and of interpolation, in evaluation: no gradient.
#include "kernels/mlp.h"

#include <torch/csrc/stable/library.h>

#include <optional>

#include "glue.h"

namespace pointnet2 {

static void check_float(const Tensor& x, const char* name) {
  require<std::invalid_argument>(x.scalar_type() == ScalarType::Float, name, " must be float32, got ",
                                 torch::headeronly::toString(x.scalar_type()));
}

static Tensor dense_float(const Tensor& x, const char* name, std::array<int64_t, 3> expected) {
  check_shape(x, name, expected);
  check_float(x, name);
  return torch::stable::contiguous(x);
}

// The parameters of a chain whose first layer takes `in` values; owns what the kernel reads.
struct Chain {
  std::vector<Tensor> weights, biases;
  std::vector<LinearLayer> layers;

  Chain(const std::vector<Tensor>& weight, const std::vector<Tensor>& bias, int64_t in) {
    require<std::invalid_argument>(!weight.empty() && weight.size() == bias.size(),
                                   "weights and biases must be as many, at least one, got ", weight.size(),
                                   " and ", bias.size());
    for (size_t i = 0; i < weight.size(); ++i) {
      const Tensor &w = weight[i], &b = bias[i];
      require<std::invalid_argument>(w.dim() == 2 && w.size(0) > 0 && w.size(1) == in, "weights[", i,
                                     "] must be [out, ", in, "], got ", shape_of(w));
      require<std::invalid_argument>(b.dim() == 1 && b.size(0) == w.size(0), "biases[", i, "] must be [",
                                     w.size(0), "], got ", shape_of(b));
      check_float(w, "weights");
      check_float(b, "biases");
      weights.push_back(torch::stable::contiguous(w));
      biases.push_back(torch::stable::contiguous(b));
      layers.push_back({data_of<float>(weights[i]), data_of<float>(biases[i]), in, w.size(0)});
      in = w.size(0);
    }
  }
};

static Tensor group_mlp_max_cpu(const Tensor& points, const Tensor& centres, const std::optional<Tensor>& own,
                                const Tensor& index, const std::vector<Tensor>& weights,
                                const std::vector<Tensor>& biases, bool bfloat16) {
  const Chain chain(weights, biases, 3);
  const Tensor xyz = dense_float(points, "xyz", {-1, -1, 3});
  const int64_t B = xyz.size(0), N = xyz.size(1), width = chain.layers[0].out;
  const Tensor new_xyz = dense_float(centres, "new_xyz", {B, -1, 3});
  const int64_t M = new_xyz.size(1);
  check_shape(index, "idx", {B, M, -1});
  const Tensor idx = checked_indices(index, N);
  const int64_t K = idx.size(2);
  require<std::invalid_argument>(K > 0, "idx must hold at least one neighbour, got ", shape_of(idx));
  std::optional<Tensor> features;
  if (own) features = dense_float(*own, "features", {B, N, width});
  Tensor output = torch::stable::new_empty(xyz, {B, M, chain.layers.back().out});
  group_mlp_max({data_of<float>(xyz), data_of<float>(new_xyz), features ? data_of<float>(*features) : nullptr,
                 data_of<int32_t>(idx), B, N, M, K, chain.layers, bfloat16},
                mutable_data_of<float>(output), torch_threads());
  return output;
}

static Tensor interpolate_mlp_cpu(const Tensor& coarse, const Tensor& index, const Tensor& shares,
                                  const std::optional<Tensor>& own, const std::vector<Tensor>& weights,
                                  const std::vector<Tensor>& biases, bool bfloat16) {
  const Tensor features = dense_float(coarse, "features", {-1, -1, -1});
  const int64_t B = features.size(0), M = features.size(1), C = features.size(2);
  const Chain chain(weights, biases, C);
  check_shape(index, "idx", {B, -1, 3});
  const Tensor idx = checked_indices(index, M);
  const int64_t N = idx.size(1);
  const Tensor weight = dense_float(shares, "weight", {B, N, 3});
  std::optional<Tensor> skip;
  if (own) skip = dense_float(*own, "skip", {B, N, C});
  Tensor output = torch::stable::new_empty(features, {B, N, chain.layers.back().out});
  interpolate_mlp({data_of<float>(features), skip ? data_of<float>(*skip) : nullptr, data_of<float>(weight),
                   data_of<int32_t>(idx), B, N, M, C, chain.layers, bfloat16},
                  mutable_data_of<float>(output), torch_threads());
  return output;
}

STABLE_TORCH_LIBRARY_IMPL(pointnet2_ops, CPU, m) {
  m.impl("group_mlp_max", TORCH_BOX(&group_mlp_max_cpu));
  m.impl("interpolate_mlp", TORCH_BOX(&interpolate_mlp_cpu));
}

}  // namespace pointnet2
