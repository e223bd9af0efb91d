// LatentGNN's messages from points to latent nodes and back, in training, block by block. The points' weights
// Psi = ReLU(BatchNorm(features theta^T)) are never written out, and neither is the linear map: the backward
// pass computes both again, and what goes through BatchNorm's moments is added to the features' gradient. T
// is float or double. Sums over points are taken in parts of a cloud that do not depend on the threads.
//
// B clouds, N points, R = B * N rows, c features, D latent nodes, K kernels with d latent nodes each.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_LATENT_POINTS_H
#define POINTNET2_LATENT_POINTS_H

#include "latent_psi.h"

namespace pointnet2 {

// One direction's Psi; its features [R, c] are the first numbers of rows of `stride`.
template <class T>
struct Psi {
  const T* features;
  int64_t stride, c;
  const T* theta;  // [D, c]
  NormMap<T> map;
  int64_t B, N, D;

  int64_t blocks() const { return (N + kBlockOfRows - 1) / kBlockOfRows; }  // of a cloud
  int64_t parts() const { return std::min(blocks(), kMostParts); }          // of a cloud
};

// Rows [from, to) of a cloud; `part` and `block` are counted through all clouds.
struct PsiBlock {
  int64_t cloud, part, block, from, to;
};

// The gradients of one direction. The features' [R, c], in rows of `stride` too, lack `term`.
template <class T>
struct PsiGradients {
  T *features, *theta;
  NormGradients<T> norm;
  RowTerm<T> term;
};

// Sums of a backward pass: those of BatchNorm, and of each part features^T g [c, D], g before BatchNorm's
// scale.
template <class T>
struct PsiSums {
  BlockSums norm;
  std::vector<T> products;

  explicit PsiSums(const Psi<T>& psi)
      : norm(kBlockOfRows, psi.B * psi.blocks() * kBlockOfRows, psi.D),
        products(psi.B * psi.parts() * psi.c * psi.D) {}
};

// Sums of products of y = theta u and u, both about their means, [D, c].
template <class T>
inline std::vector<double> linear_products(const T* theta, int64_t D, const Spread& spread) {
  const int64_t c = static_cast<int64_t>(spread.mean.size());
  std::vector<double> products(D * c);
  for (int64_t d = 0; d < D; ++d)
    for (int64_t i = 0; i < c; ++i) {
      double* row = products.data() + d * c;
      if (D < c)
        row[i] = spread.products[i * D + d];
      else
        for (int64_t j = 0; j < c; ++j) row[j] += theta[d * c + i] * spread.products[i * c + j];
    }
  return products;
}

// Mean and variance [D] of theta u.
template <class T>
inline void psi_moments(const T* theta, int64_t D, const Spread& spread, T* mean, T* variance) {
  const int64_t c = static_cast<int64_t>(spread.mean.size());
  const std::vector<double> products = linear_products(theta, D, spread);
  for (int64_t d = 0; d < D; ++d) {
    double center = 0, squares = 0;
    for (int64_t i = 0; i < c; ++i) {
      center += theta[d * c + i] * spread.mean[i];
      squares += products[d * c + i] * theta[d * c + i];
    }
    mean[d] = static_cast<T>(center);
    variance[d] = static_cast<T>(std::max(squares, 0.0) / spread.count);
  }
}

// to [n] = the sum of `parts` arrays [n]
template <class T>
inline void join_parts(const T* from, int64_t parts, int64_t n, T* to) {
  std::copy_n(from, n, to);
  for (int64_t part = 1; part < parts; ++part)
    for (int64_t i = 0; i < n; ++i) to[i] += from[part * n + i];
}

// Gradients of theta and of BatchNorm's parameters, and the term that the features' gradient lacks. With y =
// theta u, y0 and u0 their means, and k and q BatchNorm's constant and slope, dy = scale (g - k - q (y -
// y0)): so dtheta = scale (g^T u - R k u0 - q products), and du lacks -scale (k + q theta (u - u0)) theta.
// inverse [D]: 1 / sqrt(variance + epsilon).
template <class T>
inline void join_gradients(const Psi<T>& psi, const PsiSums<T>& sums, const Spread& spread, const T* inverse,
                           PsiGradients<T>& grads) {
  const int64_t c = psi.c, D = psi.D;
  grads.norm.join(sums.norm, inverse);
  std::vector<T> sum(c * D);
  join_parts(sums.products.data(), psi.B * psi.parts(), c * D, sum.data());
  const std::vector<double> products = linear_products(psi.theta, D, spread);
  for (int64_t d = 0; d < D; ++d) {
    const double constant = grads.norm.constant[d] * spread.count, slope = grads.norm.slope[d];
    for (int64_t i = 0; i < c; ++i)
      grads.theta[d * c + i] = static_cast<T>(
          psi.map.scale[d] * (sum[i * D + d] - constant * spread.mean[i] - slope * products[d * c + i]));
  }
  // The term: through y where that is narrower, else through all of theta^T (scale q) theta.
  const int64_t m = std::min(c, D);
  std::vector<double> first(c * m), offset(m);
  for (int64_t d = 0; d < D; ++d) {
    const T* row = psi.theta + d * c;
    const double scale = -psi.map.scale[d], constant = scale * grads.norm.constant[d],
                 slope = scale * grads.norm.slope[d];
    for (int64_t i = 0; i < c; ++i) {
      if (D < c) {
        first[i * m + d] = slope * row[i];
      } else {
        offset[i] += constant * row[i];
        for (int64_t j = 0; j < c; ++j) first[i * m + j] += slope * row[i] * row[j];
      }
    }
    if (D < c) offset[d] = constant;
  }
  for (int64_t i = 0; i < c; ++i)
    for (int64_t k = 0; k < m; ++k) offset[k] -= first[i * m + k] * spread.mean[i];
  grads.term.first.assign(first.begin(), first.end());
  grads.term.offset.assign(offset.begin(), offset.end());
  if (D < c) grads.term.second.assign(psi.theta, psi.theta + D * c);
}

}  // namespace pointnet2

#define POINTNET2_FILE "latent_points.h"
#include "foreach_isa.h"

namespace pointnet2 {

// latent [B, D, c] = Psi^T features, each node's row divided by the length of its column of Psi, lengths [B,
// D].
template <class T>
inline void latent_collect(const Psi<T>& psi, T* latent, T* lengths, const Threads& threads) {
  const int64_t D = psi.D, c = psi.c, parts = psi.parts();
  std::vector<T> products(psi.B * parts * c * D), sum(c * D);
  std::vector<double> squares(psi.B * parts * D);
  POINTNET2_DISPATCH(active_isa(), collect(psi, products.data(), squares.data(), threads));
  for (int64_t b = 0; b < psi.B; ++b) {
    join_parts(products.data() + b * parts * c * D, parts, c * D, sum.data());
    for (int64_t d = 0; d < D; ++d) {
      double square = 0;
      for (int64_t part = b * parts; part < (b + 1) * parts; ++part) square += squares[part * D + d];
      const T length = lengths[b * D + d] = static_cast<T>(safe_length(square));
      for (int64_t k = 0; k < c; ++k) latent[(b * D + d) * c + k] = sum[k * D + d] / length;
    }
  }
}

// From grad [B, D, c]. inverse [D]: 1 / sqrt(variance + epsilon) of BatchNorm.
template <class T>
inline void latent_collect_backward(const T* grad, const Psi<T>& psi, const Spread& spread, const T* latent,
                                    const T* lengths, const T* inverse, PsiGradients<T>& grads,
                                    const Threads& threads) {
  // With l a column's length: dPsi = features (g / l)^T - Psi (g . latent) / l^2, dfeatures = Psi (g / l).
  const int64_t c = psi.c;
  std::vector<T> scaled(psi.B * psi.D * c), along(psi.B * psi.D);
  for (size_t node = 0; node < along.size(); ++node) {
    T sum = 0;
    for (size_t i = node * c; i < (node + 1) * c; ++i) {
      scaled[i] = grad[i] / lengths[node];
      sum += scaled[i] * latent[i];
    }
    along[node] = sum / lengths[node];
  }
  PsiSums<T> sums(psi);
  POINTNET2_DISPATCH(active_isa(),
                     collect_gradients(psi, scaled.data(), along.data(), sums, grads.features, threads));
  join_gradients(psi, sums, spread, inverse, grads);
}

// visible [R, K * c]: each kernel's Psi times its messages [B, D, c], divided by the lengths [R, K] of its
// rows of Psi; and the mean and variance [K * c] of visible.
template <class T>
inline void latent_scatter(const Psi<T>& psi, const T* messages, const Kernels& kernels, T* visible,
                           T* lengths, T* mean, T* variance, const Threads& threads) {
  BlockSums sums(kBlockOfRows, psi.B * psi.blocks() * kBlockOfRows, kernels.width());
  POINTNET2_DISPATCH(active_isa(), scatter(psi, messages, kernels, visible, lengths, sums, threads));
  sums.join_moments(mean, variance);
}

// From grad [R, K * c], the gradient of the messages too. inverse [D]: 1 / sqrt(variance + epsilon) of
// BatchNorm.
template <class T>
inline void latent_scatter_backward(const T* grad, const Psi<T>& psi, const Spread& spread, const T* messages,
                                    const Kernels& kernels, const T* visible, const T* lengths,
                                    const T* inverse, T* grad_messages, PsiGradients<T>& grads,
                                    const Threads& threads) {
  const int64_t D = psi.D, c = psi.c, parts = psi.parts();
  std::vector<T> of_messages(psi.B * parts * c * D), sum(c * D);
  PsiSums<T> sums(psi);
  POINTNET2_DISPATCH(active_isa(), scatter_gradients(grad, psi, messages, kernels, visible, lengths, sums,
                                                     grads.features, of_messages.data(), threads));
  for (int64_t b = 0; b < psi.B; ++b) {
    join_parts(of_messages.data() + b * parts * c * D, parts, c * D, sum.data());
    for (int64_t d = 0; d < D; ++d)
      for (int64_t k = 0; k < c; ++k) grad_messages[(b * D + d) * c + k] = sum[k * D + d];
  }
  join_gradients(psi, sums, spread, inverse, grads);
}

}  // namespace pointnet2
#endif  // POINTNET2_LATENT_POINTS_H

#else  // once per instruction set

namespace pointnet2 {
namespace POINTNET2_ISA {

// Calls body(block, features theta^T, Psi, scratch), each of the block's rows [to - from, D], for every
// block; Psi and scratch may be read in whole panels.
template <class T, class Body>
void over_psi(const Psi<T>& psi, const Threads& threads, const Body& body) {
  const int64_t blocks = psi.blocks(), parts = psi.parts(), D = psi.D;
  const PackedMatrix<T> theta(psi.theta, psi.c, D, 1, psi.c);
  parallel(threads, psi.B * parts, [&](int64_t begin, int64_t end) {
    const int64_t size = std::min(kBlockOfRows, psi.N) * D + kSlack;
    Buffer<T> linear, active, scratch;
    linear.resize(size), active.resize(size), scratch.resize(size);
    for (int64_t part = begin; part < end; ++part) {
      const int64_t cloud = part / parts, n = part % parts;
      for (int64_t block = blocks * n / parts; block < blocks * (n + 1) / parts; ++block) {
        const int64_t from = block * kBlockOfRows, to = std::min(from + kBlockOfRows, psi.N);
        const PsiBlock at{cloud, part, cloud * blocks + block, cloud * psi.N + from, cloud * psi.N + to};
        multiply<false>(LeftMatrix<T>{psi.features + at.from * psi.stride, psi.stride, 1}, theta.panels(),
                        Product<T>{linear.data(), D, to - from, psi.c, D});
        norm_rows<true>(NormRows<T, T>{linear.data(), nullptr, to - from, D}, psi.map, 0, to - from,
                        active.data());
        body(at, linear.data(), active.data(), scratch.data());
      }
    }
  });
}

// grads [rows, D], of Psi, become those before ReLU; and what they give to the sums and to the features.
// scaled: theta times BatchNorm's scale.
template <bool add, class T>
void before_relu(const Psi<T>& psi, const PsiBlock& at, const T* linear, const T* active,
                 const PackedMatrix<T>& scaled, PsiSums<T>& sums, T* grads, T* grad_features) {
  const int64_t rows = at.to - at.from, D = psi.D, c = psi.c;
  sums.norm.count[at.block] = static_cast<double>(rows);
  gradients_before_relu(NormRows<T, T>{linear, nullptr, rows, D}, psi.map, active, sums.norm, at.block, 0,
                        rows, grads);
  multiply<true>(LeftMatrix<T>{psi.features + at.from * psi.stride, 1, psi.stride},
                 RightMatrix<T>{grads, D, kPanel<T>},
                 Product<T>{sums.products.data() + at.part * c * D, D, c, rows, D});
  multiply<add>(LeftMatrix<T>{grads, D, 1}, scaled.panels(),
                Product<T>{grad_features + at.from * psi.stride, psi.stride, rows, D, c});
}

template <class T>
std::vector<T> scaled_theta(const Psi<T>& psi) {
  std::vector<T> scaled(psi.D * psi.c);
  for (int64_t d = 0; d < psi.D; ++d)
    for (int64_t i = 0; i < psi.c; ++i) scaled[d * psi.c + i] = psi.map.scale[d] * psi.theta[d * psi.c + i];
  return scaled;
}

// products [parts, c, D] and squares [parts, D] of each part, zeros before.
template <class T>
void collect(const Psi<T>& psi, T* products, double* squares, const Threads& threads) {
  const int64_t D = psi.D, c = psi.c;
  over_psi(psi, threads, [&](const PsiBlock& at, const T*, const T* active, T*) {
    const int64_t rows = at.to - at.from;
    multiply<true>(LeftMatrix<T>{psi.features + at.from * psi.stride, 1, psi.stride},
                   RightMatrix<T>{active, D, kPanel<T>},
                   Product<T>{products + at.part * c * D, D, c, rows, D});
    std::vector<T> of_block(D);
    T* __restrict sum = of_block.data();
    for (int64_t r = 0; r < rows; ++r) {
      const T* __restrict row = active + r * D;
      for (int64_t d = 0; d < D; ++d) sum[d] += row[d] * row[d];
    }
    for (int64_t d = 0; d < D; ++d) squares[at.part * D + d] += static_cast<double>(sum[d]);
  });
}

// scaled [B, D, c] and along [B, D] as in latent_collect_backward.
template <class T>
void collect_gradients(const Psi<T>& psi, const T* scaled, const T* along, PsiSums<T>& sums, T* grad_features,
                       const Threads& threads) {
  const int64_t D = psi.D, c = psi.c;
  const std::vector<T> theta = scaled_theta(psi);
  const PackedMatrix<T> through_norm(theta.data(), D, c, c, 1);
  over_psi(psi, threads, [&](const PsiBlock& at, const T* linear, const T* active, T* grads) {
    const int64_t rows = at.to - at.from;
    const T* of_cloud = scaled + at.cloud * D * c;
    const T* __restrict along_column = along + at.cloud * D;
    const PackedMatrix<T> to_features(of_cloud, D, c, c, 1), to_psi(of_cloud, c, D, 1, c);
    multiply<false>(LeftMatrix<T>{active, D, 1}, to_features.panels(),
                    Product<T>{grad_features + at.from * psi.stride, psi.stride, rows, D, c});
    multiply<false>(LeftMatrix<T>{psi.features + at.from * psi.stride, psi.stride, 1}, to_psi.panels(),
                    Product<T>{grads, D, rows, c, D});
    for (int64_t r = 0; r < rows; ++r) {
      const T* __restrict row = active + r * D;
      T* __restrict own = grads + r * D;
      for (int64_t d = 0; d < D; ++d) own[d] -= row[d] * along_column[d];
    }
    before_relu<true>(psi, at, linear, active, through_norm, sums, grads, grad_features);
  });
}

template <class T>
void scatter(const Psi<T>& psi, const T* messages, const Kernels& kernels, T* visible, T* lengths,
             BlockSums& sums, const Threads& threads) {
  const int64_t D = psi.D, c = psi.c, width = kernels.width(), K = kernels.K();
  over_psi(psi, threads, [&](const PsiBlock& at, const T*, const T* active, T*) {
    const int64_t rows = at.to - at.from;
    kernels.visit([&](int64_t k, int64_t first, int64_t d, int64_t) {
      const PackedMatrix<T> of_kernel(messages + (at.cloud * D + first) * c, d, c, c, 1);
      multiply<false>(LeftMatrix<T>{active + first, D, 1}, of_kernel.panels(),
                      Product<T>{visible + at.from * width + k * c, width, rows, d, c});
      for (int64_t r = 0; r < rows; ++r) {
        const T* row = active + r * D + first;
        T* own = visible + (at.from + r) * width + k * c;
        const T length = lengths[(at.from + r) * K + k] = safe_length(dot(row, row, d));
        for (int64_t i = 0; i < c; ++i) own[i] /= length;
      }
    });
    sums.count[at.block] = static_cast<double>(rows);
    moments_of_block(NormRows<T, T>{visible, nullptr, at.to, width}, sums, at.block, at.from, at.to);
  });
}

// With l a row's length: dPsi = (g / l) messages^T - Psi (g . visible) / l^2, dmessages = Psi^T (g / l), of
// which of_messages [parts, c, D], zeros before, get each part's sum.
template <class T>
void scatter_gradients(const T* grad, const Psi<T>& psi, const T* messages, const Kernels& kernels,
                       const T* visible, const T* lengths, PsiSums<T>& sums, T* grad_features, T* of_messages,
                       const Threads& threads) {
  const int64_t D = psi.D, c = psi.c, width = kernels.width(), K = kernels.K();
  const std::vector<T> theta = scaled_theta(psi);
  const PackedMatrix<T> through_norm(theta.data(), D, c, c, 1);
  over_psi(psi, threads, [&](const PsiBlock& at, const T* linear, const T* active, T* grads) {
    const int64_t rows = at.to - at.from;
    std::vector<T> scaled(rows * c);
    kernels.visit([&](int64_t k, int64_t first, int64_t d, int64_t) {
      for (int64_t r = 0; r < rows; ++r) {
        const T* g = grad + (at.from + r) * width + k * c;
        const T length = lengths[(at.from + r) * K + k];
        for (int64_t i = 0; i < c; ++i) scaled[r * c + i] = g[i] / length;
      }
      const PackedMatrix<T> of_kernel(messages + (at.cloud * D + first) * c, c, d, 1, c);
      multiply<false>(LeftMatrix<T>{scaled.data(), c, 1}, of_kernel.panels(),
                      Product<T>{grads + first, D, rows, c, d});
      multiply<true>(LeftMatrix<T>{scaled.data(), 1, c}, RightMatrix<T>{active + first, D, kPanel<T>},
                     Product<T>{of_messages + at.part * c * D + first, D, c, rows, d});
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t row = at.from + r;
        const T along = dot(scaled.data() + r * c, visible + row * width + k * c, c) / lengths[row * K + k];
        const T* __restrict weights = active + r * D + first;
        T* __restrict own = grads + r * D + first;
        for (int64_t i = 0; i < d; ++i) own[i] -= weights[i] * along;
      }
    });
    before_relu<false>(psi, at, linear, active, through_norm, sums, grads, grad_features);
  });
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
