// Test only: the launchers of the feature kernels, for ctypes. Compiled with -fsanitize=thread, see
// emulator.h.
#include "../csrc/cuda/gather_operation.cuh"
#include "../csrc/cuda/indices.cuh"
#include "../csrc/cuda/scatter_add.cuh"
#include "../csrc/cuda/three_interpolate.cuh"

using namespace pointnet2::cuda;

namespace {

// Features as the tests describe them; strides count elements.
struct View {
  const void* data;
  int64_t batch, stride;

  template <class T>
  Features<const T> as() const {
    return {static_cast<const T*>(data), batch, stride};
  }
};

// Calls visit with a value of the element type: 0 float32, 1 float64, 2 float16, 3 bfloat16.
template <class Visit>
int switch_type(int type, const Visit& visit) {
  switch (type) {
    case 0:
      return visit(float{});
    case 1:
      return visit(double{});
    case 2:
      return visit(__half{});
    default:
      return visit(__nv_bfloat16{});
  }
}

template <bool kWeighted>
int scatter_add(int type, View grad, const int* idx, const void* weight, int64_t B, int64_t C, int64_t edges,
                int64_t points, int channels_last, int* counts, int* sorted, void* out) {
  return switch_type(type, [&](auto tag) -> int {
    using T = decltype(tag);
    const ScatterProblem<T> problem = {grad.as<T>(), idx,   static_cast<const Sum<T>*>(weight), B, C,
                                       edges,        points};
    if (counts != nullptr) {
      return launch_scatter_sorted<kWeighted>(problem, channels_last, counts, sorted, static_cast<T*>(out),
                                              nullptr);
    }
    if constexpr (sizeof(T) >= 4) {
      return launch_scatter_atomic<kWeighted>(problem, channels_last, static_cast<T*>(out), nullptr);
    }
    return cudaErrorInvalidValue;
  });
}

}  // namespace

extern "C" {

int narrow_indices(const int64_t* idx, int64_t count, int* narrow) {
  return launch_narrow_indices(idx, count, narrow, nullptr);
}

int gather_operation(int element_bytes, const void* data, int64_t batch, int64_t stride, const int* idx,
                     int64_t B, int64_t C, int64_t N, int64_t Q, int channels_last, void* out) {
  const View features = {data, batch, stride};
  const auto start = [&](auto bits) -> int {
    using Bits = decltype(bits);
    return launch_gather_operation<Bits>(features.as<Bits>(), idx, B, C, N, Q, channels_last,
                                         static_cast<Bits*>(out), nullptr);
  };
  if (element_bytes == 2) return start(static_cast<unsigned short>(0));
  return element_bytes == 4 ? start(0u) : start(uint2{});
}

int64_t inverse_counts_size(int64_t B, int64_t edges, int64_t points) {
  return InversePlan(B, edges, points).counts_size();
}

// counts == null: atomics. weight == null: an edge is a row of the gradient; else three edges are one.
int scatter_backward(int type, const void* grad, int64_t batch, int64_t stride, const int* idx,
                     const void* weight, int64_t B, int64_t C, int64_t edges, int64_t points,
                     int channels_last, int* counts, int* sorted, void* out) {
  const auto start = weight == nullptr ? scatter_add<false> : scatter_add<true>;
  return start(type, {grad, batch, stride}, idx, weight, B, C, edges, points, channels_last, counts, sorted,
               out);
}

int three_interpolate(int type, const void* data, int64_t batch, int64_t stride, const int* idx,
                      const void* weight, int64_t B, int64_t C, int64_t M, int64_t N, int channels_last,
                      void* out) {
  return switch_type(type, [&](auto tag) -> int {
    using T = decltype(tag);
    const Interpolation<T> problem = {View{data, batch, stride}.as<T>(), idx, B, C, M, N};
    return launch_three_interpolate(problem, static_cast<const Sum<T>*>(weight), channels_last,
                                    static_cast<T*>(out), nullptr);
  });
}

int interpolation_weight_gradient(int type, const void* grad, int64_t grad_batch, int64_t grad_stride,
                                  const void* data, int64_t batch, int64_t stride, const int* idx, int64_t B,
                                  int64_t C, int64_t M, int64_t N, int channels_last, void* out) {
  return switch_type(type, [&](auto tag) -> int {
    using T = decltype(tag);
    const Interpolation<T> problem = {View{data, batch, stride}.as<T>(), idx, B, C, M, N};
    return launch_interpolation_weight_gradient(problem, View{grad, grad_batch, grad_stride}.as<T>(),
                                                channels_last, static_cast<Sum<T>*>(out), nullptr);
  });
}
}
