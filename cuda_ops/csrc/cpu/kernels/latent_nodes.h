// LatentGNN's messages among latent nodes, in training. T is float or double.
//
// B clouds, c features, D latent nodes, K kernels with d of the latent nodes each.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_LATENT_NODES_H
#define POINTNET2_LATENT_NODES_H

#include <cmath>
#include <vector>

#include "kernels.h"
#include "products.h"

namespace pointnet2 {

constexpr int64_t kSlack = 64;  // numbers after a matrix that is read in whole panels

// The kernels' shares d of the D latent nodes, and the messages' channels c.
struct Kernels {
  std::vector<int64_t> dims;
  int64_t D, c;

  int64_t K() const { return static_cast<int64_t>(dims.size()); }
  int64_t width() const { return K() * c; }
  int64_t affinities() const {  // numbers of a cloud
    int64_t sum = 0;
    for (const int64_t d : dims) sum += d * d;
    return sum;
  }
  // Calls body(kernel, first latent node, d, first affinity).
  template <class Body>
  void visit(const Body& body) const {
    int64_t first = 0, affinity = 0;
    for (int64_t k = 0; k < K(); first += dims[k], affinity += dims[k] * dims[k], ++k)
      body(k, first, dims[k], affinity);
  }
};

template <class T>
inline T safe_length(T squares) {
  return std::max(std::sqrt(squares), static_cast<T>(1e-12));  // a row of zeros stays one
}

}  // namespace pointnet2

#define POINTNET2_FILE "latent_nodes.h"
#include "foreach_isa.h"

namespace pointnet2 {

// Of each kernel: affinity [B, sum of d * d] = softmax of the cosines between its latent nodes, and
// messages [B, D, c] = affinity latent weight, weight [K, c, c].
template <class T>
inline void latent_messages(const T* latent, const T* weight, int64_t B, const Kernels& kernels, T* affinity,
                            T* messages, const Threads& threads) {
  POINTNET2_DISPATCH(active_isa(), exchange(latent, weight, B, kernels, affinity, messages, threads));
}

// From grad [B, D, c] (with kSlack numbers after it) the gradients of the latent nodes and of the weight.
template <class T>
inline void latent_messages_backward(const T* grad, const T* latent, const T* weight, int64_t B,
                                     const Kernels& kernels, const T* affinity, T* grad_latent,
                                     T* grad_weight, const Threads& threads) {
  std::vector<T> heard(B * kernels.D * kernels.c);  // affinity latent
  POINTNET2_DISPATCH(active_isa(), exchange_gradients(grad, latent, weight, B, kernels, affinity,
                                                      heard.data(), grad_latent, grad_weight, threads));
}

}  // namespace pointnet2
#endif  // POINTNET2_LATENT_NODES_H

#else  // once per instruction set

namespace pointnet2 {
namespace POINTNET2_ISA {

// In 16 sums, which a compiler takes side by side.
template <class T>
POINTNET2_INLINE T dot(const T* __restrict a, const T* __restrict b, int64_t n) {
  T sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  for (int lane = 0; i < n; ++i, ++lane) sums[lane] += a[i] * b[i];
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  return sums[0];
}

// The gradient of x / |x| from that of the quotient: (g - unit (g . unit)) / length. `to` may be `grad`.
template <class T>
POINTNET2_INLINE void unit_gradient(const T* grad, const T* unit, T length, int64_t n, T* to) {
  const T along = dot(grad, unit, n);
  for (int64_t i = 0; i < n; ++i) to[i] = (grad[i] - unit[i] * along) / length;
}

// unit [d, c] and length [d] of latent nodes [d, c].
template <class T>
void unit_nodes(const T* latent, int64_t d, int64_t c, T* unit, T* length) {
  for (int64_t node = 0; node < d; ++node) {
    const T* row = latent + node * c;
    length[node] = safe_length(dot(row, row, c));
    for (int64_t i = 0; i < c; ++i) unit[node * c + i] = row[i] / length[node];
  }
}

template <class T>
void exchange(const T* latent, const T* weight, int64_t B, const Kernels& kernels, T* affinity, T* messages,
              const Threads& threads) {
  const int64_t D = kernels.D, c = kernels.c;
  parallel(threads, B, [&](int64_t begin, int64_t end) {
    std::vector<T> unit(D * c), length(D), heard(D * c);
    for (int64_t cloud = begin; cloud < end; ++cloud)
      kernels.visit([&](int64_t k, int64_t first, int64_t d, int64_t first_affinity) {
        const T* nodes = latent + (cloud * D + first) * c;
        T* own = affinity + cloud * kernels.affinities() + first_affinity;
        unit_nodes(nodes, d, c, unit.data(), length.data());
        const PackedMatrix<T> units(unit.data(), c, d, 1, c), of_nodes(nodes, d, c, c, 1),
            of_kernel(weight + k * c * c, c, c, c, 1);
        multiply<false>(LeftMatrix<T>{unit.data(), c, 1}, units.panels(), Product<T>{own, d, d, c, d});
        for (T* row = own; row < own + d * d; row += d) {
          T sum = 0;  // of numbers between 1 / e and e
          for (int64_t j = 0; j < d; ++j) sum += row[j] = std::exp(row[j]);
          for (int64_t j = 0; j < d; ++j) row[j] /= sum;
        }
        multiply<false>(LeftMatrix<T>{own, d, 1}, of_nodes.panels(), Product<T>{heard.data(), c, d, d, c});
        multiply<false>(LeftMatrix<T>{heard.data(), c, 1}, of_kernel.panels(),
                        Product<T>{messages + (cloud * D + first) * c, c, d, c, c});
      });
  });
}

template <class T>
void exchange_gradients(const T* grad, const T* latent, const T* weight, int64_t B, const Kernels& kernels,
                        const T* affinity, T* heard, T* grad_latent, T* grad_weight, const Threads& threads) {
  const int64_t D = kernels.D, c = kernels.c;
  parallel(threads, B, [&](int64_t begin, int64_t end) {
    std::vector<T> unit(D * c), length(D), grad_unit(D * c), grad_heard(D * c + kSlack);
    Buffer<T> products;
    for (int64_t cloud = begin; cloud < end; ++cloud)
      kernels.visit([&](int64_t k, int64_t first, int64_t d, int64_t first_affinity) {
        const int64_t at = (cloud * D + first) * c;
        const T* own = affinity + cloud * kernels.affinities() + first_affinity;
        T* grad_own = products.resize(d * d);
        const PackedMatrix<T> nodes(latent + at, d, c, c, 1), nodes_of(latent + at, c, d, 1, c),
            of_kernel(weight + k * c * c, c, c, 1, c);
        multiply<false>(LeftMatrix<T>{own, d, 1}, nodes.panels(), Product<T>{heard + at, c, d, d, c});
        multiply<false>(LeftMatrix<T>{grad + at, c, 1}, of_kernel.panels(),
                        Product<T>{grad_heard.data(), c, d, c, c});
        multiply<false>(LeftMatrix<T>{own, 1, d}, RightMatrix<T>{grad_heard.data(), c, kPanel<T>},
                        Product<T>{grad_latent + at, c, d, d, c});
        multiply<false>(LeftMatrix<T>{grad_heard.data(), c, 1}, nodes_of.panels(),
                        Product<T>{grad_own, d, d, c, d});
        for (int64_t i = 0; i < d; ++i) {  // through the softmax
          const T along = dot(grad_own + i * d, own + i * d, d);
          for (int64_t j = 0; j < d; ++j)
            grad_own[i * d + j] = own[i * d + j] * (grad_own[i * d + j] - along);
        }
        unit_nodes(latent + at, d, c, unit.data(), length.data());
        const PackedMatrix<T> units(unit.data(), d, c, c, 1);
        multiply<false>(LeftMatrix<T>{grad_own, d, 1}, units.panels(),
                        Product<T>{grad_unit.data(), c, d, d, c});
        multiply<true>(LeftMatrix<T>{grad_own, 1, d}, units.panels(),
                       Product<T>{grad_unit.data(), c, d, d, c});
        for (int64_t node = 0; node < d; ++node) {
          T* of_node = grad_unit.data() + node * c;
          unit_gradient(of_node, unit.data() + node * c, length[node], c, of_node);
          for (int64_t i = 0; i < c; ++i) grad_latent[at + node * c + i] += of_node[i];
        }
      });
  });
  std::fill_n(grad_weight, kernels.K() * c * c, T(0));
  parallel(threads, c, [&](int64_t begin, int64_t end) {
    for (int64_t cloud = 0; cloud < B; ++cloud)
      kernels.visit([&](int64_t k, int64_t first, int64_t d, int64_t) {
        const int64_t at = (cloud * D + first) * c;
        multiply<true>(LeftMatrix<T>{heard + at + begin, 1, c}, RightMatrix<T>{grad + at, c, kPanel<T>},
                       Product<T>{grad_weight + (k * c + begin) * c, c, end - begin, d, c});
      });
  });
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
