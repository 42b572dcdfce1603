/// P trainable rows in front of the text: X'_b = [ p_k ; e_b ], k = adapter[b].     [Lester et al. 2021, arXiv:2104.08691]
///
/// prompt [K,P,C]; the rows take positions 0..P-1 and token type 0, then the usual norm. Trainable numbers: P C.
/// depth "deep" [Jia et al. 2022, arXiv:2203.12119]: prompt [K,L,P,C]; before layer l = 1..L-1 the P rows are overwritten by p_k,l as they
/// are. Trainable numbers: L P C.
/// The file holds peft's prompt_embeddings [P,C]; deep [L P, C], layer by layer, which peft cannot read. Throws ConfigError when P is out
/// of range, TEXT comes without a text, or a deep prompt meets a causal model.

#include <ATen/ATen.h>

#include "peft/base/error.h"
#include "peft/base/summaries.h"
#include "src/methods/prompt_base.h"
#include "src/methods/prompt_rows.h"

namespace peft {
namespace {

struct PromptConfig : VirtualRowsConfig {
  std::string depth = "input";

  std::unique_ptr<MethodConfig> clone() const override { return std::make_unique<PromptConfig>(*this); }
  double learning_rate() const override { return 3e-2; }
  void visit(Fields& fields) override {
    VirtualRowsConfig::visit(fields);
    fields.field("depth", depth,
                 {.help = "input: rows in front of the text; deep: every layer replaces them by rows of its own",
                  .choices = {"input", "deep"}});
  }
};

class Prompt : public VirtualRows {
 public:
  Prompt(Transformer& model, const BankSpec& bank)
      : VirtualRows(model, bank), config_(dynamic_cast<const PromptConfig&>(*bank.configs.at(0))) {
    const StackSpec& stack = model.spec().first();
    if (deep() && decoder_only(model.spec()))
      throw_error<ConfigError>("method.depth: \"deep\" needs an encoder, found {}", model.spec().model_type);
    prompt_ = deep() ? add_prompt({stack.depth(), config_.num_virtual_tokens, stack.width})
                     : add_prompt({config_.num_virtual_tokens, stack.width});
    add_trained_head();
  }

  void begin_pass(const DropoutContext& context) override {
    VirtualRows::begin_pass(context);
    // One node for all layers: its backward writes each layer's gradient once.
    rows_KPC_ = deep() ? at::unbind(prompt_, 1) : std::vector<at::Tensor>{prompt_};
  }
  Embedded embed(const at::Tensor& /*ids_T*/, const Batch& rows) override { return in_front(rows_KPC_[0], rows); }
  at::Tensor layer_input(const Stack& /*stack*/, int64_t layer, const at::Tensor& x_TC, const Batch& rows) override {
    return deep() && layer > 0 ? in_place(rows_KPC_[layer], x_TC, rows, layer) : x_TC;
  }

  AdapterFiles fold(int64_t k) const override {
    AdapterFiles files;
    const StackSpec& stack = model_.spec().first();
    files.config = base_config("PROMPT_TUNING");
    files.config.update({{"num_virtual_tokens", config_.num_virtual_tokens},
                         {"token_dim", stack.width},
                         {"num_attention_heads", stack.heads},
                         {"num_layers", stack.depth()},
                         {"num_transformer_submodules", 1},
                         {"prompt_tuning_init", "RANDOM"}});
    if (config_.pooling != "first") add_custom_keys(files.config, {{"pooling", config_.pooling}});
    if (deep()) add_custom_keys(files.config, {{"depth", "deep"}});
    files.tensors["prompt_embeddings"] = prompt_.detach()[k].view({-1, stack.width});
    fold_head(k, kPromptPrefix, files);
    return files;
  }

  void load(int64_t k, const AdapterFiles& files, bool head) override {
    load_slice(prompt_.view({adapters(), -1, prompt_.size(-1)}), k, files, "prompt_embeddings");
    if (head) load_head(k, kPromptPrefix, files);
  }

 private:
  bool deep() const { return config_.depth == "deep"; }

  const PromptConfig& config_;
  at::Tensor prompt_;                 // [K,P,C] or [K,L,P,C]
  std::vector<at::Tensor> rows_KPC_;  // per layer, of the current pass
};

std::unique_ptr<MethodConfig> recognise_prompt(const AdapterFiles& files) {
  if (!files.has_type("PROMPT_TUNING")) return nullptr;
  auto config = std::make_unique<PromptConfig>();
  files.read("num_virtual_tokens", config->num_virtual_tokens);
  files.read("pooling", config->pooling);
  files.read("depth", config->depth);
  if (config->depth == "deep") {
    int64_t layers = 0;
    files.read("num_layers", layers);
    check_announced(files, "prompt_embeddings", {layers * config->num_virtual_tokens, -1});
    check_prompt_columns(files);
  } else {
    check_prompt_rows(files, config->num_virtual_tokens);
  }
  return config;
}

const bool prompt_registered = methods().add(
    "prompt",
    {[] { return std::make_unique<PromptConfig>(); },
     [](Transformer& model, const BankSpec& bank) { return std::make_unique<Prompt>(model, bank); }, recognise_prompt});

[[maybe_unused]] const bool prompt_described = summaries("method").add(
    "prompt", {"rows in front of the text, in the input or in every layer", "2104.08691, 2203.12119"});

}  // namespace
}  // namespace peft
