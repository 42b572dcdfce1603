/// Trains biases alone: y = x W + b_k, and beta_k for LayerNorms.     [Ben Zaken et al. 2021, arXiv:2106.10199]
///
/// <module>.bias [K,O] is the new value itself and starts at the checkpoint's, so a fresh adapter changes nothing; the network still adds
/// its own bias, the method the difference. Layers of the head are no sites. Trainable numbers: O per site; BERT 7 C + F per layer and C.
/// The file (ours) holds the new values under the names of the biases. Throws ConfigError when the model has no bias to train.

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "peft/base/error.h"
#include "peft/base/summaries.h"
#include "peft/methods/method.h"

namespace peft {
namespace {

struct BitfitConfig : MethodConfig {
  std::string subset = "all";
  bool add_missing = false;
  std::optional<std::set<std::string>> biases;  // no key: those of a file without `subset`

  std::unique_ptr<MethodConfig> clone() const override { return std::make_unique<BitfitConfig>(*this); }
  double learning_rate() const override { return 3e-3; }
  void visit(Fields& fields) override {
    MethodConfig::visit(fields);
    fields.field("subset", subset,
                 {.help = "all: every linear map and LayerNorm; query_ffn: queries and first feed-forward maps",
                  .choices = {"all", "query_ffn"}});
    fields.field("add_missing", add_missing, {.help = "a zero bias for every linear map without one"});
  }
};

class Bitfit : public Method {
 public:
  Bitfit(Transformer& model, const BankSpec& bank)
      : Method(model, bank), config_(dynamic_cast<const BitfitConfig&>(*bank.configs.at(0))) {
    for (const Stack& stack : model.stacks()) {
      for (const Layer& layer : stack.layers) {
        for (const Attention& attention : layer.attentions) add(linear_sites(attention), attention.norm);
        add(linear_sites(layer.feed_forward), layer.feed_forward.norm);
      }
    }
    for (const Stack& stack : model.stacks()) add({}, stack.front_end->norm());
    for (const Stack& stack : model.stacks()) add({}, stack.final_norm);
    if (biases_.empty()) {
      throw_error<ConfigError>("method.subset: {} has no bias in \"{}\"; method.add_missing gives every map one",
                               model.spec().model_type, config_.subset);
    }
    add_trained_head();
  }

  LinearAddition linear(const Linear& map) override {
    if (const auto found = biases_.find(map.module); found != biases_.end()) return less(found->second, map.bias_O);
    return {};
  }
  NormAddition norm(const Norm& norm) override {
    if (const auto found = biases_.find(norm.module); found != biases_.end()) return less(found->second, norm.bias_C);
    return {};
  }

  AdapterFiles fold(int64_t k) const override {
    AdapterFiles files;
    files.config = base_config("BITFIT");
    files.config.update({{"library", "peft.cpp"}, {"format_version", 1}, {"add_missing", config_.add_missing}});
    if (!config_.biases) files.config["subset"] = config_.subset;
    for (const auto& [module, bias_KO] : biases_) files.tensors[kTunerPrefix + module + ".bias"] = bias_KO.detach()[k];
    fold_head(k, kTunerPrefix, files);
    return files;
  }

  void load(int64_t k, const AdapterFiles& files, bool head) override {
    for (const auto& [module, bias_KO] : biases_) load_slice(bias_KO, k, files, kTunerPrefix + module + ".bias");
    if (head) load_head(k, kTunerPrefix, files);
  }

 protected:
  void merge_into(int64_t k, std::map<std::string, at::Tensor>& tensors) const override {
    for (const auto& [module, bias_KO] : biases_) tensors[module + ".bias"] = bias_KO.detach()[k];
  }

 private:
  bool all() const { return config_.subset == "all"; }

  void add(const std::vector<const Linear*>& maps, const Norm& norm) {
    for (const Linear* map : maps) {
      const bool chosen = all() || map->role == Role::query || map->role == Role::qkv || map->role == Role::up;
      if (chosen && (map->bias_O.defined() || config_.add_missing)) add(map->module, map->out_features(), map->bias_O);
    }
    if (all() && norm.bias_C.defined()) add(norm.module, norm.bias_C.size(0), norm.bias_C);
  }
  void add(const std::string& module, int64_t width, const at::Tensor& own) {
    if (config_.biases && !config_.biases->contains(module + ".bias")) return;
    biases_[module] = add_parameter(module + ".bias", {width}, "adapter", [&](int64_t, std::span<float> values) {
      if (!own.defined()) return;
      const at::Tensor flat = own.detach().to(at::kCPU, at::kFloat).contiguous();
      std::copy_n(flat.data_ptr<float>(), values.size(), values.begin());
    });
  }

  /// The network adds its own bias.
  static BiasAddition less(const at::Tensor& bias_KO, const at::Tensor& own_O) {
    return {own_O.defined() ? bias_KO - own_O.to(bias_KO.scalar_type()) : bias_KO};
  }

  const BitfitConfig& config_;
  std::map<std::string, at::Tensor> biases_;  // module -> [K,O]
};

std::unique_ptr<MethodConfig> recognise_bitfit(const AdapterFiles& files) {
  if (files.config.value("peft_type", "") != "BITFIT") return nullptr;
  auto config = std::make_unique<BitfitConfig>();
  files.read("subset", config->subset);
  files.read("add_missing", config->add_missing);
  if (!files.config.contains("subset")) {
    const std::string prefix = kTunerPrefix;
    config->biases.emplace();
    for (const auto& [name, tensor] : files.tensors) {
      if (name.starts_with(prefix)) config->biases->insert(name.substr(prefix.size()));
    }
  }
  return config;
}

const bool bitfit_registered = methods().add(
    "bitfit",
    {[] { return std::make_unique<BitfitConfig>(); },
     [](Transformer& model, const BankSpec& bank) { return std::make_unique<Bitfit>(model, bank); }, recognise_bitfit});

[[maybe_unused]] const bool bitfit_described =
    summaries("method").add("bitfit", {"the biases of the network", "2106.10199"});

}  // namespace
}  // namespace peft
