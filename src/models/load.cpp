#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "peft/base/error.h"
#include "peft/base/hash.h"
#include "peft/models/transformer.h"
#include "src/models/fused.h"
#include "src/models/model_tensors.h"

namespace peft {
namespace {

class Loader {
 public:
  Loader(const std::filesystem::path& folder, const ModelSpec& spec, at::ScalarType dtype, at::Device device)
      : tensors_(folder, spec), options_(at::TensorOptions().dtype(dtype).device(device)) {}

  /// Tables of one name are one tensor: the word embeddings of an encoder and its decoder.
  at::Tensor table(const std::string& module, int64_t rows, int64_t width) {
    if (module.empty()) return {};
    at::Tensor& table = tables_[module];
    if (!table.defined()) table = take(module + ".weight", {rows, width});
    return table;
  }
  Norm norm(const std::string& module, const StackSpec& stack) {
    if (module.empty()) return {};
    Norm norm{module, take(module + ".weight", {stack.width}), {}};
    if (stack.norm == NormKind::layer_norm && stack.norm_bias) norm.bias_C = take(module + ".bias", {stack.width});
    return norm;
  }
  /// A size of -1 accepts any.
  Linear linear(const std::string& module, Role role, int64_t out, int64_t in, bool bias, bool input_major = false) {
    if (module.empty()) return {};
    Linear linear{.module = module, .role = role, .weight_OC = {}, .bias_O = {}, .input_major = input_major};
    linear.weight_OC = input_major ? take(module + ".weight", {in, out}).t() : take(module + ".weight", {out, in});
    if (bias) linear.bias_O = take(module + ".bias", {linear.out_features()});
    return linear;
  }
  at::Tensor vector(const std::string& name, int64_t size) { return name.empty() ? at::Tensor() : take(name, {size}); }
  bool has(const std::string& module) const { return tensors_.contains(module + ".weight"); }
  NamedModelTensors& tensors() { return tensors_; }

 private:
  at::Tensor take(const std::string& name, std::initializer_list<int64_t> shape) {
    return tensors_.take(name, std::span(shape.begin(), shape.size())).to(options_);
  }
  NamedModelTensors tensors_;
  at::TensorOptions options_;
  std::map<std::string, at::Tensor> tables_;
};

Attention load_attention(Loader& loader, const AttentionSpec& spec, const StackSpec& stack) {
  const int64_t width = stack.width, queries = stack.heads * stack.head_dim, keys = stack.key_width();
  const bool bias = stack.query_key_value_bias;
  Attention site{.spec = spec, .heads = stack.heads, .kv_heads = stack.kv_heads, .head_dim = stack.head_dim};
  const auto map = [&](const std::string& module, Role role, int64_t out) {
    return loader.linear(module, role, out, width, bias, stack.input_major);
  };
  site.query = map(spec.query, Role::query, queries);
  site.key = map(spec.key, Role::key, keys);
  site.value = map(spec.value, Role::value, keys);
  site.qkv = map(spec.qkv, Role::qkv, queries + 2 * keys);
  site.output =
      loader.linear(spec.output, Role::attention_output, width, queries, stack.output_bias, stack.input_major);
  site.norm = loader.norm(spec.norm, stack);
  if (spec.source == KeySource::self && spec.qkv.empty()) fuse(site);
  view_parts(site);
  return site;
}

FeedForward load_feed_forward(Loader& loader, const FeedForwardSpec& spec, const StackSpec& stack) {
  const auto map = [&](const std::string& module, Role role, int64_t out, int64_t in) {
    return loader.linear(module, role, out, in, stack.feed_forward_bias, stack.input_major);
  };
  return {.up = map(spec.up, Role::up, stack.feed_forward, stack.width),
          .gate = map(spec.gate, Role::gate, stack.feed_forward, stack.width),
          .down = map(spec.down, Role::down, stack.width, stack.feed_forward),
          .norm = loader.norm(spec.norm, stack)};
}

Stack load_stack(Loader& loader, const StackSpec& spec) {
  Stack stack{.spec = spec};
  const EmbeddingSpec& embedding = spec.embedding;
  stack.front_end = std::make_shared<TokenEmbedding>(
      spec, loader.table(embedding.word, embedding.vocabulary, spec.width),
      loader.table(embedding.position, embedding.positions, spec.width),
      loader.table(embedding.token_type, embedding.token_types, spec.width), loader.norm(embedding.norm, spec));
  if (const auto& bias = spec.relative_bias) {
    stack.relative_bias = {.table_NH = loader.table(bias->module, bias->buckets, spec.heads),
                           .bidirectional = bias->bidirectional,
                           .max_distance = bias->max_distance};
  }
  for (const LayerSpec& layer : spec.layers) {
    Layer& loaded = stack.layers.emplace_back();
    for (const AttentionSpec& attention : layer.attentions)
      loaded.attentions.push_back(load_attention(loader, attention, spec));
    loaded.feed_forward = load_feed_forward(loader, layer.feed_forward, spec);
  }
  stack.final_norm = loader.norm(spec.final_norm, spec);
  return stack;
}

void number_attentions(std::vector<Stack>& stacks) {
  int64_t number = 0;
  for (std::size_t s = 0; s < stacks.size(); ++s) {
    for (std::size_t l = 0; l < stacks[s].layers.size(); ++l) {
      for (Attention& site : stacks[s].layers[l].attentions) {
        site.stack = static_cast<int64_t>(s);
        site.layer = static_cast<int64_t>(l);
        site.number = number++;
      }
    }
  }
}

}  // namespace

std::string Transformer::fingerprint() const {
  Hasher hasher;
  hasher.add(hash_file(folder_ / "config.json"));
  const ModelTensors tensors(folder_);
  for (const SafetensorsFile& file : tensors.files()) hasher.add(hash_file(file.path()));
  return hasher.hex();
}

Transformer Transformer::load(const std::filesystem::path& folder, const std::string& dtype, at::Device device) {
  const std::string origin = (folder / "config.json").string();
  const Json config = read_json_file<DataError>(folder / "config.json");
  if (!config.is_object()) throw_error<DataError>("{}: found {}, expected an object", origin, config.type_name());
  const auto model_type = config_value<std::string>(config, "model_type", "", origin);
  const Architecture* architecture = architectures().find(model_type);
  if (architecture == nullptr) {
    throw_error<DataError>("{}: model_type \"{}\" is not supported (known: {})", origin, model_type,
                           fmt::join(architectures().names(), ", "));
  }

  Transformer model;
  model.folder_ = folder;
  model.spec_ = architecture->parse(config, origin);
  ModelSpec& spec = model.spec_;
  spec.model_type = model_type;
  if (const auto names = config.find("architectures"); names != config.end() && names->is_array() && !names->empty()) {
    spec.architecture = names->front().is_string() ? names->front().get<std::string>() : "";
  }
  spec.initializer_range = config_value(config, "initializer_range", 0.02, origin);
  spec.dtype =
      config_value<std::string>(config, "dtype", config_value<std::string>(config, "torch_dtype", "", origin), origin);

  model.device_ = device;
  model.dtype_ = at::kFloat;
  if (dtype != "auto") {
    model.dtype_ = parse_dtype(dtype, "model.dtype");
  } else if (spec.dtype == "bfloat16") {
    model.dtype_ = at::kBFloat16;
  } else if (spec.dtype.empty()) {
    model.dtype_ = NamedModelTensors(folder, spec).common_dtype();
  }

  Loader loader(folder, spec, model.dtype_, device);
  for (const StackSpec& stack : spec.stacks) model.stacks_.push_back(load_stack(loader, stack));
  number_attentions(model.stacks_);
  for (const auto& [kind, head] : spec.heads) {
    if (head.architecture == spec.architecture) spec.head_kind = kind;
    for (const HeadLayer& layer : head.layers) {
      // Without it a method brings its own, or using the head is an error then.
      if (!loader.has(layer.module) || model.head_.contains(layer.module)) continue;
      model.head_[layer.module] =
          loader.linear(layer.module, Role::head, layer.to_labels ? -1 : spec.width(), spec.width(), layer.bias);
    }
  }
  for (const HeadLayer& layer : spec.head())
    if (const Linear* own = model.head_linear(layer.module); own != nullptr && layer.to_labels)
      spec.labels = own->out_features();
  if (const auto& output = spec.output) {
    model.output_ = loader.linear(output->module, Role::head, spec.first().embedding.vocabulary, spec.width(), false);
    model.output_.bias_O = loader.vector(output->bias, spec.first().embedding.vocabulary);
  }
  loader.tensors().warn_unused();
  return model;
}

}  // namespace peft
