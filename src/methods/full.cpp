/// Full fine-tuning: every tensor of the backbone and a new head train, but for what exclude_modules and train_embeddings keep frozen.
/// The baseline that the methods are measured against. K = 1 only; there is no adapter form: best/ and last/ are model folders.

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "peft/base/error.h"
#include "peft/base/summaries.h"
#include "peft/methods/method.h"
#include "src/methods/targets.h"

namespace peft {
namespace {

struct FullConfig : MethodConfig {
  Json exclude_modules;
  bool train_embeddings = true;

  std::unique_ptr<MethodConfig> clone() const override { return std::make_unique<FullConfig>(*this); }
  double learning_rate() const override { return 5e-5; }
  bool shares_bank() const override { return false; }
  bool writes_model_folder() const override { return true; }
  void visit(Fields& fields) override {
    MethodConfig::visit(fields);
    fields.field("exclude_modules", exclude_modules,
                 {.help = "modules that stay frozen with all inside them: names, or one regular expression of a path"});
    fields.field("train_embeddings", train_embeddings, {.help = "false: word, position and type tables stay frozen"});
  }
  void validate() const override {
    MethodConfig::validate();
    check_names(exclude_modules, "exclude_modules");
  }
};

/// The module that owns a tensor and every module around it: a.b.weight -> a.b, a.
std::vector<std::string> modules_around(std::string tensor) {
  std::vector<std::string> modules;
  for (std::size_t dot = tensor.rfind('.'); dot != std::string::npos; dot = tensor.rfind('.'))
    modules.push_back(tensor = tensor.substr(0, dot));
  return modules;
}

class Full : public Method {
 public:
  Full(Transformer& model, const BankSpec& bank)
      : Method(model, bank), config_(dynamic_cast<const FullConfig&>(*bank.configs.at(0))) {
    if (bank.adapters() != 1)
      throw_error<ConfigError>("method.type: \"full\" trains one adapter at a time, found a bank of {}",
                               bank.adapters());
    if (model.dtype() != bank.dtype) {
      throw_error<ConfigError>(
          "model.dtype: full fine-tuning trains the weights themselves in float32; set \"float32\"");
    }
    add_trained_head();
    model.unfuse();
    const std::set<std::string> frozen = frozen_tensors();
    model.for_tensors([&](const std::string& name, at::Tensor& tensor) {
      if (trained_head(name) || frozen.contains(name)) return;
      leaves_[name] = tensor.detach().clone().unsqueeze(0).set_requires_grad(true);
      add_leaf({name, leaves_[name], "backbone", tensor.dim() > 1});
    });
  }

  /// The network sees each leaf without its leading 1, formed anew for each pass.
  void begin_pass(const DropoutContext& context) override {
    Method::begin_pass(context);
    model_.for_tensors([&](const std::string& name, at::Tensor& tensor) {
      if (const auto leaf = leaves_.find(name); leaf != leaves_.end()) tensor = leaf->second.squeeze(0);
    });
  }

  AdapterFiles fold(int64_t k) const override {
    AdapterFiles files;
    files.tensors = model_.named_tensors();
    for (auto& [name, tensor] : files.tensors) tensor = tensor.detach();
    for (const auto& [name, leaf] : leaves_) files.tensors[name] = leaf.detach()[k];
    fold_head(k, "", files);
    return files;
  }
  void load(int64_t k, const AdapterFiles& files, bool head) override {
    load_trained(k, files.tensors, files.origin + "/model.safetensors", head);
  }

 private:
  bool trained_head(const std::string& tensor) {
    return trained_module(tensor.substr(0, tensor.rfind('.'))) != nullptr;
  }

  std::set<std::string> frozen_tensors() const {
    const EmbeddingSpec& embedding = model_.spec().embedding();
    std::set<std::string> frozen;
    std::set<Json> matched;
    const Json& names = config_.exclude_modules;
    for (const auto& [tensor, value] : model_.named_tensors()) {
      for (const std::string& module : modules_around(tensor)) {
        const bool table = module == embedding.word || module == embedding.position || module == embedding.token_type;
        if (table && !config_.train_embeddings) frozen.insert(tensor);
        if (matches_names(names, module, "exclude_modules")) frozen.insert(tensor);
        for (const Json& name : names.is_array() ? names : Json::array({names})) {
          if (!name.is_null() &&
              matches_names(names.is_array() ? Json::array({name}) : name, module, "exclude_modules"))
            matched.insert(name);
        }
      }
    }
    for (const Json& name : names.is_array() ? names : Json::array({names})) {
      if (!name.is_null() && !matched.contains(name))
        throw_error<ConfigError>("method.exclude_modules: {} matches no module of the model", name.dump());
    }
    return frozen;
  }

  const FullConfig& config_;
  std::map<std::string, at::Tensor> leaves_;  // [1, ...]
};

const bool full_registered = methods().add(
    "full", {[] { return std::make_unique<FullConfig>(); },
             [](Transformer& model, const BankSpec& bank) { return std::make_unique<Full>(model, bank); }, nullptr});

[[maybe_unused]] const bool full_described =
    summaries("method").add("full", {"every weight of the network: the upper baseline"});

}  // namespace
}  // namespace peft
