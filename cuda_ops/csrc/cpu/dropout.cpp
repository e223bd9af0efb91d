// Dropout on the CPU.
#include "kernels/dropout.h"

#include <torch/csrc/stable/library.h>

#include "glue.h"

namespace pointnet2 {

// The seed is a tensor, so that drawing it is an operation like any other.
static Tensor dropout_cpu(const Tensor& input, const Tensor& seed, int64_t dropped) {
  constexpr int64_t kAll = int64_t{1} << 16;
  require<std::invalid_argument>(dropped >= 0 && dropped <= kAll, "dropped must be in [0, 65536], got ",
                                 dropped);
  require<std::invalid_argument>(seed.scalar_type() == ScalarType::Long && seed.numel() == 1,
                                 "seed must be one int64, got ", shape_of(seed), " ",
                                 torch::headeronly::toString(seed.scalar_type()));
  const Tensor x = torch::stable::contiguous(input);
  Tensor output = torch::stable::empty_like(x);
  switch_features(x.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = typename Accumulate<T>::type;
    dropout(data_of<T>(x), x.numel(), static_cast<uint64_t>(*data_of<int64_t>(seed)),
            static_cast<int32_t>(dropped), static_cast<A>(kAll) / static_cast<A>(kAll - dropped),
            mutable_data_of<T>(output), torch_threads());
  });
  return output;
}

STABLE_TORCH_LIBRARY_IMPL(pointnet2_ops, CPU, m) { m.impl("dropout", TORCH_BOX(&dropout_cpu)); }

}  // namespace pointnet2
