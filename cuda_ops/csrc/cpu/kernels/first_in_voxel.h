// The first point, in point order, of every occupied voxel.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace pointnet2 {

// A set of keys in [0, size): a bit each while that takes little memory, else a table of `entries` keys at
// most.
class KeySet {
 public:
  KeySet(int64_t size, int64_t entries) : dense_(size <= kMostBits) {
    if (dense_) {
      words_.assign(static_cast<size_t>((size + 63) / 64), 0);
      return;
    }
    size_t slots = 64;
    while (slots < 2 * static_cast<size_t>(entries)) slots *= 2;
    words_.assign(slots, 0);  // key + 1; 0: free
  }

  // Whether `key` is new to the set.
  bool insert(int64_t key) {
    const uint64_t k = static_cast<uint64_t>(key);
    if (dense_) {
      uint64_t& word = words_[k >> 6];
      const uint64_t bit = uint64_t{1} << (k & 63);
      const bool fresh = !(word & bit);
      word |= bit;
      return fresh;
    }
    // Fibonacci hashing: the upper half of the product depends on all bits of the key.
    const size_t mask = words_.size() - 1;
    for (size_t slot = (k * 0x9E3779B97F4A7C15u >> 32) & mask;; slot = (slot + 1) & mask) {
      if (words_[slot] == k + 1) return false;
      if (words_[slot] == 0) {
        words_[slot] = k + 1;
        return true;
      }
    }
  }

 private:
  static constexpr int64_t kMostBits = int64_t{1} << 28;  // 32 MiB: a hall of 20 x 20 x 5 m at 2 cm
  bool dense_;
  std::vector<uint64_t> words_;
};

// first[i] = 1 if no point before i lies in its voxel, a cube of side `size` on a grid from the points'
// minimum; N >= 1. False if there are 2^63 voxels or more, which no key can name.
template <class T>
bool first_in_voxel(const T* xyz, int64_t N, double size, uint8_t* first) {
  double low[3], high[3];
  for (int axis = 0; axis < 3; ++axis) low[axis] = high[axis] = xyz[axis];
  for (int64_t i = 0; i < 3 * N; i += 3) {
    for (int axis = 0; axis < 3; ++axis) {
      low[axis] = std::min<double>(low[axis], xyz[i + axis]);
      high[axis] = std::max<double>(high[axis], xyz[i + axis]);
    }
  }
  int64_t cells[3];
  double voxels = 1;
  for (int axis = 0; axis < 3; ++axis) {
    const double count = std::floor((high[axis] - low[axis]) / size) + 1;
    voxels *= count;
    if (!(voxels < 0x1p62)) return false;
    cells[axis] = static_cast<int64_t>(count);
  }
  KeySet seen(cells[0] * cells[1] * cells[2], N);
  for (int64_t i = 0; i < N; ++i) {
    int64_t key = 0;
    for (int axis = 0; axis < 3; ++axis) {
      const double offset = static_cast<double>(xyz[3 * i + axis]) - low[axis];
      key = key * cells[axis] + static_cast<int64_t>(offset / size);  // offset >= 0: this rounds down
    }
    first[i] = seen.insert(key);
  }
  return true;
}

}  // namespace pointnet2
