/// adept: docs/methods.md#adept.

#include "tests/support/one_method.h"

namespace peft {
namespace {

using Adept = OneMethod;

Json adept(const Json& more = Json::object()) {
  Json config{{"type", "adept"}, {"num_virtual_tokens", 3}, {"r", 4}, {"prompt_tuning_init", "RANDOM"}};
  config.update(more);
  return config;
}

/// e'(v) by the equation, in plain operations.
at::Tensor shifted_words(const at::Tensor& words_VC, MethodBank& bank, int64_t k, double scaling = 1.0) {
  const auto part = [&](const char* name) { return bank->parameter(name).value.detach()[k]; };
  const at::Tensor hidden = at::matmul(words_VC, part("adept_W1")) + part("adept_b1");
  return words_VC + scaling * (at::matmul(at::clamp_min(hidden, 0.0), part("adept_W2")) + part("adept_b2"));
}

TEST_F(Adept, FreshEqualsPrompt) {
  MethodBank fresh(model_, adept()),
      prompt(model_, {{"type", "prompt"}, {"num_virtual_tokens", 3}, {"prompt_tuning_init", "RANDOM"}});
  EXPECT_LT(relative_error(fresh.logits(model_, make_input(texts_)), prompt.logits(model_, make_input(texts_))), 1e-12);
}

TEST_F(Adept, PaddedReference) {
  MethodBank bank(model_, adept({{"offset_scaling", -1.5}}), {1, 2});
  bank.perturb(0.4);
  const at::Tensor found =
      bank.logits(model_, make_input({texts_[0], texts_[1], texts_[2], texts_[0]}, {0, 0, 1, 1}, 2));
  for (int64_t k = 0; k < 2; ++k) {
    DenseBert padded = dense(bank, k);
    padded.prompt_PC = values(bank, "prompt", k);
    auto& words = padded.weights["bert.embeddings.word_embeddings.weight"];
    words = shifted_words(words, bank, k, -1.5);
    const at::Tensor expected = k == 0 ? padded.logits({texts_[0], texts_[1]}) : padded.logits({texts_[2], texts_[0]});
    EXPECT_LT(relative_error(found.narrow(0, 2 * k, 2), expected), 1e-10);
  }
}

TEST_F(Adept, FoldedTableIsExact) {
  for (const auto& [name, dtype, tolerance] :
       {std::tuple{"float64", at::kDouble, 1e-12}, std::tuple{"float32", at::kFloat, 1e-5}}) {
    Transformer model = Transformer::load(folder_.path(), name);
    MethodBank table(model, adept({{"fold", "table"}}), {1, 2}, dtype),
        none(model, adept({{"fold", "none"}}), {1, 2}, dtype);
    table.perturb(0.4);
    none.perturb(0.4);
    const at::NoGradGuard no_grad;
    for (const int64_t k : {1, 1, 0}) {  // a table is of one adapter
      const ModelInput input = make_input(texts_, {k, k, k}, 2);
      const double error = relative_error(table.logits(model, input), none.logits(model, input));
      EXPECT_LT(error, tolerance);
    }
  }
}

TEST_F(Adept, TheTableFollowsTheParameters) {
  MethodBank table(model_, adept({{"fold", "table"}})), none(model_, adept({{"fold", "none"}}));
  const at::NoGradGuard no_grad;
  const ModelInput input = make_input(texts_);
  at::Tensor before = table.logits(model_, input);
  for (const char* name : {"adept_b2", "adept_W2", "adept_W1", "adept_b1"}) {
    for (MethodBank* bank : {&table, &none}) {  // as the optimiser writes: straight into the memory
      double* value = (*bank)->parameter(name).value.data_ptr<double>();
      for (int64_t i = 0; i < (*bank)->parameter(name).value.numel(); ++i) value[i] += 0.1 + 0.05 * (i % 5);
    }
    const at::Tensor after = table.logits(model_, input);
    EXPECT_GT(relative_error(after, before), 1e-6) << name;
    EXPECT_LT(relative_error(after, none.logits(model_, input)), 1e-12) << name;
    before = after;
  }
}

TEST_F(Adept, GradientsNeverGoThroughTheTable) {
  MethodBank bank(model_, adept({{"fold", "table"}}));
  bank.perturb(0.3);
  {
    const at::NoGradGuard no_grad;
    bank.logits(model_, make_input(texts_));
  }
  for (const at::Tensor& gradient : gradients(weighted_sum(bank.logits(model_, make_input(texts_))), bank.leaves()))
    EXPECT_GT(gradient.abs().max().item<double>(), 0.0);
}

TEST_F(Adept, OffsetDependsOnIdOnly) {
  MethodBank bank(model_, adept({{"fold", "none"}}));
  bank.perturb(0.3);
  const ModelInput input = make_input({{{7, 3, 7, 7, 5, 7, 9, 7}, std::vector<int64_t>(8, 0)}});
  const Embedded out = embedded(bank, input);
  for (const int64_t position : {2, 3, 5, 7}) EXPECT_TRUE(same_values(out.x_TC[position], out.x_TC[0])) << position;
  EXPECT_FALSE(same_values(out.x_TC[1], out.x_TC[0]));
}

TEST_F(Adept, NegativePreactivationsGiveBiasOnly) {
  MethodBank bank(model_, adept());
  bank.perturb(0.5);
  bank->parameter("adept_b1").value.detach().fill_(-1e3);
  const at::Tensor found = offsets(bank, make_input(texts_), 2);
  EXPECT_LT((found - values(bank, "adept_b2")).abs().max().item<double>(), 1e-12);
}

TEST_F(Adept, DropoutBeforeRelu) {
  MethodBank bank(model_, adept({{"r", 8}, {"offset_dropout", 0.5}}));
  bank->parameter("adept_W1").value.detach().copy_(at::eye(8, at::kDouble).unsqueeze(0));
  bank->parameter("adept_W2").value.detach().copy_(at::eye(8, at::kDouble).unsqueeze(0));
  bank->parameter("adept_b1").value.detach().fill_(0.3);
  const ModelInput input = make_input({random_text(1, 20)});
  const at::Tensor expected = 2.0 * at::relu(model_.words(input.source.ids_T) + 0.3);
  bank.context.training = true;
  const at::Tensor found = offsets(bank, input, 0);
  const at::Tensor kept = (found - expected).abs() < 1e-12, dropped = found.abs() < 1e-12;
  EXPECT_TRUE(at::logical_or(kept, dropped).all().item<bool>());
  const at::Tensor positive = expected > 0.0;
  EXPECT_GT(at::logical_and(positive, dropped).sum().item<int64_t>(), 10);
  EXPECT_GT(at::logical_and(positive, kept).sum().item<int64_t>(), 10);
  bank.context.training = false;
  EXPECT_LT((offsets(bank, input, 0) - 0.5 * expected).abs().max().item<double>(), 1e-12);
}

TEST_F(Adept, ScalingCoversTheBias) {
  MethodBank bank(model_, adept({{"offset_scaling", 3.0}}));
  bank->parameter("adept_b2").value.detach().fill_(0.5);
  EXPECT_LT((offsets(bank, make_input(texts_), 0) - 1.5).abs().max().item<double>(), 1e-12);
}

TEST_F(Adept, InitialValues) {
  MethodBank bank(model_, adept({{"r", 8}}));
  const at::Tensor w1 = values(bank, "adept_W1");
  EXPECT_LE(w1.abs().max().item<double>(), 1.0 / std::sqrt(8.0));
  EXPECT_GT(w1.abs().max().item<double>(), 0.33);
  for (const char* name : {"adept_b1", "adept_W2", "adept_b2"})
    EXPECT_EQ(values(bank, name).abs().max().item<double>(), 0.0) << name;
  for (const Parameter& p : bank->parameters()) {
    EXPECT_EQ(p.group, p.name == "prompt" ? "adapter" : p.name.starts_with("adept_") ? "offset" : "head") << p.name;
    EXPECT_EQ(p.decays, !p.name.starts_with("adept_b") && !p.name.ends_with(".bias")) << p.name;
  }
}

TEST_F(Adept, Limits) {
  refused(adept({{"r", 9}}), "method.r: found 9, expected 1 to 8, the model's width");
  refused(adept({{"left_pad_positions", true}}),
          "method.left_pad_positions: true needs a decoder-only model, found bert");
}

}  // namespace
}  // namespace peft
