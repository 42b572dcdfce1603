/// p_tuning_v2, a preset of prefix (docs/methods.md#p_tuning_v2).

#include "tests/methods/prefix_method.h"

namespace peft {
namespace {

using PTuningV2 = Prefix;

TEST_F(PTuningV2, ResolvesToPrefix) {
  const Json v2{{"type", "p_tuning_v2"}, {"num_virtual_tokens", 3}};
  MethodBank preset(model_, v2), spelled(model_, with({{"init_std", 0.02}}));
  ASSERT_EQ(preset->parameters().size(), spelled->parameters().size());
  for (const Parameter& p : spelled->parameters())
    EXPECT_TRUE(same_values(preset->parameter(p.name).value, p.value)) << p.name;
  EXPECT_TRUE(same_values(preset.logits(model_, make_input(texts_)), spelled.logits(model_, make_input(texts_))));

  Json projected = v2;
  projected.update({{"prefix_projection", true}, {"encoder_hidden_size", 6}});
  MethodBank network(model_, projected), deep(model_, with({{"sharing", "deep"}, {"encoder_hidden_size", 6}}));
  deep->load_trained(0, network->trained_tensors(0), "test", true);
  EXPECT_TRUE(same_values(network.logits(model_, make_input(texts_)), deep.logits(model_, make_input(texts_))));
  EXPECT_EQ(MethodBank(model_, {{"type", "p_tuning_v2"}, {"prefix_projection", true}})
                ->parameter("encoder.0.bias")
                .value.size(1),
            512);
  EXPECT_EQ(network->fold(0).config.at("peft_type"), "PREFIX_TUNING");
  EXPECT_EQ(network->fold(0).config.at("peft_type"), "PREFIX_TUNING");
}

TEST_F(PTuningV2, DropoutOfTheCheckpoint) {
  Transformer model = Transformer::load(TinyBert{.dropout = 0.25}.write(folder_.path() / "dropout"), "float64");
  const auto logits = [&](const Json& config) {
    MethodBank bank(model, config);
    bank.context.training = true;
    return bank.logits(model, make_input(texts_)).detach();
  };
  const Json preset{{"type", "p_tuning_v2"}, {"num_virtual_tokens", 3}};
  const auto with_rate = [&](double rate) {
    Json config = preset;
    config["prefix_dropout"] = rate;
    return logits(config);
  };
  EXPECT_TRUE(same_values(logits(preset), with_rate(0.25)));
  EXPECT_TRUE(same_values(logits(preset), logits(with({{"init_std", 0.02}, {"prefix_dropout", 0.25}}))));
  EXPECT_FALSE(same_values(logits(preset), with_rate(0.0)));
}

TEST_F(PTuningV2, InitStd) {
  Transformer bare =
      Transformer::load(TinyBert{.positions = 12501, .labels = 0}.write(folder_.path() / "bare"), "float32");
  const auto make = [&](double std) {
    return MethodBank(bare,
                      {{"type", "p_tuning_v2"},
                       {"num_virtual_tokens", 12500},
                       {"prefix_projection", true},
                       {"encoder_hidden_size", 4096},
                       {"init_std", std}},
                      {1}, at::kFloat);
  };
  MethodBank small = make(0.02), large = make(0.04);
  for (const char* name : {"prefix_rows", "encoder.1.weight"}) {
    EXPECT_GE(trained(small, name).numel(), 100000) << name;
    EXPECT_NEAR(trained(small, name).std().item<double>(), 0.02, 0.0002) << name;
  }
  for (const char* name : {"encoder.0.bias", "encoder.1.bias", "classifier.bias"})
    EXPECT_EQ(trained(small, name).abs().max().item<double>(), 0.0) << name;
  EXPECT_LT(relative_error(trained(large, "classifier.weight"), 2.0 * trained(small, "classifier.weight")), 1e-6);
  MethodBank flat(bare, {{"type", "p_tuning_v2"}, {"num_virtual_tokens", 6250}}, {1}, at::kFloat);
  EXPECT_NEAR(trained(flat, "prefix_key").std().item<double>(), 0.02, 0.0002);
}

TEST_F(PTuningV2, AMissingPoolerIsDrawnAndStaysFrozen) {
  auto tensors = tiny_.tensors();
  std::erase_if(tensors, [](const auto& each) { return each.first.starts_with("bert.pooler."); });
  Transformer model =
      Transformer::load(TinyBert::write(folder_.path() / "no_pooler", tiny_.config(), tensors), "float64");
  const Json v2{{"type", "p_tuning_v2"}, {"num_virtual_tokens", 3}, {"init_std", 0.5}};
  testing::internal::CaptureStderr();
  MethodBank bank(model, v2);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::HasSubstr("tensor bert.pooler.dense.weight is missing: drawn from N(0, 0.5^2), frozen"));
  for (const Parameter& p : bank->parameters()) EXPECT_FALSE(p.name.starts_with("bert.pooler.")) << p.name;
  const AdapterFiles files = bank->fold(0);
  const at::Tensor weight = files.tensors.at("base_model.bert.pooler.dense.weight");
  EXPECT_NEAR(weight.std().item<double>(), 0.5, 5.0 * 0.5 / std::sqrt(2.0 * 64));
  EXPECT_EQ(files.tensors.at("base_model.bert.pooler.dense.bias").abs().max().item<double>(), 0.0);
  EXPECT_TRUE(at::isfinite(bank.logits(model, make_input(texts_))).all().item<bool>());

  Json usual = v2;
  usual["head"] = "architecture";
  EXPECT_THAT([&] { MethodBank(model, usual).logits(model, make_input(texts_)); },
              testing::ThrowsMessage<DataError>(testing::HasSubstr("bert.pooler.dense.weight is missing")));
}

TEST_F(PTuningV2, RejectsBadConfig) {
  const auto v2 = [](const Json& more) {
    Json config{{"type", "p_tuning_v2"}};
    config.update(more);
    return config;
  };
  refused(v2({{"prefix_dropout", "never"}}), "method.prefix_dropout: found \"never\"");
  refused(v2({{"prefix_dropout", 1.0}}), "method.prefix_dropout: found 1.0");
  refused(v2({{"encoder_hidden_size", 64}}), "method.encoder_hidden_size: found 64, but without prefix_projection");
  refused(v2({{"sharing", "simple"}}), "sharing: unknown key");
  refused(v2({{"head", "linear"}}), "head: found \"linear\"");
}

}  // namespace
}  // namespace peft
