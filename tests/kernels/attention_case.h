#pragma once
/// Random inputs of attention, and a route's output with all its gradients.

#include <fmt/format.h>

#include <cmath>
#include <optional>

#include "peft/kernels/attention.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

namespace peft {

struct AttentionCase {
  std::vector<int64_t> lengths;
  int64_t adapters = 1, heads = 4, groups = 4, width = 8, prefix = 0;
  bool causal = false;
  double amplitude = 1.0;     ///< of the queries: the logits' size
  bool per_sequence = false;  ///< a prefix of each sequence
  std::optional<FeatureMap> state = {};
  bool centered = false;
  bool shared_state = false;        ///< one head of the state per key/value head
  int64_t window = 0, buckets = 0;  ///< buckets: of a position bias
  bool covers_prefix = false, frozen_bias = false;

  std::string name() const {
    return fmt::format("{} sequences, first of {} rows, K {}, H {}, G {}, P {}, causal {}, amplitude {}, state {}{}{}",
                       lengths.size(), lengths[0], adapters, heads, groups, prefix, causal, amplitude,
                       state ? std::to_string(static_cast<int>(*state)) : "none", centered ? ", centered" : "",
                       shared_state ? ", shared" : "") +
           fmt::format(", window {}, buckets {}{}", window, buckets, covers_prefix ? ", prefix too" : "");
  }
};

struct AttentionInputs {
  std::vector<at::Tensor> leaves;  ///< q, k, v, with a prefix pk and pv, with a state z and den, of a bias its table
  AttentionArgs args;

  /// Puts the leaves behind q, k and v into the arguments.
  void place() {
    if (args.prefix.defined()) args.prefix = {leaves[3], leaves[4], args.prefix.per_sequence};
    if (args.state.defined()) {
      args.state.z_KHMD = leaves[3];
      args.state.den_KHM = leaves[4];
    }
    if (args.bias.defined() && args.bias.table_NH.requires_grad()) args.bias.table_NH = leaves.back();
  }
  /// The same numbers as float64 leaves.
  AttentionInputs widened() const {
    AttentionInputs wide = *this;
    for (at::Tensor& leaf : wide.leaves) leaf = leaf.detach().to(at::kDouble).requires_grad_(true);
    wide.place();
    return wide;
  }
};

/// Sequences spread over the adapters as evenly as their order allows.
inline Batch spread(const std::vector<int64_t>& lengths, int64_t adapters, at::Device device = at::kCPU) {
  std::vector<int64_t> adapter;
  for (std::size_t b = 0; b < lengths.size(); ++b) {
    adapter.push_back(static_cast<int64_t>(b) * adapters / static_cast<int64_t>(lengths.size()));
  }
  return make_batch(lengths, adapter, adapters, device);
}

inline AttentionInputs make_inputs(const AttentionCase& c, at::ScalarType dtype = at::kDouble,
                                   at::Device device = at::kCPU) {
  AttentionInputs in;
  const Batch rows = spread(c.lengths, c.adapters, device);
  const auto leaf = [&](const at::Tensor& values, at::ScalarType type) {
    in.leaves.push_back(values.to(device, type).detach().requires_grad_(true));
    return in.leaves.back();
  };
  leaf(random_tensor(1, {rows->rows(), c.heads, c.width}, c.amplitude), dtype);
  leaf(random_tensor(2, {rows->rows(), c.groups, c.width}), dtype);
  leaf(random_tensor(3, {rows->rows(), c.groups, c.width}), dtype);
  in.args = {.queries = rows, .keys = rows, .scale = 1.0 / std::sqrt(static_cast<double>(c.width)), .causal = c.causal};
  if (c.prefix > 0) {
    const int64_t tables = c.per_sequence ? rows->sequences() : c.adapters;
    in.args.prefix.k_KPGD = leaf(random_tensor(4, {tables, c.prefix, c.groups, c.width}), dtype);
    in.args.prefix.v_KPGD = leaf(random_tensor(5, {tables, c.prefix, c.groups, c.width}), dtype);
    in.args.prefix.per_sequence = c.per_sequence;
  }
  if (c.state) {
    const int64_t heads = c.shared_state ? c.groups : c.heads, features = feature_count(*c.state, c.width);
    const at::ScalarType wide = dtype == at::kDouble ? at::kDouble : at::kFloat;  // as methods hold their parameters
    at::Tensor den = random_tensor(5, {c.adapters, heads, features}).abs();
    if (*c.state != FeatureMap::elu) {  // positive while queries are small, of either sign where they are large
      den = 0.3 * random_tensor(5, {c.adapters, heads, features});
      den.select(-1, 0).fill_(3.0);
    }
    in.args.state.map = *c.state;
    in.args.state.z_KHMD = leaf(random_tensor(4, {c.adapters, heads, features, c.width}), wide);
    in.args.state.den_KHM = leaf(den, wide);
    if (c.centered) in.args.state.center_KHD = random_tensor(6, {c.adapters, heads, c.width}).to(device);
  }
  in.args.window = c.window;
  if (c.buckets > 0) {
    const at::Tensor table = random_tensor(7, {c.buckets, c.heads}).to(device);
    in.args.bias = {.table_NH = c.frozen_bias ? table : leaf(table, at::kDouble),
                    .bidirectional = !c.causal,
                    .max_distance = 20,
                    .covers_prefix = c.covers_prefix};
  }
  return in;
}

using AttentionRoute = at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const AttentionArgs&);

/// The route's output and its gradients with respect to every leaf.
inline std::vector<at::Tensor> outcome(AttentionRoute route, const AttentionInputs& in) {
  const at::Tensor out = route(in.leaves[0], in.leaves[1], in.leaves[2], in.args);
  std::vector<at::Tensor> all{out};
  for (const at::Tensor& g : gradients(weighted_sum(out), in.leaves)) all.push_back(g);
  return all;
}

inline double worst_error(const std::vector<at::Tensor>& found, const std::vector<at::Tensor>& expected) {
  double worst = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) worst = std::max(worst, relative_error(found[i], expected[i]));
  return worst;
}

}  // namespace peft
