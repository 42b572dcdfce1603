/// Low-rank addition to frozen linear maps: y = x W + (lora_alpha / r) dropout(x) A B.     [Hu et al. 2021, arXiv:2106.09685]
///
/// x_TC tokens in, A_KCR ~ U(-1/sqrt(C), 1/sqrt(C)), B_KRO = 0, so a fresh adapter changes nothing. rsLoRA [arXiv:2312.03732] scales by
/// lora_alpha / sqrt(r). Token range k of a batch uses adapter k. Trainable numbers per adapter and site: r (C + O). Files hold peft's
/// transposes, lora_A.weight [r, C] and lora_B.weight [O, r].

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "peft/base/error.h"
#include "peft/base/summaries.h"
#include "peft/kernels/low_rank.h"
#include "peft/methods/method.h"
#include "src/methods/targets.h"

namespace peft {
namespace {

struct LoraConfig : MethodConfig {
  int64_t r = 8;
  double lora_alpha = 8.0, lora_dropout = 0.0;
  bool use_rslora = false;
  Json target_modules, exclude_modules, layers_to_transform, init_lora_weights = true;
  OrderedMap<int64_t> rank_pattern;
  OrderedMap<double> alpha_pattern;

  std::unique_ptr<MethodConfig> clone() const override { return std::make_unique<LoraConfig>(*this); }
  double learning_rate() const override { return 2e-3; }
  void visit(Fields& fields) override {
    MethodConfig::visit(fields);
    fields.field("r", r, {.help = "rank", .min = 1});
    fields.field("lora_alpha", lora_alpha,
                 {.help = "scale of the addition: lora_alpha / r", .min = 0, .min_exclusive = true, .per_job = true});
    fields.field("lora_dropout", lora_dropout,
                 {.help = "dropout on the input of A", .min = 0, .max = 1, .max_exclusive = true, .per_job = true});
    fields.field("use_rslora", use_rslora, {.help = "scale by lora_alpha / sqrt(r)"});
    fields.field("target_modules", target_modules,
                 {.help = "module names, one regular expression of the whole path, or \"all-linear\"; null: the "
                          "architecture's default"});
    fields.field("exclude_modules", exclude_modules,
                 {.help = "targets to leave out: module names, or one regular expression of the whole path"});
    fields.field("layers_to_transform", layers_to_transform,
                 {.help = "index or indices of the layers whose targets count; null: all"});
    fields.field("init_lora_weights", init_lora_weights,
                 {.help = "true: A uniform in +-1/sqrt(C); \"gaussian\": A normal, std 1/r"});
    fields.field("rank_pattern", rank_pattern,
                 {.help = "module name or regular expression -> r; of several that match the first in the file's order",
                  .min = 1});
    fields.field(
        "alpha_pattern", alpha_pattern,
        {.help = "module name or regular expression -> lora_alpha; of several that match the first in the file's order",
         .min = 0,
         .min_exclusive = true,
         .per_job = true});
  }
  std::vector<std::string> idle_file_keys() const override {
    return {"layers_pattern", "loftq_config", "megatron_config", "megatron_core", "qalora_group_size"};
  }
  void validate() const override {
    MethodConfig::validate();
    check_names(target_modules, "target_modules");
    check_names(exclude_modules, "exclude_modules");
    const Json& layers = layers_to_transform;
    if (!layers.is_null() && !layers.is_number_integer() && (!layers.is_array() || layers.empty())) {
      throw_error<ConfigError>("method.layers_to_transform: found {}, expected an index or a list of them",
                               layers.dump());
    }
    if (!layers.is_null() && target_modules.is_string()) {
      throw_error<ConfigError>("method.layers_to_transform: only with target_modules as a list of names, as in peft");
    }
    if (init_lora_weights != true && init_lora_weights != "gaussian") {
      throw_error<ConfigError>("method.init_lora_weights: found {}, expected true or \"gaussian\"",
                               init_lora_weights.dump());
    }
  }
  double scaling(const std::string& module) const {
    const auto rank = static_cast<double>(named_rank(module).value_or(r));
    return match_pattern(alpha_pattern, "alpha_pattern", module).value_or(lora_alpha) /
           (use_rslora ? std::sqrt(rank) : rank);
  }
  /// By rank_pattern.
  std::optional<int64_t> named_rank(const std::string& module) const {
    return match_pattern(rank_pattern, "rank_pattern", module);
  }
};

/// Which biases of the base model a file brings new values of: "none", "lora_only" (of its targets), "all".
std::string trained_biases(const AdapterFiles& files) {
  std::string bias = "none";
  files.read("bias", bias);
  return bias;
}

class Lora : public Method {
 public:
  Lora(Transformer& model, const BankSpec& bank)
      : Method(model, bank), config_(dynamic_cast<const LoraConfig&>(*bank.configs.at(0))) {
    for (const MethodConfig* each : bank.configs) rates_.push_back(dynamic_cast<const LoraConfig&>(*each).lora_dropout);
    for (const Linear* map : chosen_maps()) {
      const std::optional<int64_t> named_rank = config_.named_rank(map->module);
      const int64_t in = map->in_features(), out = map->out_features(), rank = named_rank.value_or(config_.r);
      if (rank > std::min(in, out) && !bank.from_files) {
        throw_error<ConfigError>("method.{}: found {}, expected at most {} for {} ({} to {})",
                                 named_rank ? "rank_pattern" : "r", rank, std::min(in, out), map->module, in, out);
      }
      LowRankBank& site = sites_[map->module];
      site.a_KCR =
          add_parameter(map->module + ".lora_A", {in, rank}, "adapter", [&](int64_t k, std::span<float> values) {
            const RngStream stream = init_stream(k, map->module + ".lora_A");
            if (config_.init_lora_weights == "gaussian") {
              stream.fill_normal(values, 0.0F, 1.0F / static_cast<float>(rank));
            } else {
              const float bound = 1.0F / std::sqrt(static_cast<float>(in));
              stream.fill_uniform(values, -bound, bound);
            }
          });
      site.b_KRO = add_parameter(map->module + ".lora_B", {rank, out}, "adapter", [](int64_t, std::span<float>) {});
      for (const MethodConfig* each : bank.configs)
        site.scales.push_back(dynamic_cast<const LoraConfig&>(*each).scaling(map->module));
      site.scale_K = at::tensor(site.scales).to(model.device(), at::kFloat);
    }
    if (!bank.from_files) check_patterns();
    add_trained_head();
  }

  LinearAddition linear(const Linear& map) override {
    const auto found = sites_.find(map.module);
    if (found == sites_.end()) return {};
    return LowRankAddition{&found->second, {context_, map.module + ".lora_dropout", rates_}};
  }

  bool has_read(const std::string& tensor) const override { return taken_in_.contains(tensor); }

  std::vector<std::string> idle_entries(const AdapterFiles& files) const override {
    const auto targets = config_.target_modules.get<std::vector<std::string>>();  // the tensors'
    std::vector<std::string> idle;
    const auto tell = [&](const std::string& key, const std::vector<std::string>& names, const char* what) {
      for (const std::string& name : names) idle.push_back(fmt::format("{}: \"{}\" {}", key, name, what));
    };
    const char* no_target = "matches none of the adapted maps";
    tell("rank_pattern", idle_keys(config_.rank_pattern, "rank_pattern", targets), no_target);
    tell("alpha_pattern", idle_keys(config_.alpha_pattern, "alpha_pattern", targets), no_target);
    Json named = files.config.value("target_modules", Json());
    if (is_all_linear(named)) named = Json();
    tell("target_modules", idle_names(named, targets, "target_modules"), no_target);
    const Json excluded = files.config.value("exclude_modules", Json());
    tell("exclude_modules", idle_names(excluded, all_maps(model_), "exclude_modules"), "matches no linear map");
    return idle;
  }

  AdapterFiles fold(int64_t k) const override {
    const auto& own = dynamic_cast<const LoraConfig&>(*bank_.configs.at(k));
    AdapterFiles files;
    files.config = base_config("LORA");
    files.config.update({{"r", own.r},
                         {"lora_alpha", own.lora_alpha},
                         {"lora_dropout", own.lora_dropout},
                         {"use_rslora", own.use_rslora},
                         {"rank_pattern", own.rank_pattern},
                         {"alpha_pattern", own.alpha_pattern},
                         {"bias", "none"},
                         {"fan_in_fan_out", false},
                         {"init_lora_weights", true}});
    std::vector<std::string> targets;  // explicit, whatever the config said: the file must not depend on a default
    for (const auto& [module, site] : sites_) targets.push_back(module);
    const bool whole =
        own.target_modules.is_array() && own.exclude_modules.is_null() && own.layers_to_transform.is_null();
    files.config["target_modules"] = whole ? own.target_modules : Json(targets);
    for (const auto& [module, site] : sites_) {
      files.tensors[kTunerPrefix + module + ".lora_A.weight"] = site.a_KCR.detach()[k].t().contiguous();
      files.tensors[kTunerPrefix + module + ".lora_B.weight"] = site.b_KRO.detach()[k].t().contiguous();
    }
    fold_head(k, kTunerPrefix, files);
    return files;
  }

  void load(int64_t k, const AdapterFiles& files, bool head) override {
    if (const std::string bias = trained_biases(files); bias != "none" && !bank_.from_files) {
      throw_error<DataError>(
          "{}/adapter_config.json: bias: \"{}\" changes the base model, which training cannot start from", files.origin,
          bias);
    }
    for (const auto& [module, site] : sites_) {
      load_slice(site.a_KCR, k, files, kTunerPrefix + module + ".lora_A.weight", true);
      load_slice(site.b_KRO, k, files, kTunerPrefix + module + ".lora_B.weight", true);
    }
    if (!head) return;
    load_head(k, kTunerPrefix, files);
    for (const HeadLayer& layer : model_.spec().head()) {
      if (layer.to_labels && files.tensors.contains(kTunerPrefix + layer.module + ".lora_A.weight"))
        fold_into_labels(k, layer.module, files);
    }
  }

 protected:
  /// W_OC += s (A B)^T, summed in float64 and rounded once.
  void merge_into(int64_t k, std::map<std::string, at::Tensor>& tensors) const override {
    for (const auto& [module, site] : sites_) {
      const auto wide = [&](const at::Tensor& bank) { return bank.detach()[k].to(at::kDouble); };
      at::Tensor& weight_OC = tensors.at(module + ".weight");
      const at::Tensor product_CO = at::mm(wide(site.a_KCR), wide(site.b_KRO)) * site.scales[k];
      weight_OC = (weight_OC.to(at::kDouble) + product_CO.t()).to(weight_OC.scalar_type());
    }
  }

 private:
  void check_patterns() const {
    std::vector<std::string> targets;
    for (const auto& [module, site] : sites_) targets.push_back(module);
    check_pattern(config_.rank_pattern, "rank_pattern", targets);
    for (const MethodConfig* each : bank_.configs)
      check_pattern(dynamic_cast<const LoraConfig&>(*each).alpha_pattern, "alpha_pattern", targets);
  }

  std::vector<const Linear*> chosen_maps() const {
    Targets targets{config_.target_modules, config_.exclude_modules, config_.layers_to_transform, trained_modules()};
    if (!bank_.from_files) return match_targets(model_, targets);
    targets.modules = Json::array();
    for (const Json& path : config_.target_modules) {
      if (!gives_labels(model_, path.get<std::string>())) targets.modules.push_back(path);  // else fold_into_labels
    }
    return targets.modules.empty() ? std::vector<const Linear*>() : match_targets(model_, targets);
  }

  /// peft gives the layer of the labels an addition, too, where its config names no task type. Here that layer is the method's own, with
  /// weights for each adapter: they take it in.
  void fold_into_labels(int64_t k, const std::string& module, const AdapterFiles& files) {
    const auto& own = dynamic_cast<const LoraConfig&>(*bank_.configs.at(k));
    const TrainedLinear& labels = *trained_module(module);
    const at::Tensor weight_OC = labels.weight_KOC.detach()[k];
    const int64_t rank = own.named_rank(module).value_or(own.r);
    const std::string path = kTunerPrefix + module, a = path + ".lora_A.weight", b = path + ".lora_B.weight",
                      bias = path + ".base_layer.bias";
    const auto options = at::TensorOptions(model_.device()).dtype(at::kDouble);
    const at::Tensor a_1RC = at::empty({1, rank, weight_OC.size(1)}, options),
                     b_1OR = at::empty({1, weight_OC.size(0), rank}, options);
    load_slice(a_1RC, 0, files, a);
    load_slice(b_1OR, 0, files, b);
    weight_OC.copy_(weight_OC.to(at::kDouble) + at::mm(b_1OR[0], a_1RC[0]) * own.scaling(module));
    if (files.tensors.contains(bias)) load_slice(labels.bias_KO, k, files, bias);
    taken_in_.insert({a, b, bias});
  }

  const LoraConfig& config_;
  std::map<std::string, LowRankBank> sites_;
  std::vector<double> rates_;       // [K], of lora_dropout
  std::set<std::string> taken_in_;  // by fold_into_labels
};

std::unique_ptr<MethodConfig> recognise_lora(const AdapterFiles& files) {
  if (files.config.value("peft_type", "") != "LORA") return nullptr;
  auto config = std::make_unique<LoraConfig>();
  const Json& json = files.config;
  files.read("r", config->r);
  files.read("lora_alpha", config->lora_alpha);
  files.read("lora_dropout", config->lora_dropout);
  files.read("use_rslora", config->use_rslora);
  files.read("rank_pattern", config->rank_pattern);
  files.read("alpha_pattern", config->alpha_pattern);
  for (const char* key : {"target_modules", "exclude_modules"}) check_names(json.value(key, Json()), key);
  // Base weights that change while loading, or tensors that this method has no place for: never guessed at
  // (docs/formats.md#lora).
  for (const char* key :
       {"use_dora", "lora_bias", "use_qalora", "layer_replication", "target_parameters", "trainable_token_indices",
        "alora_invocation_tokens", "arrow_config", "corda_config", "eva_config", "lora_ga_config", "kasa_config",
        "velora_config", "monteclora_config", "use_bdlora", "ensure_weight_tying"}) {
    const auto it = json.find(key);
    if (it != json.end() && !it->is_null() && *it != false) {
      throw_error<DataError>("{}/adapter_config.json: {}: {} is not supported", files.origin, key, it->dump());
    }
  }
  for (const char* name : {"pissa", "olora", "loftq", "corda", "lora_ga"}) {
    const auto it = json.find("init_lora_weights");
    if (it != json.end() && it->is_string() && it->get<std::string>().starts_with(name)) {
      throw_error<DataError>(
          "{}/adapter_config.json: init_lora_weights: {} changes the base weights and is not supported", files.origin,
          it->dump());
    }
  }
  // Biases are tensors of the base model, which whoever loads the file replaces.
  if (const std::string bias = trained_biases(files); bias != "none" && bias != "lora_only" && bias != "all")
    throw_error<DataError>("{}/adapter_config.json: bias: \"{}\" is not supported", files.origin, bias);
  // The tensors decide the targets (their names are whole paths), never target_modules.
  std::vector<std::string> targets;
  const std::string prefix = kTunerPrefix, a = ".lora_A.weight", b = ".lora_B.weight";
  for (const auto& [name, tensor] : files.tensors) {
    if (name.find(".lora_") == std::string::npos) continue;
    if (!name.starts_with(prefix) || (!name.ends_with(a) && !name.ends_with(b))) {
      throw_error<DataError>("{}/adapter_model.safetensors: tensor {} is not supported", files.origin, name);
    }
    const std::string module = name.substr(0, name.size() - a.size());
    if (!files.tensors.contains(module + a))
      throw_error<DataError>("{}/adapter_model.safetensors: tensor {}{} is missing", files.origin, module, a);
    if (name.ends_with(b)) continue;
    targets.push_back(module.substr(prefix.size()));
    const int64_t rank = config->named_rank(targets.back()).value_or(config->r);
    if (tensor.dim() != 2 || tensor.size(0) != rank) {
      throw_error<DataError>(
          "{}/adapter_model.safetensors: tensor {} has shape [{}], expected {} rows by adapter_config.json",
          files.origin, name, fmt::join(tensor.sizes(), ", "), rank);
    }
  }
  if (targets.empty())
    throw_error<DataError>("{}/adapter_model.safetensors: no tensor ends in lora_A.weight", files.origin);
  config->target_modules = targets;
  return config;
}

const bool lora_registered =
    methods().add("lora", {[] { return std::make_unique<LoraConfig>(); },
                           [](Transformer& model, const BankSpec& bank) { return std::make_unique<Lora>(model, bank); },
                           recognise_lora});

[[maybe_unused]] const bool lora_described =
    summaries("method").add("lora", {"a low-rank addition to chosen linear maps", "2106.09685"});

}  // namespace
}  // namespace peft
