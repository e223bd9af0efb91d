// Matrix products of tiles that lie in the cache. T is float or double; sums are in the order of the inner
// index, fused where the instruction set fuses floats.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_PRODUCTS_H
#define POINTNET2_PRODUCTS_H

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "buffer.h"
#include "pack.h"

namespace pointnet2 {

// x [rows, inner], with any strides.
template <class T>
struct LeftMatrix {
  const T* data;
  int64_t row, inner;  // strides
};

// [inner, columns], read in panels of kPanel columns: past the last column too, where values do not matter.
template <class T>
struct RightMatrix {
  const T* data;
  int64_t inner, panel;  // strides
};

// y [rows, columns]
template <class T>
struct Product {
  T* data;
  int64_t row;  // stride
  int64_t rows, inner, columns;
};

}  // namespace pointnet2

#define POINTNET2_FILE "products.h"
#include "foreach_isa.h"
#endif  // POINTNET2_PRODUCTS_H

#else  // once per instruction set

namespace pointnet2 {
namespace POINTNET2_ISA {

// Rows and packs of columns that are summed in registers at a time.
template <class T>
constexpr int kSumPacks = POINTNET2_ISA_LEVEL == 2 && sizeof(T) == 4 ? 2 : 1;
template <class T>
constexpr int kSumRows = POINTNET2_ISA_LEVEL == 2                     ? 8
                         : POINTNET2_ISA_LEVEL == 1 && sizeof(T) == 4 ? 6
                                                                      : 3;
template <class T>
constexpr int kPanel = kSumPacks<T> * kLanes;

template <class T>
POINTNET2_INLINE int64_t whole_panels(int64_t columns) {
  return (columns + kPanel<T> - 1) / kPanel<T> * kPanel<T>;
}

// A copy of a matrix [inner, columns] whose panels lie one after another.
template <class T>
class PackedMatrix {
 public:
  PackedMatrix(const T* from, int64_t inner, int64_t columns, int64_t inner_stride, int64_t column_stride)
      : inner_(inner) {
    T* to = values_.resize(inner * whole_panels<T>(columns));
    for (int64_t panel = 0; panel < columns; panel += kPanel<T>)
      for (int64_t i = 0; i < inner; ++i)
        for (int64_t c = panel; c < panel + kPanel<T>; ++c)
          *to++ = c < columns ? from[i * inner_stride + c * column_stride] : T(0);
  }
  RightMatrix<T> panels() const { return {values_.data(), kPanel<T>, inner_ * kPanel<T>}; }

 private:
  Buffer<T> values_;
  int64_t inner_;
};

// The first kRows rows of y and as many columns as kPacks packs have, or are left.
template <int kRows, int kPacks, bool add, class T>
POINTNET2_INLINE void product_block(const LeftMatrix<T>& x, const T* panel, int64_t stride, int64_t inner,
                                    T* y, int64_t y_row, int64_t columns) {
  Pack<T> sum[kRows][kPacks];
  for (auto& of_row : sum)
    for (auto& pack : of_row) pack = broadcast(T(0));
  for (int64_t i = 0; i < inner; ++i) {
    Pack<T> right[kPacks];
    for (int p = 0; p < kPacks; ++p) right[p] = load(panel + i * stride + p * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Pack<T> left = broadcast(x.data[r * x.row + i * x.inner]);
      for (int p = 0; p < kPacks; ++p) sum[r][p] = multiply_add(left, right[p], sum[r][p]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < kPacks; ++p) {
      T* to = y + r * y_row + p * kLanes;
      const int64_t left = columns - p * kLanes;
      if (left >= kLanes) {
        store(to, add ? load(to) + sum[r][p] : sum[r][p]);
      } else {
        T values[kLanes];
        store(values, sum[r][p]);
        for (int64_t c = 0; c < left; ++c) to[c] = add ? to[c] + values[c] : values[c];
      }
    }
  }
}

// y = x w, or y += x w, of a panel's first kPacks packs of columns. Not inlined: two of them in one function
// would share its registers.
template <int kPacks, bool add, class T>
__attribute__((noinline)) void multiply_panel(const LeftMatrix<T>& x, const T* panel, int64_t stride,
                                              const Product<T>& y, int64_t column) {
  for (int64_t row = 0; row < y.rows;) {
    const LeftMatrix<T> rest{x.data + row * x.row, x.row, x.inner};
    T* to = y.data + row * y.row + column;
    if (row + kSumRows<T> <= y.rows) {
      product_block<kSumRows<T>, kPacks, add>(rest, panel, stride, y.inner, to, y.row, y.columns - column);
      row += kSumRows<T>;
    } else {
      product_block<1, kPacks, add>(rest, panel, stride, y.inner, to, y.row, y.columns - column);
      row += 1;
    }
  }
}

// y = x w, or y += x w.
template <bool add, class T>
void multiply(const LeftMatrix<T>& x, const RightMatrix<T>& w, const Product<T>& y) {
  for (int64_t column = 0; column < y.columns; column += kPanel<T>) {
    const T* panel = w.data + column / kPanel<T> * w.panel;
    if (y.columns - column <= kLanes)
      multiply_panel<1, add>(x, panel, w.inner, y, column);
    else
      multiply_panel<kSumPacks<T>, add>(x, panel, w.inner, y, column);
  }
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
