// Chains of linear layers with ReLU on a tile of rows that stays in the cache from the first layer to the
// last. Float32; sums are in the order of the inputs, fused where the instruction set fuses them.
//
// Rows come from neighbourhoods (group_mlp_max) or from interpolation (interpolate_mlp). The first layer is
// given in parts: what a source point contributes is computed once a point, before.
#ifndef POINTNET2_ISA
#ifndef POINTNET2_MLP_H
#define POINTNET2_MLP_H

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "buffer.h"
#include "kernels.h"
#include "pack.h"

namespace pointnet2 {

struct LinearLayer {
  const float* weight;  // [out, in]
  const float* bias;    // [out]
  int64_t in, out;
};

// out [B, M, last width]: the maximum over the neighbours j of a centre c of the chain of `layers`; the first
// is xyz's part, [C1, 3], of ReLU(weight (x_j - c) + bias + features_j), with features [B, N, C1] or null.
// A neighbour that repeats the first one is left out: it changes no maximum.
struct GroupMlp {
  const float *xyz, *new_xyz, *features;
  const int32_t* idx;  // [B, M, K]
  int64_t B, N, M, K;
  std::vector<LinearLayer> layers;
};

// out [B, N, last width]: the chain of `layers`, the last of them without ReLU, on
// ReLU(w0 features_i0 + w1 features_i1 + w2 features_i2 + skip), features [B, M, C], skip [B, N, C] or null.
struct InterpolateMlp {
  const float *features, *skip, *weight;  // weight [B, N, 3]
  const int32_t* idx;                     // [B, N, 3]
  int64_t B, N, M, C;
  std::vector<LinearLayer> layers;
};

}  // namespace pointnet2

#define POINTNET2_FILE "mlp.h"
#include "foreach_isa.h"

namespace pointnet2 {

inline void group_mlp_max(const GroupMlp& job, float* out, const Threads& threads) {
  POINTNET2_DISPATCH(active_isa(), group_mlp_max(job, out, threads));
}

inline void interpolate_mlp(const InterpolateMlp& job, float* out, const Threads& threads) {
  POINTNET2_DISPATCH(active_isa(), interpolate_mlp(job, out, threads));
}

}  // namespace pointnet2
#endif  // POINTNET2_MLP_H

#else  // once per instruction set

namespace pointnet2 {
namespace POINTNET2_ISA {

// Rows and packs of outputs that are summed in registers at a time.
constexpr int kBlockRows = POINTNET2_ISA_LEVEL == 2 ? 8 : POINTNET2_ISA_LEVEL == 1 ? 6 : 4;
constexpr int kBlockPacks = POINTNET2_ISA_LEVEL == 2 ? 2 : 1;
constexpr int kPanel = kBlockPacks * kLanes;
constexpr int64_t kTileRows = 96;  // worth reading the weights for; a multiple of kBlockRows

POINTNET2_INLINE int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// A pack of the first `n` values at p, zeros after them.
POINTNET2_INLINE Pack<float> load_part(const float* p, int64_t n) {
  if (n >= kLanes) return load(p);
  float padded[kLanes] = {};
  std::memcpy(padded, p, static_cast<size_t>(n) * sizeof(float));
  return load(padded);
}

POINTNET2_INLINE void store_part(float* p, Pack<float> a, int64_t n) {
  if (n >= kLanes) return store(p, a);
  float padded[kLanes];
  store(padded, a);
  std::memcpy(p, padded, static_cast<size_t>(n) * sizeof(float));
}

// A layer with its weights as panels [in, kPanel], one after another, as `dense` reads them.
struct PackedLayer {
  Buffer<float> panels, bias;
  int64_t in = 0, out = 0, width = 0;  // width: out, rounded up to whole panels

  void pack(const LinearLayer& layer) {
    in = layer.in, out = layer.out, width = round_up(out, kPanel);
    float* to = panels.resize(width * in);
    for (int64_t o = 0; o < width; ++o)
      for (int64_t i = 0; i < in; ++i)
        to[(o / kPanel * in + i) * kPanel + o % kPanel] = o < out ? layer.weight[o * in + i] : 0.0f;
    bias.resize(width);
    for (int64_t o = 0; o < width; ++o) bias[o] = o < out ? layer.bias[o] : 0.0f;
  }
};

// y [rows, layer.width] = layer(x [rows, stride]) of rows in whole blocks; ReLU if asked for.
template <bool relu>
inline void dense(const PackedLayer& layer, const float* x, int64_t stride, int64_t rows, float* y) {
  const Pack<float> zero = broadcast(0.0f);
  for (int64_t panel = 0; panel < layer.width; panel += kPanel) {
    const float* weight = layer.panels.data() + panel * layer.in;
    for (int64_t row = 0; row < rows; row += kBlockRows) {
      Pack<float> sum[kBlockRows][kBlockPacks];
      for (auto& of_row : sum)
        for (int p = 0; p < kBlockPacks; ++p) of_row[p] = load(layer.bias.data() + panel + p * kLanes);
      for (int64_t i = 0; i < layer.in; ++i) {
        Pack<float> w[kBlockPacks];
        for (int p = 0; p < kBlockPacks; ++p) w[p] = load(weight + i * kPanel + p * kLanes);
#pragma GCC unroll 8
        for (int r = 0; r < kBlockRows; ++r) {
          const Pack<float> value = broadcast(x[(row + r) * stride + i]);
          for (int p = 0; p < kBlockPacks; ++p) sum[r][p] = multiply_add(value, w[p], sum[r][p]);
        }
      }
      for (int r = 0; r < kBlockRows; ++r)
        for (int p = 0; p < kBlockPacks; ++p)  // in this order a NaN stays one
          store(y + (row + r) * layer.width + panel + p * kLanes, relu ? max(zero, sum[r][p]) : sum[r][p]);
    }
  }
}

// The layers after the first, and a tile's memory: each layer reads one buffer and writes the other.
class Tile {
 public:
  Tile(const std::vector<PackedLayer>& layers, int64_t first_width, int64_t rows) : layers_(layers) {
    int64_t width = first_width;
    for (const PackedLayer& layer : layers) width = std::max(width, layer.width);
    const int64_t size = round_up(rows, kBlockRows) * width;
    for (Buffer<float>& buffer : buffers_) std::fill_n(buffer.resize(size), size, 0.0f);
  }

  float* input() { return buffers_[0].data(); }

  // The last layer's outputs [rows, its width] of the inputs [rows, stride].
  template <bool relu_last>
  const float* run(int64_t rows, int64_t stride) {
    rows = round_up(rows, kBlockRows);
    int from = 0;
    for (size_t i = 0; i < layers_.size(); ++i, from ^= 1) {
      const float* x = buffers_[from].data();
      float* y = buffers_[from ^ 1].data();
      if (relu_last || i + 1 < layers_.size())
        dense<true>(layers_[i], x, stride, rows, y);
      else
        dense<false>(layers_[i], x, stride, rows, y);
      stride = layers_[i].width;
    }
    return buffers_[from].data();
  }

 private:
  const std::vector<PackedLayer>& layers_;
  Buffer<float> buffers_[2];
};

inline std::vector<PackedLayer> pack_layers(const LinearLayer* layers, size_t count, const Threads& threads) {
  std::vector<PackedLayer> packed(count);
  parallel(threads, static_cast<int64_t>(count), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) packed[i].pack(layers[i]);
  });
  return packed;
}

inline void group_mlp_max(const GroupMlp& job, float* out, const Threads& threads) {
  const std::vector<PackedLayer> layers = pack_layers(job.layers.data() + 1, job.layers.size() - 1, threads);
  const LinearLayer& first = job.layers[0];
  const int64_t width = round_up(first.out, kLanes), channels = job.layers.back().out;
  Buffer<float> affine;  // columns x, y, z of the first layer's weight, then its bias
  std::fill_n(affine.resize(4 * width), 4 * width, 0.0f);
  for (int64_t c = 0; c < first.out; ++c) {
    for (int axis = 0; axis < 3; ++axis) affine[axis * width + c] = first.weight[3 * c + axis];
    affine[3 * width + c] = first.bias[c];
  }
  parallel(threads, job.B * job.M, [&](int64_t begin, int64_t end) {
    Tile tile(layers, width, kTileRows + job.K);
    std::vector<int64_t> starts;
    for (int64_t centre = begin; centre < end;) {
      const int64_t first_centre = centre;
      int64_t rows = 0;
      starts.clear();
      for (; centre < end && rows < kTileRows; ++centre) {
        starts.push_back(rows);
        const int64_t cloud = centre / job.M * job.N;
        const int32_t* neighbour = job.idx + centre * job.K;
        for (int64_t k = 0; k < job.K; ++k) {
          if (k > 0 && neighbour[k] == neighbour[0]) continue;
          const int64_t point = cloud + neighbour[k];
          const float *a = job.xyz + 3 * point, *b = job.new_xyz + 3 * centre;
          const Pack<float> x = broadcast(a[0] - b[0]), y = broadcast(a[1] - b[1]),
                            z = broadcast(a[2] - b[2]);
          float* to = tile.input() + rows++ * width;
          for (int64_t c = 0; c < width; c += kLanes) {
            const float* column = affine.data() + c;
            Pack<float> sum = multiply_add(x, load(column), load(column + 3 * width));
            sum = multiply_add(y, load(column + width), sum);
            sum = multiply_add(z, load(column + 2 * width), sum);
            if (job.features != nullptr)
              sum = sum + load_part(job.features + point * first.out + c, first.out - c);
            store(to + c, max(broadcast(0.0f), sum));
          }
        }
      }
      starts.push_back(rows);
      const float* y = tile.run<true>(rows, width);
      const int64_t stride = layers.empty() ? width : layers.back().width;
      for (int64_t i = 0; first_centre + i < centre; ++i) {
        for (int64_t c = 0; c < channels; c += kLanes) {
          Pack<float> largest = load(y + starts[i] * stride + c);
          for (int64_t row = starts[i] + 1; row < starts[i + 1]; ++row)
            largest = max(largest, load(y + row * stride + c));
          store_part(out + (first_centre + i) * channels + c, largest, channels - c);
        }
      }
    }
  });
}

inline void interpolate_mlp(const InterpolateMlp& job, float* out, const Threads& threads) {
  const std::vector<PackedLayer> layers = pack_layers(job.layers.data(), job.layers.size(), threads);
  const int64_t width = round_up(job.C, kLanes), channels = job.layers.back().out;
  parallel(threads, job.B * job.N, [&](int64_t begin, int64_t end) {
    Tile tile(layers, width, kTileRows);
    for (int64_t start = begin; start < end; start += kTileRows) {
      const int64_t rows = std::min(kTileRows, end - start);
      for (int64_t row = 0; row < rows; ++row) {
        const int64_t point = start + row;
        const float* from[3];
        Pack<float> weight[3];
        for (int k = 0; k < 3; ++k) {
          from[k] = job.features + (point / job.N * job.M + job.idx[3 * point + k]) * job.C;
          weight[k] = broadcast(job.weight[3 * point + k]);
        }
        for (int64_t c = 0; c < width; c += kLanes) {
          const int64_t left = job.C - c;
          Pack<float> sum = weight[0] * load_part(from[0] + c, left);
          sum = multiply_add(weight[1], load_part(from[1] + c, left), sum);
          sum = multiply_add(weight[2], load_part(from[2] + c, left), sum);
          if (job.skip != nullptr) sum = sum + load_part(job.skip + point * job.C + c, left);
          store(tile.input() + row * width + c, max(broadcast(0.0f), sum));
        }
      }
      const float* y = tile.run<false>(rows, width);
      for (int64_t row = 0; row < rows; ++row)
        std::memcpy(out + (start + row) * channels, y + row * layers.back().width,
                    static_cast<size_t>(channels) * sizeof(float));
    }
  });
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
