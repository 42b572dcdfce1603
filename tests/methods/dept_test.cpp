/// dept: docs/methods.md#dept.

#include "peft/kernels/optimizer.h"
#include "tests/support/one_method.h"

namespace peft {
namespace {

using Dept = OneMethod;

Json dept(const Json& more = Json::object()) {
  Json config{{"type", "dept"}, {"num_virtual_tokens", 3}, {"r", 2}, {"prompt_tuning_init", "RANDOM"}};
  config.update(more);
  return config;
}

TEST_F(Dept, FreshEqualsPrompt) {
  MethodBank fresh(model_, dept()),
      prompt(model_, {{"type", "prompt"}, {"num_virtual_tokens", 3}, {"prompt_tuning_init", "RANDOM"}});
  EXPECT_LT(relative_error(fresh.logits(model_, make_input(texts_)), prompt.logits(model_, make_input(texts_))), 1e-12);
}

TEST_F(Dept, PaddedToS) {
  for (const char* pooling : {"first", "cls"}) {
    MethodBank bank(model_, dept({{"pooling", pooling}, {"compat", "code"}}));
    bank.perturb(0.3);
    DenseBert padded = dense(bank);
    padded.prompt_PC = values(bank, "prompt");
    padded.offsets_SC = at::mm(values(bank, "dept_A"), values(bank, "dept_B")) * (8.0 / std::sqrt(2.0));
    padded.padding = 32 - 9;  // S behind the longest text
    padded.pool_first = std::string(pooling) == "first";
    EXPECT_LT(relative_error(bank.logits(model_, make_input(texts_)), padded.logits(texts_)), 1e-10);
  }
}

TEST_F(Dept, EndAlignmentCountsRowsFromTheEnd) {
  MethodBank bank(model_, dept({{"row_alignment", "end"}}));
  bank.perturb(0.3);
  const at::Tensor offsets_SC = at::mm(values(bank, "dept_A"), values(bank, "dept_B"));
  const at::Tensor logits = bank.logits(model_, make_input(texts_));
  for (std::size_t b = 0; b < texts_.size(); ++b) {
    const auto length = static_cast<int64_t>(texts_[b].ids.size());
    DenseBert alone = dense(bank);
    alone.prompt_PC = values(bank, "prompt");
    alone.offsets_SC = offsets_SC.narrow(0, 32 - length, length);
    EXPECT_LT(relative_error(logits[static_cast<int64_t>(b)], alone.logits({texts_[b]})[0]), 1e-10);
  }
}

TEST_F(Dept, UnusedRowsNeverMove) {
  MethodBank bank(model_, dept({{"max_length", 32}}));
  bank.perturb(0.1);
  const at::Tensor before = values(bank, "dept_A").clone();
  std::vector<at::Tensor> m, v;
  for (const at::Tensor& leaf : bank.leaves()) {
    m.push_back(at::zeros_like(leaf.detach()));
    v.push_back(at::zeros_like(leaf.detach()));
  }
  for (int64_t step = 1; step <= 10; ++step) {
    const auto leaves = bank.leaves();
    const ModelInput input = make_input({random_text(step, 1 + step % 7), random_text(step + 20, 7)});
    const auto grads = gradients(weighted_sum(bank.logits(model_, input)), leaves);
    for (std::size_t i = 0; i < leaves.size(); ++i)
      adamw_step(leaves[i], grads[i].contiguous(), m[i], v[i], {.learning_rate = 0.1, .step = step});
  }
  const at::Tensor after = values(bank, "dept_A");
  EXPECT_TRUE(same_values(after.narrow(0, 7, 25).contiguous(), before.narrow(0, 7, 25).contiguous()));
  EXPECT_GT((after - before).narrow(0, 0, 7).abs().amax(1).min().item<double>(), 1e-3);  // each row below moved
}

TEST_F(Dept, RowIgnoresPromptLength) {
  MethodBank one(model_, dept({{"num_virtual_tokens", 1}})), many(model_, dept({{"num_virtual_tokens", 20}}));
  for (MethodBank* bank : {&one, &many}) (*bank)->parameter("dept_B").value.detach().fill_(0.7);
  for (int64_t b = 0; b < 3; ++b)
    EXPECT_TRUE(same_values(offsets(one, make_input(texts_), b), offsets(many, make_input(texts_), b)));
}

TEST_F(Dept, ConstantRows) {
  MethodBank bank(model_, dept({{"r", 1}, {"offset_scaling", 0.25}}));
  bank->parameter("dept_A").value.detach().copy_(at::arange(1, 33, at::kDouble).view({1, 32, 1}));
  bank->parameter("dept_B").value.detach().fill_(1.0);
  for (int64_t b = 0; b < 3; ++b) {
    const at::Tensor found = offsets(bank, make_input(texts_), b);
    const at::Tensor expected = 0.25 * at::arange(1, found.size(0) + 1, at::kDouble).unsqueeze(1).expand({-1, 8});
    EXPECT_LT((found - expected).abs().max().item<double>(), 1e-12);
  }
}

TEST_F(Dept, AdaptersOfABankHaveTheirOwnRows) {
  MethodBank bank(model_, dept(), {1, 2});
  bank.perturb(0.3);
  const ModelInput input = make_input({texts_[0], texts_[2]}, {0, 1}, 2);
  for (int64_t k = 0; k < 2; ++k) {
    const at::Tensor all = at::mm(values(bank, "dept_A", k), values(bank, "dept_B", k));
    const at::Tensor found = offsets(bank, input, k);
    EXPECT_LT(relative_error(found, all.narrow(0, 0, found.size(0))), 1e-12);
  }
}

TEST(DeptFactors, Scaling) {
  const TemporaryFolder folder;
  Transformer model = Transformer::load(TinyBert{.width = 64, .layers = 1}.write(folder.path()), "float64");
  const ModelInput input = make_input({random_text(1, 1)});
  const at::Tensor word = model.word_table()[input.source.ids_T[0].item<int64_t>()];
  for (const auto& [rank, expected] :
       std::vector<std::pair<int64_t, double>>{{30, 1.460593}, {45, 1.192570}, {15, 2.065591}, {24, 1.632993}}) {
    MethodBank bank(model, dept({{"r", rank}, {"compat", "code"}, {"max_length", 64}}));
    for (const char* name : {"dept_A", "dept_B"}) bank->parameter(name).value.detach().fill_(1.0);
    bank->begin_pass(bank.context);
    const Embedded out = bank->embed(input.source.ids_T, input.source.rows);
    const double factor = (out.x_TC[0][0] - word[0]).item<double>() / static_cast<double>(rank);
    EXPECT_NEAR(factor, expected, 1e-6);
    EXPECT_EQ(bank->fold(0).config["offset_scaling"], "code");
  }
}

TEST(DeptFactors, CountsOfThePaper) {
  const TemporaryFolder folder;
  const auto count = [&](int64_t width, const Json& method) {
    const TinyBert tiny{.width = width, .heads = 1, .layers = 1, .feed_forward = 1, .positions = 128};
    Transformer model = Transformer::load(tiny.write(folder.path()), "float32");
    MethodBank bank(model, method, {1}, at::kFloat);
    return bank->trainable_parameters() - 2 * width - 2;
  };
  const auto dept_of = [](int64_t p, int64_t r, int64_t s) {
    return dept({{"num_virtual_tokens", p}, {"r", r}, {"max_length", s}});
  };
  EXPECT_EQ(count(768, dept_of(60, 30, 256)), 76800);
  EXPECT_EQ(count(768, dept_of(40, 45, 256)), 76800);
  EXPECT_EQ(count(768, dept_of(80, 15, 256)), 76800);
  EXPECT_EQ(count(768, dept_of(60, 24, 512)), 76800);
  EXPECT_EQ(count(768, dept_of(60, 30, 348)), 79560);
  EXPECT_EQ(count(1024, dept_of(60, 32, 256)), 102400);
  EXPECT_EQ(count(384, dept_of(60, 30, 64)), 36480);
  const auto adept_of = [](int64_t p, int64_t r) {
    return Json{{"type", "adept"}, {"num_virtual_tokens", p}, {"r", r}, {"prompt_tuning_init", "RANDOM"}};
  };
  EXPECT_EQ(count(768, adept_of(60, 19)), 76051);
  EXPECT_EQ(count(768, adept_of(20, 39)), 76071);
  EXPECT_EQ(count(768, adept_of(40, 29)), 76061);
  EXPECT_EQ(count(768, adept_of(80, 9)), 76041);
  EXPECT_EQ(count(1024, adept_of(60, 19)), 101395);
  EXPECT_EQ(count(384, adept_of(60, 19)), 38035);
}

TEST_F(Dept, DefaultsArePapersOrCodes) {
  const auto shown = [](const Json& json) {
    auto config = method_config(json);
    return print_fields([&](Fields& fields) { config->visit(fields); });
  };
  const Json paper = shown({{"type", "dept"}}), code = shown({{"type", "dept"}, {"compat", "code"}});
  EXPECT_EQ(paper["num_virtual_tokens"], 60);
  EXPECT_EQ(paper["r"], 30);
  EXPECT_EQ(paper["prompt_tuning_init"], "TEXT");
  EXPECT_EQ(paper["prompt_tuning_init_text"], "Classify this text is positive or not:");
  EXPECT_EQ(code["prompt_tuning_init_text"], "Classify this text is postive or not:");
  EXPECT_EQ(paper["offset_scaling"], "none");
  EXPECT_EQ(code["offset_scaling"], "code");
  EXPECT_EQ(shown({{"type", "dept"}, {"compat", "code"}, {"offset_scaling", 2}})["offset_scaling"], 2);
  EXPECT_EQ(shown({{"type", "adept"}})["offset_dropout"], 0.0);
  EXPECT_EQ(shown({{"type", "adept"}, {"compat", "code"}})["offset_dropout"], 0.1);
  EXPECT_EQ(shown({{"type", "adept"}, {"compat", "code"}, {"offset_dropout", 0.5}})["offset_dropout"], 0.5);
}

TEST_F(Dept, ParameterGroups) {
  MethodBank bank(model_, dept());
  for (const Parameter& p : bank->parameters()) {
    const std::string expected = p.name == "prompt" ? "adapter" : p.name.starts_with("dept_") ? "offset" : "head";
    EXPECT_EQ(p.group, expected) << p.name;
  }
}

TEST_F(Dept, InitialValues) {
  MethodBank bank(model_, dept({{"r", 8}}));
  const at::Tensor a = values(bank, "dept_A");
  EXPECT_LE(a.abs().max().item<double>(), 1.0 / std::sqrt(8.0));
  EXPECT_GT(a.abs().max().item<double>(), 0.34);
  EXPECT_EQ(values(bank, "dept_B").abs().max().item<double>(), 0.0);
}

TEST_F(Dept, Limits) {
  refused(dept({{"r", 9}}), "method.r: found 9, expected 1 to 8 (max_length 32, width 8)");
  refused(dept({{"max_length", 31}}), "method.max_length: found 31, expected at least 32, the longest text");
  refused(dept({{"left_pad_positions", true}}),
          "method.left_pad_positions: true needs a decoder-only model, found bert");
  refused(dept({{"prompt_tuning_init", "TEXT"}}), "\"TEXT\" needs the model folder's tokenizer");
  MethodBank bank(model_, dept({{"compat", "code"}}));  // whose decoder-only switches stay off here
  const AdapterFiles files = bank->fold(0);
  EXPECT_EQ(files.config["row_alignment"], "start");
  EXPECT_EQ(files.config["left_pad_positions"], false);
  EXPECT_THAT([&] { bank.logits(model_, make_input({random_text(1, 33)})); },
              testing::ThrowsMessage<DataError>(testing::HasSubstr("a text of 33 tokens")));
}

}  // namespace
}  // namespace peft
