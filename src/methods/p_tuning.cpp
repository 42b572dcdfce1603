/// A small network writes the virtual rows: p = g(u), X'_b = [ p_k ; e_b ].     [Liu et al. 2021, arXiv:2103.10385]
///
/// u [K,P,C] ~ N(0,1); the network starts at U(+-1/sqrt(fan_in)), an LSTM at U(+-1/sqrt(h)).
///   MLP   peft:  C -> E -> E -> C                    paper: C -> C -> C               relu between
///   LSTM  peft:  E per direction, 2E -> 2E -> C      paper: C/2 per direction, C -> C -> C
/// Trainable numbers, MLP peft: P C + C E + E + E^2 + E + E C + C. The file holds p alone, as peft's does: prompt_embeddings [P,C]. Such a
/// file is read as plain rows, which evaluate and do not train. Throws ConfigError when a width does not fit its variant.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <cmath>

#include "peft/base/error.h"
#include "peft/base/summaries.h"
#include "peft/methods/method.h"
#include "src/methods/p_tuning_network.h"
#include "src/methods/prompt_rows.h"

namespace peft {
namespace {

constexpr int64_t kLstmLayers = 2;

struct PTuningConfig : MethodConfig {
  int64_t num_virtual_tokens = 20;
  std::string pooling = "first";
  double prompt_dropout = 0.0;
  std::string encoder_reparameterization_type = "MLP", encoder_variant = "peft";
  std::optional<int64_t> encoder_hidden_size;
  int64_t encoder_num_layers = kLstmLayers;
  double encoder_dropout = 0.0;
  bool folded = false;  // no key: rows of a file, whose network is gone

  std::unique_ptr<MethodConfig> clone() const override { return std::make_unique<PTuningConfig>(*this); }
  double learning_rate() const override { return 3e-3; }
  void visit(Fields& fields) override {
    MethodConfig::visit(fields);
    fields.field("num_virtual_tokens", num_virtual_tokens, {.help = "P, rows in front of the text", .min = 1});
    fields.field("prompt_dropout", prompt_dropout,
                 {.help = "dropout on the rows, each sequence its own mask",
                  .min = 0,
                  .max = 1,
                  .max_exclusive = true,
                  .per_job = true});
    fields.field(
        "pooling", pooling,
        {.help =
             "row the classifier reads: the first of the longer sequence (as peft), or the text's own first ([CLS])",
         .choices = {"first", "cls"}});
    fields.field("encoder_reparameterization_type", encoder_reparameterization_type,
                 {.help = "the network that writes the rows", .choices = {"MLP", "LSTM"}});
    fields.field(
        "encoder_variant", encoder_variant,
        {.help = "its widths: peft's, or the paper's, which follow from the model's", .choices = {"peft", "paper"}});
    fields.field("encoder_hidden_size", encoder_hidden_size,
                 {.help = "hidden width (LSTM: of each direction); null: the model's", .min = 1, .max = 8192});
    fields.field("encoder_num_layers", encoder_num_layers, {.help = "layers of the LSTM", .min = 1, .max = 8});
    fields.field(
        "encoder_dropout", encoder_dropout,
        {.help = "dropout between layers of the LSTM", .min = 0, .max = 1, .max_exclusive = true, .per_job = true});
  }
  void validate() const override {
    MethodConfig::validate();
    if (lstm()) return;
    if (encoder_num_layers != kLstmLayers)
      throw_error<ConfigError>("method.encoder_num_layers: found {}, but only an LSTM has layers to choose",
                               encoder_num_layers);
    if (encoder_dropout > 0.0)
      throw_error<ConfigError>("method.encoder_dropout: found {}, but only an LSTM has layers to drop between",
                               encoder_dropout);
  }
  bool lstm() const { return encoder_reparameterization_type == "LSTM"; }
  PromptEncoderShape shape(int64_t width) const {
    const bool paper = encoder_variant == "paper";
    if (paper && encoder_hidden_size.value_or(width) != width) {
      throw_error<ConfigError>(
          "method.encoder_hidden_size: found {}, but encoder_variant \"paper\" fixes it by the model's width {}",
          *encoder_hidden_size, width);
    }
    if (paper && lstm() && width % 2 != 0)
      throw_error<ConfigError>("method.encoder_variant: \"paper\" halves the model's width, found {}", width);
    return {encoder_reparameterization_type, paper, num_virtual_tokens, width, encoder_hidden_size.value_or(width),
            lstm() ? encoder_num_layers : 0};
  }
};

class PTuning : public Method {
 public:
  PTuning(Transformer& model, const BankSpec& bank)
      : Method(model, bank), config_(dynamic_cast<const PTuningConfig&>(*bank.configs.at(0))) {
    check_positions(config_.num_virtual_tokens);
    for (const MethodConfig* each : bank.configs) {
      const auto& own = dynamic_cast<const PTuningConfig&>(*each);
      rates_.push_back(own.encoder_dropout);
      prompt_rates_.push_back(own.prompt_dropout);
    }
    if (config_.folded) {
      encoder_.rows_KPC = add_parameter("prompt", {config_.num_virtual_tokens, model.spec().first().width}, "adapter",
                                        [](int64_t, std::span<float>) {});
    } else {
      add_network(config_.shape(model.spec().first().width));
    }
    add_trained_head();
  }

  int64_t virtual_tokens() const override { return config_.num_virtual_tokens; }
  Pool pool(Pool own) const override { return pool_with_rows(own, config_.pooling); }

  void begin_pass(const DropoutContext& context) override {
    Method::begin_pass(context);
    const Batch rows = one_sequence_each(adapters(), config_.num_virtual_tokens, model_.device());
    written_KPC_ = encoder_.write([&](std::size_t layer, const at::Tensor& states) {
      const DropoutSite site{context_, "encoder.lstm." + std::to_string(layer) + ".dropout", rates_};
      return dropout(states.flatten(0, 1), site, rows).view(states.sizes());
    });
  }
  Embedded embed(const at::Tensor& /*ids_T*/, const Batch& rows) override {
    return put_in_front(written_KPC_, *rows, {context_, "prompt.dropout", prompt_rates_});
  }

  Signs measure(int64_t k, const ModelInput& /*probe*/) override {
    const at::NoGradGuard no_grad;
    return norm_beside_words(encoder_.slice(k).write()[0], model_,
                             "method.encoder_variant: another network starts closer to words");
  }

  bool stores_trained_values() const override { return !config_.folded; }
  AdapterFiles fold(int64_t k) const override {
    const at::NoGradGuard no_grad;
    const StackSpec& stack = model_.spec().first();
    AdapterFiles files;
    files.config = base_config("P_TUNING");
    files.config.update({{"num_virtual_tokens", config_.num_virtual_tokens},
                         {"token_dim", stack.width},
                         {"num_attention_heads", stack.heads},
                         {"num_layers", stack.depth()},
                         {"num_transformer_submodules", 1},
                         {"encoder_reparameterization_type", config_.encoder_reparameterization_type},
                         {"encoder_hidden_size", config_.encoder_hidden_size.value_or(stack.width)},
                         {"encoder_num_layers", config_.encoder_num_layers},
                         {"encoder_dropout", config_.encoder_dropout}});
    if (config_.pooling != "first") add_custom_keys(files.config, {{"pooling", config_.pooling}});
    files.tensors["prompt_embeddings"] = encoder_.slice(k).write()[0];
    fold_head(k, kPromptPrefix, files);
    return files;
  }
  void load(int64_t k, const AdapterFiles& files, bool head) override {
    if (!config_.folded)
      throw_error<DataError>("{}: a folded adapter holds rows without their network, which cannot train", files.origin);
    load_slice(encoder_.rows_KPC, k, files, "prompt_embeddings");
    if (head) load_head(k, kPromptPrefix, files);
  }

 private:
  void add_network(const PromptEncoderShape& shape) {
    encoder_.rows_KPC = add_parameter(
        "encoder.rows", {shape.rows, shape.width}, "adapter",
        [&](int64_t k, std::span<float> values) { init_stream(k, "encoder.rows").fill_normal(values, 0.0F, 1.0F); });
    int64_t in = shape.width;
    const int64_t h = shape.lstm_width();
    for (int64_t i = 0; i < shape.lstm_layers; ++i, in = 2 * h) {
      const auto direction = [&](const char* way) {
        const std::string name = fmt::format("encoder.lstm.{}.{}.", i, way);
        return BankLstm{add_uniform(name + "weight_ih", {in, 4 * h}, h), add_uniform(name + "weight_hh", {h, 4 * h}, h),
                        add_uniform(name + "bias_ih", {4 * h}, h), add_uniform(name + "bias_hh", {4 * h}, h)};
      };
      encoder_.layers.push_back({direction("forward"), direction("reverse")});
    }
    for (const auto& [inputs, outputs] : shape.maps()) {
      const std::string name = fmt::format("encoder.{}.", encoder_.maps.size());
      encoder_.maps.push_back(
          {add_uniform(name + "weight", {inputs, outputs}, inputs), add_uniform(name + "bias", {outputs}, inputs)});
    }
  }
  at::Tensor add_uniform(const std::string& name, std::vector<int64_t> tensor_shape, int64_t fan_in) {
    return add_parameter(name, std::move(tensor_shape), "encoder", [&](int64_t k, std::span<float> values) {
      const float bound = 1.0F / std::sqrt(static_cast<float>(fan_in));
      init_stream(k, name).fill_uniform(values, -bound, bound);
    });
  }

  const PTuningConfig& config_;
  std::vector<double> rates_, prompt_rates_;  // [K], of encoder_dropout and prompt_dropout
  PromptEncoder encoder_;                     // folded: rows alone
  at::Tensor written_KPC_;                    // of the current pass
};

std::unique_ptr<MethodConfig> recognise_p_tuning(const AdapterFiles& files) {
  if (!files.has_type("P_TUNING")) return nullptr;
  auto config = std::make_unique<PTuningConfig>();
  config->folded = true;
  files.read("num_virtual_tokens", config->num_virtual_tokens);
  check_prompt_rows(files, config->num_virtual_tokens);
  files.read("pooling", config->pooling);
  return config;
}

const bool p_tuning_registered = methods().add(
    "p_tuning", {[] { return std::make_unique<PTuningConfig>(); },
                 [](Transformer& model, const BankSpec& bank) { return std::make_unique<PTuning>(model, bank); },
                 recognise_p_tuning});

[[maybe_unused]] const bool p_tuning_described =
    summaries("method").add("p_tuning", {"a small MLP or LSTM that writes rows in front of the text", "2103.10385"});

}  // namespace
}  // namespace peft
