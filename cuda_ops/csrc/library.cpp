// Schemas of all operators. The kernels are registered in cpu/<op>.cpp and cuda/<op>.cu; fake and autograd
// registrations are in pointnet2_ops/ops.py.
//
// B clouds, N points, M targets, Q queries, C channels. Coordinates are float32 or float64, indices int32 or
// int64.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(pointnet2_ops, m) {
  // xyz [B, N, 3] -> int32 [B, npoint]
  m.def("furthest_point_sample(Tensor xyz, int npoint) -> Tensor");
  // xyz [B, N, 3], new_xyz [B, M, 3] -> int32 idx [B, M, nsample], int32 count [B, M]
  m.def("ball_query(Tensor xyz, Tensor new_xyz, float radius, int nsample) -> (Tensor, Tensor)");
  // unknown [B, N, 3], known [B, M, 3] -> distance [B, N, 3] (dtype of xyz), int32 idx [B, N, 3]
  m.def("three_nn(Tensor unknown, Tensor known) -> (Tensor, Tensor)");

  // xyz [N, 3] -> bool [N]; on the CPU, where evaluation counts
  m.def("first_in_voxel(Tensor xyz, float size) -> Tensor");

  // The same by a given CUDA kernel, for benchmarks; the numbers are in cuda/<op>.cuh (FpsKernel, ...).
  m.def("furthest_point_sample_by(Tensor xyz, int npoint, int kernel) -> Tensor");
  m.def(
      "ball_query_by(Tensor xyz, Tensor new_xyz, float radius, int nsample, int kernel) -> (Tensor, Tensor)");
  m.def("three_nn_by(Tensor unknown, Tensor known, int kernel) -> (Tensor, Tensor)");

  // Feature operators keep the memory format of their input: [B, C, N] with memory [B, C, N] or [B, N, C]
  // ("channels last", channel stride 1). Grouping is a gather with Q = M * nsample.
  // features [B, C, N], idx [B, Q] -> [B, C, Q]
  m.def("gather_operation(Tensor features, Tensor idx) -> Tensor");
  // grad [B, C, Q], idx [B, Q] -> [B, C, N] with N = points. deterministic: no atomics on CUDA (the CPU has
  // none).
  m.def(
      "gather_operation_backward(Tensor grad, Tensor idx, SymInt points, bool channels_last, "
      "bool deterministic=False) -> Tensor");
  // features [B, C, M], idx [B, N, 3], weight [B, N, 3] (float64 for float64 features, else float32) -> [B,
  // C, N]
  m.def("three_interpolate(Tensor features, Tensor idx, Tensor weight) -> Tensor");
  // grad [B, C, N], idx, weight [B, N, 3] -> gradient of features [B, C, M] with M = points
  m.def(
      "three_interpolate_backward(Tensor grad, Tensor idx, Tensor weight, SymInt points, bool channels_last, "
      "bool deterministic=False) -> Tensor");
  // grad [B, C, N], features [B, C, M], idx [B, N, 3] -> gradient of weight [B, N, 3]
  m.def("three_interpolate_weight_backward(Tensor grad, Tensor features, Tensor idx) -> Tensor");

  // Layers on rows that are never written out; float32 on the CPU, no gradient. weights[i] [Ci, C(i-1)],
  // biases[i] [Ci]. bfloat16: products may be of such numbers. xyz [B, N, 3], new_xyz [B, M, 3], features [B,
  // N, C0], idx [B, M, K] -> [B, M, Cl]; weights[0] is [C0, 3]
  m.def(
      "group_mlp_max(Tensor xyz, Tensor new_xyz, Tensor? features, Tensor idx, Tensor[] weights, "
      "Tensor[] biases, bool bfloat16=False) -> Tensor");
  // features [B, M, C], idx and weight [B, N, 3], skip [B, N, C] -> [B, N, Cl]
  m.def(
      "interpolate_mlp(Tensor features, Tensor idx, Tensor weight, Tensor? skip, Tensor[] weights, "
      "Tensor[] biases, bool bfloat16=False) -> Tensor");

  // Training on the CPU with each distinct row computed once; no gradient but by the backward operator.
  // rows [B, N, C] -> int32 [B, N], the first row of the cloud that is equal
  m.def("first_equal_row(Tensor rows) -> Tensor");
  // idx [B, M, K] into points, first [B, N] or None -> int32 point [R], centre [R], count [R], start [B * M +
  // 1]
  m.def("distinct_neighbours(Tensor idx, Tensor? first, SymInt points) -> (Tensor, Tensor, Tensor, Tensor)");
  // rows [R, C], start int32 [S + 1] -> [S, C] and where, int32 [S, C]
  m.def("segment_max(Tensor rows, Tensor start) -> (Tensor, Tensor)");
  // rows [R, C], count [R] or None -> mean [C], variance [C]; float64 for float64, else float32
  m.def("row_moments(Tensor rows, Tensor? count) -> (Tensor, Tensor)");
  // Moves the statistics of several norms, all of `count` rows, as BatchNorm does
  m.def(
      "move_statistics(Tensor(a!)[] means, Tensor(b!)[] variances, Tensor(c!)[] tracked, Tensor[] "
      "batch_means, "
      "Tensor[] batch_variances, float momentum, SymInt count) -> ()");
  m.def(
      "norm_relu(Tensor rows, Tensor mean, Tensor variance, Tensor weight, Tensor bias, float eps, bool "
      "relu) "
      "-> Tensor");
  // -> gradients of rows, weight and bias, through the moments too
  m.def(
      "norm_relu_backward(Tensor grad, Tensor rows, Tensor? count, Tensor mean, Tensor variance, "
      "Tensor weight, Tensor bias, float eps, bool relu) -> (Tensor, Tensor, Tensor)");
  // With the linear map [outputs, C] that follows; rows float32 or float64 -> y [R, outputs] and its
  // row_moments
  m.def(
      "norm_relu_linear(Tensor rows, Tensor? count, Tensor mean, Tensor variance, Tensor weight, Tensor "
      "bias, "
      "float eps, Tensor linear) -> (Tensor, Tensor, Tensor)");
  // -> gradients of rows, weight, bias and linear
  m.def(
      "norm_relu_linear_backward(Tensor grad, Tensor rows, Tensor? count, Tensor mean, Tensor variance, "
      "Tensor weight, Tensor bias, float eps, Tensor linear) -> (Tensor, Tensor, Tensor, Tensor)");
  // LatentGNN in training on the CPU, from the bottlenecks to what the points hear; float32 or float64, no
  // gradient but by the backward operator. rows [B * N, 2 * c]; BatchNorm's parameters of the rows, of Psi
  // for collecting and for scattering: weights, biases, eps; psi: two maps [D, c]; message [K, c, c]; dims: K
  // parts of D; clouds: B -> visible [B * N, K * c]; moments [2, 2 * c + 2 * D + K * c]: means and variances
  // of the three BatchNorms' inputs and of visible; and what the backward operator wants besides
  m.def(
      "latent_gnn(Tensor rows, Tensor[] weights, Tensor[] biases, float[] eps, Tensor[] psi, Tensor message, "
      "int[] dims, int clouds) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
  // kept: the nine results -> gradients of rows; of weights and biases [2, 2 * c + 2 * D]; of psi [2, D, c];
  // of message
  m.def(
      "latent_gnn_backward(Tensor grad, Tensor rows, Tensor[] weights, Tensor[] biases, float[] eps, "
      "Tensor[] psi, Tensor message, int[] dims, int clouds, Tensor[] kept) -> (Tensor, Tensor, Tensor, "
      "Tensor)");
  // Each element times 65536 / (65536 - dropped), or 0 with probability dropped / 65536; on the CPU
  m.def("dropout(Tensor x, Tensor seed, int dropped) -> Tensor");
}
