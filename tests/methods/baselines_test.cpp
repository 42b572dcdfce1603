/// full and linear_probe, beyond what methods_test.cpp shows: docs/methods.md#full, docs/methods.md#linear_probe.

#include "peft/kernels/cross_entropy.h"
#include "peft/kernels/optimizer.h"
#include "tests/support/one_method.h"

namespace peft {
namespace {

using testing::HasSubstr;

using testing::ThrowsMessage;

using Full = OneMethod;
using LinearProbe = OneMethod;

const std::string kLayer0 = "bert.encoder.layer.0.", kLayer1 = "bert.encoder.layer.1.";

TEST_F(LinearProbe, TrainsTheHeadAlone) {
  MethodBank bank(model_, {{"type", "linear_probe"}});
  std::vector<std::string> names;
  for (const Parameter& p : bank->parameters()) names.push_back(p.name);
  EXPECT_THAT(names, testing::ElementsAre("classifier.weight", "classifier.bias"));
  EXPECT_THROW(bank->parameter("prompt"), Error);
}

TEST_F(LinearProbe, LinearHeadReadsTheTextsFirstRow) {
  MethodBank bank(model_, {{"type", "linear_probe"}, {"head", "linear"}});
  bank.perturb(0.3);
  EXPECT_EQ(bank->trainable_parameters(), 2 * 8 + 2);
  Sockets none;
  const at::Tensor rows = model_.pooled(make_input(texts_), none, {});
  const at::Tensor expected = at::mm(rows, values(bank, "linear_head.weight").t()) + values(bank, "linear_head.bias");
  EXPECT_LT(relative_error(bank.logits(model_, make_input(texts_)), expected), 1e-12);
}

TEST_F(LinearProbe, ZeroHeadLossIsLogN) {
  for (const auto& [labels, expected] :
       std::vector<std::pair<int64_t, double>>{{2, 0.693147}, {3, 1.098612}, {100, 4.605170}}) {
    for (const char* head : {"architecture", "linear"}) {
      const auto config = method_config({{"type", "linear_probe"}, {"head", head}, {"init_head_zero", true}});
      const auto method = make_method(model_, {.configs = {config.get()}, .seeds = {1}, .outputs = labels});
      const DropoutContext evaluation;
      method->begin_pass(evaluation);
      const at::Tensor logits = model_.classify(make_input(texts_), *method, evaluation);
      EXPECT_NEAR(cross_entropy(logits, {0, 1, labels - 1}).mean().item<double>(), expected, 1e-6);
    }
  }
}

TEST_F(LinearProbe, GradientClosedForm) {
  MethodBank bank(model_, {{"type", "linear_probe"}, {"head", "linear"}});
  bank.perturb(0.3);
  const std::vector<int64_t> labels{1, 0, 1};
  const at::Tensor logits = bank.logits(model_, make_input(texts_));
  const auto found = gradients(cross_entropy(logits, labels).mean(), bank.leaves());
  Sockets none;
  const at::Tensor x = model_.pooled(make_input(texts_), none, {});
  at::Tensor error = at::softmax(logits.detach(), -1);
  for (int64_t b = 0; b < 3; ++b) error[b][labels[b]] -= 1.0;
  EXPECT_LT(relative_error(found[0][0], at::mm(error.t(), x) / 3.0), 1e-12);
  EXPECT_LT(relative_error(found[1][0], error.mean(0)), 1e-12);
}

TEST_F(LinearProbe, NothingBelowTheHeadIsDifferentiated) {
  MethodBank bank(model_, {{"type", "linear_probe"}});
  Sockets none;
  EXPECT_FALSE(model_.pooled(make_input(texts_), *bank.method, {}).requires_grad());
}

TEST_F(LinearProbe, LinearHeadIsNoModel) {
  MethodBank bank(model_, {{"type", "linear_probe"}, {"head", "linear"}});
  EXPECT_EQ(bank->fold(0).config["modules_to_save"], Json({"linear_head"}));
  EXPECT_THAT([&] { bank->merged(0); }, testing::ThrowsMessage<ConfigError>(testing::HasSubstr("method.head")));
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

TEST_F(Full, ExcludedIsFrozen) {
  const auto trained = [&](const Json& more) {
    Json config{{"type", "full"}};
    config.update(more);
    Transformer model = Transformer::load(folder_.path(), "float64");
    MethodBank bank(model, config);
    std::vector<std::string> names;
    for (const Parameter& p : bank->parameters()) names.push_back(p.name);
    EXPECT_EQ(bank->fold(0).tensors.size(), model.named_tensors().size());  // a whole model either way
    EXPECT_LT(relative_error(bank.logits(model, make_input(texts_)), bare_logits(model_, texts_)), 1e-12);
    return names;
  };
  const auto all = trained(Json::object());
  const auto no_tables = trained({{"train_embeddings", false}});
  EXPECT_EQ(no_tables.size(), all.size() - 3);
  EXPECT_THAT(no_tables, testing::Contains("bert.embeddings.LayerNorm.weight"));
  for (const std::string& name : trained({{"exclude_modules", {"layer.0", "embeddings", "pooler"}}})) {
    EXPECT_TRUE(name.starts_with(kLayer1) || name.starts_with("classifier.")) << name;
  }
  for (const std::string& name : trained({{"exclude_modules", R"(.*\.(attention|intermediate))"}})) {
    EXPECT_EQ(name.find(".attention."), std::string::npos) << name;
    EXPECT_EQ(name.find(".intermediate."), std::string::npos) << name;
  }
  refused({{"type", "full"}, {"exclude_modules", {"layer.0", "layer.2"}}},
          "method.exclude_modules: \"layer.2\" matches no module of the model");
}

TEST_F(Full, EveryTensorMoves) {
  MethodBank bank(model_, {{"type", "full"}});
  std::vector<at::Tensor> before, m, v;
  for (const at::Tensor& leaf : bank.leaves()) {
    before.push_back(leaf.detach().clone());
    m.push_back(at::zeros_like(leaf.detach()));
    v.push_back(at::zeros_like(leaf.detach()));
  }
  for (int64_t step = 1; step <= 5; ++step) {
    const auto leaves = bank.leaves();
    const auto grads = gradients(weighted_sum(bank.logits(model_, make_input(texts_))), leaves);
    for (std::size_t i = 0; i < leaves.size(); ++i)
      adamw_step(leaves[i], grads[i].contiguous(), m[i], v[i], {.learning_rate = 0.01, .step = step});
  }
  for (std::size_t i = 0; i < before.size(); ++i) {
    const std::string& name = bank->parameters()[i].name;
    const double moved = (bank->parameters()[i].value.detach() - before[i]).abs().max().item<double>();
    if (name.ends_with("key.bias")) {
      EXPECT_LT(moved, 1e-6) << name;  // softmax does not see it: its gradient is zero but for rounding
    } else {
      EXPECT_GT(moved, 1e-3) << name;
    }
  }
}

TEST_F(Full, FrozenTensorsGetNoGradient) {
  MethodBank bank(model_, {{"type", "full"}, {"exclude_modules", {"layer.0"}}});
  const auto grads = gradients(weighted_sum(bank.logits(model_, make_input(texts_))), bank.leaves());
  for (std::size_t i = 0; i < grads.size(); ++i) {
    const std::string& name = bank->parameters()[i].name;
    EXPECT_FALSE(name.starts_with(kLayer0));
    EXPECT_TRUE(name.ends_with("key.bias") || grads[i].abs().max().item<double>() > 0.0) << name;
  }
  for (const auto& [name, tensor] : model_.named_tensors()) {
    EXPECT_EQ(tensor.requires_grad(), !name.starts_with(kLayer0) && !name.starts_with("classifier.")) << name;
  }
}

}  // namespace
}  // namespace peft
