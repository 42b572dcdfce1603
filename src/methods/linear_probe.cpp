/// Only the head trains: the baseline that every method should beat. Trainable numbers: the head's.
///
/// head "architecture": the layers that the Hugging Face class adds. head "linear": y = x W + b straight on the text's first row after
/// the last layer, without pooler, dense layer or tanh; trainable numbers N C + N.
/// The file (ours: peft has no such type) holds the head under the name the Hugging Face class uses, "linear" as linear_head.

#include <ATen/ATen.h>

#include <algorithm>

#include "peft/base/error.h"
#include "peft/base/summaries.h"
#include "peft/methods/method.h"

namespace peft {
namespace {

constexpr const char* kLinearHead = "linear_head";

struct LinearProbeConfig : MethodConfig {
  std::string head = "architecture";
  bool init_head_zero = false;
  Json cache_features = "auto";

  std::unique_ptr<MethodConfig> clone() const override { return std::make_unique<LinearProbeConfig>(*this); }
  double learning_rate() const override { return 1e-1; }
  void visit(Fields& fields) override {
    MethodConfig::visit(fields);
    fields.field("head", head,
                 {.help = "architecture: what the Hugging Face class adds; linear: one map on the text's first row",
                  .choices = {"architecture", "linear"}});
    fields.field("init_head_zero", init_head_zero, {.help = "the layer that gives the labels starts at zero"});
    fields.field(
        "cache_features", cache_features,
        {.help = "compute each text's features once; needs model.dropout 0: \"auto\" (where a split is read more than "
                 "once), true, false"});
  }
  std::string labels_module() const override { return head == "linear" ? kLinearHead : ""; }
  void validate() const override {
    MethodConfig::validate();
    check_switch("cache_features", cache_features);
  }
};

class LinearProbe : public Method {
 public:
  LinearProbe(Transformer& model, const BankSpec& bank)
      : Method(model, bank), config_(dynamic_cast<const LinearProbeConfig&>(*bank.configs.at(0))) {
    if (bank.outputs == 0)
      throw_error<ConfigError>("method.type: \"linear_probe\" trains a head, and this task has none");
    if (config_.head == "linear") {
      linear_ = {{.module = kLinearHead,
                  .to_labels = true,
                  .trained = true,
                  .dropout = model.spec().head().empty() ? std::nullopt : model.spec().head().back().dropout}};
    }
    add_trained_head();
    for (const HeadLayer& layer : linear_.empty() ? model.spec().head() : linear_) {
      if (!layer.to_labels || !config_.init_head_zero) continue;
      const TrainedLinear* labels = trained_module(layer.module);
      labels->weight_KOC.detach().zero_();
      if (labels->bias_KO.defined()) labels->bias_KO.detach().zero_();
    }
  }

  FeatureCaching feature_caching() const override {
    if (config_.cache_features == "auto") return FeatureCaching::automatic;
    return config_.cache_features == true ? FeatureCaching::always : FeatureCaching::never;
  }

  const std::vector<HeadLayer>* head() const override { return linear_.empty() ? nullptr : &linear_; }

  AdapterFiles fold(int64_t k) const override {
    AdapterFiles files;
    files.config = base_config("LINEAR_PROBE");
    files.config.update({{"library", "peft.cpp"}, {"format_version", 1}, {"head", config_.head}});
    if (!linear_.empty()) files.config["modules_to_save"] = {linear_.front().module};
    fold_head(k, kTunerPrefix, files);
    return files;
  }
  void load(int64_t k, const AdapterFiles& files, bool head) override {
    if (head) load_head(k, kTunerPrefix, files);
  }

 protected:
  void merge_into(int64_t, std::map<std::string, at::Tensor>&) const override {
    if (!linear_.empty())
      throw_error<ConfigError>("method.head: a \"linear\" head has no place in {}; it cannot be merged into a model",
                               model_.spec().head_spec().architecture);
  }

 private:
  const LinearProbeConfig& config_;
  std::vector<HeadLayer> linear_;  // empty: the architecture's
};

std::unique_ptr<MethodConfig> recognise_linear_probe(const AdapterFiles& files) {
  if (files.config.value("peft_type", "") != "LINEAR_PROBE") return nullptr;
  auto config = std::make_unique<LinearProbeConfig>();
  files.read("head", config->head);
  return config;
}

const bool linear_probe_registered =
    methods().add("linear_probe",
                  {[] { return std::make_unique<LinearProbeConfig>(); },
                   [](Transformer& model, const BankSpec& bank) { return std::make_unique<LinearProbe>(model, bank); },
                   recognise_linear_probe});

[[maybe_unused]] const bool linear_probe_described =
    summaries("method").add("linear_probe", {"the head alone on frozen features: the lower baseline"});

}  // namespace
}  // namespace peft
