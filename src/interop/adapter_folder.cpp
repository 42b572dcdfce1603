#include "peft/interop/adapter_folder.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/base/log.h"
#include "peft/interop/labels.h"
#include "peft/tensor/safetensors.h"
#include "peft/text/tokenizer.h"
#include "src/interop/unknown_keys.h"

namespace peft {
namespace {

namespace fs = std::filesystem;
constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kTensors = "adapter_model.safetensors";
constexpr const char* kTrained = "trained.safetensors";
constexpr const char* kLabels = "labels";
constexpr const char* kWrapper = ".base_layer";
constexpr int64_t kFormatVersion = 1;

/// Fills a fresh folder beside the target, then exchanges the two.
template <class Fill>
void fill_and_replace(const fs::path& folder, const Fill& fill) {
  const fs::path target = folder.has_filename() ? folder : folder.parent_path();  // without a slash at its end
  const fs::path fresh = target.string() + ".new";
  fs::remove_all(fresh);
  fs::create_directories(fresh);
  try {
    fill(fresh);
    replace_folder(fresh, target);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(fresh, ignored);
    throw;
  }
}

std::map<std::string, at::Tensor> all_tensors(const SafetensorsFile& file) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, entry] : file.entries()) tensors[name] = file.tensor(name);
  return tensors;
}

/// Metadata of adapter_model.safetensors, where peft looks at nothing: adapter_config.json with a key of ours would make it warn.
std::map<std::string, std::string> labels_text(const std::vector<std::string>& labels) {
  if (labels.empty()) return {};
  return {{kLabels, Json(labels).dump()}};
}

std::vector<std::string> read_labels(const SafetensorsFile& file) {
  const auto text = file.metadata().find(kLabels);
  if (text == file.metadata().end()) return {};
  try {
    return Json::parse(text->second).get<std::vector<std::string>>();
  } catch (const Json::exception&) {
    throw_error<DataError>("{}: metadata \"{}\": found {}, expected a list of strings", file.path().string(), kLabels,
                           text->second);
  }
}

/// The head's module that gives the labels.
std::string labels_module(const Transformer& model, const MethodConfig& config) {
  if (std::string own = config.labels_module(); !own.empty()) return own;
  for (const HeadLayer& layer : model.spec().head()) {
    if (layer.to_labels) return layer.module;
  }
  return {};
}

/// Rows of that layer where the files hold it, under either prefix that peft uses.
std::optional<int64_t> head_rows(const std::string& module, const AdapterFiles& files) {
  for (const char* prefix : {kTunerPrefix, kPromptPrefix}) {
    const auto it = files.tensors.find(prefix + module + ".weight");
    if (it != files.tensors.end() && it->second.dim() == 2) return it->second.size(0);
  }
  return std::nullopt;
}

/// Rows of the checkpoint's own head, which an adapter without task_type leaves in place (peft stores heads for tasks that it knows).
int64_t kept_head_rows(const Transformer& model, const std::string& module, const AdapterFiles& files,
                       const std::string& task_type) {
  const Linear* own = task_type.empty() ? model.head_linear(module) : nullptr;
  if (own == nullptr)
    throw_error<DataError>("{}/{}: tensor {}{}.weight is missing", files.origin, kTensors, kTunerPrefix, module);
  return own->out_features();
}

/// Frozen modules of the head that the files bring because the checkpoint has not: for modules_to_save; null when there are none.
Json brought_modules(const Transformer& model, const AdapterFiles& files) {
  Json modules;
  for (const HeadLayer& layer : model.spec().head()) {
    const bool brought = files.tensors.contains(kTunerPrefix + layer.module + ".weight") ||
                         files.tensors.contains(kPromptPrefix + layer.module + ".weight");
    if (brought && !layer.trained && model.head_linear(layer.module) == nullptr) modules.push_back(layer.module);
  }
  return modules;
}

/// What the file holds beyond the method's own tensors.
void apply_strays(Transformer& model, const Method& method, const AdapterFiles& folded, const AdapterFiles& files) {
  std::map<std::string, at::Tensor> overrides;
  std::vector<std::string> ignored;
  const auto base = model.named_tensors();
  for (const auto& [name, tensor] : files.tensors) {
    if (folded.tensors.contains(name) || method.has_read(name)) continue;
    std::string parameter = name;
    for (const std::string prefix : {kTunerPrefix, kPromptPrefix}) {
      if (name.starts_with(prefix)) {
        parameter = name.substr(prefix.size());
        break;
      }
    }
    // A map that peft targets stands inside its wrapper.
    if (const auto wrapper = parameter.rfind(kWrapper); wrapper != std::string::npos)
      parameter.erase(wrapper, std::string_view(kWrapper).size());
    const auto it = base.find(parameter);
    if (it == base.end()) {
      ignored.push_back(name);
    } else if (it->second.sizes() == tensor.sizes()) {
      overrides[parameter] = tensor;
    } else {
      throw_error<DataError>("{}/{}: tensor {} has shape [{}], expected [{}] as in the base model", files.origin,
                             kTensors, name, fmt::join(tensor.sizes(), ", "), fmt::join(it->second.sizes(), ", "));
    }
  }
  if (!ignored.empty()) log_warning("{}/{}: ignored: {}", files.origin, kTensors, fmt::join(ignored, ", "));
  if (overrides.empty()) return;
  model.unfuse();  // the fused map would keep the old values
  std::vector<std::string> replaced;
  model.for_tensors([&](const std::string& name, at::Tensor& tensor) {
    if (const auto it = overrides.find(name); it != overrides.end()) {
      tensor = it->second.to(tensor.options());
      replaced.push_back(name);
    }
  });
  log_warning("{}/{}: replaces {} of the base model, as peft does", files.origin, kTensors, fmt::join(replaced, ", "));
}

}  // namespace

fs::path find_adapter(const fs::path& path) {
  for (const fs::path& candidate : {path, path / "best", path / "last"}) {
    if (fs::exists(candidate / kConfig)) return candidate;
  }
  if (!fs::exists(path)) throw_error<DataError>("{}: no such folder", path.string());
  throw_error<DataError>("{}: no {}, nor best/ or last/ with one; it holds {}", path.string(), kConfig,
                         describe_folder(path));
}

AdapterFiles read_model_folder(const fs::path& path) {
  constexpr const char* kModel = "model.safetensors";
  for (const fs::path& folder : {path, path / "best", path / "last"}) {
    if (!fs::exists(folder / kModel)) continue;
    AdapterFiles files;
    files.origin = folder.string();
    files.tensors = all_tensors(SafetensorsFile(folder / kModel));
    files.labels = model_labels(folder);
    return files;
  }
  throw_error<DataError>("{}: no {}, nor best/ or last/ with one", path.string(), kModel);
}

AdapterFiles read_adapter(const fs::path& folder) {
  AdapterFiles files;
  files.origin = folder.string();
  files.config = read_json_file<DataError>(folder / kConfig);
  if (!files.config.is_object())
    throw_error<DataError>("{}/{}: found {}, expected an object", files.origin, kConfig, files.config.type_name());
  if (files.config.contains("library")) {
    int64_t version = 0;
    files.read("format_version", version);
    if (version > kFormatVersion) {
      throw_error<DataError>("{}/{}: format_version {} is newer than {}, the newest known to this program",
                             files.origin, kConfig, version, kFormatVersion);
    }
  }
  if (!fs::exists(folder / kTensors) && fs::exists(folder / "adapter_model.bin")) {
    const SafetensorsFile refused(folder / "adapter_model.bin");  // throws with the advice how to convert
  }
  const SafetensorsFile tensors(folder / kTensors);
  files.tensors = all_tensors(tensors);
  files.labels = read_labels(tensors);
  if (fs::exists(folder / kTrained)) {
    const SafetensorsFile trained(folder / kTrained);
    files.trained = all_tensors(trained);
    if (const auto type = trained.metadata().find("method"); type != trained.metadata().end())
      files.trained_type = type->second;
  }
  return files;
}

void write_adapter(const fs::path& folder, const AdapterFiles& files) {
  fill_and_replace(folder, [&](const fs::path& fresh) {
    write_atomic(fresh / kConfig, to_pretty_string(files.config));
    write_safetensors(fresh / kTensors, files.tensors, labels_text(files.labels));
    if (!files.trained.empty()) write_safetensors(fresh / kTrained, files.trained, {{"method", files.trained_type}});
    for (const auto& [name, text] : files.documents) write_atomic(fresh / name, text);
  });
}

void write_model_folder(const fs::path& folder, const AdapterFiles& files, const Transformer& model) {
  Json config = read_json_file<DataError>(model.folder() / "config.json");
  Json id2label = Json::object(), label2id = Json::object();
  for (std::size_t i = 0; i < files.labels.size(); ++i) {
    id2label[std::to_string(i)] = files.labels[i];
    label2id[files.labels[i]] = i;
  }
  const int outputs = model.spec().head_kind == HeadKind::span ? 2 : 1;
  for (int i = 0; files.labels.empty() && i < outputs; ++i) id2label[std::to_string(i)] = fmt::format("LABEL_{}", i);
  config["id2label"] = id2label;
  config["label2id"] = label2id;
  config.erase("num_labels");
  config["architectures"] = {model.spec().head_spec().architecture};
  config["dtype"] = "float32";
  config.erase("torch_dtype");
  fill_and_replace(folder, [&](const fs::path& fresh) {
    for (const char* name : kTokenizerFiles) {
      if (fs::exists(model.folder() / name)) write_atomic(fresh / name, MappedFile(model.folder() / name).text());
    }
    write_atomic(fresh / "config.json", to_pretty_string(config));
    write_safetensors(fresh / "model.safetensors", files.tensors);
    for (const auto& [name, text] : files.documents) write_atomic(fresh / name, text);
  });
}

LoadedAdapter load_adapter(Transformer& model, const fs::path& path, const Tokenizer* tokenizer) {
  const AdapterFiles files = read_adapter(find_adapter(path));
  std::string task_type;
  files.read("task_type", task_type);
  const bool has_no_head = task_type == kCausalLanguageModel || task_type == kSequenceToSequence;
  const auto head = head_of_task_type(task_type);
  if (!task_type.empty() && !head && !(has_no_head && model.spec().output)) {
    throw_error<DataError>("{}/{}: task_type: \"{}\" is not supported, expected \"{}\", \"{}\", \"{}\" or null",
                           files.origin, kConfig, task_type, kSequenceClassification, kTokenClassification,
                           kQuestionAnswering);
  }
  if (head) model.choose_head(*head);
  LoadedAdapter loaded;
  loaded.config = recognise_adapter(files);
  loaded.config->modules_to_save = brought_modules(model, files);
  loaded.labels = files.labels;
  loaded.head = model.spec().head_kind;
  const std::string module = labels_module(model, *loaded.config);
  const std::optional<int64_t> rows = head_rows(module, files);
  if (!has_no_head) loaded.outputs = rows ? *rows : kept_head_rows(model, module, files, task_type);
  if (!rows && loaded.labels.empty() && loaded.outputs > 0)
    loaded.labels = model_labels(model.folder(), loaded.outputs);
  if (!files.labels.empty() && static_cast<int64_t>(files.labels.size()) != loaded.outputs) {
    throw_error<DataError>("{}/{}: {} labels for a head of {} outputs", files.origin, kTensors, files.labels.size(),
                           loaded.outputs);
  }
  try {
    loaded.method = make_method(model, {.configs = {loaded.config.get()},
                                        .seeds = {0},
                                        .outputs = loaded.outputs,
                                        .tokenizer = tokenizer,
                                        .from_files = true});
  } catch (const ConfigError& error) {  // its keys are those of a file here, not of the user's config
    throw_error<DataError>("{}/{}: {}", files.origin, kConfig, error.what());
  }
  loaded.method->load(0, files, rows.has_value());
  if (!rows && !has_no_head) {  // the checkpoint's head stays, but for what the files hold of it (bias "all" without a
                                // task type)
    AdapterFiles whole = files;
    whole.tensors.merge(loaded.method->fold(0).tensors);
    loaded.method->load(0, whole, true);
  }
  const AdapterFiles folded = loaded.method->fold(0);
  apply_strays(model, *loaded.method, folded, files);
  warn_of_unknown_keys(*loaded.config, folded.config, files);
  try {
    for (const std::string& entry : loaded.method->idle_entries(files))
      log_warning("{}/{}: {}", files.origin, kConfig, entry);
  } catch (const ConfigError& error) {  // an expression that nothing here depends on
    log_warning("{}/{}: {}", files.origin, kConfig, error.what());
  }
  return loaded;
}

}  // namespace peft
