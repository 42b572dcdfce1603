#include "peft/methods/method.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

#include "peft/base/error.h"
#include "peft/base/log.h"

namespace peft {

Registry<MethodEntry>& methods() {
  static Registry<MethodEntry> registry("method");
  return registry;
}

std::unique_ptr<Method> make_method(Transformer& model, const BankSpec& bank) {
  return methods().at(bank.configs.at(0)->type).make(model, bank);
}

namespace {

/// The ranges of a run config hold for the values of an adapter_config.json too.
void check_ranges(MethodConfig& config, const AdapterFiles& files) {
  const auto visit = [&](Fields& fields) { config.visit(fields); };
  try {
    parse_fields(visit, print_fields(visit), files.origin + "/adapter_config.json");
  } catch (const ConfigError& error) {
    throw DataError(error.what());
  }
}

}  // namespace

std::unique_ptr<MethodConfig> recognise_adapter(const AdapterFiles& files) {
  const auto peft_type = files.config.find("peft_type");
  if (peft_type == files.config.end() || !peft_type->is_string()) {
    throw_error<DataError>("{}/adapter_config.json: peft_type: {}, expected a string", files.origin,
                           peft_type == files.config.end() ? "missing" : "found " + peft_type->dump());
  }
  for (const std::string& name : methods().names()) {
    const MethodEntry& entry = methods().at(name);
    if (!entry.recognise) continue;
    try {
      if (auto config = entry.recognise(files)) {
        config->type = name;
        check_ranges(*config, files);
        return config;
      }
    } catch (const ConfigError& error) {  // its keys are those of a file here, not of the user's config
      throw_error<DataError>("{}/adapter_config.json: {}", files.origin, error.what());
    }
  }
  throw_error<DataError>("{}/adapter_config.json: peft_type {} is not supported", files.origin, peft_type->dump());
}

bool is_released_tensor(const std::string& last_part) {
  for (const std::string& name : methods().names()) {
    const std::vector<std::string>& known = methods().at(name).released_tensors;
    if (std::find(known.begin(), known.end(), last_part) != known.end()) return true;
  }
  return false;
}

AdapterFiles import_released(const ReleasedFiles& released) {
  for (const std::string& name : methods().names()) {
    const MethodEntry& entry = methods().at(name);
    if (!entry.import_released) continue;
    if (auto files = entry.import_released(released)) {
      recognise_adapter(*files);  // refuses what no method would load
      return *files;
    }
  }
  throw_error<DataError>("{}: not what the authors of a known method released", released.files.origin);
}

Method::Method(Transformer& model, const BankSpec& bank) : model_(model), bank_(bank), adapters_(bank.adapters()) {
  if (adapters_ < 1 || bank.seeds.size() != bank.configs.size())
    throw_error("a bank of {} configs and {} seeds", adapters_, bank.seeds.size());
}

const Parameter& Method::parameter(const std::string& name) const {
  for (const Parameter& p : parameters_) {
    if (p.name == name) return p;
  }
  throw_error("no trainable tensor named {}", name);
}

int64_t Method::trainable_parameters() const {
  int64_t count = 0;
  for (const Parameter& p : parameters_) count += p.value.numel() / adapters_;
  return count;
}

RngStream Method::init_stream(int64_t k, const std::string& name) const { return {bank_.seeds[k], "init/" + name}; }

at::Tensor Method::make_bank(std::vector<int64_t> shape, const Fill& fill) const {
  shape.insert(shape.begin(), adapters_);
  at::Tensor values = at::zeros(shape, at::kFloat);
  const int64_t each = values.numel() / adapters_;
  for (int64_t k = 0; k < adapters_; ++k)
    fill(k, {values.data_ptr<float>() + k * each, static_cast<std::size_t>(each)});
  // `to` may return the same tensor: one of its own either way.
  return values.to(at::TensorOptions().dtype(bank_.dtype).device(model_.device())).detach();
}

at::Tensor Method::add_parameter(const std::string& name, std::vector<int64_t> shape, const std::string& group,
                                 const Fill& fill) {
  const bool decays = shape.size() > 1;
  at::Tensor leaf = make_bank(std::move(shape), fill).set_requires_grad(true);
  parameters_.push_back({name, leaf, group, decays});
  return leaf;
}

const TrainedLinear* Method::trained_module(const std::string& module) {
  const auto it = trained_.find(module);
  return it == trained_.end() ? nullptr : &it->second;
}

std::map<std::string, at::Tensor> Method::trained_tensors(int64_t k) const {
  std::map<std::string, at::Tensor> tensors;
  for (const Parameter& p : parameters_) tensors[p.name] = p.value.detach()[k];
  return tensors;
}

void Method::load_trained(int64_t k, const std::map<std::string, at::Tensor>& tensors, const std::string& origin,
                          bool head) {
  for (const Parameter& p : parameters_) {
    if (p.group == "head" && !head) continue;
    const auto it = tensors.find(p.name);
    if (it == tensors.end()) throw_error<DataError>("{}: tensor {} is missing", origin, p.name);
    const at::Tensor target = p.value.detach()[k];
    if (it->second.sizes() != target.sizes()) {
      throw_error<DataError>("{}: tensor {} has shape [{}], expected [{}]", origin, p.name,
                             fmt::join(it->second.sizes(), ", "), fmt::join(target.sizes(), ", "));
    }
    target.copy_(it->second);
  }
}

std::map<std::string, at::Tensor> Method::merged(int64_t k) const {
  AdapterFiles files;
  files.tensors = model_.named_tensors();
  merge_into(k, files.tensors);
  fold_head(k, "", files);
  return files.tensors;
}

void Method::merge_into(int64_t, std::map<std::string, at::Tensor>&) const {
  throw_error<ConfigError>("method.type: a \"{}\" adapter does not change weights: it cannot be merged into a model",
                           bank_.configs.at(0)->type);
}

void Method::check_positions(int64_t num_virtual_tokens) const {
  const int64_t usable = model_.spec().embedding().usable_positions();
  if (bank_.from_files || num_virtual_tokens < usable) return;
  throw_error<ConfigError>("method.num_virtual_tokens: found {}, expected at most {} (the model has {} positions)",
                           num_virtual_tokens, usable - 1, usable);
}

/// modules_to_save: names match whole paths or their ends, as peft's do.
std::vector<std::string> Method::trained_modules() const {
  const std::vector<HeadLayer>& layers = head_layers();
  const Json& names = bank_.configs.at(0)->modules_to_save;
  std::vector<std::string> chosen;
  const auto called = [](const HeadLayer& layer, const std::string& name) {
    return layer.module == name || layer.module.ends_with("." + name);
  };
  // "pooler" means the linear map inside, as it does for peft.
  const auto means = [&](const HeadLayer& layer, const std::string& name) {
    return called(layer, name) || called({.module = layer.module.substr(0, layer.module.rfind('.'))}, name);
  };
  for (const Json& name : names) {
    if (name == "classifier" || name == "score") continue;  // peft's list for every architecture
    if (std::none_of(layers.begin(), layers.end(), [&](const HeadLayer& l) { return means(l, name); })) {
      std::vector<std::string> known;
      for (const HeadLayer& layer : layers) known.push_back(layer.module);
      throw_error<ConfigError>("method.modules_to_save: \"{}\" is not a module of the head (known: {})",
                               name.get<std::string>(), fmt::join(known, ", "));
    }
  }
  for (const HeadLayer& layer : layers) {
    const bool named = std::any_of(names.begin(), names.end(), [&](const Json& name) { return means(layer, name); });
    const bool none = names.is_array() && names.empty();
    if (named || (layer.trained && !none)) chosen.push_back(layer.module);
  }
  return chosen;
}

void Method::add_trained_head(std::optional<double> init_std, bool fill_missing) {
  if (bank_.outputs == 0) return;
  const std::vector<std::string> chosen = trained_modules();
  const int64_t width = model_.spec().width();
  const double fresh_std = init_std.value_or(model_.spec().initializer_range);
  for (const HeadLayer& layer : head_layers()) {
    const bool trains = std::find(chosen.begin(), chosen.end(), layer.module) != chosen.end();
    const Linear* own = model_.head_linear(layer.module);
    if (!trains && !layer.to_labels) {
      if (own != nullptr || !fill_missing) continue;
      log_warning("{}: tensor {}.weight is missing: drawn from N(0, {}^2), frozen and stored with the adapter",
                  model_.folder().string(), layer.module, fresh_std);
    }
    const int64_t out = layer.to_labels ? bank_.outputs : width;
    if (own != nullptr && own->out_features() != out) own = nullptr;
    const auto from = [&](const at::Tensor& tensor, std::span<float> values) {
      const at::Tensor flat = tensor.to(at::TensorOptions().dtype(at::kFloat).device(at::kCPU)).contiguous();
      std::copy_n(flat.data_ptr<float>(), values.size(), values.begin());
    };
    const auto bank = [&](const std::string& name, std::vector<int64_t> shape, const Fill& fill) {
      return trains ? add_parameter(name, std::move(shape), "head", fill) : make_bank(std::move(shape), fill);
    };
    TrainedLinear& trained = trained_[layer.module];
    trained.weight_KOC = bank(layer.module + ".weight", {out, width}, [&](int64_t k, std::span<float> values) {
      if (own != nullptr) {
        from(own->weight_OC, values);
      } else {
        init_stream(k, layer.module + ".weight").fill_normal(values, 0.0F, static_cast<float>(fresh_std));
      }
    });
    if (own != nullptr && !own->bias_O.defined()) continue;
    trained.bias_KO = bank(layer.module + ".bias", {out}, [&](int64_t, std::span<float> values) {
      if (own != nullptr) from(own->bias_O, values);
    });
  }
}

/// As peft lists them: "classifier" and "score" are in every file of classes, whether the model has them or not; pooler.dense is "pooler".
std::vector<std::string> Method::saved_modules() const {
  std::vector<std::string> modules{"classifier", "score"};
  if (model_.spec().head_kind == HeadKind::span) modules = {"qa_outputs"};
  for (const auto& [module, trained] : trained_) {
    const std::size_t dot = module.rfind('.');
    const std::string outer = module.substr(0, dot), name = outer.substr(outer.rfind('.') + 1);
    if (dot != std::string::npos && std::find(modules.begin(), modules.end(), name) == modules.end())
      modules.insert(modules.begin(), name);
  }
  return modules;
}

void Method::fold_head(int64_t k, const std::string& prefix, AdapterFiles& files) const {
  for (const auto& [module, trained] : trained_) {
    files.tensors[prefix + module + ".weight"] = trained.weight_KOC.detach()[k];
    if (trained.bias_KO.defined()) files.tensors[prefix + module + ".bias"] = trained.bias_KO.detach()[k];
  }
}

void Method::load_head(int64_t k, const std::string& prefix, const AdapterFiles& files) {
  for (const auto& [module, trained] : trained_) {
    load_slice(trained.weight_KOC, k, files, prefix + module + ".weight");
    if (trained.bias_KO.defined()) load_slice(trained.bias_KO, k, files, prefix + module + ".bias");
  }
}

void Method::load_slice(const at::Tensor& bank, int64_t k, const AdapterFiles& files, const std::string& tensor,
                        bool transposed) {
  const auto it = files.tensors.find(tensor);
  if (it == files.tensors.end())
    throw_error<DataError>("{}/adapter_model.safetensors: tensor {} is missing", files.origin, tensor);
  const at::Tensor target = bank.detach()[k];
  const at::Tensor source = transposed && it->second.dim() == 2 ? it->second.t() : it->second;
  if (source.sizes() != target.sizes()) {
    throw_error<DataError>("{}/adapter_model.safetensors: tensor {} has shape [{}], expected [{}]", files.origin,
                           tensor, fmt::join(it->second.sizes(), ", "),
                           fmt::join((transposed ? target.t() : target).sizes(), ", "));
  }
  target.copy_(source);
}

Json Method::base_config(const std::string& peft_type) const {
  const bool classifies = bank_.outputs > 0;
  const char* language = model_.stacks().size() == 1 ? kCausalLanguageModel : kSequenceToSequence;
  return {{"peft_type", peft_type},
          {"task_type", classifies ? task_type_of(model_.spec().head_kind) : language},
          {"base_model_name_or_path", model_.folder().string()},
          {"modules_to_save", classifies ? Json(saved_modules()) : Json()},
          {"inference_mode", true}};
}

}  // namespace peft
