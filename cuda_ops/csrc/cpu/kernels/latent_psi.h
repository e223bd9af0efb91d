// What LatentGNN makes of its bottlenecks before the messages, in training: features of unit length, and the
// moments of the linear maps to Psi, which follow from the features' own. T is float or double. Sums are
// taken in parts of the rows that do not depend on the threads.
//
// R rows, c features, D latent nodes; the two directions are side by side, first collecting, then scattering.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_LATENT_PSI_H
#define POINTNET2_LATENT_PSI_H

#include "batch_norm.h"
#include "latent_nodes.h"

namespace pointnet2 {

constexpr int64_t kMostParts = 16;  // each has sums of its own

// How the features u of one direction, and their linear map y = theta u to Psi, spread: the mean of u [c],
// and the sum of products of u and its partner, both about their means, [c, partners]: the partner is y where
// there are fewer latent nodes than features, else u itself.
struct Spread {
  double count = 0;
  std::vector<double> mean, products;

  // More of them, with these products about their own mean (Chan, Golub and LeVeque 1979); apart [partners]
  // is how far the partners' mean is from the one so far.
  template <class T>
  void add(double more, const T* mean_of_more, const std::vector<double>& apart, const T* products_of_more) {
    const size_t c = mean.size(), partners = apart.size();
    const double weight = count * more / (count + more);
    for (size_t i = 0; i < c; ++i) {
      const double far = (static_cast<double>(mean_of_more[i]) - mean[i]) * weight;
      for (size_t j = 0; j < partners; ++j)
        products[i * partners + j] +=
            static_cast<double>(products_of_more[i * partners + j]) + far * apart[j];
    }
    for (size_t i = 0; i < c; ++i)
      mean[i] += (static_cast<double>(mean_of_more[i]) - mean[i]) * (more / (count + more));
    count += more;
  }
};

// Bottlenecks x [R, 2 * c], their BatchNorm, and the linear maps to Psi that follow.
template <class T>
struct Bottleneck {
  NormRows<T, T> x;
  NormMap<T> map;
  const T* theta[2];  // [D, c]
  int64_t D;

  int64_t c() const { return x.C / 2; }
  int64_t partners() const { return std::min(D, c()); }  // see Spread
  // What theta makes of [c], or the same, as partners.
  template <class From>
  std::vector<double> partners_of(int direction, const From* u) const {
    if (D >= c()) return std::vector<double>(u, u + c());
    std::vector<double> y(D);
    for (int64_t d = 0; d < D; ++d)
      for (int64_t i = 0; i < c(); ++i) y[d] += static_cast<double>(theta[direction][d * c() + i]) * u[i];
    return y;
  }
};

// What the gradient of Psi's linear map, through its moments, adds to that of each row u of the features:
// through m = min(D, c) numbers, (u first + offset) second, with first [c, m], offset [m] and second [m, c],
// which is the identity where it is empty.
template <class T>
struct RowTerm {
  std::vector<T> first, offset, second;
};

// More features of a direction, with their mean [c] and the sum of products about it.
template <class T, class From>
inline void add_spread(const Bottleneck<T>& x, int direction, Spread& spread, double count, const From* mean,
                       const From* products) {
  std::vector<double> apart(x.c());
  for (int64_t i = 0; i < x.c(); ++i) apart[i] = static_cast<double>(mean[i]) - spread.mean[i];
  spread.add(count, mean, x.partners_of(direction, apart.data()), products);
}

}  // namespace pointnet2

#define POINTNET2_FILE "latent_psi.h"
#include "foreach_isa.h"

namespace pointnet2 {

// unit [R, 2 * c]: each direction's features of a row divided by their length; and how they spread.
template <class T>
inline std::vector<Spread> latent_unit(const Bottleneck<T>& x, T* unit, const Threads& threads) {
  const BlockSums blocks(x.x.R, 0);
  const int64_t c = x.c(), parts = std::min(blocks.blocks, kMostParts);
  std::vector<Spread> spreads(2 * parts,
                              Spread{0, std::vector<double>(c), std::vector<double>(c * x.partners())});
  POINTNET2_DISPATCH(active_isa(), unit_rows(x, unit, parts, spreads.data(), threads));
  for (int64_t part = 1; part < parts; ++part)
    for (int i = 0; i < 2; ++i) {
      const Spread& more = spreads[2 * part + i];
      add_spread(x, i, spreads[i], more.count, more.mean.data(), more.products.data());
    }
  spreads.resize(2);
  return spreads;
}

// From grad_unit [R, 2 * c], to which each direction's term is added first, the gradients of the rows and of
// BatchNorm's parameters. inverse [2 * c]: 1 / sqrt(variance + epsilon).
template <class T>
inline void latent_unit_backward(T* grad_unit, const Bottleneck<T>& x, const T* unit, const RowTerm<T>* terms,
                                 const T* inverse, T* grad_rows, NormGradients<T> grads,
                                 const Threads& threads) {
  BlockSums sums(x.x.R, x.x.C);
  POINTNET2_DISPATCH(active_isa(), unit_gradients(grad_unit, x, unit, terms, sums, grad_rows, threads));
  grads.join(sums, inverse);
  POINTNET2_DISPATCH(active_isa(), add_moment_gradients(x.x, x.map, grads, grad_rows, threads));
}

}  // namespace pointnet2
#endif  // POINTNET2_LATENT_PSI_H

#else  // once per instruction set

namespace pointnet2 {
namespace POINTNET2_ISA {

// spreads [parts, 2], empty before.
template <class T>
void unit_rows(const Bottleneck<T>& x, T* unit, int64_t parts, Spread* spreads, const Threads& threads) {
  const int64_t c = x.c(), width = 2 * c, D = x.D, partners = x.partners();
  const PackedMatrix<T> theta[2] = {{x.theta[0], c, D, 1, c}, {x.theta[1], c, D, 1, c}};
  BlockSums sums(x.x.R, 0);
  parallel(threads, parts, [&](int64_t first, int64_t last) {
    std::vector<T> mean(width), products(c * partners);
    Buffer<T> centred, mapped;
    centred.resize(sums.rows * width + kSlack), mapped.resize(sums.rows * partners + kSlack);
    const auto of_block = [&](int64_t part, int64_t from, int64_t to) {
      const int64_t rows = to - from;
      T* own = unit + from * width;
      norm_rows<false>(x.x, x.map, from, to, own);
      std::fill(mean.begin(), mean.end(), T(0));
      T* __restrict total = mean.data();
      for (int64_t r = 0; r < rows; ++r) {
        T* __restrict row = own + r * width;
        for (int64_t side = 0; side < width; side += c) {
          const T length = safe_length(dot(row + side, row + side, c));
          for (int64_t i = side; i < side + c; ++i) row[i] /= length;
        }
        for (int64_t i = 0; i < width; ++i) total[i] += row[i];
      }
      for (int64_t i = 0; i < width; ++i) total[i] /= static_cast<T>(rows);
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < width; ++i) centred[r * width + i] = own[r * width + i] - total[i];
      for (int i = 0; i < 2; ++i) {
        const T* side = centred.data() + i * c;
        RightMatrix<T> partner{side, width, kPanel<T>};
        if (D < c) {
          multiply<false>(LeftMatrix<T>{side, width, 1}, theta[i].panels(),
                          Product<T>{mapped.data(), D, rows, c, D});
          partner = {mapped.data(), D, kPanel<T>};
        }
        multiply<false>(LeftMatrix<T>{side, 1, width}, partner,
                        Product<T>{products.data(), partners, c, rows, partners});
        add_spread(x, i, spreads[2 * part + i], static_cast<double>(rows), total + i * c, products.data());
      }
    };
    for (int64_t part = first; part < last; ++part)
      over_blocks(x.x, sums, sums.blocks * part / parts, sums.blocks * (part + 1) / parts,
                  [&](int64_t, int64_t from, int64_t to) { of_block(part, from, to); });
  });
}

template <class T>
void unit_gradients(T* grad_unit, const Bottleneck<T>& x, const T* unit, const RowTerm<T>* terms,
                    BlockSums& sums, T* grad_rows, const Threads& threads) {
  const int64_t c = x.c(), width = 2 * c, m = x.partners();
  const PackedMatrix<T> first[2] = {{terms[0].first.data(), c, m, m, 1}, {terms[1].first.data(), c, m, m, 1}};
  parallel(threads, sums.blocks, [&](int64_t begin, int64_t end) {
    Buffer<T> normed, through;
    normed.resize(sums.rows * width), through.resize(sums.rows * m);
    over_blocks(x.x, sums, begin, end, [&](int64_t block, int64_t from, int64_t to) {
      const int64_t count = to - from;
      const T* rows = unit + from * width;
      T* grads = grad_unit + from * width;
      for (int i = 0; i < 2; ++i) {
        multiply<false>(LeftMatrix<T>{rows + i * c, width, 1}, first[i].panels(),
                        Product<T>{through.data(), m, count, c, m});
        const T* __restrict offset = terms[i].offset.data();
        const bool direct = terms[i].second.empty();
        for (int64_t r = 0; r < count; ++r) {
          T* __restrict row = through.data() + r * m;
          T* __restrict own = grads + r * width + i * c;
          for (int64_t k = 0; k < m; ++k) row[k] += offset[k];
          if (direct)
            for (int64_t k = 0; k < m; ++k) own[k] += row[k];
        }
        if (!direct) {
          const PackedMatrix<T> second(terms[i].second.data(), m, c, c, 1);
          multiply<true>(LeftMatrix<T>{through.data(), m, 1}, second.panels(),
                         Product<T>{grads + i * c, width, count, m, c});
        }
      }
      norm_rows<false>(x.x, x.map, from, to, normed.data());
      for (int64_t at = 0; at < count * width; at += c) {
        const T length = safe_length(dot(normed.data() + at, normed.data() + at, c));
        unit_gradient(grads + at, rows + at, length, c, grad_rows + from * width + at);
      }
      gradients_before_relu(x.x, x.map, static_cast<const T*>(nullptr), sums, block, from, to, grad_rows);
    });
  });
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
