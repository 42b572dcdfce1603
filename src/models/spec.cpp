#include "peft/models/spec.h"

#include <algorithm>
#include <map>

#include "peft/base/error.h"

namespace peft {

Registry<Architecture>& architectures() {
  static Registry<Architecture> registry("model_type");
  return registry;
}

template <class T>
T config_value(const Json& config, const std::string& key, T fallback, const std::string& origin) {
  const auto it = config.find(key);
  if (it == config.end() || it->is_null()) return fallback;
  bool fits = false;
  const char* expected = "";
  if constexpr (std::is_same_v<T, bool>) {
    fits = it->is_boolean();
    expected = "true or false";
  } else if constexpr (std::is_same_v<T, std::string>) {
    fits = it->is_string();
    expected = "a string";
  } else if constexpr (std::is_integral_v<T>) {
    fits = it->is_number_integer() && it->get<int64_t>() >= 0;
    expected = "an integer >= 0";
  } else {
    fits = it->is_number();
    expected = "a number";
  }
  if (!fits) throw_error<DataError>("{}: {}: found {}, expected {}", origin, key, it->dump(), expected);
  return it->get<T>();
}

template bool config_value(const Json&, const std::string&, bool, const std::string&);
template int64_t config_value(const Json&, const std::string&, int64_t, const std::string&);
template double config_value(const Json&, const std::string&, double, const std::string&);
template std::string config_value(const Json&, const std::string&, std::string, const std::string&);

bool decoder_only(const ModelSpec& spec) {
  const auto causal = [](const LayerSpec& layer) {
    return std::all_of(layer.attentions.begin(), layer.attentions.end(),
                       [](const AttentionSpec& a) { return a.causal; });
  };
  return spec.stacks.size() == 1 && std::all_of(spec.first().layers.begin(), spec.first().layers.end(), causal);
}

double config_probability(const Json& config, const std::string& key, double fallback, const std::string& origin) {
  const auto p = config_value(config, key, fallback, origin);
  if (!(p >= 0.0 && p < 1.0))
    throw_error<DataError>("{}: {}: found {}, expected a number in [0, 1)", origin, key, Json(p).dump());
  return p;
}

void share_width(StackSpec& stack, const std::string& width_key, const std::string& heads_key,
                 const std::string& origin) {
  if (stack.width < 1 || stack.heads < 1 || stack.width % stack.heads != 0)
    throw_error<DataError>("{}: {} {} is not a multiple of {} {}", origin, width_key, stack.width, heads_key,
                           stack.heads);
  stack.kv_heads = stack.heads;
  stack.head_dim = stack.width / stack.heads;
}

const HeadSpec& ModelSpec::head_spec() const {
  static const HeadSpec none;
  const auto found = heads.find(head_kind);
  return found == heads.end() ? none : found->second;
}

std::vector<LayerSpec> numbered_layers(const LayerSpec& layer, int64_t count) {
  std::vector<LayerSpec> layers(static_cast<std::size_t>(count), layer);
  for (int64_t i = 0; i < count; ++i) {
    const auto number = [i](std::string& module) {
      if (const auto place = module.find("{}"); place != std::string::npos) module.replace(place, 2, std::to_string(i));
    };
    for (AttentionSpec& a : layers[i].attentions) {
      for (std::string* module : {&a.module, &a.query, &a.key, &a.value, &a.output, &a.norm, &a.qkv}) number(*module);
    }
    FeedForwardSpec& block = layers[i].feed_forward;
    for (std::string* module : {&block.up, &block.gate, &block.down, &block.norm}) number(*module);
  }
  return layers;
}

int64_t config_labels(const Json& config, int64_t fallback) {
  if (const auto names = config.find("id2label"); names != config.end() && names->is_object())
    return static_cast<int64_t>(names->size());
  if (const auto count = config.find("num_labels"); count != config.end() && count->is_number_integer())
    return count->get<int64_t>();
  return fallback;
}

int64_t config_layers(const Json& config, const std::string& key, int64_t fallback, const std::string& origin) {
  const auto layers = config_value<int64_t>(config, key, fallback, origin);
  if (layers < 1) throw_error<DataError>("{}: {}: found {}, expected at least 1", origin, key, layers);
  // A spec names every layer: a broken number must not fill the memory before a tensor is missed.
  constexpr int64_t kMost = 10000;
  if (layers > kMost) throw_error<DataError>("{}: {}: found {}, expected at most {}", origin, key, layers, kMost);
  return layers;
}

Activation config_activation(const Json& config, const std::string& key, const std::string& fallback,
                             const std::string& origin) {
  static const std::map<std::string, Activation> known{
      {"gelu", Activation::gelu}, {"gelu_new", Activation::gelu_tanh}, {"gelu_pytorch_tanh", Activation::gelu_tanh},
      {"relu", Activation::relu}, {"silu", Activation::silu},          {"swish", Activation::silu}};
  const auto name = config_value<std::string>(config, key, fallback, origin);
  if (const auto it = known.find(name); it != known.end()) return it->second;
  throw_error<DataError>(
      "{}: {}: activation \"{}\" is not supported (known: gelu, gelu_new, gelu_pytorch_tanh, relu, silu, swish)",
      origin, key, name);
}

}  // namespace peft
