#pragma once
/// Keys of `prefix` (docs/methods.md#prefix) and what follows from them. `p_tuning_v2` is a preset. Private to src/methods.

#include "peft/methods/config.h"
#include "peft/models/spec.h"

namespace peft {

struct PrefixConfig : MethodConfig {
  int64_t num_virtual_tokens = 20;
  std::string sharing = "none";
  std::optional<std::string> network;  ///< deep only
  bool prefix_projection = false;      ///< peft's name of deep + all_layers
  std::optional<int64_t> encoder_hidden_size;
  Json through_projection = "auto";
  bool through_norm = true;
  Json rope_on_prefix = "auto";
  bool single = false;
  Json layers = "all", stacks = "all";
  std::optional<std::string> init_weights, init_text;
  double init_std = 1.0;
  double prefix_dropout = 0.0;
  std::string dropout_scope = "sequence", prefix_bias = "none", position_shift = "auto";

  // No keys: what the preset sets.
  std::optional<double> network_std;  ///< networks start at N(0, std^2) with zero biases instead of U(+-1/sqrt(fan_in))
  std::optional<double> head_std;     ///< a fresh head starts there
  bool fills_head = false;            ///< so do frozen layers of the head that the checkpoint lacks

  std::unique_ptr<MethodConfig> clone() const override { return std::make_unique<PrefixConfig>(*this); }
  double learning_rate() const override { return deep() ? 1e-3 : 2e-2; }
  void visit(Fields& fields) override;
  void validate() const override;
  /// What only the architecture can tell. Throws ConfigError.
  virtual void check(const ModelSpec& spec) const;
  virtual double dropout_rate(const ModelSpec&) const { return prefix_dropout; }

  bool deep() const { return sharing == "deep"; }
  bool simple() const { return sharing == "simple"; }
  bool per_layer() const { return deep() && network == "per_layer"; }
  /// The vectors pass through the layer's frozen norm and key and value maps.
  bool through() const { return through_projection.is_boolean() ? through_projection.get<bool>() : simple(); }
  bool from_text() const { return init_weights == "text"; }
  bool starts_at_zero() const { return init_weights == "zero"; }
  bool shifts_positions() const { return position_shift != "off"; }
  /// E, for keys of width Y.
  int64_t hidden_width(int64_t key_width) const {
    return encoder_hidden_size.value_or(prefix_projection ? key_width : per_layer() ? 48 : 512);
  }
};

}  // namespace peft
