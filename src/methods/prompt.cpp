/// P trainable rows in front of the text: X'_b = [ p_k ; e_b ], k = adapter[b].     [Lester et al. 2021, arXiv:2104.08691]
///
/// prompt [K,P,C]; the rows take positions 0..P-1 and token type 0, then the usual norm. Trainable numbers: P C.
/// RANDOM draws N(0,1), as peft; SAMPLE_VOCAB copies rows of random tokens; TEXT copies the rows of a text, repeated and cut to P.
/// The file holds peft's prompt_embeddings [P,C]. Throws ConfigError when P is out of range or TEXT comes without a text.

#include <ATen/ATen.h>

#include "peft/base/error.h"
#include "peft/kernels/grouped_matmul.h"
#include "peft/methods/method.h"
#include "src/methods/prompt_rows.h"

namespace peft {
namespace {

struct PromptConfig : MethodConfig {
  int64_t num_virtual_tokens = 20;
  std::string prompt_tuning_init = "RANDOM", pooling = "first";
  std::optional<std::string> prompt_tuning_init_text;

  std::unique_ptr<MethodConfig> clone() const override { return std::make_unique<PromptConfig>(*this); }
  void visit(Fields& fields) override {
    MethodConfig::visit(fields);
    fields.field("num_virtual_tokens", num_virtual_tokens, {.help = "P, rows in front of the text", .min = 1});
    fields.field("prompt_tuning_init", prompt_tuning_init,
                 {.help = "start values of the rows", .choices = {"RANDOM", "TEXT", "SAMPLE_VOCAB"}});
    fields.field("prompt_tuning_init_text", prompt_tuning_init_text,
                 {.help = "the text of TEXT, repeated and cut to P tokens"});
    fields.field(
        "pooling", pooling,
        {.help =
             "row the classifier reads: the first of the longer sequence (as peft), or the text's own first ([CLS])",
         .choices = {"first", "cls"}});
  }
  void validate() const override {
    MethodConfig::validate();
    if (prompt_tuning_init == "TEXT" && prompt_tuning_init_text.value_or("").empty()) {
      throw_error<ConfigError>("method.prompt_tuning_init_text: required by prompt_tuning_init \"TEXT\"");
    }
  }
};

class Prompt : public Method {
 public:
  Prompt(Transformer& model, const BankSpec& bank)
      : Method(model, bank), config_(dynamic_cast<const PromptConfig&>(*bank.configs.at(0))) {
    prompt_KPC_ = add_parameter("prompt", {config_.num_virtual_tokens, model.spec().stack.width}, "adapter",
                                [&](int64_t k, std::span<float> values) { initialise(k, values); });
    add_trained_head();
  }

  int64_t virtual_tokens() const override { return config_.num_virtual_tokens; }
  PooledRow pooling() const override { return config_.pooling == "first" ? PooledRow::first : PooledRow::text; }

  Embedded embed(Embedded tokens) override {
    const Batch longer = tokens.rows->lengthened(config_.num_virtual_tokens);
    return {prepend_rows(prompt_KPC_.to(tokens.x_TC.scalar_type()), tokens.x_TC, tokens.rows, longer), tokens.ids_T, longer,
            config_.num_virtual_tokens};
  }

  AdapterFiles fold(int64_t k) const override {
    AdapterFiles files;
    const StackSpec& stack = model_.spec().stack;
    files.config = base_config("PROMPT_TUNING");
    files.config.update({{"num_virtual_tokens", config_.num_virtual_tokens},
                         {"token_dim", stack.width},
                         {"num_attention_heads", stack.heads},
                         {"num_layers", stack.layers},
                         {"num_transformer_submodules", 1},
                         {"prompt_tuning_init", "RANDOM"}});
    if (config_.pooling != "first") files.config.update({{"pooling", config_.pooling}, {"peft_compatible", false}});
    files.tensors["prompt_embeddings"] = prompt_KPC_.detach()[k];
    fold_head(k, "base_model.", files);
    return files;
  }

  void load(int64_t k, const AdapterFiles& files, bool head) override {
    load_slice(prompt_KPC_, k, files, "prompt_embeddings");
    if (head) load_head(k, "base_model.", files);
  }

 private:
  void initialise(int64_t k, std::span<float> values) {
    const auto& own = dynamic_cast<const PromptConfig&>(*bank_.configs.at(k));  // texts may differ within a bank
    const RngStream stream = init_stream(k, "prompt");
    if (own.prompt_tuning_init == "RANDOM") return stream.fill_normal(values, 0.0F, 1.0F);
    std::vector<int64_t> ids;
    if (own.prompt_tuning_init == "TEXT") {
      if (bank_.tokenizer == nullptr)
        throw_error<ConfigError>("method.prompt_tuning_init: \"TEXT\" needs the model folder's tokenizer");
      const Encoding text = bank_.tokenizer->encode(*own.prompt_tuning_init_text);  // with special tokens, as peft
      if (text.ids.empty())
        throw_error<ConfigError>("method.prompt_tuning_init_text: \"{}\" has no tokens", *own.prompt_tuning_init_text);
      for (int64_t i = 0; i < own.num_virtual_tokens; ++i) ids.push_back(text.ids[i % text.ids.size()]);
    } else {
      for (int64_t i = 0; i < own.num_virtual_tokens; ++i) {
        ids.push_back(static_cast<int64_t>(stream.below(i, static_cast<uint64_t>(model_.spec().embedding.vocabulary))));
      }
    }
    const at::Tensor rows = model_.word_embeddings()
                                .detach()
                                .index_select(0, at::tensor(at::ArrayRef<int64_t>(ids), at::kLong).to(model_.device()))
                                .to(at::kCPU, at::kFloat)
                                .contiguous();
    std::copy_n(rows.data_ptr<float>(), values.size(), values.begin());
  }

  const PromptConfig& config_;
  at::Tensor prompt_KPC_;
};

std::unique_ptr<MethodConfig> recognise(const AdapterFiles& files) {
  if (files.config.value("peft_type", "") != "PROMPT_TUNING") return nullptr;
  auto config = std::make_unique<PromptConfig>();
  files.read("num_virtual_tokens", config->num_virtual_tokens);
  check_prompt_rows(files, config->num_virtual_tokens);
  files.read("pooling", config->pooling);
  return config;
}

const bool registered = methods().add(
    "prompt",
    {[] { return std::make_unique<PromptConfig>(); },
     [](Transformer& model, const BankSpec& bank) { return std::make_unique<Prompt>(model, bank); }, recognise});

}  // namespace
}  // namespace peft
