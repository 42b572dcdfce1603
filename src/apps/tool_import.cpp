#include "src/apps/tool_import.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <cmath>
#include <filesystem>

#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/interop/adapter_folder.h"
#include "peft/tensor/safetensors.h"
#include "src/apps/main.h"

namespace peft {
namespace {

namespace fs = std::filesystem;
constexpr double kCodeAlpha = 8.0;  // lora_alpha of DePT's code, which no script changes

/// What the released files say, under the last part of each name: their code writes `prompt_encoder.lora_embedding_A` and the like.
struct Released {
  AdapterFiles files;                         ///< config, heads, and the origin for messages
  std::map<std::string, at::Tensor> tensors;  ///< prompt_embeddings, lora_embedding_A, _B, _a, _b
  std::vector<std::string> ignored;
};

std::string last_part(std::string name) {
  if (name.ends_with(".default")) name.resize(name.size() - 8);  // of the adapter, where a state dict was saved whole
  return name.substr(name.rfind('.') + 1);
}

void add_file(const fs::path& path, Released& released) {
  const SafetensorsFile file(path);
  for (const auto& [name, entry] : file.entries()) {
    const std::string last = last_part(name);
    const bool known = last == "prompt_embeddings" || last.starts_with("lora_embedding_");
    const bool head = name.starts_with("base_model.");
    if (!known && !head) {
      released.ignored.push_back(name);
      continue;
    }
    auto& target = known ? released.tensors[last] : released.files.tensors[name];
    if (target.defined()) throw_error<DataError>("{}: tensor {} is there a second time", path.string(), name);
    target = file.tensor(name).to(at::kFloat);
  }
}

Released read_released(const std::vector<std::string>& paths) {
  Released released;
  released.files.config = Json::object();
  for (const fs::path path : paths) {
    const bool folder = fs::is_directory(path);
    fs::path file = folder ? path / "adapter_model.safetensors" : path;
    if (folder && !fs::exists(file) && fs::exists(path / "adapter_model.bin")) file = path / "adapter_model.bin";
    add_file(file, released);  // of a pickle file it says how to convert
    const fs::path config = file.parent_path() / "adapter_config.json";
    if (released.files.config.empty() && fs::exists(config)) {
      released.files.config = read_json_file<DataError>(config);
      if (!released.files.config.is_object())
        throw_error<DataError>("{}: found {}, expected an object", config.string(), released.files.config.type_name());
    }
    if (released.files.origin.empty()) released.files.origin = file.parent_path().string();
  }
  return released;
}

const at::Tensor& required(const Released& released, const std::string& name, int64_t dimensions) {
  const auto it = released.tensors.find(name);
  if (it == released.tensors.end()) throw_error<DataError>("{}: tensor {} is missing", released.files.origin, name);
  if (it->second.dim() != dimensions) {
    throw_error<DataError>("{}: tensor {} has shape [{}], expected {} dimensions", released.files.origin, name,
                           fmt::join(it->second.sizes(), ", "), dimensions);
  }
  return it->second;
}

/// Keys that both types have.
Json common_config(const Released& released, const char* peft_type, int64_t rank) {
  const Json& theirs = released.files.config;
  const at::Tensor& prompt = required(released, "prompt_embeddings", 2);
  const Json task = released.files.tensors.empty() ? Json() : Json("SEQ_CLS");
  return {{"peft_type", peft_type},
          {"task_type", theirs.value("task_type", task)},
          {"base_model_name_or_path", theirs.value("base_model_name_or_path", Json())},
          {"modules_to_save", {"classifier", "score"}},
          {"inference_mode", true},
          {"library", "peft.cpp"},
          {"format_version", 1},
          {"num_virtual_tokens", prompt.size(0)},
          {"token_dim", prompt.size(1)},
          {"r", rank},
          {"left_pad_positions", theirs.value("task_type", Json()) == "CAUSAL_LM"},
          {"pooling", "first"}};
}

/// lora_embedding_A [S,R] and _B [R,C]: an offset per position, times lora_alpha / sqrt(R).
AdapterFiles import_dept(const Released& released) {
  const at::Tensor &a = required(released, "lora_embedding_A", 2), &b = required(released, "lora_embedding_B", 2);
  AdapterFiles files = released.files;
  double alpha = kCodeAlpha;
  files.read("lora_alpha", alpha);
  files.config = common_config(released, "DEPT", a.size(1));
  const double factor = alpha / std::sqrt(static_cast<double>(a.size(1)));
  files.config.update({{"max_length", a.size(0)},
                       {"offset_scaling", alpha == kCodeAlpha ? Json("code") : Json(factor)},
                       {"row_alignment", files.config["left_pad_positions"] == true ? "end" : "start"}});
  files.tensors["prompt_embeddings"] = required(released, "prompt_embeddings", 2);
  files.tensors["dept_A"] = a;
  files.tensors["dept_B"] = b;
  return files;
}

/// lora_embedding_A [C,R], _a [R], _B [R,C], _b [C]: the network; its code never uses lora_alpha.
AdapterFiles import_adept(const Released& released) {
  AdapterFiles files = released.files;
  int64_t length = 0;
  files.read("max_length", length);
  const at::Tensor& w1 = required(released, "lora_embedding_A", 2);
  files.config = common_config(released, "ADEPT", w1.size(1));
  files.config.update({{"max_length", length}, {"offset_scaling", 1.0}});
  files.tensors["prompt_embeddings"] = required(released, "prompt_embeddings", 2);
  files.tensors["adept_W1"] = w1;
  files.tensors["adept_b1"] = required(released, "lora_embedding_a", 1);
  files.tensors["adept_W2"] = required(released, "lora_embedding_B", 2);
  files.tensors["adept_b2"] = required(released, "lora_embedding_b", 1);
  return files;
}

/// Keys in the even, values in the odd columns of every layer's part: to keys first, then values, as peft has them.     [P, 2 L Y]
AdapterFiles import_interleaved(const Released& released) {
  AdapterFiles files = released.files;
  int64_t layers = 0;
  files.read("num_layers", layers);
  const at::Tensor& table = required(released, "prompt_embeddings", 2);
  if (layers < 1 || table.size(1) % (2 * layers) != 0) {
    throw_error<DataError>("{}/adapter_config.json: num_layers: found {}, but prompt_embeddings has {} columns",
                           files.origin, layers, table.size(1));
  }
  files.config["peft_type"] = "PREFIX_TUNING";
  files.tensors["prompt_embeddings"] = table.unflatten(1, {layers, -1, 2}).transpose(2, 3).flatten(1).contiguous();
  return files;
}

}  // namespace

int tool_import(int argc, char** argv) {
  cxxopts::Options options("peft-tool import", "An adapter folder from files that a method's authors released");
  options.add_options()("files", "safetensors files, or folders with adapter_model.safetensors",
                        cxxopts::value<std::vector<std::string>>(),
                        "PATH")("output", "adapter folder to write", cxxopts::value<std::string>(), "DIR")(
      "model", "what base_model_name_or_path becomes", cxxopts::value<std::string>(), "DIR")(
      "interleaved", "a prefix table whose keys and values alternate column by column");
  options.parse_positional("files");
  options.positional_help("PATH...");
  const auto parsed = parse_command_line(options, argc, argv);
  if (!parsed) return static_cast<int>(ExitCode::done);
  std::vector<std::string> paths;
  for (const cxxopts::KeyValue& argument : parsed->arguments()) {  // as given: cxxopts would split a path at its commas
    if (argument.key() == "files") paths.push_back(argument.value());
  }
  if (paths.empty()) throw ConfigError("peft-tool import: the files are missing");
  const auto output = given<std::string>(*parsed, "output");
  if (!output) throw ConfigError("peft-tool import: --output is missing");
  if (fs::exists(*output) && !(fs::is_directory(*output) && fs::is_empty(*output)))
    throw_error<ConfigError>("--output {}: already exists", *output);

  const Released released = read_released(paths);
  const bool network = released.tensors.contains("lora_embedding_a") || released.tensors.contains("lora_embedding_b");
  if (parsed->count("interleaved") == 0 && !released.tensors.contains("lora_embedding_A")) {
    throw_error<DataError>("{}: no tensor is called lora_embedding_A: neither of DePT nor of ADePT",
                           released.files.origin);
  }
  AdapterFiles files = parsed->count("interleaved") != 0 ? import_interleaved(released)
                       : network                         ? import_adept(released)
                                                         : import_dept(released);
  if (const auto model = given<std::string>(*parsed, "model")) files.config["base_model_name_or_path"] = *model;
  recognise_adapter(files);  // refuses what no method would load
  if (!released.ignored.empty())
    log_warning("{}: ignored: {}", released.files.origin, fmt::join(released.ignored, ", "));
  write_adapter(*output, files);
  return static_cast<int>(ExitCode::done);
}

}  // namespace peft
