// What the glue of every operator needs around PyTorch's stable ABI: checks, allocation, memory formats, type
// switches.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <array>
#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>

namespace pointnet2 {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Throws Error with the arguments written one after another. std::invalid_argument arrives in Python as
// ValueError, std::out_of_range as IndexError, std::runtime_error as RuntimeError.
template <class Error, class... Args>
inline void require(bool condition, const Args&... text) {
  if (condition) return;
  std::ostringstream message;
  (message << ... << text);
  throw Error(message.str());
}

inline std::string shape_of(const Tensor& x) {
  std::ostringstream text;
  text << "[";
  for (int64_t i = 0; i < x.dim(); ++i) text << (i ? ", " : "") << x.size(i);
  text << "]";
  return text.str();
}

// The wrappers in ops.py explain mistakes in full; these keep a direct call through torch.ops from reading
// wild memory.
inline void check_shape(const Tensor& x, const char* name, std::array<int64_t, 3> expected) {
  bool same = x.dim() == 3;
  for (int i = 0; same && i < 3; ++i) same = expected[i] < 0 || x.size(i) == expected[i];
  require<std::invalid_argument>(same, name, " must be [", expected[0], ", ", expected[1], ", ", expected[2],
                                 "] (-1: any), got ", shape_of(x));
}

inline void check_coordinates(const Tensor& xyz, const char* name, int64_t batch = -1) {
  check_shape(xyz, name, {batch, -1, 3});
  const ScalarType type = xyz.scalar_type();
  require<std::invalid_argument>(type == ScalarType::Float || type == ScalarType::Double, name,
                                 " must be float32 or float64, got ", torch::headeronly::toString(type));
}

inline void check_same_type(const Tensor& a, const Tensor& b, const char* names) {
  require<std::invalid_argument>(a.scalar_type() == b.scalar_type(), names, " must have the same dtype, got ",
                                 torch::headeronly::toString(a.scalar_type()), " and ",
                                 torch::headeronly::toString(b.scalar_type()));
}

inline Tensor empty_strided(const Tensor& like, std::array<int64_t, 3> sizes, std::array<int64_t, 3> strides,
                            ScalarType type) {
  AtenTensorHandle handle = nullptr;
  const auto device = like.device();
  int32_t device_type = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  const auto shim_type = torch::stable::detail::to<int32_t>(torch::stable::detail::from(type));
  TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(3, sizes.data(), strides.data(), shim_type, device_type,
                                                  device.index(), &handle));
  return Tensor(handle);
}

// [B, C, N] whose memory is [B, N, C] if channels_last, else [B, C, N].
inline Tensor empty_features(const Tensor& like, int64_t B, int64_t C, int64_t N, bool channels_last,
                             ScalarType type) {
  if (channels_last) return empty_strided(like, {B, C, N}, {C * N, 1, C}, type);
  return empty_strided(like, {B, C, N}, {C * N, N, 1}, type);
}

// The format in which features [B, C, N] are processed: rows of channels if and only if just the channel
// stride is 1.
inline bool is_channels_last(const Tensor& features) {
  return features.stride(1) == 1 && features.stride(2) != 1;
}

// x [B, C, N] itself if its channels (channels_last) or points (else) lie next to each other, otherwise a
// copy.
inline Tensor in_format(const Tensor& x, bool channels_last) {
  const int64_t dim = channels_last ? 1 : 2;
  if (x.size(dim) == 1 || x.stride(dim) == 1) return x;
  if (!channels_last) return torch::stable::contiguous(x);
  return torch::stable::transpose(torch::stable::contiguous(torch::stable::transpose(x, 1, 2)), 1, 2);
}

// Types used only as tags: visit(T{}) is called with the C++ type of `type`.
template <class Visit>
inline void switch_coordinates(ScalarType type, const Visit& visit) {
  type == ScalarType::Double ? visit(double{}) : visit(float{});
}

template <class Visit>
inline void switch_features(ScalarType type, const Visit& visit) {
  switch (type) {
    case ScalarType::Float:
      return visit(float{});
    case ScalarType::Double:
      return visit(double{});
    case ScalarType::BFloat16:
      return visit(torch::headeronly::BFloat16{});
    case ScalarType::Half:
      return visit(torch::headeronly::Half{});
    default:
      require<std::invalid_argument>(false, "features must be float32, float64, bfloat16 or float16, got ",
                                     torch::headeronly::toString(type));
  }
}

// Sums are taken in float32, for float64 in float64.
template <class T>
struct Accumulate {
  using type = float;
};
template <>
struct Accumulate<double> {
  using type = double;
};

inline ScalarType accumulate_type(ScalarType type) {
  return type == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

template <class T>
inline const T* data_of(const Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}

template <class T>
inline T* mutable_data_of(const Tensor& x) {
  return static_cast<T*>(x.mutable_data_ptr());
}

}  // namespace pointnet2
