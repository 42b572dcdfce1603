#include "peft/interop/adapter_store.h"

#include <fmt/ranges.h>

#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/interop/adapter_folder.h"

namespace peft {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

void warn_of_unused(const Tensors& found, const Tensors& own, const std::string& origin) {
  std::vector<std::string> unused;
  for (const auto& [name, tensor] : found) {
    if (!own.contains(name)) unused.push_back(name);
  }
  if (!unused.empty()) log_warning("{}: not used: {}", origin, fmt::join(unused, ", "));
}

void restore_trained(const AdapterFiles& files, Method& method, int64_t k, bool head) {
  if (files.trained_type != method.type()) {
    throw_error<ConfigError>("{} holds {}, the method is {}", files.origin,
                             files.trained.empty() ? "no trained.safetensors (a folded adapter cannot be trained on)"
                                                   : "trained values of " + files.trained_type,
                             method.type());
  }
  method.load_trained(k, files.trained, files.origin + "/trained.safetensors", head);
  warn_of_unused(files.trained, method.trained_tensors(k), files.origin);
}

}  // namespace

void AdapterStore::save(const std::filesystem::path& folder, const Method& method, int64_t k) const {
  AdapterFiles files = method.fold(k);
  files.labels = labels;
  if (method.stores_trained_values()) {
    files.trained = method.trained_tensors(k);
    files.trained_type = method.type();
  }
  if (method.writes_model_folder()) {
    write_model_folder(folder, files, model);
  } else {
    write_adapter(folder, files);
  }
}

void AdapterStore::restore(const std::filesystem::path& folder, Method& method, int64_t k, bool head) const {
  if (method.writes_model_folder()) {
    method.load(k, read_model_folder(folder), head);
    return;
  }
  const AdapterFiles files = read_adapter(find_adapter(folder));
  if (method.stores_trained_values()) {
    restore_trained(files, method, k, head);
    return;
  }
  const auto source = recognise_adapter(files);
  if (!method.starts_from(*source))
    throw_error<ConfigError>("{} holds a {} adapter, the method is {}", files.origin, source->type, method.type());
  method.load(k, files, head);
  warn_of_unused(files.tensors, method.fold(k).tensors, files.origin);
}

}  // namespace peft
