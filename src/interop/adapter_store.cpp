#include "peft/interop/adapter_store.h"

#include <fmt/ranges.h>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/base/log.h"
#include "peft/interop/adapter_folder.h"
#include "peft/interop/labels.h"

namespace peft {
namespace {

namespace fs = std::filesystem;
using Tensors = std::map<std::string, at::Tensor>;

std::map<std::string, std::string> documents(const AdapterStore& store, const std::string& peft_type) {
  if (store.description.task.name.empty()) return {};
  return {{"task.json", to_text(store.description)},
          {"README.md", model_card(store.description, store.labels, peft_type)}};
}

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

void AdapterStore::save(const fs::path& folder, const Method& method, int64_t k) const {
  AdapterFiles files = method.fold(k);
  files.labels = labels;
  if (method.stores_trained_values()) {
    files.trained = method.trained_tensors(k);
    files.trained_type = method.type();
  }
  if (const std::string name = model_name(model.folder()); !name.empty() && !method.writes_model_folder())
    files.config["base_model_name_or_path"] = name;  // else the path is all there is to say
  files.documents = documents(*this, method.writes_model_folder() ? "" : files.config.value("peft_type", ""));
  if (method.writes_model_folder()) {
    write_model_folder(folder, files, model);
  } else {
    write_adapter(folder, files);
  }
}

void AdapterStore::describe(const fs::path& folder) const {
  std::string peft_type;
  if (fs::exists(folder / "adapter_config.json"))
    peft_type = read_json_file<DataError>(folder / "adapter_config.json").value("peft_type", "");
  for (const auto& [name, text] : documents(*this, peft_type)) write_atomic(folder / name, text);
}

void AdapterStore::restore(const fs::path& folder, Method& method, int64_t k, bool head) const {
  const AdapterFiles files =
      method.writes_model_folder() ? read_model_folder(folder) : read_adapter(find_adapter(folder));
  bool has_labels = trains_labels(model, method);  // a label layer that stays frozen is not read from trained values
  if (method.writes_model_folder()) {
    method.load(k, files, head);
  } else if (method.stores_trained_values()) {
    restore_trained(files, method, k, head);
  } else {
    const auto source = recognise_adapter(files);
    if (!method.starts_from(*source))
      throw_error<ConfigError>("{} holds a {} adapter, the method is {}", files.origin, source->type, method.type());
    method.load(k, files, head);
    has_labels = true;
    warn_of_unused(files.tensors, method.fold(k).tensors, files.origin);
  }
  if (head && has_labels) order_labels(model, method, k, files.labels, labels, files.origin);
}

void AdapterStore::check(const std::filesystem::path& folder, const Method& method) {
  if (!std::filesystem::exists(folder)) throw_error<DataError>("{}: missing", folder.string());
  if (method.writes_model_folder()) {
    read_model_folder(folder);
    return;
  }
  const AdapterFiles files = read_adapter(folder);
  if (method.stores_trained_values() && files.trained.empty())
    throw_error<DataError>("{}/trained.safetensors: missing", folder.string());
}

}  // namespace peft
