// Operators pointnet2_original::*, see original.cuh. Arguments are trusted: float32, int32, contiguous, one
// device.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "cuda/glue.h"
#include "original.cuh"

namespace pointnet2::original {

static Tensor zeros(const Tensor& like, std::initializer_list<int64_t> sizes, ScalarType type) {
  return torch::stable::new_zeros(like, sizes, type);
}

static Tensor furthest_point_sample(const Tensor& xyz, int64_t npoint) {
  const CudaScope scope("original furthest_point_sample", xyz);
  const int64_t B = xyz.size(0), N = xyz.size(1);
  Tensor idx = zeros(xyz, {B, npoint}, ScalarType::Int);
  Tensor nearest = torch::stable::new_empty(xyz, {B, N});
  torch::stable::fill_(nearest, 1e10);
  const int threads = threads_for(N);
  scope.check(cuda::launch(furthest_point_sample_kernel, dim3(B), dim3(threads), fps_shared_bytes(threads),
                           scope.stream(), data_of<float>(xyz), N, npoint, mutable_data_of<float>(nearest),
                           mutable_data_of<int>(idx)));
  return idx;
}

static Tensor ball_query(const Tensor& xyz, const Tensor& new_xyz, double radius, int64_t nsample) {
  const CudaScope scope("original ball_query", xyz);
  const int64_t B = xyz.size(0), N = xyz.size(1), M = new_xyz.size(1);
  const float r = static_cast<float>(radius);
  Tensor idx = zeros(xyz, {B, M, nsample}, ScalarType::Int);
  scope.check(cuda::launch(ball_query_kernel, dim3(B), dim3(threads_for(M)), 0, scope.stream(),
                           data_of<float>(xyz), data_of<float>(new_xyz), N, M, r * r, nsample,
                           mutable_data_of<int>(idx)));
  return idx;
}

// Squared distances, as in the original; its wrapper took the root in Python.
static std::tuple<Tensor, Tensor> three_nn(const Tensor& unknown, const Tensor& known) {
  const CudaScope scope("original three_nn", unknown);
  const int64_t B = unknown.size(0), N = unknown.size(1), M = known.size(1);
  Tensor distances = zeros(unknown, {B, N, 3}, ScalarType::Float),
         idx = zeros(unknown, {B, N, 3}, ScalarType::Int);
  scope.check(cuda::launch(three_nn_kernel, dim3(B), dim3(threads_for(N)), 0, scope.stream(),
                           data_of<float>(unknown), data_of<float>(known), N, M,
                           mutable_data_of<float>(distances), mutable_data_of<int>(idx)));
  return {distances, idx};
}

static Tensor group(const Tensor& features, const Tensor& idx) {
  const CudaScope scope("original group", features);
  const int64_t B = features.size(0), C = features.size(1), N = features.size(2), M = idx.size(1),
                K = idx.size(2);
  Tensor out = zeros(features, {B, C, M, K}, ScalarType::Float);
  scope.check(cuda::launch(group_kernel, dim3(B), block_for(M, C), 0, scope.stream(),
                           data_of<float>(features), data_of<int>(idx), C, N, M, K,
                           mutable_data_of<float>(out)));
  return out;
}

static Tensor group_backward(const Tensor& grad, const Tensor& idx, int64_t N) {
  const CudaScope scope("original group_backward", grad);
  const int64_t B = grad.size(0), C = grad.size(1), M = idx.size(1), K = idx.size(2);
  Tensor out = zeros(grad, {B, C, N}, ScalarType::Float);
  scope.check(cuda::launch(group_backward_kernel, dim3(B), block_for(M, C), 0, scope.stream(),
                           data_of<float>(grad), data_of<int>(idx), C, N, M, K, mutable_data_of<float>(out)));
  return out;
}

static Tensor interpolate(const Tensor& features, const Tensor& idx, const Tensor& weight) {
  const CudaScope scope("original interpolate", features);
  const int64_t B = features.size(0), C = features.size(1), M = features.size(2), N = idx.size(1);
  Tensor out = zeros(features, {B, C, N}, ScalarType::Float);
  scope.check(cuda::launch(interpolate_kernel, dim3(B), block_for(N, C), 0, scope.stream(),
                           data_of<float>(features), data_of<int>(idx), data_of<float>(weight), C, M, N,
                           mutable_data_of<float>(out)));
  return out;
}

static Tensor interpolate_backward(const Tensor& grad, const Tensor& idx, const Tensor& weight, int64_t M) {
  const CudaScope scope("original interpolate_backward", grad);
  const int64_t B = grad.size(0), C = grad.size(1), N = grad.size(2);
  Tensor out = zeros(grad, {B, C, M}, ScalarType::Float);
  scope.check(cuda::launch(interpolate_backward_kernel, dim3(B), block_for(N, C), 0, scope.stream(),
                           data_of<float>(grad), data_of<int>(idx), data_of<float>(weight), C, M, N,
                           mutable_data_of<float>(out)));
  return out;
}

STABLE_TORCH_LIBRARY(pointnet2_original, m) {
  m.def("furthest_point_sample(Tensor xyz, int npoint) -> Tensor");
  m.def("ball_query(Tensor xyz, Tensor new_xyz, float radius, int nsample) -> Tensor");
  m.def("three_nn(Tensor unknown, Tensor known) -> (Tensor, Tensor)");
  m.def("group(Tensor features, Tensor idx) -> Tensor");
  m.def("group_backward(Tensor grad, Tensor idx, int points) -> Tensor");
  m.def("interpolate(Tensor features, Tensor idx, Tensor weight) -> Tensor");
  m.def("interpolate_backward(Tensor grad, Tensor idx, Tensor weight, int points) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(pointnet2_original, CUDA, m) {
  m.impl("furthest_point_sample", TORCH_BOX(&furthest_point_sample));
  m.impl("ball_query", TORCH_BOX(&ball_query));
  m.impl("three_nn", TORCH_BOX(&three_nn));
  m.impl("group", TORCH_BOX(&group));
  m.impl("group_backward", TORCH_BOX(&group_backward));
  m.impl("interpolate", TORCH_BOX(&interpolate));
  m.impl("interpolate_backward", TORCH_BOX(&interpolate_backward));
}

}  // namespace pointnet2::original
