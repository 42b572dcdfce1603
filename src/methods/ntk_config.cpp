#include "src/methods/ntk_config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "peft/base/error.h"
#include "src/methods/layers.h"

namespace peft {
namespace {

const std::map<std::string, FeatureMap> kMaps{
    {"elu", FeatureMap::elu}, {"taylor1", FeatureMap::taylor1}, {"taylor2", FeatureMap::taylor2}};

}  // namespace

void NtkConfig::visit(Fields& fields) {
  MethodConfig::visit(fields);
  fields.field("feature_map", feature_map,
               {.help = "phi: elu (y + 1 or e^y) to train from scratch, taylor1 and taylor2 to stand for a prefix",
                .choices = {"elu", "taylor1", "taylor2"}});
  fields.field(
      "mode", mode,
      {.help = "train, or compress: start from the state of a trained prefix", .choices = {"train", "compress"}});
  fields.field("prefix_from", prefix_from,
               {.help = "compress: run or adapter folder of a prefix or p_tuning_v2 adapter"});
  fields.field("z_rank", z_rank, {.help = "R: Z as a product of rank R; null: full", .min = 1});
  fields.field("den_transform", den_transform,
               {.help = "elu: what makes the denominator positive", .choices = {"abs", "softplus"}});
  fields.field("init", init,
               {.help = "start values: small (std 1e-4) or zero; null: small, with compat \"code\" zero",
                .choices = {"small", "zero"}});
  fields.field("per", per,
               {.help = "one state per query head or per key/value head", .choices = {"query_head", "kv_head"}});
  fields.field("layers", layers, {.help = "\"all\", \"first\" or a list of layer numbers, from 0"});
  fields.field("stacks", stacks,
               {.help = "stacks with states: \"all\" or a list of encoder_self, decoder_self, cross"});
  fields.field("center", center, {.help = "compress: expand around the mean key of the prefix"});
  fields.field("feature_dropout", feature_dropout,
               {.help = "dropout on phi; null: 0, with compat \"code\" 0.2",
                .min = 0,
                .max = 1,
                .max_exclusive = true,
                .per_job = true});
  fields.field("dropout_in_eval", dropout_in_eval,
               {.help = "feature_dropout acts in evaluation too; null: false, with compat \"code\" true"});
  fields.field("freeze_den", freeze_den,
               {.help = "the denominator does not train; null: false, with compat \"code\" true"});
  fields.field("num_virtual_tokens", num_virtual_tokens,
               {.help = "text positions start here: P of a compressed prefix that init_from names, else 0", .min = 0});
}

void NtkConfig::resolve() {
  const bool code = compat == "code";
  if (!init) init = code ? "zero" : "small";
  if (!freeze_den) freeze_den = code;
  if (!feature_dropout) feature_dropout = code ? 0.2 : 0.0;
  if (!dropout_in_eval) dropout_in_eval = code;
}

void NtkConfig::validate() const {
  MethodConfig::validate();
  check_layers(layers);
  check_stacks(stacks);
  if (den_transform != "abs" && feature_map != "elu") {
    throw_error<ConfigError>("method.den_transform: found \"{}\", expected \"abs\": the features of {} have no sign",
                             den_transform, feature_map);
  }
  const auto only_in = [&](const char* key, bool given, const char* expected) {
    if (given) throw_error<ConfigError>("method.{}: only for mode \"{}\", found mode \"{}\"", key, expected, mode);
  };
  if (!compresses()) {
    only_in("prefix_from", prefix_from.has_value(), "compress");
    only_in("center", center, "compress");
    if (feature_map == "taylor2" && !z_rank && !init_from) {
      throw_error<ConfigError>(
          "method.z_rank: missing; taylor2 trained from scratch needs one (its full Z has D^2/2 rows)");
    }
    if (*init == "zero" && !(feature_map == "elu" && den_transform == "abs" && *freeze_den)) {
      throw_error<ConfigError>(
          "method.init: found \"zero\", expected \"small\": without feature_map \"elu\", den_transform \"abs\" and "
          "freeze_den true the denominator could never move");
    }
    return;
  }
  only_in("init_from", init_from.has_value(), "train");
  only_in("num_virtual_tokens", num_virtual_tokens != 0, "train");
  if (!prefix_from) throw_error<ConfigError>("method.prefix_from: required by mode \"compress\"");
  if (feature_map == "elu") {
    throw_error<ConfigError>(
        "method.feature_map: found \"elu\", expected taylor1 or taylor2 in mode \"compress\": elu does not approximate "
        "e^{{q.k}}");
  }
  if (layers != "all")
    throw_error<ConfigError>("method.layers: found {}, expected \"all\": mode \"compress\" takes those of the prefix",
                             layers.dump());
}

FeatureMap NtkConfig::map() const { return kMaps.at(feature_map); }

std::unique_ptr<MethodConfig> recognise_ntk(const AdapterFiles& files) {
  if (files.config.value("peft_type", "") != "NTK_ATTENTION") return nullptr;
  auto config = std::make_unique<NtkConfig>();
  files.read("feature_map", config->feature_map);
  files.read("per", config->per);
  files.read("center", config->center);
  files.read("num_virtual_tokens", config->num_virtual_tokens);
  int64_t rank = 0;
  files.read("z_rank", rank);
  if (rank != 0) config->z_rank = rank;
  // The tensors decide which layers have a state, never target_modules.
  std::set<int64_t> layers;
  for (const auto& [name, tensor] : files.tensors) {
    const std::size_t part = name.rfind(".ntk_");
    if (part == std::string::npos) continue;
    const std::string kind = name.substr(part + 1);
    const auto layer = layer_of(name);
    if (!name.starts_with(kTunerPrefix) || !layer)
      throw_error<DataError>("{}/adapter_model.safetensors: tensor {} is not supported", files.origin, name);
    if ((kind == "ntk_z_a" && (tensor.dim() != 3 || tensor.size(2) != rank)) || (kind == "ntk_Z" && rank != 0)) {
      throw_error<DataError>(
          "{}/adapter_model.safetensors: tensor {} has shape [{}], but adapter_config.json says z_rank {}",
          files.origin, name, fmt::join(tensor.sizes(), ", "), rank);
    }
    if (kind == "ntk_center" && !config->center) {
      throw_error<DataError>("{}/adapter_config.json: center: found false, but tensor {} is there", files.origin, name);
    }
    layers.insert(*layer);
  }
  if (layers.empty())
    throw_error<DataError>("{}/adapter_model.safetensors: no tensor of a state (ntk_Z, ntk_den)", files.origin);
  config->layers = layers;
  config->resolve();
  return config;
}

}  // namespace peft
