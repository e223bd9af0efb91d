// BatchNorm, ReLU and the linear map after them, in training, block by block: of rows [R, C] the activated
// ones are never written out, and the backward pass computes them again. T is float or double.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_NORM_LINEAR_H
#define POINTNET2_NORM_LINEAR_H

#include "batch_norm.h"
#include "products.h"

namespace pointnet2 {

template <class T>
struct NormLinear {
  NormRows<T, T> x;
  NormMap<T> map;
  const T* weight;  // [outputs, C]
  int64_t outputs;
};

}  // namespace pointnet2

#define POINTNET2_FILE "norm_linear.h"
#include "foreach_isa.h"

namespace pointnet2 {

// y [R, outputs] and its moments [outputs].
template <class T>
inline void norm_relu_linear(const NormLinear<T>& job, T* y, T* mean, T* variance, const Threads& threads) {
  BlockSums sums(job.x.R, job.outputs);
  POINTNET2_DISPATCH(active_isa(), norm_relu_linear(job, y, sums, threads));
  sums.join_moments(mean, variance);
}

// From grad [R, outputs] the gradients of the rows [R, C], of BatchNorm's parameters (inverse [C]: 1 /
// sqrt(variance + epsilon)) and of the linear map's weight, each thread's part of which is summed apart.
template <class T>
inline void norm_relu_linear_backward(const T* grad, const NormLinear<T>& job, const T* inverse, T* grad_rows,
                                      NormGradients<T> grads, T* grad_linear, const Threads& threads) {
  const int64_t size = job.outputs * job.x.C;
  BlockSums sums(job.x.R, job.x.C);
  const int64_t count = std::min<int64_t>(threads.count, sums.blocks);
  std::vector<T> parts(count * size);
  POINTNET2_DISPATCH(active_isa(),
                     linear_gradients(grad, job, grad_rows, sums, parts.data(), count, threads));
  std::fill_n(grad_linear, size, T(0));
  for (int64_t part = 0; part < count; ++part)
    for (int64_t i = 0; i < size; ++i) grad_linear[i] += parts[part * size + i];
  grads.join(sums, inverse);
  POINTNET2_DISPATCH(active_isa(), add_moment_gradients(job.x, job.map, grads, grad_rows, threads));
}

}  // namespace pointnet2
#endif  // POINTNET2_NORM_LINEAR_H

#else  // once per instruction set

namespace pointnet2 {
namespace POINTNET2_ISA {

template <class T>
void norm_relu_linear(const NormLinear<T>& job, T* y, BlockSums& sums, const Threads& threads) {
  const int64_t C = job.x.C, outputs = job.outputs;
  const PackedMatrix<T> weight(job.weight, C, outputs, 1, C);
  const NormRows<T, T> result{y, job.x.count, job.x.R, outputs};
  parallel(threads, sums.blocks, [&](int64_t begin, int64_t end) {
    Buffer<T> active;
    active.resize(kBlockOfRows * C);
    over_blocks(job.x, sums, begin, end, [&](int64_t block, int64_t from, int64_t to) {
      norm_rows<true>(job.x, job.map, from, to, active.data());
      multiply<false>(LeftMatrix<T>{active.data(), C, 1}, weight.panels(),
                      Product<T>{y + from * outputs, outputs, to - from, C, outputs});
      moments_of_block(result, sums, block, from, to);
    });
  });
}

// grad_rows [R, C]: gradients before ReLU; parts [count, outputs, C]: zeros, to which the gradients of the
// weight are added.
template <class T>
void linear_gradients(const T* grad, const NormLinear<T>& job, T* grad_rows, BlockSums& sums, T* parts,
                      int64_t count, const Threads& threads) {
  const int64_t C = job.x.C, outputs = job.outputs;
  const PackedMatrix<T> weight(job.weight, outputs, C, C, 1);
  parallel(threads, count, [&](int64_t first, int64_t last) {
    Buffer<T> active;
    active.resize(kBlockOfRows * C + kPanel<T>);  // read in whole panels
    for (int64_t part = first; part < last; ++part) {
      const int64_t begin = sums.blocks * part / count, end = sums.blocks * (part + 1) / count;
      over_blocks(job.x, sums, begin, end, [&](int64_t block, int64_t from, int64_t to) {
        const T* of_block = grad + from * outputs;
        norm_rows<true>(job.x, job.map, from, to, active.data());
        multiply<true>(LeftMatrix<T>{of_block, 1, outputs}, RightMatrix<T>{active.data(), C, kPanel<T>},
                       Product<T>{parts + part * outputs * C, C, outputs, to - from, C});
        multiply<false>(LeftMatrix<T>{of_block, outputs, 1}, weight.panels(),
                        Product<T>{grad_rows + from * C, C, to - from, outputs, C});
        gradients_before_relu(job.x, job.map, active.data(), sums, block, from, to, grad_rows);
      });
    }
  });
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
