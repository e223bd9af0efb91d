// Chains of linear layers with ReLU on a tile of rows that stays in the cache from the first layer to the
// last. Float32; sums are in the order of the inputs, fused where the instruction set fuses them. With
// `bfloat16`, and a machine that multiplies such numbers, weights and rows are rounded to them; sums stay
// float32.
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
  bool bfloat16;
};

// out [B, N, last width]: the chain of `layers`, the last of them without ReLU, on
// ReLU(w0 features_i0 + w1 features_i1 + w2 features_i2 + skip), features [B, M, C], skip [B, N, C] or null.
struct InterpolateMlp {
  const float *features, *skip, *weight;  // weight [B, N, 3]
  const int32_t* idx;                     // [B, N, 3]
  int64_t B, N, M, C;
  std::vector<LinearLayer> layers;
  bool bfloat16;
};

}  // namespace pointnet2

#define POINTNET2_FILE "mlp.h"
#define POINTNET2_BFLOAT16
#include "foreach_isa.h"

namespace pointnet2 {

#if POINTNET2_X86
#define POINTNET2_DISPATCH_BFLOAT16(call)                          \
  do {                                                             \
    if (job.bfloat16 && active_isa() == kAvx512 && has_bfloat16()) \
      avx512bf16::call;                                            \
    else                                                           \
      POINTNET2_DISPATCH(active_isa(), call);                      \
  } while (false)
#else
#define POINTNET2_DISPATCH_BFLOAT16(call) POINTNET2_DISPATCH(active_isa(), call)
#endif

inline void group_mlp_max(const GroupMlp& job, float* out, const Threads& threads) {
  POINTNET2_DISPATCH_BFLOAT16(group_mlp_max(job, out, threads));
}

inline void interpolate_mlp(const InterpolateMlp& job, float* out, const Threads& threads) {
  POINTNET2_DISPATCH_BFLOAT16(interpolate_mlp(job, out, threads));
}

}  // namespace pointnet2
#endif  // POINTNET2_MLP_H

#else  // once per instruction set

namespace pointnet2 {
namespace POINTNET2_ISA {

// A Number is what a layer multiplies and a tile holds. The products of kTogether of them are added at once:
// a Factors is that many for each lane.
#if POINTNET2_ISA_LEVEL == 3
using namespace avx512;
using avx512::load;
using avx512::multiply_add;
using avx512::store;

struct Number {
  uint16_t bfloat16;
};
struct Factors {
  __m512bh v;
};
constexpr int kTogether = 2;

POINTNET2_INLINE Number to_number(float a) {
  Number number;
  const __m128bh rounded = _mm_cvtneps_pbh(_mm_set_ss(a));
  std::memcpy(&number, &rounded, sizeof(number));
  return number;
}
POINTNET2_INLINE Pack<float> load(const Number* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
POINTNET2_INLINE void store(Number* p, Pack<float> a) {
  const __m256bh rounded = _mm512_cvtneps_pbh(a.v);
  std::memcpy(p, &rounded, sizeof(rounded));
}
POINTNET2_INLINE Factors load_factors(const Number* p) {
  return {reinterpret_cast<__m512bh>(_mm512_loadu_si512(p))};
}
POINTNET2_INLINE Factors broadcast_factors(const Number* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof(pair));
  return {reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair))};
}
POINTNET2_INLINE Pack<float> multiply_add(Factors a, Factors b, Pack<float> c) {
  return {_mm512_dpbf16_ps(c.v, a.v, b.v)};
}
#else
using Number = float;
using Factors = Pack<float>;
constexpr int kTogether = 1;

POINTNET2_INLINE Number to_number(float a) { return a; }
POINTNET2_INLINE Factors load_factors(const Number* p) { return load(p); }
POINTNET2_INLINE Factors broadcast_factors(const Number* p) { return broadcast(*p); }
#endif

// Rows and packs of outputs that are summed in registers at a time.
constexpr int kBlockRows = POINTNET2_ISA_LEVEL >= 2 ? 8 : POINTNET2_ISA_LEVEL == 1 ? 6 : 4;
constexpr int kBlockPacks = POINTNET2_ISA_LEVEL >= 2 ? 2 : 1;
constexpr int kPanel = kBlockPacks * kLanes;
constexpr int64_t kTileRows = 96;  // worth reading the weights for; a multiple of kBlockRows

POINTNET2_INLINE int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// A layer with its weights as panels [in / kTogether, kPanel, kTogether], one after another, as `dense` reads
// them.
struct PackedLayer {
  Buffer<Number> panels;
  Buffer<float> bias;
  int64_t in = 0, width = 0;  // the layer's, rounded up to whole factors and whole panels

  void pack(const LinearLayer& layer) {
    const int64_t out = layer.out;
    in = round_up(layer.in, kTogether), width = round_up(out, kPanel);
    Number* to = panels.resize(width * in);
    for (int64_t o = 0; o < width; ++o)
      for (int64_t i = 0; i < in; ++i)
        to[(o / kPanel * in + i / kTogether * kTogether) * kPanel + o % kPanel * kTogether + i % kTogether] =
            to_number(o < out && i < layer.in ? layer.weight[o * layer.in + i] : 0.0f);
    bias.resize(width);
    for (int64_t o = 0; o < width; ++o) bias[o] = o < out ? layer.bias[o] : 0.0f;
  }
};

// y [rows, layer.width] = layer(x [rows, stride]) of rows in whole blocks; ReLU if asked for.
template <bool relu>
inline void dense(const PackedLayer& layer, const Number* x, int64_t stride, int64_t rows, Number* y) {
  const Pack<float> zero = broadcast(0.0f);
  for (int64_t panel = 0; panel < layer.width; panel += kPanel) {
    const Number* weight = layer.panels.data() + panel * layer.in;
    for (int64_t row = 0; row < rows; row += kBlockRows) {
      Pack<float> sum[kBlockRows][kBlockPacks];
      for (auto& of_row : sum)
        for (int p = 0; p < kBlockPacks; ++p) of_row[p] = load(layer.bias.data() + panel + p * kLanes);
      for (int64_t i = 0; i < layer.in; i += kTogether) {
        Factors w[kBlockPacks];
        for (int p = 0; p < kBlockPacks; ++p)
          w[p] = load_factors(weight + i * kPanel + p * kLanes * kTogether);
#pragma GCC unroll 8
        for (int r = 0; r < kBlockRows; ++r) {
          const Factors value = broadcast_factors(x + (row + r) * stride + i);
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
    for (Buffer<Number>& buffer : buffers_) std::fill_n(buffer.resize(size), size, to_number(0.0f));
  }

  Number* input() { return buffers_[0].data(); }

  // The last layer's outputs [rows, its width] of the inputs [rows, stride].
  template <bool relu_last>
  const Number* run(int64_t rows, int64_t stride) {
    rows = round_up(rows, kBlockRows);
    int from = 0;
    for (size_t i = 0; i < layers_.size(); ++i, from ^= 1) {
      const Number* x = buffers_[from].data();
      Number* y = buffers_[from ^ 1].data();
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
  Buffer<Number> buffers_[2];
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
          Number* to = tile.input() + rows++ * width;
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
      const Number* y = tile.run<true>(rows, width);
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
      const Number* y = tile.run<false>(rows, width);
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t c = 0; c < channels; c += kLanes)
          store_part(out + (start + row) * channels + c, load(y + row * layers.back().width + c),
                     channels - c);
    }
  });
}

}  // namespace POINTNET2_ISA
}  // namespace pointnet2
#endif
