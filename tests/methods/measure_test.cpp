/// What methods tell the doctor: docs/doctor.md.

#include "tests/methods/prefix_method.h"

namespace peft {
namespace {

TEST_F(Prefix, VirtualTokensAreMeasuredBesideWords) {
  const at::Tensor words = tiny_.tensors().at("bert.embeddings.word_embeddings.weight").to(at::kDouble).norm(2, 1);
  for (const char* type : {"prompt", "p_tuning", "dept", "adept"}) {
    Json config{{"type", type}, {"num_virtual_tokens", 3}};
    if (config["type"] == "dept" || config["type"] == "adept")
      config.update({{"r", 2}, {"prompt_tuning_init", "SAMPLE_VOCAB"}, {"prompt_tuning_init_text", "w"}});
    MethodBank bank(model_, config, {1, 2});
    const at::Tensor rows = bank->fold(1).tensors.at("prompt_embeddings");
    const double expected = rows.norm(2, 1).mean().item<double>() / words.median().item<double>();
    const Signs signs = bank->measure(1, make_input(texts_, {1, 1, 1}, 2));
    ASSERT_EQ(signs.size(), 1) << type;
    EXPECT_NEAR(signs.at("prompt_norm").value, expected, 1e-9) << type;
    EXPECT_THAT(signs.at("prompt_norm").cure, testing::StartsWith("method.")) << type;
  }
}

TEST_F(Prefix, OfADeepPromptTheRowsBesideWordsAreMeasured) {
  MethodBank bank(model_, {{"type", "prompt"}, {"num_virtual_tokens", 3}, {"depth", "deep"}});
  const double before = bank->measure(0, make_input(texts_)).at("prompt_norm").value;
  bank->parameter("prompt").value.detach()[0][1].mul_(100.0);
  EXPECT_EQ(bank->measure(0, make_input(texts_)).at("prompt_norm").value, before);
  bank->parameter("prompt").value.detach()[0][0].mul_(100.0);
  EXPECT_NEAR(bank->measure(0, make_input(texts_)).at("prompt_norm").value, 100 * before, 1e-6 * before);
}

TEST_F(Prefix, ItsShareOfTheAttentionIsMeasured) {
  auto tensors = tiny_.tensors();
  for (auto& [name, tensor] : tensors) {  // every query is 1 in each column, every key of a text 0
    if (name.find("self.query.weight") != std::string::npos || name.find("self.key") != std::string::npos)
      tensor.zero_();
    if (name.find("self.query.bias") != std::string::npos) tensor.fill_(1.0);
  }
  Transformer model = Transformer::load(TinyBert::write(folder_.path() / "even", tiny_.config(), tensors), "float64");
  MethodBank bank(model, with(), {1, 2});
  const auto share = [&](double key, double key_of_layer_1) {
    at::Tensor keys = bank->parameter("prefix_key").value.detach();
    keys[1][0].fill_(key);
    keys[1][1].fill_(key_of_layer_1);
    return bank->measure(1, make_input(texts_, {1, 1, 1}, 2)).at("prefix_attention").value;
  };
  // Texts of 5, 1 and 9 tokens, 3 pairs, heads of width 4: a score is 4 key / sqrt(4).
  const auto expected = [](double key) {
    const double weight = 3 * std::exp(2 * key);
    return (5 * weight / (weight + 5) + 1 * weight / (weight + 1) + 9 * weight / (weight + 9)) / 15;
  };
  EXPECT_NEAR(share(0, 0), expected(0), 1e-9);
  EXPECT_NEAR(share(-1, 0.5), expected(0.5), 1e-9);  // of the layer where it is largest
  EXPECT_LT(share(-50, -50), 1e-20);
}

TEST_F(Prefix, WhatPassesThroughFrozenMapsIsMeasuredBehindThem) {
  for (const char* sharing : {"none", "simple", "deep"}) {
    MethodBank bank(model_, with({{"sharing", sharing}}));
    const double share = bank->measure(0, make_input(texts_)).at("prefix_attention").value;
    EXPECT_GT(share, 0.05) << sharing;
    EXPECT_LT(share, 0.95) << sharing;
  }
}

TEST_F(Prefix, MeasuringChangesNoPass) {
  MethodBank bank(model_, with());
  const at::Tensor before = bank.logits(model_, make_input(texts_));
  bank->measure(0, make_input(texts_));
  EXPECT_TRUE(at::equal(bank.logits(model_, make_input(texts_)), before));
}

TEST_F(Prefix, OtherMethodsHaveNothingToMeasure) {
  for (const Json& config : {Json{{"type", "lora"}}, Json{{"type", "linear_probe"}}, Json{{"type", "bitfit"}}})
    EXPECT_TRUE(MethodBank(model_, config)->measure(0, make_input(texts_)).empty());
}

}  // namespace
}  // namespace peft
