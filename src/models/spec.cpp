#include "peft/models/spec.h"

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

int64_t config_labels(const Json& config, int64_t fallback) {
  if (const auto names = config.find("id2label"); names != config.end() && names->is_object())
    return static_cast<int64_t>(names->size());
  if (const auto count = config.find("num_labels"); count != config.end() && count->is_number_integer())
    return count->get<int64_t>();
  return fallback;
}

Activation parse_activation(const std::string& name, const std::string& origin) {
  static const std::map<std::string, Activation> known{
      {"gelu", Activation::gelu}, {"gelu_new", Activation::gelu_tanh}, {"gelu_pytorch_tanh", Activation::gelu_tanh},
      {"relu", Activation::relu}, {"silu", Activation::silu},          {"swish", Activation::silu}};
  if (const auto it = known.find(name); it != known.end()) return it->second;
  throw_error<DataError>(
      "{}: activation \"{}\" is not supported (known: gelu, gelu_new, gelu_pytorch_tanh, relu, silu, swish)", origin,
      name);
}

}  // namespace peft
