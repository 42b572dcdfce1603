#include "src/apps/tool_inspect_report.h"

#include <initializer_list>
#include <optional>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/base/json.h"
#include "peft/interop/description.h"
#include "peft/tensor/safetensors.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

constexpr auto kTokenizerFiles = {"tokenizer.json",    "tokenizer_config.json",
                                  "vocab.txt",         "vocab.json",
                                  "merges.txt",        "spiece.model",
                                  "tokenizer.model",   "special_tokens_map.json",
                                  "added_tokens.json", "preprocessor_config.json"};

bool is_floating(const std::string& dtype) { return dtype.starts_with('F') || dtype.starts_with("BF"); }

/// Counts of the tensors seen, and their list where wanted.
class Tally {
 public:
  explicit Tally(bool list) : list_(list) {}

  void add(const std::string& name, const TensorEntry& entry, const fs::path& file) {
    ++count_;
    bytes_ += entry.end - entry.begin;
    if (is_floating(entry.dtype)) parameters_ += entry.numel();
    auto& [tensors, values] = dtypes_[entry.dtype];
    ++tensors;
    values += entry.numel();
    if (list_) {
      tensors_.push_back({{"name", name},
                          {"file", file.filename().string()},
                          {"dtype", entry.dtype},
                          {"shape", entry.shape},
                          {"begin", entry.begin},
                          {"end", entry.end}});
    }
  }

  void put_into(Report& report) const {
    report["tensor_count"] = count_;
    report["parameters"] = parameters_;
    report["bytes"] = bytes_;
    report["dtypes"] = Report::object();
    for (const auto& [dtype, counts] : dtypes_) {
      report["dtypes"][dtype] = {{"tensors", counts.first}, {"values", counts.second}};
    }
    if (list_) report["tensors"] = tensors_;
  }

 private:
  bool list_;
  uint64_t count_ = 0, parameters_ = 0, bytes_ = 0;
  std::map<std::string, std::pair<uint64_t, uint64_t>> dtypes_;  ///< tensors, values
  Report tensors_ = Report::array();
};

Tally tally(const SafetensorsFile& file, bool list_tensors) {
  Tally result(list_tensors);
  for (const auto& [name, entry] : file.entries()) result.add(name, entry, file.path());
  return result;
}

Report start(const char* kind, const fs::path& path) { return {{"kind", kind}, {"path", path.string()}}; }

Json read_object(const fs::path& path) {
  Json json = read_json_file<DataError>(path);
  if (!json.is_object()) throw_error<DataError>("{}: {}, expected an object", path.string(), json.type_name());
  return json;
}

/// The first of several spellings that the object has with a value.
Report first_of(const Json& object, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (object.contains(key) && !object[key].is_null()) return object[key];
  }
  return nullptr;
}

Report inspect_file(const fs::path& path, bool list_tensors) {
  const SafetensorsFile file(path);
  Report report = start("safetensors", path);
  report["metadata"] = file.metadata();
  tally(file, list_tensors).put_into(report);
  return report;
}

Report inspect_model(const fs::path& folder, const Json& config, bool list_tensors) {
  const ModelTensors model(folder);
  Report report = start("model", folder);
  const auto put = [&](const char* name, const Report& value) {
    if (!value.is_null()) report[name] = value;
  };
  const Json architectures = first_of(config, {"architectures"});
  if (architectures.is_array() && !architectures.empty()) put("architecture", architectures[0]);
  put("model_type", first_of(config, {"model_type"}));
  put("dtype", first_of(config, {"dtype", "torch_dtype"}));
  put("hidden_size", first_of(config, {"hidden_size", "n_embd", "d_model"}));
  if (first_of(config, {"is_encoder_decoder"}) == true) {
    put("encoder_layers", first_of(config, {"encoder_layers", "num_layers"}));
    put("decoder_layers", first_of(config, {"decoder_layers", "num_decoder_layers", "num_layers"}));
  } else {
    put("layers", first_of(config, {"num_hidden_layers", "n_layer", "num_layers"}));
  }
  put("heads", first_of(config, {"num_attention_heads", "n_head", "num_heads", "encoder_attention_heads"}));
  put("vocab_size", first_of(config, {"vocab_size"}));

  Tally counts(list_tensors);
  for (const std::string& name : model.names()) counts.add(name, model.entry(name), model.file_of(name).path());
  counts.put_into(report);
  report["files"] = Report::array();
  for (const SafetensorsFile& file : model.files()) report["files"].push_back(file.path().filename().string());
  report["tokenizer_files"] = Report::array();
  for (const char* name : kTokenizerFiles) {
    if (path_exists(folder / name)) report["tokenizer_files"].push_back(name);
  }
  return report;
}

Report inspect_adapter(const fs::path& folder) {
  const Json config = read_object(folder / "adapter_config.json");
  if (!config.contains("peft_type") || !config["peft_type"].is_string()) {
    throw_error<DataError>("{}: peft_type: expected a string", (folder / "adapter_config.json").string());
  }
  // The pickle form is opened only to be refused with the advice how to convert it.
  const bool only_pickle =
      !path_exists(folder / "adapter_model.safetensors") && path_exists(folder / "adapter_model.bin");
  const SafetensorsFile file(folder / (only_pickle ? "adapter_model.bin" : "adapter_model.safetensors"));

  Report report = start("adapter", folder);
  report["peft_type"] = config["peft_type"];
  const bool known = known_to_peft(config["peft_type"].get<std::string>());
  report["in_peft"] = !known                                             ? "is refused"
                      : config.value("peft_compatible", Json()) != false ? "gives the same logits"
                                                                         : "gives other logits";
  if (const auto labels = file.metadata().find("labels"); labels != file.metadata().end())
    report["labels"] = labels->second;
  if (const auto told = read_description(folder)) {
    for (const auto& [key, value] : Json::parse(to_text(*told)).items())
      if (value.is_object()) report[key] = value;
  }
  report["config"] = Report::object();
  for (const auto& [key, value] : config.items()) {
    if (key != "peft_type" && !value.is_null()) report["config"][key] = value;
  }
  tally(file, true).put_into(report);
  return report;
}

/// The last step that the log tells of. The line that a running program is writing has no line feed yet and is left out.
std::optional<Report> last_step(const fs::path& log) {
  const MappedFile file(log);
  std::string_view text = file.text();
  for (auto end = text.rfind('\n'); end != std::string_view::npos; end = text.rfind('\n')) {
    text = text.substr(0, end);
    const auto before = text.rfind('\n');
    const std::string_view line = before == std::string_view::npos ? text : text.substr(before + 1);
    try {
      const Json entry = parse_json(line, log.string());
      if (entry.is_object() && entry.contains("step")) return Report(entry["step"]);
    } catch (const std::invalid_argument& e) {
      throw DataError(e.what());
    }
  }
  return std::nullopt;
}

/// What the doctor found so far, by the lines of the log.
Report findings_of(const fs::path& log) {
  Report findings = Report::array();
  const MappedFile file(log);
  std::string_view text = file.text();
  for (auto end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (!line.starts_with("{\"at_step\"")) continue;  // keys are sorted: most lines need no parsing
    try {
      const Json entry = parse_json(line, log.string());
      if (entry.contains("finding"))
        findings.push_back(
            {{"name", entry["finding"]}, {"step", entry["at_step"]}, {"message", entry.value("message", "")}});
    } catch (const std::invalid_argument& e) {
      throw DataError(e.what());
    }
  }
  return findings;
}

Report inspect_run(const fs::path& folder, const Json& config) {
  Report report = start("run", folder);
  const auto put = [&](const char* name, const char* section, const char* key) {
    if (config.contains(section) && config[section].is_object() && config[section].contains(key)) {
      report[name] = config[section][key];
    }
  };
  put("method", "method", "type");
  put("task", "task", "name");
  put("model", "model", "path");
  const bool finished = path_exists(folder / "metrics.json");
  report["finished"] = finished;
  if (path_exists(folder / "log.jsonl")) {
    if (const auto step = last_step(folder / "log.jsonl")) report["steps"] = *step;
    report["findings"] = findings_of(folder / "log.jsonl");
  }
  report["folders"] = Report::array();
  for (const char* name : {"best", "last", "checkpoint", "predictions"}) {
    if (path_exists(folder / name)) report["folders"].push_back(name);
  }
  if (!finished) return report;
  report["metrics"] = Report(read_object(folder / "metrics.json"));
  if (report["metrics"].contains("findings")) {  // what the run ended with
    report["findings"] = report["metrics"]["findings"];
    report["metrics"].erase("findings");
  }
  return report;
}

}  // namespace

Report inspect_path(const fs::path& path, bool list_tensors) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return inspect_file(path, list_tensors);
  if (path_exists(path / "adapter_config.json")) return inspect_adapter(path);
  if (path_exists(path / "config.json")) {
    const Json config = read_object(path / "config.json");
    if (config.contains("output")) return inspect_run(path, config);
    if (config.contains("model_type") || config.contains("architectures"))
      return inspect_model(path, config, list_tensors);
  }
  throw_error<DataError>(
      "{}: no model (config.json with model_type), adapter (adapter_config.json) or run (config.json with output); "
      "it holds {}",
      path.string(), describe_folder(path));
}

}  // namespace peft
