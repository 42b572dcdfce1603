/// lora, beyond what methods_test.cpp shows: docs/methods.md#lora.

#include "tests/support/one_method.h"

namespace peft {
namespace {

using Lora = OneMethod;

const std::string kLayer0 = "bert.encoder.layer.0.", kLayer1 = "bert.encoder.layer.1.";

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
    const Linear& map = layer_of(model_, 0).feed_forward.up;
    const at::Tensor x = at::ones({1, 8}, at::kDouble);
    return addition_at(*bank.method, map, x, make_batch({1}))[0][0].item<double>() / 8.0 /
           8.0;  // sum over C, then over r, of ones
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
  const Linear& map = attention_of(model_, 0).query;
  const at::Tensor x = random_tensor(1, {5, 8}), dy = random_tensor(2, {5, 8});
  const at::Tensor a = bank->parameter(map.module + ".lora_A").value, b = bank->parameter(map.module + ".lora_B").value;
  const auto grads = gradients((addition_at(*bank.method, map, x, make_batch({5})) * dy).sum(), {a, b});
  EXPECT_EQ(grads[0].abs().max().item<double>(), 0.0);
  EXPECT_LT(relative_error(grads[1][0], 2.0 * at::mm(at::mm(x, a.detach()[0]).t(), dy)), 1e-12);
}

TEST_F(Lora, DropoutActsOnInputOnly) {
  MethodBank bank(model_, {{"type", "lora"}, {"r", 2}, {"lora_dropout", 0.5}});
  bank.perturb(0.5);
  bank.context.training = true;
  const Linear& map = attention_of(model_, 0).query;
  const at::Tensor x = random_tensor(1, {1, 8}).expand({4096, 8}).contiguous();
  bank->begin_pass(bank.context);
  const at::Tensor dropped = addition_at(*bank.method, map, x, make_batch({4096})).detach();
  bank.context.training = false;
  const at::Tensor plain = addition_at(*bank.method, map, x, make_batch({4096})).detach()[0];
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

TEST_F(Lora, WhatModulesToSaveTrainsIsNoTarget) {
  const std::string pooler = "bert.pooler.dense";
  const Json saved{{"modules_to_save", {"pooler"}}};
  EXPECT_THAT(targets("all-linear", saved), testing::Not(testing::Contains(pooler)));
  EXPECT_THAT(targets({"dense"}, saved),
              testing::AllOf(testing::Not(testing::Contains(pooler)), testing::Contains(kLayer0 + "output.dense")));
  refused({{"type", "lora"}, {"target_modules", {"bert.pooler.dense"}}, {"modules_to_save", {"pooler"}}},
          "method.target_modules: no linear map is called \"bert.pooler.dense\"");
  // The layer that gives the labels is the method's own even when it does not train.
  EXPECT_EQ(targets("all-linear", {{"modules_to_save", Json::array()}}), targets("all-linear"));
}

TEST_F(Lora, ModulesToSaveAddToTheArchitecturesOwn) {
  const auto trained = [&](const Json& names) {
    MethodBank bank(model_, {{"type", "lora"}, {"r", 1}, {"modules_to_save", names}});
    std::vector<std::string> modules;
    for (const Parameter& p : bank->parameters()) {
      if (p.group == "head" && p.name.ends_with(".weight")) modules.push_back(p.name.substr(0, p.name.size() - 7));
    }
    return modules;
  };
  const auto labels = testing::ElementsAre("classifier");
  EXPECT_THAT(trained(nullptr), labels);
  EXPECT_THAT(trained(Json::array()), testing::IsEmpty());
  EXPECT_THAT(trained(Json::array({"score"})), labels);  // which BERT does not have
  EXPECT_THAT(trained(Json::array({"classifier", "score", "classifier", "score"})), labels);
  EXPECT_THAT(trained(Json::array({"pooler"})), testing::UnorderedElementsAre("bert.pooler.dense", "classifier"));
  refused({{"type", "lora"}, {"r", 1}, {"modules_to_save", {"decoder"}}},
          "method.modules_to_save: \"decoder\" is not a module of the head (known: bert.pooler.dense, classifier)");
}

TEST_F(Lora, UnknownTargetsListTheKnownOnes) {
  const auto with = [](const Json& targets) { return Json{{"type", "lora"}, {"r", 1}, {"target_modules", targets}}; };
  refused(with({"query", "q_proj"}),
          "method.target_modules: no linear map is called \"q_proj\" (known: dense, key, query, value)");
  refused(with("key"), "method.target_modules: \"key\" matches no linear map (known: dense, key, query, value)");
  refused(with("(key"), "method.target_modules: \"(key\" is not a regular expression");
  refused(with({"classifier"}), "no linear map is called \"classifier\"");
  refused(with(Json::array()), "method.target_modules: an empty list");
}

TEST_F(Lora, RankIsAtMostTheSmallerSide) {
  refused({{"type", "lora"}, {"r", 9}},
          "method.r: found 9, expected at most 8 for bert.encoder.layer.0.attention.self.query (8 to 8)");
  refused({{"type", "lora"}, {"rank_pattern", {{"value", 9}}}},
          "method.rank_pattern: found 9, expected at most 8 for bert.encoder.layer.0.attention.self.value (8 to 8)");
}

TEST_F(Lora, BadPatternsAreNamedByTheirKey) {
  refused({{"type", "lora"}, {"rank_pattern", {{"(a", 2}}}}, "method.rank_pattern: \"");
  refused({{"type", "lora"}, {"alpha_pattern", {{"(a", 2}}}}, "method.alpha_pattern: \"");
}

/// Ranks of the queries of both layers and of the values of the first.
std::vector<int64_t> ranks(Transformer& model, const std::string& rank_pattern) {
  Json config = parse_json("{\"rank_pattern\": " + rank_pattern + "}", "test");
  config.update({{"type", "lora"}, {"r", 1}});
  MethodBank bank(model, config);
  std::vector<int64_t> found;
  for (const std::string& module :
       {kLayer0 + "attention.self.query", kLayer1 + "attention.self.query", kLayer0 + "attention.self.value"})
    found.push_back(bank->parameter(module + ".lora_A").value.size(2));
  return found;
}

TEST_F(Lora, TheFirstPatternOfTheFileThatMatchesWins) {
  using Ranks = std::vector<int64_t>;
  EXPECT_EQ(ranks(model_, R"({"self.query": 3, "layer.0.attention.self.value": 4})"), (Ranks{3, 3, 4}));
  EXPECT_EQ(ranks(model_, R"({"layer.0.attention.self.query": 4, "attention.self.query": 3})"), (Ranks{4, 3, 1}));
  testing::internal::CaptureStderr();
  EXPECT_EQ(ranks(model_, R"({"self.query": 3, "layer.0.attention.self.query": 4})"), (Ranks{3, 3, 1}));
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::HasSubstr("method.rank_pattern: \"layer.0.attention.self.query\" has no effect"));
}

TEST_F(Lora, PatternsMeanWhatPythonMeans) {
  using Ranks = std::vector<int64_t>;
  EXPECT_EQ(ranks(model_, R"({"layer\\.0\\..*(?P<what>q)uery": 4})"), (Ranks{4, 1, 1}));
  EXPECT_EQ(ranks(model_, R"({"q{,1}uery": 4})"), (Ranks{4, 4, 1}));
  EXPECT_EQ(ranks(model_, R"({"^bert.encoder.layer.1.*query": 4})"), (Ranks{1, 4, 1}));
  EXPECT_EQ(ranks(model_, R"({"uery|value": 4})"), (Ranks{1, 1, 4}));  // a name begins at the start or behind a dot
  refused({{"type", "lora"}, {"target_modules", "(?<x>.*)query"}},
          "method.target_modules: \"(?<x>.*)query\" is not a regular expression (unknown extension");
}

TEST_F(Lora, PatternsAreWrittenInTheirOrder) {
  Json config = parse_json(R"({"alpha_pattern": {"value": 2, "layer.0.*": 3, "query": 5}})", "test");
  config.update({{"type", "lora"}, {"r", 1}});
  MethodBank bank(model_, config);
  const std::string text = to_pretty_string(bank->fold(0).config);
  EXPECT_LT(text.find("\"value\": 2.0"), text.find("\"layer.0.*\": 3.0"));
  EXPECT_LT(text.find("\"layer.0.*\": 3.0"), text.find("\"query\": 5.0"));
  AdapterFiles files = bank->fold(0);
  files.config = parse_json(text, "test");
  const auto again = recognise_adapter(files);
  EXPECT_EQ(print_fields([&](Fields& fields) { again->visit(fields); })["alpha_pattern"],
            files.config["alpha_pattern"]);
}

TEST_F(Lora, PatternsThatMatchNoTargetAreRefused) {
  const auto with = [](const char* key, const char* name, int value) {
    return Json{{"type", "lora"}, {key, {{name, value}}}};
  };
  refused(with("rank_pattern", "qurey", 4),
          "method.rank_pattern: \"qurey\" matches none of the targets (known: query, value)");
  refused(with("rank_pattern", "^query", 4), "method.rank_pattern: \"^query\" matches none");
  refused(with("alpha_pattern", "key", 9), "method.alpha_pattern: \"key\" matches none");
  refused(with("alpha_pattern", "", 9), "method.alpha_pattern: \"\" matches none");
}

TEST_F(Lora, AnExclusionThatMatchesNothingIsRefused) {
  const Json all{{"type", "lora"}, {"r", 1}, {"target_modules", "all-linear"}};
  const auto with = [&](const Json& excluded) {
    Json config = all;
    config["exclude_modules"] = excluded;
    return config;
  };
  refused(with({"query", "poolr"}),
          "method.exclude_modules: no linear map is called \"poolr\" (known: classifier, dense, key, query, value)");
  refused(with("poolr"), "method.exclude_modules: no linear map is called \"poolr\"");
  testing::internal::CaptureStderr();
  MethodBank(model_, with({"classifier"}));  // never a target, and a map all the same
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::HasSubstr("method.exclude_modules: [\"classifier\"] excludes none of the targets"));
}

TEST_F(Lora, BiasesOfAFileCannotBeTrainedOn) {
  MethodBank bank(model_, {{"type", "lora"}, {"r", 1}});
  AdapterFiles files = bank->fold(0);
  files.config["bias"] = "all";
  EXPECT_THAT([&] { bank->load(0, files, true); },
              testing::ThrowsMessage<DataError>(testing::HasSubstr("bias: \"all\" changes the base model")));
}

TEST_F(Lora, LayersToTransform) {
  EXPECT_THAT(targets({"query", "output.dense"}, {{"layers_to_transform", 1}}),
              testing::UnorderedElementsAre(kLayer1 + "attention.self.query", kLayer1 + "attention.output.dense",
                                            kLayer1 + "output.dense"));
  EXPECT_EQ(targets({"query"}, {{"layers_to_transform", {0, 1}}}), targets({"query"}));
  EXPECT_THAT(targets({"dense"}, {{"layers_to_transform", {0, 1}}}),
              testing::Not(testing::Contains("bert.pooler.dense")));  // which has no layer
  EXPECT_THAT(targets({"query", kLayer0 + "attention.self.key", "bert.pooler.dense"}, {{"layers_to_transform", 1}}),
              testing::UnorderedElementsAre(kLayer1 + "attention.self.query", kLayer0 + "attention.self.key",
                                            "bert.pooler.dense"));  // whole paths stay
  for (const Json& layers : {Json(2), Json({0, 7}), Json(-1)}) {
    refused({{"type", "lora"}, {"layers_to_transform", layers}}, "method.layers_to_transform: found ");
    refused({{"type", "lora"}, {"layers_to_transform", layers}}, "expected layers 0 to 1");
  }
}

TEST_F(Lora, ExcludeModules) {
  EXPECT_THAT(targets({"query", "value"}, {{"exclude_modules", {"value"}}}),
              testing::UnorderedElementsAre(kLayer0 + "attention.self.query", kLayer1 + "attention.self.query"));
  EXPECT_THAT(targets("all-linear", {{"exclude_modules", R"(.*(dense|key|layer\.0.*))"}}),
              testing::UnorderedElementsAre(kLayer1 + "attention.self.query", kLayer1 + "attention.self.value"));
  refused({{"type", "lora"}, {"exclude_modules", {"query", "value"}}},
          "method.exclude_modules and method.layers_to_transform leave none of the targets");
  refused({{"type", "lora"}, {"exclude_modules", "(a"}}, "method.exclude_modules: \"(a\" is not a regular expression");
}

TEST_F(Lora, ChosenTargetsAreWrittenAsPaths) {
  MethodBank bank(model_, {{"type", "lora"}, {"r", 1}, {"target_modules", {"query"}}, {"layers_to_transform", 1}});
  EXPECT_EQ(bank->fold(0).config["target_modules"], Json({kLayer1 + "attention.self.query"}));
}

/// The other way to run a bank: all adapters' A side by side, foreign columns masked to zero, one dense product each.
TEST_F(Lora, MaskedDenseEqualsGrouped) {
  MethodBank bank(model_, {{"type", "lora"}, {"r", 3}, {"lora_alpha", 6}}, {1, 2, 3});
  bank.perturb(0.4);
  const Linear& map = attention_of(model_, 0).query;
  const at::Tensor a = bank->parameter(map.module + ".lora_A").value, b = bank->parameter(map.module + ".lora_B").value;
  const at::Tensor x = random_leaf(1, {9, 8}), dy = random_tensor(2, {9, 8});
  const Batch rows = make_batch({2, 3, 4}, {0, 2, 2}, 3);
  const at::Tensor grouped = addition_at(*bank.method, map, x, rows);
  at::Tensor mask = at::zeros({9, 3, 3}, at::kDouble);
  for (int64_t k = 0; k < 3; ++k)
    mask.narrow(0, rows->group_rows()[k], rows->group_rows()[k + 1] - rows->group_rows()[k]).select(1, k).fill_(2.0);
  const at::Tensor wide_A = a.permute({1, 0, 2}).flatten(1), wide_B = b.flatten(0, 1);
  const at::Tensor masked = at::mm(at::mm(x, wide_A) * mask.flatten(1), wide_B);
  EXPECT_LT(relative_error(grouped, masked), 1e-12);
  const auto one = gradients((grouped * dy).sum(), {x, a, b}), other = gradients((masked * dy).sum(), {x, a, b});
  for (std::size_t i = 0; i < 3; ++i) EXPECT_LT(relative_error(one[i], other[i]), 1e-12);
}

TEST_F(Lora, MergeOfTheToolEqualsTheAdapter) {
  MethodBank bank({{{"type", "lora"}, {"r", 2}, {"lora_alpha", 4}, {"target_modules", "all-linear"}},
                   {{"type", "lora"}, {"r", 2}, {"lora_alpha", 9}, {"target_modules", "all-linear"}}},
                  model_, {1, 2});
  bank.perturb(0.3);
  const at::Tensor found = bank.logits(model_, make_input({texts_[0], texts_[2]}, {0, 1}, 2));
  for (int64_t k = 0; k < 2; ++k) {
    DenseBert merged(tiny_);
    for (const auto& [name, tensor] : bank->merged(k)) merged.weights.at(name) = tensor;
    EXPECT_LT(relative_error(found.narrow(0, k, 1), merged.logits({texts_[2 * k]})), 1e-10);
  }
}

TEST_F(Lora, MergeThenUnmergeRestores) {
  Transformer model = Transformer::load(folder_.path(), "float32");
  MethodBank bank(model, {{"type", "lora"}, {"r", 4}, {"lora_alpha", 8}}, {1}, at::kFloat);
  bank.perturb(0.3);
  const auto merged = bank->merged(0);
  for (const std::string& module : targets(nullptr)) {
    const at::Tensor a = values(bank, module + ".lora_A").to(at::kDouble),
                     b = values(bank, module + ".lora_B").to(at::kDouble);
    const at::Tensor weight = merged.at(module + ".weight"), own = model.named_tensors().at(module + ".weight");
    const at::Tensor back = (weight.to(at::kDouble) - 2.0 * at::mm(a, b).t()).to(at::kFloat);
    const double largest = std::max(weight.abs().max().item<double>(), own.abs().max().item<double>());
    EXPECT_LE((back - own).abs().max().item<double>(), 2.0 * largest * std::numeric_limits<float>::epsilon());
    EXPECT_GT((weight - own).abs().max().item<double>(), 1e-2);
  }
}

TEST_F(Lora, AdaptersOfABankHaveTheirOwnDropout) {
  const auto config = [](double p) { return Json{{"type", "lora"}, {"r", 2}, {"lora_dropout", p}}; };
  MethodBank bank({config(0.0), config(0.9)}, model_, {1, 2});
  bank.perturb(0.5);
  const Linear& map = attention_of(model_, 0).query;
  const at::Tensor x = random_tensor(1, {40, 8});
  const Batch rows = make_batch({20, 20}, {0, 1}, 2);
  const at::Tensor still = addition_at(*bank.method, map, x, rows).detach();
  bank.context.training = true;
  bank->begin_pass(bank.context);
  const at::Tensor dropped = addition_at(*bank.method, map, x, rows).detach();
  EXPECT_LT(relative_error(dropped.narrow(0, 0, 20), still.narrow(0, 0, 20)), 1e-12);
  EXPECT_GT(relative_error(dropped.narrow(0, 20, 20), still.narrow(0, 20, 20)), 0.5);
}

TEST_F(Lora, TrainsThePoolerWhenAsked) {
  MethodBank bank(model_, {{"type", "lora"}, {"r", 1}, {"modules_to_save", {"pooler", "classifier"}}}),
      other(model_, {{"type", "lora"}, {"r", 1}, {"modules_to_save", {"pooler", "classifier"}}}, {9});
  EXPECT_EQ(bank->parameter("bert.pooler.dense.weight").group, "head");
  bank.perturb(0.2);
  const AdapterFiles files = bank->fold(0);
  EXPECT_TRUE(files.tensors.contains("base_model.model.bert.pooler.dense.weight"));
  other->load(0, files, true);
  EXPECT_TRUE(same_values(other.logits(model_, make_input(texts_)), bank.logits(model_, make_input(texts_))));
}

TEST_F(Lora, OthersCannotBeMerged) {
  for (const char* type : {"prompt", "prefix"}) {
    MethodBank bank(model_, {{"type", type}, {"num_virtual_tokens", 2}});
    EXPECT_THAT([&] { bank->merged(0); },
                testing::ThrowsMessage<ConfigError>(testing::HasSubstr("does not change weights")));
  }
}

}  // namespace
}  // namespace peft
