/// Trainable key/value pairs in front of the keys and values of every layer.     [Li and Liang 2021, arXiv:2101.00190]
///
/// Attention of sequence b, layer l: K = [ Kpre_k,l ; k_b ], V = [ Vpre_k,l ; v_b ]; queries unchanged, text positions start at P.
/// prefix_key, prefix_value [K,L,P,Y], Y = G D. Trainable numbers: 2 L P Y. Not the identity at the start: a zero prefix adds P keys of
/// score 0. The file holds peft's prompt_embeddings [P, 2 L Y]: row 2l the keys of layer l, row 2l+1 its values.

#include <ATen/ATen.h>

#include "peft/base/error.h"
#include "peft/methods/method.h"
#include "src/methods/prompt_rows.h"

namespace peft {
namespace {

struct PrefixConfig : MethodConfig {
  int64_t num_virtual_tokens = 20;
  double init_std = 1.0;
  std::string sharing = "none", init_weights = "normal";

  std::unique_ptr<MethodConfig> clone() const override { return std::make_unique<PrefixConfig>(*this); }
  void visit(Fields& fields) override {
    MethodConfig::visit(fields);
    fields.field("num_virtual_tokens", num_virtual_tokens,
                 {.help = "P, pairs in front of every layer's keys and values", .min = 1});
    fields.field("sharing", sharing,
                 {.help = "how keys and values are tied: none = each trained by itself", .choices = {"none"}});
    fields.field("init_weights", init_weights,
                 {.help = "start values: N(0, init_std^2) or zero", .choices = {"normal", "zero"}});
    fields.field("init_std", init_std,
                 {.help = "standard deviation of init_weights \"normal\"", .min = 0, .min_exclusive = true});
  }
};

class Prefix : public Method {
 public:
  Prefix(Transformer& model, const BankSpec& bank)
      : Method(model, bank), config_(dynamic_cast<const PrefixConfig&>(*bank.configs.at(0))) {
    const StackSpec& stack = model.spec().stack;
    const auto table = [&](const std::string& name) {
      return add_parameter(name, {stack.layers, config_.num_virtual_tokens, stack.kv_heads * stack.head_dim}, "adapter",
                           [&](int64_t k, std::span<float> values) {
                             if (config_.init_weights == "normal")
                               init_stream(k, name).fill_normal(values, 0.0F, static_cast<float>(config_.init_std));
                           });
    };
    key_KLPY_ = table("prefix_key");
    value_KLPY_ = table("prefix_value");
    add_trained_head();
  }

  int64_t virtual_tokens() const override { return config_.num_virtual_tokens; }
  int64_t position_shift() const override { return config_.num_virtual_tokens; }

  void begin_pass(const DropoutContext& context) override {
    Method::begin_pass(context);
    // One node for all layers: its backward writes each layer's gradient once.
    const StackSpec& stack = model_.spec().stack;
    keys_KPGD_ = at::unbind(key_KLPY_.unflatten(-1, {stack.kv_heads, stack.head_dim}), 1);
    values_KPGD_ = at::unbind(value_KLPY_.unflatten(-1, {stack.kv_heads, stack.head_dim}), 1);
  }
  PrefixKV prefix(int64_t layer) override { return {keys_KPGD_[layer], values_KPGD_[layer]}; }

  AdapterFiles fold(int64_t k) const override {
    AdapterFiles files;
    const StackSpec& stack = model_.spec().stack;
    files.config = base_config("PREFIX_TUNING");
    files.config.update({{"num_virtual_tokens", config_.num_virtual_tokens},
                         {"token_dim", stack.kv_heads * stack.head_dim},
                         {"num_attention_heads", stack.kv_heads},
                         {"num_layers", stack.layers},
                         {"num_transformer_submodules", 1},
                         {"prefix_projection", false},
                         {"encoder_hidden_size", stack.width}});
    const at::Tensor pairs_LQPY = at::stack({key_KLPY_.detach()[k], value_KLPY_.detach()[k]}, 1);
    files.tensors["prompt_embeddings"] = pairs_LQPY.permute({2, 0, 1, 3}).flatten(1).contiguous();
    fold_head(k, "base_model.", files);
    return files;
  }

  void load(int64_t k, const AdapterFiles& files, bool head) override {
    const StackSpec& stack = model_.spec().stack;
    const int64_t width = stack.kv_heads * stack.head_dim;
    AdapterFiles split = files;
    const auto table = files.tensors.find("prompt_embeddings");
    if (table != files.tensors.end() && table->second.dim() == 2 && table->second.size(1) == 2 * stack.layers * width) {
      const at::Tensor pairs_PLQY = table->second.unflatten(1, {stack.layers, 2, width});
      split.tensors["prompt_embeddings (keys)"] = pairs_PLQY.select(2, 0).transpose(0, 1);
      split.tensors["prompt_embeddings (values)"] = pairs_PLQY.select(2, 1).transpose(0, 1);
    } else {
      throw_error<DataError>("{}/adapter_model.safetensors: tensor prompt_embeddings {}, expected shape [{}, {}]",
                             files.origin, table == files.tensors.end() ? "is missing" : "has another shape",
                             config_.num_virtual_tokens, 2 * stack.layers * width);
    }
    load_slice(key_KLPY_, k, split, "prompt_embeddings (keys)");
    load_slice(value_KLPY_, k, split, "prompt_embeddings (values)");
    if (head) load_head(k, "base_model.", files);
  }

 private:
  const PrefixConfig& config_;
  at::Tensor key_KLPY_, value_KLPY_;
  std::vector<at::Tensor> keys_KPGD_, values_KPGD_;  // per layer, of the current pass
};

std::unique_ptr<MethodConfig> recognise(const AdapterFiles& files) {
  if (files.config.value("peft_type", "") != "PREFIX_TUNING") return nullptr;
  auto config = std::make_unique<PrefixConfig>();
  files.read("num_virtual_tokens", config->num_virtual_tokens);
  check_prompt_rows(files, config->num_virtual_tokens);
  return config;
}

const bool registered = methods().add(
    "prefix",
    {[] { return std::make_unique<PrefixConfig>(); },
     [](Transformer& model, const BankSpec& bank) { return std::make_unique<Prefix>(model, bank); }, recognise});

}  // namespace
}  // namespace peft
