#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "peft/base/error.h"
#include "peft/base/hash.h"
#include "peft/models/transformer.h"
#include "src/models/model_tensors.h"

namespace peft {
namespace {

std::string with_layer(const std::string& pattern, int64_t layer) { return fmt::format(fmt::runtime(pattern), layer); }

class Loader {
 public:
  Loader(const std::filesystem::path& folder, const ModelSpec& spec, at::ScalarType dtype, at::Device device)
      : tensors_(folder, spec), options_(at::TensorOptions().dtype(dtype).device(device)) {}

  at::Tensor table(const std::string& module, int64_t rows, int64_t width) {
    return take(module + ".weight", {rows, width});
  }

  Norm norm(const std::string& module, const StackSpec& stack) {
    Norm norm{module, take(module + ".weight", {stack.width}), {}};
    if (stack.norm == NormKind::layer_norm) norm.bias_C = take(module + ".bias", {stack.width});
    return norm;
  }
  Linear linear(const std::string& module, int64_t out, int64_t in) {
    if (module.empty()) return {};
    Linear linear{module, take(module + ".weight", {out, in}), {}};
    if (tensors_.contains(module + ".bias")) linear.bias_O = take(module + ".bias", {linear.out_features()});
    return linear;
  }
  bool has(const std::string& module) const { return tensors_.contains(module + ".weight"); }
  NamedModelTensors& tensors() { return tensors_; }

 private:
  at::Tensor take(const std::string& name, std::initializer_list<int64_t> shape) {
    return tensors_.take(name, std::span(shape.begin(), shape.size())).to(options_);
  }
  NamedModelTensors tensors_;
  at::TensorOptions options_;
};

/// One [3 H D, C] map; query, key and value become views of its rows, so nothing is held twice.
void fuse(Layer& layer) {
  Linear& fused = layer.qkv;
  fused.module = layer.query.module + "+key+value";
  fused.weight_OC = at::cat({layer.query.weight_OC, layer.key.weight_OC, layer.value.weight_OC});
  if (layer.query.bias_O.defined()) fused.bias_O = at::cat({layer.query.bias_O, layer.key.bias_O, layer.value.bias_O});
  int64_t row = 0;
  for (Linear* part : {&layer.query, &layer.key, &layer.value}) {
    const int64_t rows = part->out_features();
    part->weight_OC = fused.weight_OC.narrow(0, row, rows);
    if (part->bias_O.defined()) part->bias_O = fused.bias_O.narrow(0, row, rows);
    row += rows;
  }
}

Layer load_layer(Loader& loader, const StackSpec& stack, int64_t i) {
  const LayerSlots& slots = stack.slots;
  const int64_t width = stack.width, queries = stack.heads * stack.head_dim, keys = stack.kv_heads * stack.head_dim;
  Layer layer;
  layer.query = loader.linear(with_layer(slots.query, i), queries, width);
  layer.key = loader.linear(with_layer(slots.key, i), keys, width);
  layer.value = loader.linear(with_layer(slots.value, i), keys, width);
  layer.attention_output = loader.linear(with_layer(slots.attention_output, i), width, queries);
  layer.attention_norm = loader.norm(with_layer(slots.attention_norm, i), stack);
  layer.up = loader.linear(with_layer(slots.up, i), stack.feed_forward, width);
  if (!slots.gate.empty()) layer.gate = loader.linear(with_layer(slots.gate, i), stack.feed_forward, width);
  layer.down = loader.linear(with_layer(slots.down, i), width, stack.feed_forward);
  layer.feed_forward_norm = loader.norm(with_layer(slots.feed_forward_norm, i), stack);
  fuse(layer);
  return layer;
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
  spec.embedding.padding = config_value<int64_t>(config, "pad_token_id", spec.embedding.padding, origin);
  spec.dtype =
      config_value<std::string>(config, "dtype", config_value<std::string>(config, "torch_dtype", "", origin), origin);

  at::ScalarType type = at::kFloat;
  if (dtype != "auto") {
    type = parse_dtype(dtype, "model.dtype");
  } else if (spec.dtype == "bfloat16") {
    type = at::kBFloat16;
  } else if (spec.dtype.empty()) {
    type = NamedModelTensors(folder, spec).common_dtype();
  }

  Loader loader(folder, spec, type, device);
  const EmbeddingSpec& embedding = spec.embedding;
  model.word_ = loader.table(embedding.word, embedding.vocabulary, spec.stack.width);
  if (embedding.scheme == Positions::learned)
    model.position_ = loader.table(embedding.position, embedding.positions, spec.stack.width);
  if (!embedding.token_type.empty())
    model.token_type_ = loader.table(embedding.token_type, embedding.token_types, spec.stack.width);
  if (!embedding.norm.empty()) model.embedding_norm_ = loader.norm(embedding.norm, spec.stack);
  for (int64_t i = 0; i < spec.stack.layers; ++i) model.layers_.push_back(load_layer(loader, spec.stack, i));
  for (const HeadLayer& layer : spec.head) {
    if (!loader.has(layer.module)) continue;  // a method brings its own, or using the head is an error then
    model.head_[layer.module] = loader.linear(layer.module, layer.to_labels ? -1 : spec.stack.width, spec.stack.width);
    if (layer.to_labels) spec.labels = model.head_[layer.module].out_features();
  }
  loader.tensors().warn_unused();
  return model;
}

}  // namespace peft
