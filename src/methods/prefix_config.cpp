#include "src/methods/prefix_config.h"

#include <algorithm>

#include "peft/base/error.h"
#include "src/methods/layers.h"

namespace peft {
void PrefixConfig::visit(Fields& fields) {
  MethodConfig::visit(fields);
  if (const Json* given = fields.current(); given != nullptr && !given->contains("sharing")) {
    if (const auto it = given->find("prefix_projection"); it != given->end() && *it == true) sharing = "deep";
  }
  fields.field("num_virtual_tokens", num_virtual_tokens,
               {.help = "P, pairs in front of every layer's keys and values", .min = 1});
  fields.field("sharing", sharing,
               {.help = "how keys and values are tied: none = each trained by itself; simple = both are maps of one "
                        "vector; deep = a "
                        "network writes them",
                .choices = {"none", "simple", "deep"}});
  fields.field(
      "prefix_projection", prefix_projection,
      {.help = "peft's name: true = sharing deep, network all_layers, encoder_hidden_size as wide as the keys"});
  fields.field("network", network,
               {.help = "deep: one network for each layer or one for all; null: all_layers",
                .choices = {"per_layer", "all_layers"}});
  fields.field(
      "encoder_hidden_size", encoder_hidden_size,
      {.help = "deep: hidden width of the network; null: 512 (all_layers), 48 (per_layer)", .min = 1, .max = 8192});
  fields.field("single", single, {.help = "deep: one map with tanh behind it instead of two with tanh between"});
  fields.field(
      "through_projection", through_projection,
      {.help = "pass the vectors through the layer's frozen key and value maps: \"auto\" (simple only), true, false"});
  fields.field(
      "through_norm", through_norm,
      {.help =
           "with through_projection: also through the frozen norm in front of them, on layers that have one there"});
  fields.field("rope_on_prefix", rope_on_prefix,
               {.help = "rotate prefix keys at positions 0..P-1: \"auto\" (as through_projection), true, false"});
  fields.field("layers", layers, {.help = "layers with a prefix: \"all\", \"first\" or a list of indices"});
  fields.field("stacks", stacks,
               {.help = "stacks with a prefix: \"all\" or a list of encoder_self, decoder_self, cross"});
  fields.field("init_weights", init_weights,
               {.help = "start values: normal = N(0, init_std^2); uniform = U(+-sqrt(6 / (3 p^2 + C))), p the patch "
                        "size, 0 for texts; zero (deep: the last map); text = what the frozen model makes of "
                        "init_text; null: normal (images: uniform)",
                .choices = {"normal", "uniform", "zero", "text"}});
  fields.field("init_text", init_text,
               {.help = "the text of init_weights \"text\", repeated and cut to P tokens", .per_job = true});
  fields.field("init_std", init_std,
               {.help = "standard deviation of init_weights \"normal\"", .min = 0, .min_exclusive = true});
  fields.field("prefix_dropout", prefix_dropout,
               {.help = "dropout on prefix keys and values (simple: on the vectors)",
                .min = 0,
                .max = 1,
                .max_exclusive = true,
                .per_job = true});
  fields.field("dropout_scope", dropout_scope,
               {.help = "masks: one for each sequence, or one for each adapter and step (cheaper)",
                .choices = {"sequence", "adapter"}});
  fields.field("prefix_bias", prefix_bias,
               {.help = "T5: relative bias of prefix keys", .choices = {"none", "as_positions"}});
  fields.field("position_shift", position_shift,
               {.help = "whether text positions start at P; auto: as the architecture's published code (BERT: on)",
                .choices = {"auto", "on", "off"}});
}

void PrefixConfig::validate() const {
  MethodConfig::validate();
  check_switch("through_projection", through_projection);
  check_switch("rope_on_prefix", rope_on_prefix);
  if (prefix_projection && (!deep() || per_layer() || single)) {
    throw_error<ConfigError>(
        "method.prefix_projection: true means sharing \"deep\", network \"all_layers\" and single false, found sharing "
        "\"{}\", network \"{}\", single {}",
        sharing, network.value_or("all_layers"), single);
  }
  if (!deep()) {
    const char* key = network ? "network" : single ? "single" : encoder_hidden_size ? "encoder_hidden_size" : nullptr;
    if (key != nullptr) throw_error<ConfigError>("method.{}: needs sharing \"deep\", found \"{}\"", key, sharing);
  }
  if (single && encoder_hidden_size)
    throw_error<ConfigError>("method.encoder_hidden_size: found {}, but single true has no hidden layer",
                             *encoder_hidden_size);
  if (from_text() && init_text.value_or("").empty())
    throw_error<ConfigError>("method.init_text: required by init_weights \"text\"");
  if (from_text() && simple() && !through()) {
    throw_error<ConfigError>(
        "method.init_weights: \"text\" needs through_projection with sharing \"simple\": one vector cannot be both the "
        "key and the value");
  }
  if (starts_at_zero() && through() && through_norm) {
    throw_error<ConfigError>(
        "method.init_weights: found \"zero\" with through_projection and through_norm, where gradients explode (1 / "
        "sqrt(eps)); set through_norm false or another start");
  }
  check_layers(layers);
  check_stacks(stacks);
}

void PrefixConfig::check(const ModelSpec& spec) const {
  if (spec.stacks.size() > 1)
    throw_error<ConfigError>("method.type: a prefix needs a model of one stack, found {}", spec.model_type);
  if (rope_on_prefix == true)
    throw_error<ConfigError>("method.rope_on_prefix: found true, but rotated prefixes are not supported");
  if (prefix_bias != "none")
    throw_error<ConfigError>("method.prefix_bias: found \"{}\", expected \"none\"", prefix_bias);
}

}  // namespace peft
