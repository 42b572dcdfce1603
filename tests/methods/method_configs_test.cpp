/// Counts, refusals and names of all methods (docs/methods.md#tests-of-every-method).

#include <gmock/gmock.h>

#include <set>

#include "peft/base/error.h"
#include "tests/base/temporary_folder.h"
#include "tests/support/banks.h"
#include "tests/support/method_configs.h"

namespace peft {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(MethodCounts, MatchTheFormulas) {
  const TemporaryFolder folder;
  for (const TinyBert& tiny : {TinyBert{}, TinyBert{.width = 12, .heads = 3, .layers = 1, .feed_forward = 20},
                               TinyBert{.width = 32, .heads = 4, .layers = 3}}) {
    Transformer model = Transformer::load(tiny.write(folder.path()), "float64");
    const int64_t c = tiny.width, f = tiny.feed_forward, l = tiny.layers, head = 2 * c + 2;
    const auto count = [&](const Json& config,
                           int64_t folded = 0) {  // folded: stored numbers, where not those that train
      MethodBank bank(model, config, {1});
      int64_t sum = 0, stored = 0;
      for (const Parameter& p : bank->parameters()) sum += p.value.numel();
      for (const auto& [name, tensor] : bank->fold(0).tensors) stored += tensor.numel();
      EXPECT_EQ(bank->trainable_parameters(), sum);
      EXPECT_EQ(stored, folded > 0 ? folded : sum);
      return sum;
    };
    EXPECT_EQ(count({{"type", "linear_probe"}}), head);
    EXPECT_EQ(count({{"type", "lora"}, {"r", 3}}), head + l * 2 * 3 * (c + c));
    EXPECT_EQ(count({{"type", "lora"}, {"r", 2}, {"target_modules", "all-linear"}}),
              head + 2 * (l * (4 * 2 * c + 2 * (c + f)) + 2 * c));
    EXPECT_EQ(count({{"type", "prompt"}, {"num_virtual_tokens", 5}}), head + 5 * c);
    EXPECT_EQ(count({{"type", "prompt"}, {"num_virtual_tokens", 5}, {"depth", "deep"}}), head + l * 5 * c);
    const Json rows{{"num_virtual_tokens", 5}, {"r", 3}, {"prompt_tuning_init", "RANDOM"}};
    const auto with_rows = [&](Json config) {
      config.update(rows);
      return config;
    };
    EXPECT_EQ(count(with_rows({{"type", "dept"}})), head + 5 * c + 32 * 3 + 3 * c);  // S = 32, the task's
    EXPECT_EQ(count(with_rows({{"type", "dept"}, {"max_length", 40}})), head + 5 * c + 40 * 3 + 3 * c);
    EXPECT_EQ(count(with_rows({{"type", "adept"}})), head + 5 * c + 2 * c * 3 + 3 + c);
    EXPECT_EQ(count({{"type", "bitfit"}}), head + l * (7 * c + f) + c);
    EXPECT_EQ(count({{"type", "bitfit"}, {"subset", "query_ffn"}}), head + l * (c + f));
    EXPECT_EQ(count({{"type", "prefix"}, {"num_virtual_tokens", 5}}), head + 2 * l * 5 * c);
    EXPECT_EQ(count({{"type", "ntk_attention"}}), head + l * c * (c / tiny.heads + 1));
    EXPECT_EQ(count({{"type", "ntk_attention"}, {"feature_map", "taylor1"}}),
              head + l * (c + tiny.heads) * (c / tiny.heads + 1));
    EXPECT_EQ(count({{"type", "ntk_attention"}, {"z_rank", 2}, {"layers", "first"}}), head + 5 * c);
    const int64_t e = 5, y = c, table = head + 2 * l * 5 * y;
    const Json prefix{{"type", "prefix"}, {"num_virtual_tokens", 5}};
    const auto with = [&](Json config, const Json& more) {
      config.update(more);
      return config;
    };
    EXPECT_EQ(count(with(prefix, {{"sharing", "simple"}}), table), head + l * 5 * c);
    const Json network = with(prefix, {{"sharing", "deep"}, {"encoder_hidden_size", e}});
    EXPECT_EQ(count(with(network, {{"network", "per_layer"}}), table),
              head + l * (5 * c + c * e + e + 2 * e * y + 2 * y));
    EXPECT_EQ(count(network, table), head + 5 * c + c * e + e + 2 * e * l * y + 2 * l * y);
    const Json single = with(prefix, {{"sharing", "deep"}, {"single", true}});
    EXPECT_EQ(count(with(single, {{"network", "per_layer"}}), table), head + l * (5 * c + 2 * c * y + 2 * y));
    EXPECT_EQ(count(single, table), head + 5 * c + 2 * c * l * y + 2 * l * y);
    EXPECT_EQ(count(with(prefix, {{"prefix_projection", true}}), table),
              head + 5 * y + y * y + y + 2 * y * l * y + 2 * l * y);
    const Json v2{{"type", "p_tuning_v2"}, {"num_virtual_tokens", 5}};
    EXPECT_EQ(count(v2), table);
    EXPECT_EQ(count(with(v2, {{"prefix_projection", true}}), table),
              head + 5 * c + c * 512 + 512 + 2 * 512 * l * y + 2 * l * y);
    const int64_t backbone = (tiny.vocabulary + tiny.positions + tiny.types) * c + 2 * c +
                             l * (4 * (c * c + c) + 2 * c * f + f + c + 4 * c) + c * c + c;
    EXPECT_EQ(count({{"type", "full"}}), head + backbone);
  }
}

TEST(MethodConfigs, BadOnesAreRefusedByKey) {
  const auto refused = [](const Json& config, const std::string& message) {
    EXPECT_THAT([&] { method_config(config); }, ThrowsMessage<ConfigError>(HasSubstr(message)));
  };
  refused({{"type", "lroa"}},
          "unknown method \"lroa\"; did you mean \"lora\"? (known: adept, bitfit, dept, full, linear_probe, lora, ");
  refused(Json::object(), "method.type: missing (known: adept, bitfit, dept, full, linear_probe, lora, ");
  refused({{"type", "lora"}, {"r", 0}}, "r: found 0, expected an integer >= 1");
  refused({{"type", "lora"}, {"lora_alpha", 0}}, "lora_alpha: found 0");
  refused({{"type", "lora"}, {"lora_dropout", 1.0}}, "lora_dropout: found 1.0");
  refused({{"type", "lora"}, {"lora_dropout", -0.5}}, "lora_dropout: found -0.5");
  refused({{"type", "lora"}, {"lora_alph", 3}}, "did you mean \"lora_alpha\"?");
  refused({{"type", "lora"}, {"target_modules", 3}},
          "method.target_modules: found 3, expected a string or a list of strings");
  refused({{"type", "lora"}, {"target_modules", {"query", 3}}}, "method.target_modules: found [\"query\",3]");
  refused({{"type", "lora"}, {"init_lora_weights", "pissa"}},
          "method.init_lora_weights: found \"pissa\", expected true or \"gaussian\"");
  refused({{"type", "lora"}, {"rank_pattern", {{"query", 0}}}}, "rank_pattern");
  refused({{"type", "prompt"}, {"num_virtual_tokens", 0}}, "num_virtual_tokens: found 0, expected an integer >= 1");
  refused({{"type", "prompt"}, {"pooling", "mean"}}, "pooling: found \"mean\"");
  refused({{"type", "prompt"}, {"prompt_tuning_init", "ZERO"}}, "prompt_tuning_init: found \"ZERO\"");
  refused({{"type", "prompt"}, {"prompt_tuning_init", "TEXT"}},
          "method.prompt_tuning_init_text: required by prompt_tuning_init \"TEXT\"");
  refused({{"type", "prompt"}, {"prompt_dropout", 1}}, "prompt_dropout: found 1");
  refused({{"type", "prompt"}, {"depth", "shallow"}}, "depth: found \"shallow\"");
  refused({{"type", "dept"}, {"prompt_tuning_init_text", ""}},
          "method.prompt_tuning_init_text: required by prompt_tuning_init \"TEXT\"");
  refused({{"type", "dept"}, {"r", 0}}, "r: found 0");
  refused({{"type", "dept"}, {"offset_scaling", "half"}},
          "method.offset_scaling: found \"half\", expected \"none\", \"code\" or a number");
  refused({{"type", "dept"}, {"row_alignment", "middle"}}, "row_alignment: found \"middle\"");
  refused({{"type", "adept"}, {"offset_dropout", 1}}, "offset_dropout: found 1");
  refused({{"type", "adept"}, {"fold", "always"}}, "fold: found \"always\"");
  refused({{"type", "bitfit"}, {"subset", "some"}}, "subset: found \"some\"");
  refused({{"type", "linear_probe"}, {"head", "mlp"}}, "head: found \"mlp\"");
  refused({{"type", "full"}, {"exclude_modules", 3}}, "method.exclude_modules: found 3");
  refused({{"type", "lora"}, {"exclude_modules", {3}}}, "method.exclude_modules: found [3]");
  refused({{"type", "lora"}, {"layers_to_transform", "0"}}, "method.layers_to_transform: found \"0\"");
  refused({{"type", "lora"}, {"layers_to_transform", 0}, {"target_modules", "all-linear"}},
          "method.layers_to_transform: only with target_modules as a list of names");
  refused({{"type", "prefix"}, {"num_virtual_tokens", 0}}, "num_virtual_tokens: found 0");
  refused({{"type", "prefix"}, {"init_std", 0}}, "init_std: found 0");
  refused({{"type", "prefix"}, {"sharing", "half"}}, "sharing: found \"half\"");
  refused({{"type", "linear_probe"}, {"r", 3}}, "r: unknown key");
}

TEST(MethodConfigs, VirtualTokensLeaveAPositionForTheText) {
  const TemporaryFolder folder;
  Transformer model = Transformer::load(TinyBert{.positions = 12}.write(folder.path()), "float64");
  for (const std::string& type : methods().names()) {
    SCOPED_TRACE(type);
    Json config = method_config_of(type);
    if (!config.contains("num_virtual_tokens")) continue;
    const Json keys = schema_fields([&](Fields& fields) { methods().at(type).config()->visit(fields); });
    if (keys.at("properties").contains("prompt_tuning_init")) config["prompt_tuning_init"] = "RANDOM";
    const auto make = [&](int64_t count) {
      config["num_virtual_tokens"] = count;
      MethodBank(model, config);
    };
    EXPECT_NO_THROW(make(11));
    for (const int64_t count : {int64_t{12}, int64_t{1} << 50}) {  // the second before it takes memory
      EXPECT_THAT(
          [&] { make(count); },
          ThrowsMessage<ConfigError>(HasSubstr(fmt::format(
              "method.num_virtual_tokens: found {}, expected at most 11 (the model has 12 positions)", count))));
    }
  }
  EXPECT_NO_THROW(MethodBank(model, {{"type", "prefix"}, {"num_virtual_tokens", 12}, {"position_shift", "off"}}));
}

/// Trainer, resume and folder tests take their methods from there.
TEST(MethodRegistry, EveryMethodHasATestConfig) {
  std::set<std::string> tested;
  for (const auto& [name, config] : method_configs()) {
    EXPECT_NO_THROW(method_config(config)) << name;
    tested.insert(config.at("type").get<std::string>());
  }
  const std::vector<std::string> names = methods().names();
  EXPECT_THAT(tested, testing::ElementsAreArray(names));
}

TEST(MethodRegistry, EveryFileThatRegistersIsKnownByItsName) {
  std::size_t registering = 0;
  for (const auto& file : std::filesystem::directory_iterator(std::filesystem::path(PEFT_SOURCE_DIR) / "src/methods")) {
    if (file.path().extension() != ".cpp" || content_of(file.path()).find("methods().add(") == std::string::npos)
      continue;
    ++registering;
    EXPECT_NE(methods().find(file.path().stem().string()), nullptr) << file.path().filename();
  }
  EXPECT_EQ(methods().names().size(), registering);
  EXPECT_GE(registering, 5U);
}

}  // namespace
}  // namespace peft
