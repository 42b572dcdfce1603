#include "src/methods/prefix_method.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "peft/base/error.h"
#include "src/methods/layers.h"
#include "src/methods/prefix_text.h"
#include "src/methods/prompt_init.h"
#include "src/methods/prompt_rows.h"

namespace peft {
namespace {

constexpr int64_t kFitSteps = 500;  // init_weights "text" with a network
constexpr double kFitRate = 1e-4;
constexpr const char* kDropout = "prefix.dropout";

/// Slots as one [N,P,Q,X], and back.
std::vector<at::Tensor> unstacked(const at::Tensor& slots_NPF, int64_t count) {
  return at::unbind(slots_NPF.unflatten(-1, {count, -1}), 2);
}

}  // namespace

PrefixMethod::PrefixMethod(Transformer& model, const BankSpec& bank)
    : Method(model, bank), config_(dynamic_cast<const PrefixConfig&>(*bank.configs.at(0))) {
  const StackSpec& stack = model.spec().first();
  config_.check(model.spec());
  check_positions(config_.shifts_positions() ? config_.num_virtual_tokens : 0);
  sites_ = chosen_attentions(model, config_.layers, config_.stacks);
  key_width_ = stack.key_width();
  width_ = config_.through() ? stack.width : key_width_;
  for (const MethodConfig* each : bank.configs)
    rates_.push_back(dynamic_cast<const PrefixConfig&>(*each).dropout_rate(model.spec()));
  if (config_.from_text()) {
    for (int64_t k = 0; k < adapters(); ++k) text_.push_back(text_slots(k));
  }
  add_tensors();
  if (config_.deep() && config_.from_text()) {
    for (int64_t k = 0; k < adapters(); ++k) tensors_.slice(k).fit(text_[k], kFitSteps, kFitRate);
  }
  text_.clear();
  add_trained_head(config_.head_std, config_.fills_head);
}

void PrefixMethod::add_tensors() {
  if (config_.simple()) {
    tensors_.kind = PrefixKind::simple;
    tensors_.rows = add_table("prefix_rows", true, width_, 0, 1);
    return;
  }
  if (!config_.deep()) {
    tensors_.key_KLPX = add_table("prefix_key", true, width_, 0, 2);
    tensors_.value_KLPX = add_table("prefix_value", true, width_, 1, 2);
    return;
  }
  tensors_.kind = config_.per_layer() ? PrefixKind::per_layer : PrefixKind::all_layers;
  const int64_t in = config_.prefix_projection ? key_width_ : model_.spec().first().width,
                hidden = config_.hidden_width(key_width_),
                out = 2 * width_ * (config_.per_layer() ? 1 : static_cast<int64_t>(sites_.size()));
  tensors_.rows = add_table("prefix_rows", config_.per_layer(), in, 0, 0);
  if (!config_.single) tensors_.maps.push_back(add_map("encoder.0", in, hidden, false));
  tensors_.maps.push_back(add_map(config_.single ? "encoder.0" : "encoder.1", config_.single ? in : hidden, out, true));
}

/// Rows [L,P,width] or [P,width]; those of layer i start as the text's slot `slot + i slot_step`.
at::Tensor PrefixMethod::add_table(const std::string& name, bool per_layer, int64_t width, int64_t slot,
                                   int64_t slot_step) {
  std::vector<int64_t> shape{config_.num_virtual_tokens, width};
  if (per_layer) shape.insert(shape.begin(), static_cast<int64_t>(sites_.size()));
  const bool from_text = config_.from_text() && !config_.deep();
  const auto fill = [&](int64_t k, std::span<float> values) {
    const RngStream stream = init_stream(k, name);
    if (config_.init_weights == "uniform") {
      const float bound = std::sqrt(6.0F / static_cast<float>(model_.spec().first().width));  // no patches: p = 0
      stream.fill_uniform(values, -bound, bound);
    } else if (!from_text && (!config_.starts_at_zero() || config_.deep())) {  // deep: the last map is zero instead
      stream.fill_normal(values, 0.0F, static_cast<float>(config_.init_std));
    }
  };
  at::Tensor table = add_parameter(name, shape, config_.deep() ? "encoder" : "adapter", fill);
  for (int64_t k = 0; from_text && k < adapters(); ++k) {
    for (int64_t i = 0; i < table.size(1); ++i) table.detach()[k][i].copy_(text_[k][slot + i * slot_step]);
  }
  return table;
}

BankLinear PrefixMethod::add_map(const std::string& name, int64_t in, int64_t out, bool last) {
  const auto fill = [&](const std::string& tensor, bool bias) {
    return [this, tensor, bias, in, last](int64_t k, std::span<float> values) {
      if (last && config_.starts_at_zero()) return;
      if (!config_.network_std) {
        const float bound = 1.0F / std::sqrt(static_cast<float>(in));
        init_stream(k, tensor).fill_uniform(values, -bound, bound);
      } else if (!bias) {
        init_stream(k, tensor).fill_normal(values, 0.0F, static_cast<float>(*config_.network_std));
      }
    };
  };
  std::vector<int64_t> weight{in, out}, bias{out};
  if (config_.per_layer()) {
    for (auto* shape : {&weight, &bias}) shape->insert(shape->begin(), static_cast<int64_t>(sites_.size()));
  }
  BankLinear map;
  map.weight_NIO = add_parameter(name + ".weight", weight, "encoder", fill(name + ".weight", false));
  map.bias_NO = add_parameter(name + ".bias", bias, "encoder", fill(name + ".bias", true));
  parameters().back().decays = false;  // a bias, also where every layer has one
  return map;
}

/// What the frozen model makes of adapter k's text: slots [P,X].
std::vector<at::Tensor> PrefixMethod::text_slots(int64_t k) const {
  const at::NoGradGuard no_grad;
  const auto& own = dynamic_cast<const PrefixConfig&>(*bank_.configs.at(k));  // texts may differ within a bank
  const auto inputs = layer_inputs(model_, initial_text_ids(bank_.tokenizer, *own.init_text, own.num_virtual_tokens,
                                                            "init_weights: \"text\"", "init_text"));
  std::vector<at::Tensor> slots;
  for (const Attention* site : sites_) {
    const at::Tensor& x = inputs[site->layer];
    for (const Linear* map : {&site->key, &site->value}) {
      if (map == &site->value && config_.simple()) continue;
      slots.push_back(config_.through() ? x : through_map(model_, *site, *map, x, true));
    }
  }
  return slots;
}

bool PrefixMethod::masks_per_sequence() const {
  return config_.dropout_scope == "sequence" && DropoutSite{context_, kDropout, rates_}.active();
}

void PrefixMethod::begin_pass(const DropoutContext& context) {
  Method::begin_pass(context);
  slots_ = masked_slots(tensors_);
  const DropoutSite site{context_, kDropout, rates_};
  if (masks_per_sequence()) return;  // embed() knows the sequences
  if (site.active()) {
    const Batch each = one_sequence_each(adapters(), config_.num_virtual_tokens, model_.device());
    const auto count = static_cast<int64_t>(slots_.size());
    slots_ = unstacked(dropped_rows(at::cat(slots_, -1), *each, site), count);
  }
  pairs_ = pairs_of(slots_);
}

Embedded PrefixMethod::embed(const at::Tensor& /*ids_T*/, const Batch& rows) {
  if (masks_per_sequence()) {
    const at::Tensor rows_BPF = dropped_rows(at::cat(slots_, -1), *rows, {context_, kDropout, rates_});
    pairs_ = pairs_of(unstacked(rows_BPF, static_cast<int64_t>(slots_.size())));
    for (PrefixKV& pair : pairs_) pair.per_sequence = pair.defined();
  }
  return {};
}

std::vector<at::Tensor> PrefixMethod::masked_slots(const PrefixTensors& tensors) const {
  const std::vector<at::Tensor> slots = tensors.slots(width_);
  return config_.simple() ? slots : keys_and_values(slots);
}

std::vector<at::Tensor> PrefixMethod::keys_and_values(const std::vector<at::Tensor>& slots) const {
  std::vector<at::Tensor> both;
  for (std::size_t i = 0; i < sites_.size(); ++i) {
    const Attention& site = *sites_[i];
    at::Tensor key = slots[config_.simple() ? i : 2 * i], value = slots[config_.simple() ? i : 2 * i + 1];
    if (config_.through()) {
      key = through_map(model_, site, site.key, key, config_.through_norm);
      value = through_map(model_, site, site.value, value, config_.through_norm);
    }
    both.insert(both.end(), {key, value});
  }
  return both;
}

std::vector<PrefixKV> PrefixMethod::pairs_of(const std::vector<at::Tensor>& slots) const {
  const std::vector<at::Tensor> both = config_.simple() ? keys_and_values(slots) : slots;
  std::vector<PrefixKV> pairs(model_.attentions().size());
  for (std::size_t i = 0; i < sites_.size(); ++i) {
    const Attention& site = *sites_[i];
    const auto heads = [&](const at::Tensor& x) { return x.unflatten(-1, {site.kv_heads, site.head_dim}); };
    pairs[site.number] = {heads(both[2 * i]), heads(both[2 * i + 1])};
  }
  return pairs;
}

std::vector<int64_t> PrefixMethod::layers() const {
  std::vector<int64_t> layers;
  for (const Attention* site : sites_) layers.push_back(site->layer);
  return layers;
}

AdapterFiles PrefixMethod::fold(int64_t k) const {
  const at::NoGradGuard no_grad;
  const StackSpec& stack = model_.spec().first();
  AdapterFiles files;
  files.config = base_config("PREFIX_TUNING");
  files.config.update({{"num_virtual_tokens", config_.num_virtual_tokens},
                       {"token_dim", key_width_},
                       {"num_attention_heads", stack.kv_heads},
                       {"num_layers", stack.depth()},
                       {"num_transformer_submodules", 1},
                       {"prefix_projection", false},
                       {"encoder_hidden_size", stack.width}});
  if (static_cast<int64_t>(sites_.size()) < stack.depth()) add_custom_keys(files.config, {{"layers", layers()}});
  if (!config_.shifts_positions()) add_custom_keys(files.config, {{"position_shift", "off"}});
  const auto pairs = pairs_of(masked_slots(tensors_.slice(k)));
  at::Tensor table_P2LGD = at::zeros({config_.num_virtual_tokens, 2 * stack.depth(), stack.kv_heads, stack.head_dim},
                                     parameters().front().value.options());
  for (const Attention* site : sites_) {
    table_P2LGD.select(1, 2 * site->layer).copy_(pairs[site->number].k_KPGD[0]);
    table_P2LGD.select(1, 2 * site->layer + 1).copy_(pairs[site->number].v_KPGD[0]);
  }
  files.tensors["prompt_embeddings"] = table_P2LGD.flatten(1);
  fold_head(k, kPromptPrefix, files);
  return files;
}

void PrefixMethod::load(int64_t k, const AdapterFiles& files, bool head) {
  if (stores_trained_values())
    throw_error<DataError>("{}: a folded prefix has no values for sharing \"{}\"", files.origin, config_.sharing);
  const std::vector<int64_t> shape{config_.num_virtual_tokens, 2 * model_.spec().first().depth() * key_width_};
  const auto table = files.tensors.find("prompt_embeddings");
  if (table == files.tensors.end() || table->second.sizes() != shape) {
    throw_error<DataError>(
        "{}/adapter_model.safetensors: tensor prompt_embeddings {}, expected shape [{}]", files.origin,
        table == files.tensors.end() ? "is missing"
                                     : fmt::format("has shape [{}]", fmt::join(table->second.sizes(), ", ")),
        fmt::join(shape, ", "));
  }
  const auto source = recognise_prefix(files);
  const auto& theirs = dynamic_cast<const PrefixConfig&>(*source);
  if (const auto found = chosen_layers(theirs.layers, model_.spec().first().depth()); found != layers())
    throw_error<DataError>("{}/adapter_config.json: layers: found [{}], expected [{}]", files.origin,
                           fmt::join(found, ", "), fmt::join(layers(), ", "));
  const at::Tensor pairs_2LPY = table->second.unflatten(1, {-1, key_width_}).transpose(0, 1);
  for (std::size_t i = 0; i < sites_.size(); ++i) {
    const auto row = static_cast<int64_t>(i), layer = sites_[i]->layer;
    tensors_.key_KLPX.detach()[k][row].copy_(pairs_2LPY[2 * layer]);
    tensors_.value_KLPX.detach()[k][row].copy_(pairs_2LPY[2 * layer + 1]);
  }
  if (head) load_head(k, kPromptPrefix, files);
}

std::unique_ptr<MethodConfig> recognise_prefix(const AdapterFiles& files) {
  if (!files.has_type("PREFIX_TUNING")) return nullptr;
  auto config = std::make_unique<PrefixConfig>();
  files.read("num_virtual_tokens", config->num_virtual_tokens);
  check_prompt_rows(files, config->num_virtual_tokens);
  std::vector<int64_t> layers;
  files.read("layers", layers);
  if (!layers.empty()) config->layers = layers;
  files.read("position_shift", config->position_shift);
  return config;
}

/// Keys in the even, values in the odd columns of every layer's part: to keys first, then values, as peft has them.     [P, 2 L Y]
std::optional<AdapterFiles> import_prefix(const ReleasedFiles& released) {
  if (!released.interleaved) return std::nullopt;
  AdapterFiles files = released.files;
  int64_t layers = 0;
  files.read("num_layers", layers);
  const at::Tensor& table = released.required("prompt_embeddings", 2);
  if (layers < 1 || table.size(1) % (2 * layers) != 0) {
    throw_error<DataError>("{}/adapter_config.json: num_layers: found {}, but prompt_embeddings has {} columns",
                           files.origin, layers, table.size(1));
  }
  files.config["peft_type"] = "PREFIX_TUNING";
  files.tensors["prompt_embeddings"] = table.unflatten(1, {layers, -1, 2}).transpose(2, 3).flatten(1).contiguous();
  return files;
}

}  // namespace peft
