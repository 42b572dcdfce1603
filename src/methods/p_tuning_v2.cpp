/// `prefix` as P-tuning v2 uses it for understanding tasks.     [Liu et al. 2021, arXiv:2110.07602]
///
/// No sharing, or with prefix_projection one network for all layers; everything new starts at N(0, init_std^2) with zero biases; dropout
/// on the prefix as the checkpoint has it, one mask for each sequence; [CLS] is pooled. A pooler that the checkpoint lacks is drawn, and
/// stays frozen. Counts, files and limits: prefix.cpp.

#include "peft/base/error.h"
#include "peft/base/summaries.h"
#include "src/methods/prefix_method.h"

namespace peft {
namespace {

constexpr int64_t kHidden = 512;

struct PTuningV2Config : PrefixConfig {
  int64_t hidden_size = kHidden;
  Json dropout = "checkpoint";
  std::string head = "pooler_linear";

  PTuningV2Config() { init_std = 0.02; }
  std::unique_ptr<MethodConfig> clone() const override { return std::make_unique<PTuningV2Config>(*this); }
  double learning_rate() const override { return 3e-2; }
  void visit(Fields& fields) override {
    MethodConfig::visit(fields);  // not prefix's keys: NOLINT(bugprone-parent-virtual-call)
    fields.field("num_virtual_tokens", num_virtual_tokens,
                 {.help = "P, pairs in front of every layer's keys and values", .min = 1});
    fields.field("prefix_projection", prefix_projection, {.help = "one network writes the pairs of all layers"});
    fields.field("encoder_hidden_size", hidden_size, {.help = "hidden width of that network", .min = 1, .max = 8192});
    fields.field(
        "prefix_dropout", dropout,
        {.help =
             "dropout on prefix keys and values: a number in [0, 1), or \"checkpoint\" = the model's hidden dropout",
         .per_job = true});
    fields.field(
        "init_std", init_std,
        {.help = "standard deviation of all start values: prefix, network, head", .min = 0, .min_exclusive = true});
    fields.field(
        "head", head,
        {.help = "pooler_linear = one linear layer on the frozen pretrained pooler; architecture = the usual head (the "
                 "same on BERT)",
         .choices = {"pooler_linear", "architecture"}});
  }
  void resolve() override {
    sharing = prefix_projection ? "deep" : "none";
    if (prefix_projection) encoder_hidden_size = hidden_size;
    if (dropout.is_number()) prefix_dropout = dropout.get<double>();
    network_std = head_std = init_std;
    fills_head = head == "pooler_linear";
  }
  void validate() const override {
    PrefixConfig::validate();
    if (dropout != "checkpoint" && !(dropout.is_number() && dropout >= 0.0 && dropout < 1.0)) {
      throw_error<ConfigError>("method.prefix_dropout: found {}, expected \"checkpoint\" or a number in [0, 1)",
                               dropout.dump());
    }
    if (!prefix_projection && hidden_size != kHidden)
      throw_error<ConfigError>(
          "method.encoder_hidden_size: found {}, but without prefix_projection there is no network", hidden_size);
  }
  void check(const ModelSpec& spec) const override {
    PrefixConfig::check(spec);
    const auto& own = spec.head();
    const bool pooler =
        own.size() == 2 && !own[0].to_labels && !own[0].trained && own[0].activation == Activation::tanh;
    if (head == "pooler_linear" && spec.head_kind == HeadKind::sequence && !pooler) {  // tokens have no pooler
      throw_error<ConfigError>(
          "method.head: \"pooler_linear\" needs a model with a pretrained pooler in front of its labels, found {}",
          spec.model_type);
    }
  }
  double dropout_rate(const ModelSpec& spec) const override {
    return dropout.is_number() ? prefix_dropout : spec.dropout.feed_forward.value_or(0.0);
  }
};

const bool p_tuning_v2_registered = methods().add(
    "p_tuning_v2",
    {[] { return std::make_unique<PTuningV2Config>(); },
     [](Transformer& model, const BankSpec& bank) { return std::make_unique<PrefixMethod>(model, bank); }, nullptr});

[[maybe_unused]] const bool p_tuning_v2_described =
    summaries("method").add("p_tuning_v2", {"prefix with the defaults of its own paper's code", "2110.07602"});

}  // namespace
}  // namespace peft
