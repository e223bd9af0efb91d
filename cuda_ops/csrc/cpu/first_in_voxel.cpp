#include "kernels/first_in_voxel.h"

#include <torch/csrc/stable/library.h>

#include <cmath>

#include "glue.h"

namespace pointnet2 {

static Tensor first_in_voxel_cpu(const Tensor& points, double size) {
  require<std::invalid_argument>(points.dim() == 2 && points.size(1) == 3, "xyz must be [N, 3], got ",
                                 shape_of(points));
  const ScalarType type = points.scalar_type();
  require<std::invalid_argument>(type == ScalarType::Float || type == ScalarType::Double,
                                 "xyz must be float32 or float64, got ", torch::headeronly::toString(type));
  require<std::invalid_argument>(std::isfinite(size) && size > 0, "size must be finite and > 0, got ", size);
  const Tensor xyz = torch::stable::contiguous(points);
  const int64_t N = xyz.size(0);
  Tensor first = torch::stable::new_empty(xyz, {N}, ScalarType::Bool);
  if (N == 0) return first;
  switch_coordinates(type, [&](auto tag) {
    using T = decltype(tag);
    const T* data = data_of<T>(xyz);
    const int64_t at = first_position(3 * N, [data](int64_t i) { return !(data[i] - data[i] == T(0)); });
    require<std::invalid_argument>(at == 3 * N, "xyz must be finite, got ", at < 3 * N ? data[at] : T(0),
                                   " at point ", at / 3);
    const bool known = first_in_voxel(data, N, size, static_cast<uint8_t*>(first.mutable_data_ptr()));
    require<std::invalid_argument>(
        known, "size must divide the extent of xyz into fewer than 2^62 voxels, got ", size);
  });
  return first;
}

STABLE_TORCH_LIBRARY_IMPL(pointnet2_ops, CPU, m) { m.impl("first_in_voxel", TORCH_BOX(&first_in_voxel_cpu)); }

}  // namespace pointnet2
