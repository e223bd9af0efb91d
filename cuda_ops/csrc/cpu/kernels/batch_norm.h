// BatchNorm over rows that may stand for several equal ones, with ReLU: moments, forward and backward.
// T is the type of rows, A the one that is computed in. Sums are taken over blocks of rows and joined in
// double in the order of the rows, so results depend neither on threads nor on the instruction set.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_BATCH_NORM_H
#define POINTNET2_BATCH_NORM_H

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "rows.h"

namespace pointnet2 {

constexpr int64_t kBlockOfRows = 256;  // at most: stays in the cache from the mean to the squares about it

// Rows [R, C]; row r stands for count[r] rows, or for one if count is null.
template <class T, class A>
struct NormRows {
  const T* rows;
  const A* count;
  int64_t R, C;
};

// What BatchNorm does to a value: (value - mean) * scale + shift, and ReLU if the functions below are told
// so.
template <class A>
struct NormMap {
  const A *mean, *scale, *shift;  // [C]
};

// Of each block: the sum of its counts, and two sums over its rows for each channel.
struct BlockSums {
  std::vector<double> count;
  std::vector<double> first, second;  // [blocks, C]
  int64_t rows, blocks, C;

  // Few rows are in smaller blocks, enough of them for several threads.
  BlockSums(int64_t R, int64_t C) : BlockSums(R < 8 * kBlockOfRows ? kBlockOfRows / 4 : kBlockOfRows, R, C) {}

  BlockSums(int64_t rows_of_block, int64_t R, int64_t C)
      : count((R + rows_of_block - 1) / rows_of_block),
        first(count.size() * C),
        second(count.size() * C),
        rows(rows_of_block),
        blocks(static_cast<int64_t>(count.size())),
        C(C) {}

  // Calls body(n, first, second) for each block of a channel.
  template <class Body>
  void visit(int64_t c, const Body& body) const {
    for (int64_t block = 0; block < blocks; ++block)
      body(count[block], first[block * C + c], second[block * C + c]);
  }

  // Mean and variance [C], where the sums are each block's mean and its squares about it (Chan, Golub and
  // LeVeque 1979).
  template <class A>
  void join_moments(A* mean, A* variance) const {
    for (int64_t c = 0; c < C; ++c) {
      double n = 0, center = 0, squares = 0;  // of the blocks so far
      visit(c, [&](double more, double block_mean, double block_squares) {
        const double apart = block_mean - center;
        n += more;
        center += apart * (more / n);
        squares += block_squares + apart * apart * (more * (n - more) / n);
      });
      mean[c] = static_cast<A>(center);
      variance[c] = static_cast<A>(squares / n);
    }
  }
};

// The gradients [C] of BatchNorm's parameters, and of the two terms that every row's gradient has: through
// the mean and through the variance.
template <class A>
struct NormGradients {
  A *weight, *bias;
  std::vector<A> constant, slope;

  // From the sums over the gradients g after BatchNorm, and over g * (row - mean).
  void join(const BlockSums& sums, const A* inverse) {
    constant.resize(sums.C), slope.resize(sums.C);
    for (int64_t c = 0; c < sums.C; ++c) {
      double n = 0, grads = 0, products = 0;
      sums.visit(c, [&](double count, double first, double second) {
        n += count;
        grads += first;
        products += second;
      });
      bias[c] = static_cast<A>(grads);
      weight[c] = static_cast<A>(products * inverse[c]);
      constant[c] = static_cast<A>(grads / n);
      slope[c] = static_cast<A>(products / n * inverse[c] * inverse[c]);
    }
  }
};

}  // namespace pointnet2

#define POINTNET2_FILE "batch_norm.h"
#include "foreach_isa.h"

namespace pointnet2 {

// mean and variance [C] of the rows counted as often as they stand for, the variance divided by their number.
template <class T, class A>
inline void row_moments(const NormRows<T, A>& x, A* mean, A* variance, const Threads& threads) {
  BlockSums sums(x.R, x.C);
  POINTNET2_DISPATCH(active_isa(), block_moments(x, sums, threads));
  sums.join_moments(mean, variance);
}

template <bool relu, class T, class A>
inline void norm_relu(const NormRows<T, A>& x, const NormMap<A>& map, T* out, const Threads& threads) {
  POINTNET2_DISPATCH(active_isa(), norm_relu<relu>(x, map, out, threads));
}

// grad_rows [R, C] and the gradients of BatchNorm's parameters from grad [R, C], each row's the sum over the
// rows that it stands for. inverse [C]: 1 / sqrt(variance + epsilon).
template <bool relu, class T, class A>
inline void norm_relu_backward(const T* grad, const NormRows<T, A>& x, const NormMap<A>& map,
                               const A* inverse, T* grad_rows, NormGradients<A> grads,
                               const Threads& threads) {
  BlockSums sums(x.R, x.C);
  POINTNET2_DISPATCH(active_isa(), block_gradients<relu>(grad, x, map, sums, threads));
  grads.join(sums, inverse);
  POINTNET2_DISPATCH(active_isa(), row_gradients<relu>(grad, x, map, grads, grad_rows, threads));
}

}  // namespace pointnet2
#endif  // POINTNET2_BATCH_NORM_H

#else  // once per instruction set

namespace pointnet2 {
namespace POINTNET2_ISA {

template <class A>
inline A normed(A value, const NormMap<A>& map, int64_t c) {
  return (value - map.mean[c]) * map.scale[c] + map.shift[c];
}

// The gradient before ReLU, which lets pass where its input is not <= 0: a NaN stays one.
template <bool relu, class A>
inline A masked(A grad, A value, const NormMap<A>& map, int64_t c) {
  if constexpr (!relu) return grad;
  return normed(value, map, c) <= A(0) ? A(0) : grad;
}

// How many rows do rows [from, to) stand for?
template <class T, class A>
double count_of(const NormRows<T, A>& x, int64_t from, int64_t to) {
  double n = 0;
  for (int64_t r = from; r < to; ++r) n += x.count == nullptr ? 1.0 : static_cast<double>(x.count[r]);
  return n;
}

// Calls body(block, first row, end) for each block in [begin, end), and notes its count.
template <class T, class A, class Body>
void over_blocks(const NormRows<T, A>& x, BlockSums& sums, int64_t begin, int64_t end, const Body& body) {
  for (int64_t block = begin; block < end; ++block) {
    const int64_t from = block * sums.rows, to = std::min(from + sums.rows, x.R);
    sums.count[block] = count_of(x, from, to);
    body(block, from, to);
  }
}

// The mean of a block, and the sum of squares about it.
template <class T, class A>
void moments_of_block(const NormRows<T, A>& x, BlockSums& sums, int64_t block, int64_t from, int64_t to) {
  const int64_t C = x.C;
  std::vector<A> total(C), squares(C);
  A* __restrict t = total.data();
  A* __restrict s = squares.data();
  for (int64_t r = from; r < to; ++r) {
    const T* __restrict row = x.rows + r * C;
    const A n = x.count == nullptr ? A(1) : x.count[r];
    for (int64_t c = 0; c < C; ++c) t[c] += n * static_cast<A>(row[c]);
  }
  for (int64_t c = 0; c < C; ++c) t[c] /= static_cast<A>(sums.count[block]);
  for (int64_t r = from; r < to; ++r) {
    const T* __restrict row = x.rows + r * C;
    const A n = x.count == nullptr ? A(1) : x.count[r];
    for (int64_t c = 0; c < C; ++c) {
      const A apart = static_cast<A>(row[c]) - t[c];
      s[c] += n * (apart * apart);
    }
  }
  std::copy_n(t, C, sums.first.data() + block * C);
  std::copy_n(s, C, sums.second.data() + block * C);
}

template <class T, class A>
void block_moments(const NormRows<T, A>& x, BlockSums& sums, const Threads& threads) {
  parallel(threads, sums.blocks, [&](int64_t begin, int64_t end) {
    over_blocks(x, sums, begin, end,
                [&](int64_t block, int64_t from, int64_t to) { moments_of_block(x, sums, block, from, to); });
  });
}

// out [to - from, C]: BatchNorm of rows [from, to), and ReLU.
template <bool relu, class T, class A>
void norm_rows(const NormRows<T, A>& x, const NormMap<A>& map, int64_t from, int64_t to, T* out) {
  const int64_t C = x.C;
  for (int64_t r = from; r < to; ++r) {
    const T* __restrict row = x.rows + r * C;
    T* __restrict normal = out + (r - from) * C;
    for (int64_t c = 0; c < C; ++c) {
      const A value = normed(static_cast<A>(row[c]), map, c);
      normal[c] = static_cast<T>(relu && value < A(0) ? A(0) : value);
    }
  }
}

template <bool relu, class T, class A>
void norm_relu(const NormRows<T, A>& x, const NormMap<A>& map, T* out, const Threads& threads) {
  parallel(threads, x.R,
           [&](int64_t begin, int64_t end) { norm_rows<relu>(x, map, begin, end, out + begin * x.C); });
}

// Sums over each block of the gradients g and of g * (row - mean).
template <bool relu, class T, class A>
void block_gradients(const T* grad, const NormRows<T, A>& x, const NormMap<A>& map, BlockSums& sums,
                     const Threads& threads) {
  const int64_t C = x.C;
  parallel(threads, sums.blocks, [&](int64_t begin, int64_t end) {
    over_blocks(x, sums, begin, end, [&](int64_t block, int64_t from, int64_t to) {
      std::vector<A> grads(C), products(C);
      A* __restrict g = grads.data();
      A* __restrict p = products.data();
      for (int64_t r = from; r < to; ++r) {
        const T* __restrict row = x.rows + r * C;
        const T* __restrict of_row = grad + r * C;
        for (int64_t c = 0; c < C; ++c) {
          const A value = static_cast<A>(row[c]),
                  own = masked<relu>(static_cast<A>(of_row[c]), value, map, c);
          g[c] += own;
          p[c] += own * (value - map.mean[c]);
        }
      }
      std::copy_n(g, C, sums.first.data() + block * C);
      std::copy_n(p, C, sums.second.data() + block * C);
    });
  });
}

// scale * (g - count * (constant + slope * (row - mean)))
template <bool relu, class T, class A>
void row_gradients(const T* grad, const NormRows<T, A>& x, const NormMap<A>& map,
                   const NormGradients<A>& grads, T* grad_rows, const Threads& threads) {
  const int64_t C = x.C;
  const A *constant = grads.constant.data(), *slope = grads.slope.data();
  parallel(threads, x.R, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* __restrict row = x.rows + r * C;
      const T* __restrict of_row = grad + r * C;
      T* __restrict to = grad_rows + r * C;
      const A n = x.count == nullptr ? A(1) : x.count[r];
      for (int64_t c = 0; c < C; ++c) {
        const A value = static_cast<A>(row[c]), own = masked<relu>(static_cast<A>(of_row[c]), value, map, c);
        to[c] = static_cast<T>(map.scale[c] * (own - n * (constant[c] + slope[c] * (value - map.mean[c]))));
      }
    }
  });
}

// grad_rows [R, C]: gradients after ReLU, of which it lets pass those where its outputs `active`, of the
// block alone, are not <= 0; and the sums over the block of them, and of them times (row - mean). Null: no
// ReLU.
template <class T>
void gradients_before_relu(const NormRows<T, T>& x, const NormMap<T>& map, const T* active, BlockSums& sums,
                           int64_t block, int64_t from, int64_t to, T* grad_rows) {
  const int64_t C = x.C;
  std::vector<T> grads(C), products(C);
  T* __restrict g = grads.data();
  T* __restrict p = products.data();
  for (int64_t r = from; r < to; ++r) {
    const T* __restrict row = x.rows + r * C;
    T* __restrict own = grad_rows + r * C;
    if (active != nullptr) {
      const T* __restrict passed = active + (r - from) * C;
      for (int64_t c = 0; c < C; ++c) own[c] = passed[c] <= T(0) ? T(0) : own[c];
    }
    for (int64_t c = 0; c < C; ++c) {
      g[c] += own[c];
      p[c] += own[c] * (row[c] - map.mean[c]);
    }
  }
  std::copy_n(g, C, sums.first.data() + block * C);
  std::copy_n(p, C, sums.second.data() + block * C);
}

// Completes such gradients: scale * (g - count * (constant + slope * (row - mean)))
template <class T>
void add_moment_gradients(const NormRows<T, T>& x, const NormMap<T>& map, const NormGradients<T>& grads,
                          T* grad_rows, const Threads& threads) {
  const T *constant = grads.constant.data(), *slope = grads.slope.data();
  parallel(threads, x.R, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* __restrict row = x.rows + r * x.C;
      T* __restrict own = grad_rows + r * x.C;
      const T n = x.count == nullptr ? T(1) : x.count[r];
      for (int64_t c = 0; c < x.C; ++c)
        own[c] = map.scale[c] * (own[c] - n * (constant[c] + slope[c] * (row[c] - map.mean[c])));
    }
  });
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
