// LatentGNN in training: from the points' bottlenecks to the latent nodes, among these, and back to the
// points.
#include <torch/csrc/stable/library.h>

#include <tuple>
#include <vector>

#include "kernels/latent_points.h"
#include "norms.h"

namespace pointnet2 {

// A contiguous tensor of the shape and dtype that rows ask for.
static Tensor dense(const Tensor& x, const char* name, const std::vector<int64_t>& shape, ScalarType type) {
  bool same = x.dim() == static_cast<int64_t>(shape.size()) && x.scalar_type() == type;
  std::ostringstream expected;
  for (size_t i = 0; i < shape.size(); ++i) {
    same = same && x.size(static_cast<int64_t>(i)) == shape[i];
    expected << (i ? ", " : "") << shape[i];
  }
  require<std::invalid_argument>(same, name, " must be [", expected.str(), "] ",
                                 torch::headeronly::toString(type), ", got ", shape_of(x), " ",
                                 torch::headeronly::toString(x.scalar_type()));
  return torch::stable::contiguous(x);
}

// The parameters and the sizes; owns what the kernels read. BatchNorm's are of the bottlenecks, of Psi for
// collecting and of Psi for scattering.
struct LatentGnn {
  CountedRows x;
  ScalarType type;
  std::vector<Tensor> weight, bias, psi;
  std::vector<double> eps;
  Tensor message;
  Kernels kernels;
  int64_t B, R, c, D;

  LatentGnn(const Tensor& rows, const std::vector<Tensor>& weights, const std::vector<Tensor>& biases,
            const std::vector<double>& epsilons, const std::vector<Tensor>& maps,
            const Tensor& message_weight, const std::vector<int64_t>& dims, int64_t clouds)
      : x(rows, std::nullopt), type(rows.scalar_type()), eps(epsilons), B(clouds), R(rows.size(0)) {
    require<std::invalid_argument>(type == ScalarType::Float || type == ScalarType::Double,
                                   "rows must be float32 or float64, got ",
                                   torch::headeronly::toString(type));
    require<std::invalid_argument>(B > 0 && R % B == 0 && rows.size(1) % 2 == 0, "rows must be [", B,
                                   " * N, 2 * c], got ", shape_of(rows));
    require<std::invalid_argument>(
        weights.size() == 3 && biases.size() == 3 && eps.size() == 3 && maps.size() == 2,
        "there must be 3 weights, biases and epsilons, and 2 psi, got ", weights.size(), ", ", biases.size(),
        ", ", eps.size(), " and ", maps.size());
    c = rows.size(1) / 2, D = 0;
    bool positive = !dims.empty();
    for (const int64_t d : dims) D += d, positive = positive && d > 0;
    require<std::invalid_argument>(positive, "dims must be at least one, all of them positive");
    kernels = {dims, D, c};
    for (int i = 0; i < 3; ++i) {
      weight.push_back(dense(weights[i], "weights", {i == 0 ? 2 * c : D}, type));
      bias.push_back(dense(biases[i], "biases", {i == 0 ? 2 * c : D}, type));
    }
    for (const Tensor& map : maps) psi.push_back(dense(map, "psi", {D, c}, type));
    message = dense(message_weight, "message", {kernels.K(), c, c}, type);
  }

  Tensor empty(std::initializer_list<int64_t> shape) const { return torch::stable::new_empty(x.rows, shape); }
  int64_t channels() const { return 2 * c + 2 * D; }                // of the three BatchNorms, side by side
  int64_t moments() const { return channels() + kernels.width(); }  // of these and of the result
  int64_t start(int norm) const { return norm == 0 ? 0 : 2 * c + (norm - 1) * D; }

  // The maps of the three BatchNorms, from moments [2, channels]; their memory too.
  template <class T>
  struct Maps {
    std::vector<T> inverse[3], scale[3];
    NormMap<T> map[3];

    // Of one of them, whose moments are known.
    const NormMap<T>& set(int i, const LatentGnn& job, const T* moments) {
      const T* mean = moments + job.start(i);
      const Tensor &weight = job.weight[i], &bias = job.bias[i];
      return map[i] = map_of(mean, mean + job.moments(), data_of<T>(weight), data_of<T>(bias), weight.size(0),
                             job.eps[i], inverse[i], scale[i]);
    }
  };

  template <class T>
  Bottleneck<T> bottleneck(const NormMap<T>& map) const {
    return {x.view<T>(), map, {data_of<T>(psi[0]), data_of<T>(psi[1])}, D};
  }

  // Of a direction; unit [R, 2 * c].
  template <class T>
  Psi<T> psi_of(int i, const T* unit, const NormMap<T>& map) const {
    return {unit + i * c, 2 * c, c, data_of<T>(psi[i]), map, B, R / B, D};
  }
};

// Each direction's mean and products, [2, c, 1 + partners].
static void store(const std::vector<Spread>& spreads, double* to) {
  for (const Spread& spread : spreads) {
    to = std::copy(spread.mean.begin(), spread.mean.end(), to);
    to = std::copy(spread.products.begin(), spread.products.end(), to);
  }
}

static Spread spread_of(const double* from, const LatentGnn& job, int direction) {
  const int64_t c = job.c, products = c * std::min(c, job.D);
  from += direction * (c + products);
  return {static_cast<double>(job.R), {from, from + c}, {from + c, from + c + products}};
}

using Results = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

static Results latent_gnn_cpu(const Tensor& rows, const std::vector<Tensor>& weights,
                              const std::vector<Tensor>& biases, const std::vector<double>& eps,
                              const std::vector<Tensor>& maps, const Tensor& message,
                              const std::vector<int64_t>& dims, int64_t clouds) {
  const LatentGnn job(rows, weights, biases, eps, maps, message, dims, clouds);
  const int64_t B = job.B, R = job.R, c = job.c, D = job.D, K = job.kernels.K();
  Tensor moments = job.empty({2, job.moments()}), unit = job.empty({R, 2 * c});
  Tensor spread = torch::stable::new_empty(job.x.rows, {2, c, 1 + std::min(c, D)}, ScalarType::Double);
  Tensor latent = job.empty({B, D, c}), node_lengths = job.empty({B, D});
  Tensor affinity = job.empty({B, job.kernels.affinities()}), messages = job.empty({B, D, c});
  Tensor visible = job.empty({R, K * c}), row_lengths = job.empty({R, K});
  switch_coordinates(job.type, [&](auto tag) {
    using T = decltype(tag);
    LatentGnn::Maps<T> maps;
    T *mean = mutable_data_of<T>(moments), *variance = mean + job.moments(),
      *features = mutable_data_of<T>(unit);
    const Threads threads = torch_threads();
    row_moments<T, T>(job.x.view<T>(), mean, variance, threads);
    const std::vector<Spread> spreads =
        latent_unit(job.bottleneck(maps.set(0, job, mean)), features, threads);
    store(spreads, mutable_data_of<double>(spread));
    for (int i = 0; i < 2; ++i)
      psi_moments(data_of<T>(job.psi[i]), D, spreads[i], mean + job.start(i + 1),
                  variance + job.start(i + 1));
    latent_collect(job.psi_of(0, features, maps.set(1, job, mean)), mutable_data_of<T>(latent),
                   mutable_data_of<T>(node_lengths), threads);
    latent_messages(data_of<T>(latent), data_of<T>(job.message), B, job.kernels, mutable_data_of<T>(affinity),
                    mutable_data_of<T>(messages), threads);
    latent_scatter(job.psi_of(1, features, maps.set(2, job, mean)), data_of<T>(messages), job.kernels,
                   mutable_data_of<T>(visible), mutable_data_of<T>(row_lengths), mean + job.channels(),
                   variance + job.channels(), threads);
  });
  return {visible, moments, unit, spread, latent, node_lengths, affinity, messages, row_lengths};
}

static std::tuple<Tensor, Tensor, Tensor, Tensor> latent_gnn_backward_cpu(
    const Tensor& gradient, const Tensor& rows, const std::vector<Tensor>& weights,
    const std::vector<Tensor>& biases, const std::vector<double>& eps, const std::vector<Tensor>& maps,
    const Tensor& message, const std::vector<int64_t>& dims, int64_t clouds,
    const std::vector<Tensor>& kept) {
  const LatentGnn job(rows, weights, biases, eps, maps, message, dims, clouds);
  const int64_t B = job.B, R = job.R, c = job.c, D = job.D, K = job.kernels.K();
  require<std::invalid_argument>(kept.size() == 9, "kept must be the 9 results of latent_gnn, got ",
                                 kept.size());
  const Tensor grad = dense(gradient, "grad", {R, K * c}, job.type);
  const Tensor visible = dense(kept[0], "visible", {R, K * c}, job.type),
               moments = dense(kept[1], "moments", {2, job.moments()}, job.type),
               unit = dense(kept[2], "unit", {R, 2 * c}, job.type),
               spread = dense(kept[3], "spread", {2, c, 1 + std::min(c, D)}, ScalarType::Double),
               latent = dense(kept[4], "latent", {B, D, c}, job.type),
               node_lengths = dense(kept[5], "node lengths", {B, D}, job.type),
               affinity = dense(kept[6], "affinity", {B, job.kernels.affinities()}, job.type),
               messages = dense(kept[7], "messages", {B, D, c}, job.type),
               row_lengths = dense(kept[8], "row lengths", {R, K}, job.type);
  Tensor grad_rows = job.empty({R, 2 * c}), grad_norms = job.empty({2, job.channels()});
  Tensor grad_psi = job.empty({2, D, c}), grad_message = job.empty({K, c, c}),
         of_unit = job.empty({R, 2 * c});
  switch_coordinates(job.type, [&](auto tag) {
    using T = decltype(tag);
    LatentGnn::Maps<T> maps;
    const T *mean = data_of<T>(moments), *features = data_of<T>(unit);
    const double* spreads = data_of<double>(spread);
    for (int i = 0; i < 3; ++i) maps.set(i, job, mean);
    T *grad_weight = mutable_data_of<T>(grad_norms), *grad_bias = grad_weight + job.channels();
    const auto of_norm = [&](int i) {
      return NormGradients<T>{grad_weight + job.start(i), grad_bias + job.start(i), {}, {}};
    };
    Buffer<T> of_messages, of_latent;
    of_messages.resize(B * D * c + kSlack), of_latent.resize(B * D * c);
    T* grad_features = mutable_data_of<T>(of_unit);
    T* grad_theta = mutable_data_of<T>(grad_psi);
    PsiGradients<T> collecting{grad_features, grad_theta, of_norm(1), {}},
        scattering{grad_features + c, grad_theta + D * c, of_norm(2), {}};
    const Threads threads = torch_threads();
    latent_scatter_backward(data_of<T>(grad), job.psi_of(1, features, maps.map[2]),
                            spread_of(spreads, job, 1), data_of<T>(messages), job.kernels,
                            data_of<T>(visible), data_of<T>(row_lengths), maps.inverse[2].data(),
                            of_messages.data(), scattering, threads);
    latent_messages_backward(of_messages.data(), data_of<T>(latent), data_of<T>(job.message), B, job.kernels,
                             data_of<T>(affinity), of_latent.data(), mutable_data_of<T>(grad_message),
                             threads);
    latent_collect_backward(of_latent.data(), job.psi_of(0, features, maps.map[1]),
                            spread_of(spreads, job, 0), data_of<T>(latent), data_of<T>(node_lengths),
                            maps.inverse[1].data(), collecting, threads);
    const RowTerm<T> terms[] = {collecting.term, scattering.term};
    latent_unit_backward(grad_features, job.bottleneck(maps.map[0]), features, terms, maps.inverse[0].data(),
                         mutable_data_of<T>(grad_rows), of_norm(0), threads);
  });
  return {grad_rows, grad_norms, grad_psi, grad_message};
}

STABLE_TORCH_LIBRARY_IMPL(pointnet2_ops, CPU, m) {
  m.impl("latent_gnn", TORCH_BOX(&latent_gnn_cpu));
  m.impl("latent_gnn_backward", TORCH_BOX(&latent_gnn_backward_cpu));
}

}  // namespace pointnet2
