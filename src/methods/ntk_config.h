#pragma once
/// Keys of ntk_attention. Private to src/methods.

#include "peft/kernels/state.h"
#include "peft/methods/method.h"

namespace peft {

struct NtkConfig : MethodConfig {
  std::string feature_map = "elu", mode = "train", den_transform = "abs", per = "query_head";
  std::optional<int64_t> z_rank;
  std::optional<std::string> prefix_from, init;  // switches of `compat` are absent until resolve()
  std::optional<bool> freeze_den, dropout_in_eval;
  std::optional<double> feature_dropout;
  Json layers = "all", stacks = "all";
  bool center = false;
  int64_t num_virtual_tokens = 0;

  std::unique_ptr<MethodConfig> clone() const override { return std::make_unique<NtkConfig>(*this); }
  double learning_rate() const override { return 2e-2; }
  void visit(Fields& fields) override;
  void resolve() override;
  std::vector<std::optional<std::string>*> paths() override { return {&init_from, &prefix_from}; }
  void validate() const override;

  FeatureMap map() const;
  bool compresses() const { return mode == "compress"; }
};

/// The config of an NTK_ATTENTION adapter folder; nullptr for another type.
std::unique_ptr<MethodConfig> recognise_ntk(const AdapterFiles& files);

}  // namespace peft
