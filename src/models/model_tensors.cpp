#include "src/models/model_tensors.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <regex>

#include "peft/base/error.h"
#include "peft/base/log.h"

namespace peft {
namespace {

/// TensorFlow-era checkpoints call a norm's weight gamma and its bias beta.
std::string renamed(const std::string& name) {
  for (const auto& [old, current] : {std::pair{".gamma", ".weight"}, std::pair{".beta", ".bias"}}) {
    if (name.ends_with(old)) return name.substr(0, name.size() - std::string_view(old).size()) + current;
  }
  return name;
}

bool starts_with_any(const std::string& name, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const std::string& prefix) { return name.starts_with(prefix); });
}

}  // namespace

NamedModelTensors::NamedModelTensors(const std::filesystem::path& folder, const ModelSpec& spec)
    : tensors_(folder),
      model_type_(spec.model_type),
      file_(tensors_.files().size() == 1 ? tensors_.files().front().path() : folder / "model.safetensors.index.json") {
  std::vector<std::regex> ignorable;
  for (const std::string& pattern : spec.ignorable) ignorable.emplace_back(pattern);
  const auto names = tensors_.names();
  const bool prefixed =
      std::any_of(names.begin(), names.end(), [&](const std::string& n) { return n.starts_with(spec.base_prefix); });
  for (const std::string& name : names) {
    if (std::any_of(ignorable.begin(), ignorable.end(), [&](const std::regex& r) { return std::regex_match(name, r); }))
      continue;
    std::string wanted = renamed(name);
    if (!prefixed && !starts_with_any(wanted, spec.head_prefixes)) wanted = spec.base_prefix + wanted;
    if (!original_.emplace(wanted, name).second) {
      throw_error<DataError>("{}: tensors {} and {} are two spellings of {}", file_, original_.at(wanted), name,
                             wanted);
    }
  }
}

at::Tensor NamedModelTensors::take(const std::string& name, std::span<const int64_t> shape) {
  const auto it = original_.find(name);
  if (it == original_.end())
    throw_error<DataError>("{}: tensor {} is missing; model_type \"{}\" needs it", file_, name, model_type_);
  taken_.insert(name);
  const TensorEntry& entry = tensors_.entry(it->second);
  const std::string file = tensors_.file_of(it->second).path().string();
  const bool fits = std::equal(entry.shape.begin(), entry.shape.end(), shape.begin(), shape.end(),
                               [](int64_t found, int64_t expected) { return expected < 0 || found == expected; });
  if (!fits) {
    throw_error<DataError>("{}: tensor {} has shape [{}], expected [{}] by config.json", file, it->second,
                           fmt::join(entry.shape, ", "), fmt::join(shape, ", "));
  }
  at::Tensor tensor = tensors_.tensor(it->second);
  if (!tensor.is_floating_point()) {
    throw_error<DataError>("{}: tensor {} has dtype {}, expected a floating-point one", file, it->second, entry.dtype);
  }
  return tensor;
}

void NamedModelTensors::warn_unused() const {
  std::vector<std::string> unused;
  for (const auto& [name, original] : original_) {
    if (!taken_.contains(name)) unused.push_back(original);
  }
  if (unused.empty()) return;
  const std::size_t count = unused.size();
  if (count > 5) unused.resize(5);
  log_warning("{}: {} tensors are not used by this architecture: {}{} (model_type \"{}\")", file_, count,
              fmt::join(unused, ", "), count > 5 ? ", ..." : "", model_type_);
}

at::ScalarType NamedModelTensors::common_dtype() const {
  std::map<std::string, int64_t> bytes;
  for (const auto& [name, original] : original_) {
    const TensorEntry& entry = tensors_.entry(original);
    if (entry.dtype == "F32" || entry.dtype == "BF16" || entry.dtype == "F16" || entry.dtype == "F64") {
      bytes[entry.dtype] += static_cast<int64_t>(entry.end - entry.begin);
    }
  }
  const auto most =
      std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most != bytes.end() && most->first == "BF16" ? at::kBFloat16 : at::kFloat;
}

at::ScalarType parse_dtype(const std::string& name, const std::string& origin) {
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  if (name == "float64") return at::kDouble;
  throw_error<ConfigError>("{}: dtype \"{}\" is not supported (known: float32, bfloat16, auto)", origin, name);
}

}  // namespace peft
