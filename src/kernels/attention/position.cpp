#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "src/kernels/attention/internal.h"

namespace peft {
namespace {

/// Positions of the rows of sequence b, on the device of `options`.
at::Tensor positions(const PackedBatch& rows, int64_t b, const at::TensorOptions& options) {
  return rows.position_T().narrow(0, rows.begin(b), rows.length(b)).to(options.device());
}

/// Key position minus query position, [n, P+m]; prefix keys are the P in front of the first key.
at::Tensor distances(const AttentionArgs& args, int64_t b, int64_t prefix, const at::TensorOptions& options) {
  const at::Tensor self = positions(*args.keys, b, options), queries = positions(*args.queries, b, options),
                   keys = at::cat({at::arange(-prefix, 0, self.options()) + args.keys->start(b), self});
  return keys.unsqueeze(0) - queries.unsqueeze(1);
}

}  // namespace

at::Tensor relative_buckets(const at::Tensor& distance, bool bidirectional, int64_t buckets, int64_t max_distance) {
  at::Tensor sign = at::zeros_like(distance), steps = (-distance).clamp_min(0);
  if (bidirectional) {
    buckets /= 2;
    sign = (distance > 0).to(at::kLong) * buckets;
    steps = distance.abs();
  }
  // The operations of transformers, in float32 as there: at a border of two buckets the rounding decides.
  const int64_t exact = buckets / 2;
  const double range = std::log(static_cast<double>(max_distance) / static_cast<double>(exact));
  const at::Tensor far = (at::log(steps.to(at::kFloat) / exact) / range * (buckets - exact)).to(at::kLong) + exact;
  return sign + at::where(steps < exact, steps, far.clamp_max(buckets - 1));
}

at::Tensor position_buckets(const AttentionArgs& args, int64_t b, int64_t prefix, const at::TensorOptions& options) {
  const RelativeBias& bias = args.bias;
  return relative_buckets(distances(args, b, prefix, options), bias.bidirectional, bias.table_NH.size(0),
                          bias.max_distance);
}

at::Tensor position_bias(const AttentionArgs& args, const at::Tensor& table_NH, int64_t b, int64_t prefix,
                         const at::TensorOptions& options) {
  at::Tensor bias_HNM = table_NH.to(options)
                            .index_select(0, position_buckets(args, b, prefix, options).flatten())
                            .view({args.queries->length(b), prefix + args.keys->length(b), table_NH.size(1)})
                            .permute({2, 0, 1});
  if (args.bias.covers_prefix || prefix == 0) return bias_HNM;
  return at::cat({at::zeros_like(bias_HNM.narrow(2, 0, prefix)), bias_HNM.narrow(2, prefix, args.keys->length(b))}, 2);
}

at::Tensor distance_buckets(const AttentionArgs& args, int64_t zero, int64_t span) {
  const RelativeBias& bias = args.bias;
  const int64_t buckets = bias.table_NH.size(0);
  const auto name =
      fmt::format("distance buckets {} {} {} {} {}", zero, span, bias.bidirectional, buckets, bias.max_distance);
  return *args.queries->derived<at::Tensor>(name, [&] {
    const at::Tensor distance = at::arange(-zero, span - zero, bias.table_NH.options().dtype(at::kLong));
    return relative_buckets(distance, bias.bidirectional, buckets, bias.max_distance).to(at::kInt);
  });
}

at::Tensor distance_bias(const AttentionArgs& args, int64_t zero, int64_t span, const at::TensorOptions& options) {
  const at::Tensor table_NH = args.bias.table_NH.detach().to(options);
  return table_NH.index_select(0, distance_buckets(args, zero, span)).t().contiguous();
}

at::Tensor outside_window(const AttentionArgs& args, int64_t b, int64_t prefix, const at::TensorOptions& options) {
  return distances(args, b, prefix, options) <= -args.window;
}

at::Tensor behind_query(const AttentionArgs& args, int64_t b, const at::TensorOptions& options) {
  return distances(args, b, 0, options) > 0;
}

}  // namespace peft
