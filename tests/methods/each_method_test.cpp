/// What is particular to one method.

#include "tests/support/one_method.h"

namespace peft {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

using Lora = OneMethod;
using Prompt = OneMethod;
using Full = OneMethod;

TEST_F(Lora, MergedEqualsUnmerged) {
  for (const bool rslora : {false, true}) {
    MethodBank bank(
        model_,
        {{"type", "lora"}, {"r", 4}, {"lora_alpha", 6}, {"use_rslora", rslora}, {"target_modules", "all-linear"}});
    bank.perturb(0.3);
    DenseBert merged = dense(bank);
    for (const std::string& module : targets("all-linear")) {
      const at::Tensor a = bank->parameter(module + ".lora_A").value.detach()[0],
                       b = bank->parameter(module + ".lora_B").value.detach()[0];
      merged.weights[module + ".weight"] = merged.weights[module + ".weight"] + at::mm(a, b).t() * (rslora ? 3.0 : 1.5);
    }
    EXPECT_LT(relative_error(bank.logits(model_, make_input(texts_)), merged.logits(texts_)), 1e-10);
  }
}

TEST_F(Lora, Scaling) {
  const auto addition = [&](const Json& more) {
    Json config{{"type", "lora"}, {"r", 8}, {"lora_alpha", 16}, {"target_modules", {"intermediate.dense"}}};
    config.update(more);
    MethodBank bank(model_, config);
    at::NoGradGuard no_grad;
    for (const Parameter& p : bank->parameters()) p.value.fill_(1.0);
    const Linear& map = model_.layers()[0].up;
    const at::Tensor x = at::ones({1, 8}, at::kDouble);
    return bank->linear(map, x, make_batch({1}))[0][0].item<double>() / 8.0 / 8.0;  // sum over C, then over r, of ones
  };
  EXPECT_NEAR(addition(Json::object()), 2.0, 1e-12);
  EXPECT_NEAR(addition({{"use_rslora", true}}), 5.656854, 1e-6);
  EXPECT_NEAR(addition({{"alpha_pattern", {{"intermediate.dense", 4.0}}}}), 0.5, 1e-12);
  EXPECT_NEAR(addition({{"rank_pattern", {{"layer.0.intermediate.dense", 4}}}}) * 8.0 / 4.0, 4.0, 1e-12);
}

TEST_F(Lora, AdaptersOfABankHaveTheirOwnAlpha) {
  const Json one{{"type", "lora"}, {"r", 2}, {"lora_alpha", 2}}, two{{"type", "lora"}, {"r", 2}, {"lora_alpha", 8}};
  MethodBank bank({one, two}, model_, {1, 2}), single(model_, two, {2});
  bank.perturb(0.3);
  single.perturb(0.3);
  const at::Tensor both = bank.logits(model_, make_input({texts_[0], texts_[2]}, {0, 1}, 2));
  EXPECT_LT(relative_error(both[1], single.logits(model_, make_input({texts_[2]}))[0]), 1e-12);
}

TEST_F(Lora, GradientAtInitClosedForm) {
  MethodBank bank(model_, {{"type", "lora"}, {"r", 3}, {"lora_alpha", 6}});
  const Linear& map = model_.layers()[0].query;
  const at::Tensor x = random_tensor(1, {5, 8}), dy = random_tensor(2, {5, 8});
  const at::Tensor a = bank->parameter(map.module + ".lora_A").value, b = bank->parameter(map.module + ".lora_B").value;
  const auto grads = gradients((bank->linear(map, x, make_batch({5})) * dy).sum(), {a, b});
  EXPECT_EQ(grads[0].abs().max().item<double>(), 0.0);
  EXPECT_LT(relative_error(grads[1][0], 2.0 * at::mm(at::mm(x, a.detach()[0]).t(), dy)), 1e-12);
}

TEST_F(Lora, DropoutActsOnInputOnly) {
  MethodBank bank(model_, {{"type", "lora"}, {"r", 2}, {"lora_dropout", 0.5}});
  bank.perturb(0.5);
  bank.context.training = true;
  const Linear& map = model_.layers()[0].query;
  const at::Tensor x = random_tensor(1, {1, 8}).expand({4096, 8}).contiguous();
  bank->begin_pass(bank.context);
  const at::Tensor dropped = bank->linear(map, x, make_batch({4096})).detach();
  bank.context.training = false;
  const at::Tensor plain = bank->linear(map, x, make_batch({4096})).detach()[0];
  const at::Tensor error = (dropped.mean(0) - plain).abs() / (dropped.std(0) / 64.0);
  EXPECT_GT(dropped.std(0).min().item<double>(), 0.0);
  EXPECT_LT(error.max().item<double>(), 5.0);
}

TEST_F(Lora, InitialValuesHaveTheirDistribution) {
  MethodBank uniform(model_, {{"type", "lora"}, {"r", 8}, {"target_modules", {"output.dense"}}});
  MethodBank gaussian(
      model_, {{"type", "lora"}, {"r", 8}, {"target_modules", {"output.dense"}}, {"init_lora_weights", "gaussian"}});
  const std::string name = "bert.encoder.layer.0.output.dense.lora_A";  // 16 to 8
  const at::Tensor u = uniform->parameter(name).value.detach(), g = gaussian->parameter(name).value.detach();
  EXPECT_LE(u.abs().max().item<double>(), 0.25);
  EXPECT_GT(u.abs().max().item<double>(), 0.23);
  EXPECT_NEAR(g.std().item<double>(), 0.125, 5.0 * 0.125 / std::sqrt(2.0 * 128));
}

TEST_F(Lora, LoraTargets) {
  const std::string layer0 = "bert.encoder.layer.0.", layer1 = "bert.encoder.layer.1.";
  EXPECT_THAT(targets(nullptr),
              testing::UnorderedElementsAre(layer0 + "attention.self.query", layer0 + "attention.self.value",
                                            layer1 + "attention.self.query", layer1 + "attention.self.value"));
  EXPECT_THAT(targets({"dense"}), testing::UnorderedElementsAre(
                                      layer0 + "attention.output.dense", layer0 + "intermediate.dense",
                                      layer0 + "output.dense", layer1 + "attention.output.dense",
                                      layer1 + "intermediate.dense", layer1 + "output.dense", "bert.pooler.dense"));
  EXPECT_THAT(targets(".*layer\\.1\\..*key"), testing::ElementsAre(layer1 + "attention.self.key"));
}

TEST_F(Lora, AllLinearIsEveryMapButTheTrainedHead) {
  const auto all = targets("all-linear");
  EXPECT_EQ(all.size(), 2U * 6 + 1);
  EXPECT_THAT(all, testing::Not(testing::Contains("classifier")));
  EXPECT_EQ(targets("All-Linear"), all);
}

TEST_F(Lora, UnknownTargetsListTheKnownOnes) {
  const auto with = [](const Json& targets) { return Json{{"type", "lora"}, {"r", 1}, {"target_modules", targets}}; };
  refused(with({"query", "q_proj"}),
          "method.target_modules: no linear map is called \"q_proj\" (known: dense, key, query, value)");
  refused(with("key"), "method.target_modules: \"key\" matches no linear map (known: dense, key, query, value)");
  refused(with("(key"), "method.target_modules: \"(key\" is no regular expression");
  refused(with({"classifier"}), "no linear map is called \"classifier\"");
  refused(with(Json::array()), "method.target_modules: an empty list");
}

TEST_F(Lora, RankIsAtMostTheSmallerSide) {
  refused({{"type", "lora"}, {"r", 9}},
          "method.r: found 9, expected at most 8 for bert.encoder.layer.0.attention.self.query (8 to 8)");
}

TEST_F(Prompt, PaddedReference) {
  for (const char* pooling : {"first", "cls"}) {
    MethodBank bank(model_, {{"type", "prompt"}, {"num_virtual_tokens", 3}, {"pooling", pooling}});
    bank.perturb();
    DenseBert padded = dense(bank);
    padded.prompt_PC = bank->parameter("prompt").value.detach()[0];
    padded.pool_first = std::string(pooling) == "first";
    EXPECT_LT(relative_error(bank.logits(model_, make_input(texts_)), padded.logits(texts_)), 1e-10);
  }
}

TEST_F(Prompt, TextInitEqualsRealText) {
  const NumberTokenizer tokenizer;
  MethodBank bank(model_,
                  {{"type", "prompt"},
                   {"num_virtual_tokens", 6},
                   {"prompt_tuning_init", "TEXT"},
                   {"prompt_tuning_init_text", "5 7"}},
                  {1}, at::kDouble, &tokenizer);
  std::vector<Text> longer;
  for (const Text& text : texts_) {
    Text with{{21, 5, 7, 22, 21, 5}, {0, 0, 0, 0, 0, 0}};  // repeated and cut to 6
    with.ids.insert(with.ids.end(), text.ids.begin(), text.ids.end());
    with.types.insert(with.types.end(), text.types.begin(), text.types.end());
    longer.push_back(with);
  }
  EXPECT_LT(relative_error(bank.logits(model_, make_input(texts_)), bare_logits(model_, longer)), 1e-12);
}

TEST_F(Prompt, TextInitNeedsATokenizerAndTokens) {
  const Json config{{"type", "prompt"}, {"prompt_tuning_init", "TEXT"}, {"prompt_tuning_init_text", "5 7"}};
  refused(config, "method.prompt_tuning_init: \"TEXT\" needs the model folder's tokenizer");
}

TEST_F(Prompt, SampleVocabCopiesRowsOfTheVocabulary) {
  MethodBank bank(model_, {{"type", "prompt"}, {"num_virtual_tokens", 20}, {"prompt_tuning_init", "SAMPLE_VOCAB"}},
                  {1, 2});
  const at::Tensor rows = bank->parameter("prompt").value.detach(), words = model_.word_embeddings();
  EXPECT_FALSE(same_values(rows[0], rows[1]));
  for (int64_t i = 0; i < 20; ++i) EXPECT_TRUE((words == rows[0][i]).all(-1).any().item<bool>()) << "row " << i;
}

TEST_F(Prompt, GradientIsSumOverSequences) {
  MethodBank bank(model_, {{"type", "prompt"}, {"num_virtual_tokens", 3}});
  const auto gradient = [&](const std::vector<Text>& texts) {
    return gradients(bank.logits(model_, make_input(texts)).square().sum(), {bank->parameter("prompt").value})[0];
  };
  at::Tensor sum = at::zeros({1, 3, 8}, at::kDouble);
  for (const Text& text : texts_) sum += gradient({text});
  EXPECT_LT(relative_error(gradient(texts_), sum), 1e-12);
}

TEST_F(Prompt, OrderMatters) {
  MethodBank bank(model_, {{"type", "prompt"}, {"num_virtual_tokens", 3}, {"pooling", "cls"}});
  const at::Tensor before = bank.logits(model_, make_input(texts_)).detach();
  bank->parameter("prompt").value.detach().copy_(bank->parameter("prompt").value.detach().flip(1).clone());
  EXPECT_GT(relative_error(bank.logits(model_, make_input(texts_)), before), 1e-4);
}

TEST_F(Prompt, PoolingModes) {
  MethodBank first(model_, {{"type", "prompt"}, {"num_virtual_tokens", 3}}),
      cls(model_, {{"type", "prompt"}, {"num_virtual_tokens", 3}, {"pooling", "cls"}});
  EXPECT_EQ(first->pooling(), PooledRow::first);
  EXPECT_EQ(cls->pooling(), PooledRow::text);
  EXPECT_GT(relative_error(first.logits(model_, make_input(texts_)), cls.logits(model_, make_input(texts_))), 1e-3);
}

TEST_F(Full, TakesOneAdapterInTheModelsType) {
  EXPECT_THAT(
      [&] {
        MethodBank(model_, {{"type", "full"}}, {1, 2});
      },
      ThrowsMessage<ConfigError>(HasSubstr("method.type: \"full\" trains one adapter at a time, found a bank of 2")));
  EXPECT_THAT(
      [&] {
        MethodBank(model_, {{"type", "full"}}, {1}, at::kFloat);
      },
      ThrowsMessage<ConfigError>(HasSubstr("model.dtype")));
}

TEST_F(Full, GroupsAndDecay) {
  MethodBank bank(model_, {{"type", "full"}});
  for (const Parameter& p : bank->parameters()) {
    EXPECT_EQ(p.group, p.name.starts_with("classifier.") ? "head" : "backbone") << p.name;
    EXPECT_EQ(p.decays, p.value.dim() == 3) << p.name;
  }
  EXPECT_TRUE(bank->writes_model_folder());
}

TEST_F(Full, PaddingRowGetsNoGradient) {
  MethodBank bank(model_, {{"type", "full"}});
  const at::Tensor words = bank->parameter("bert.embeddings.word_embeddings.weight").value;
  const at::Tensor gradient = gradients(weighted_sum(bank.logits(model_, make_input({{{0, 4}, {0, 0}}}))), {words})[0];
  EXPECT_EQ(gradient[0][0].abs().max().item<double>(), 0.0);
  EXPECT_GT(gradient[0][4].abs().max().item<double>(), 0.0);
}

using LinearProbe = OneMethod;

TEST_F(LinearProbe, TrainsTheHeadAlone) {
  MethodBank bank(model_, {{"type", "linear_probe"}});
  std::vector<std::string> names;
  for (const Parameter& p : bank->parameters()) names.push_back(p.name);
  EXPECT_THAT(names, testing::ElementsAre("classifier.weight", "classifier.bias"));
  EXPECT_THROW(bank->parameter("prompt"), Error);
}

}  // namespace
}  // namespace peft
