// Gather of feature columns: out[b, c, q] = features[b, c, idx[b, q]], and nothing but copies of bits, so one
// kernel serves all element types of a size. Its backward is in scatter_add.cuh.
//
// Rows are copied 16 bytes a thread where alignment allows; planes read at random and write in order.
// Bottleneck: memory traffic; the planes' scattered reads take a 32-byte sector for each element.
#pragma once

#include "features.cuh"

namespace pointnet2::cuda {

template <class Word>
__global__ void __launch_bounds__(kFeatureBlock)
    gather_rows_kernel(Features<const Word> features, const int* __restrict__ idx, int64_t B, int64_t words,
                       int64_t N, int64_t Q, Word* __restrict__ out) {
  const int64_t q = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (q >= Q) return;
  for (int64_t b = blockIdx.y; b < B; b += gridDim.y) {
    const int n = __ldg(idx + b * Q + q);
    const bool valid = in_range(n, N);
    const Word* from = features.data + b * features.batch + (valid ? n : 0) * features.stride;
    Word* to = out + (b * Q + q) * words;
    for (int64_t w = threadIdx.x; w < words; w += blockDim.x)
      to[w] = valid ? __ldg(from + w) : all_bits_set<Word>();
  }
}

template <class Word>
__global__ void __launch_bounds__(kFeatureBlock)
    gather_planes_kernel(Features<const Word> features, const int* __restrict__ idx, int64_t B, int64_t C,
                         int64_t N, int64_t Q, Word* __restrict__ out) {
  const int64_t q = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (q >= Q) return;
  for (int64_t b = blockIdx.z; b < B; b += gridDim.z) {
    const int n = __ldg(idx + b * Q + q);
    const bool valid = in_range(n, N);
    const Word* from = features.data + b * features.batch + (valid ? n : 0);
    Word* to = out + b * C * Q + q;
    for (int64_t group = blockIdx.y; group * kPlaneGroup < C; group += gridDim.y) {
#pragma unroll
      for (int k = 0; k < kPlaneGroup; ++k) {
        const int64_t c = group * kPlaneGroup + k;
        if (c < C) to[c * Q] = valid ? __ldg(from + c * features.stride) : all_bits_set<Word>();
      }
    }
  }
}

template <class Word, class T>
cudaError_t launch_gather_rows(const Features<const T>& x, const int* idx, int64_t B, int64_t C, int64_t N,
                               int64_t Q, T* out, cudaStream_t stream) {
  const auto words = [](int64_t elements) { return elements * int64_t{sizeof(T)} / int64_t{sizeof(Word)}; };
  const Features<const Word> features = {reinterpret_cast<const Word*>(x.data), words(x.batch),
                                         words(x.stride)};
  const RowShape shape = row_shape(B, Q, words(C));
  return launch(gather_rows_kernel<Word>, shape.grid, shape.block, 0, stream, features, idx, B, words(C), N,
                Q, reinterpret_cast<Word*>(out));
}

// Bits: an unsigned type as wide as the features' elements. B, C, Q >= 1; out is dense in the format of the
// features.
template <class Bits>
cudaError_t launch_gather_operation(const Features<const Bits>& features, const int* idx, int64_t B,
                                    int64_t C, int64_t N, int64_t Q, bool channels_last, Bits* out,
                                    cudaStream_t stream) {
  if (!channels_last) {
    return launch(gather_planes_kernel<Bits>, plane_grid(B, C, Q), dim3(kFeatureBlock), 0, stream, features,
                  idx, B, C, N, Q, out);
  }
  if (aligned(features, C, 16)) return launch_gather_rows<uint4>(features, idx, B, C, N, Q, out, stream);
  if (aligned(features, C, 8)) return launch_gather_rows<uint2>(features, idx, B, C, N, Q, out, stream);
  if constexpr (sizeof(Bits) == 2) {
    if (aligned(features, C, 4)) return launch_gather_rows<unsigned>(features, idx, B, C, N, Q, out, stream);
  }
  return launch_gather_rows<Bits>(features, idx, B, C, N, Q, out, stream);
}

}  // namespace pointnet2::cuda
