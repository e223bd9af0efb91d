// Backward passes: every query adds its gradient, scaled, to the points that it read. No two threads write to
// one element, and an element's terms are added in the order of the queries, however the work is split.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "glue.h"
#include "kernels/rows.h"

namespace pointnet2 {

// Features or gradients [B, C, length] in one of the two memory formats.
template <class T>
struct Columns {
  const T* data;
  int64_t batch, stride;  // of clouds; of points (channels last) or channels (else)
  const T* at(int64_t b, int64_t i) const { return data + b * batch + i * stride; }
};

template <class T>
inline Columns<T> columns_of(const Tensor& x, bool channels_last) {
  return {data_of<T>(x), x.stride(0), x.stride(channels_last ? 2 : 1)};
}

// Channels last: out [B, N, C] from grad [B, Q, C]. Threads share out clouds and, where there are too few of
// those, blocks of channels. visit(b, q, add) calls add(point, weight) for the points that query q of cloud b
// read.
template <class T, class Visit>
inline void scatter_rows(const Columns<T>& grad, int64_t B, int64_t C, int64_t Q, int64_t N, T* out,
                         const Visit& visit) {
  using A = typename Accumulate<T>::type;
  constexpr bool kInPlace = std::is_same_v<A, T>;
  constexpr int64_t kLine = 16;  // channels: no block smaller than a cache line of floats
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t wanted =
      std::clamp<int64_t>(threads / std::max<int64_t>(B, 1), 1, std::max<int64_t>(C / kLine, 1));
  const int64_t width = std::max<int64_t>((C + wanted * kLine - 1) / (wanted * kLine), 1) * kLine;
  const int64_t blocks = (C + width - 1) / width;
  const AddScaled<T, A> add = add_scaled<T, A>(active_isa());
  parallel_for(B * blocks, (Q + N) * width, [&](int64_t begin, int64_t end) {
    std::vector<A> buffer;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t b = task / blocks, from = task % blocks * width, length = std::min(width, C - from);
      T* rows = out + b * N * C + from;
      A* sum;
      int64_t stride;
      if constexpr (kInPlace) {
        sum = rows, stride = C;
        for (int64_t n = 0; n < N; ++n) std::fill_n(sum + n * stride, length, A(0));
      } else {
        buffer.assign(N * length, A(0));
        sum = buffer.data(), stride = length;
      }
      for (int64_t q = 0; q < Q; ++q) {
        const T* row = grad.at(b, q) + from;
        visit(b, q, [=](int64_t point, A weight) { add(sum + point * stride, row, weight, length); });
      }
      if constexpr (!kInPlace) {
        for (int64_t n = 0; n < N; ++n) {
          for (int64_t c = 0; c < length; ++c) rows[n * C + c] = static_cast<T>(sum[n * stride + c]);
        }
      }
    }
  });
}

// Channels first: out [B, C, N] from grad [B, C, Q], one channel of one cloud at a time.
template <class T, class Visit>
inline void scatter_channels(const Columns<T>& grad, int64_t B, int64_t C, int64_t Q, int64_t N, T* out,
                             const Visit& visit) {
  using A = typename Accumulate<T>::type;
  parallel_for(B * C, Q + N, [&](int64_t begin, int64_t end) {
    std::vector<A> sum(N);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t b = row / C;
      const T* from = grad.at(b, row % C);
      std::fill(sum.begin(), sum.end(), A(0));
      for (int64_t q = 0; q < Q; ++q) {
        const A value = static_cast<A>(from[q]);
        visit(b, q, [&](int64_t point, A weight) { sum[point] += weight * value; });
      }
      for (int64_t n = 0; n < N; ++n) out[row * N + n] = static_cast<T>(sum[n]);
    }
  });
}

// Either of the two, by the memory format of grad.
template <class T, class Visit>
inline void scatter(const Tensor& grad, bool channels_last, int64_t N, T* out, const Visit& visit) {
  const Columns<T> columns = columns_of<T>(grad, channels_last);
  const int64_t B = grad.size(0), C = grad.size(1), Q = grad.size(2);
  if (channels_last) {
    scatter_rows(columns, B, C, Q, N, out, visit);
  } else {
    scatter_channels(columns, B, C, Q, N, out, visit);
  }
}

}  // namespace pointnet2
