/// prompt, beyond what methods_test.cpp shows: docs/methods.md#prompt.

#include "peft/kernels/attention.h"
#include "tests/support/one_method.h"

namespace peft {
namespace {

using Prompt = OneMethod;

Json deep(const Json& more = Json::object()) {
  Json config{{"type", "prompt"}, {"num_virtual_tokens", 3}, {"depth", "deep"}};
  config.update(more);
  return config;
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
  const at::Tensor rows = bank->parameter("prompt").value.detach(), words = model_.word_table();
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
  EXPECT_EQ(first->pool(Pool::first_of_text), Pool::first);
  EXPECT_EQ(cls->pool(Pool::first_of_text), Pool::first_of_text);
  EXPECT_GT(relative_error(first.logits(model_, make_input(texts_)), cls.logits(model_, make_input(texts_))), 1e-3);
}

TEST_F(Prompt, DeepPaddedReference) {
  for (const char* pooling : {"first", "cls"}) {
    MethodBank bank(model_, deep({{"pooling", pooling}}));
    bank.perturb();
    DenseBert padded = dense(bank);
    padded.deep_LPC = values(bank, "prompt");
    padded.prompt_PC = padded.deep_LPC[0];
    padded.pool_first = std::string(pooling) == "first";
    EXPECT_LT(relative_error(bank.logits(model_, make_input(texts_)), padded.logits(texts_)), 1e-10);
  }
}

TEST_F(Prompt, DeepOverwritesRows) {
  MethodBank bank(model_, deep(), {1, 2});
  bank->begin_pass(bank.context);
  const Batch rows = make_batch({8, 4, 12}, {0, 1, 1}, 2);
  const at::Tensor x = random_tensor(1, {24, 8});
  EXPECT_TRUE(same_values(bank->layer_input(model_.stacks().front(), 0, x, rows), x));
  const at::Tensor y = bank->layer_input(model_.stacks().front(), 1, x, rows);
  for (int64_t b = 0; b < 3; ++b) {
    const int64_t begin = rows->begin(b);
    EXPECT_TRUE(same_values(y.narrow(0, begin, 3), values(bank, "prompt", rows->adapter(b))[1]));
    EXPECT_TRUE(same_values(y.narrow(0, begin + 3, rows->length(b) - 3), x.narrow(0, begin + 3, rows->length(b) - 3)));
  }
}

TEST_F(Prompt, DeepFileHoldsLayerByLayer) {
  MethodBank bank(model_, deep());
  const AdapterFiles files = bank->fold(0);
  EXPECT_EQ(files.config["depth"], "deep");
  EXPECT_EQ(files.config["peft_type"], "PEFT_CPP_PROMPT_TUNING");
  EXPECT_TRUE(same_values(files.tensors.at("prompt_embeddings").narrow(0, 3, 3), values(bank, "prompt")[1]));
}

TEST_F(Prompt, UniformInitHasItsBound) {
  MethodBank bank(model_, deep({{"num_virtual_tokens", 20}, {"prompt_tuning_init", "UNIFORM"}}));
  const double bound = std::sqrt(6.0 / 8.0), largest = values(bank, "prompt").abs().max().item<double>();
  EXPECT_LE(largest, bound);
  EXPECT_GT(largest, 0.98 * bound);
}

TEST_F(Prompt, DeepTextStartsAnewInEveryLayer) {
  const NumberTokenizer tokenizer;
  MethodBank bank(model_, deep({{"prompt_tuning_init", "TEXT"}, {"prompt_tuning_init_text", "5 7"}}), {1}, at::kDouble,
                  &tokenizer);
  for (int64_t layer = 0; layer < 2; ++layer) {
    for (const auto& [row, id] : {std::pair{0, 21}, std::pair{1, 5}, std::pair{2, 7}})
      EXPECT_TRUE(same_values(values(bank, "prompt")[layer][row], model_.word_table()[id]));
  }
}

TEST_F(Prompt, DropoutHasAMaskPerSequence) {
  for (const char* depth : {"input", "deep"}) {
    MethodBank bank(model_, deep({{"depth", depth}, {"prompt_dropout", 0.5}}));
    const ModelInput twice = make_input({texts_[0], texts_[0]});
    const at::Tensor still = bank.logits(model_, twice);
    EXPECT_LT(relative_error(still[0], still[1]), 1e-12);
    bank.context.training = true;
    const at::Tensor dropped = bank.logits(model_, twice);
    EXPECT_GT(relative_error(dropped[0], dropped[1]), 1e-3);
    EXPECT_TRUE(same_values(bank.logits(model_, twice), dropped));
    const Embedded rows = embedded(bank, twice);
    const at::Tensor prompt = std::string(depth) == "deep" ? values(bank, "prompt")[0] : values(bank, "prompt");
    EXPECT_TRUE(rows.prompt_per_sequence);
    const at::Tensor first = rows.prompt_SPC[0].detach();
    const at::Tensor kept = (first - 2.0 * prompt).abs() < 1e-9, gone = first == 0.0;
    EXPECT_TRUE(at::logical_or(kept, gone).all().item<bool>());
    EXPECT_GT(kept.sum().item<int64_t>(), 3);
    EXPECT_GT(gone.sum().item<int64_t>(), 3);
  }
}

TEST_F(Prompt, AdaptersOfABankHaveTheirOwnDropoutAndText) {
  const NumberTokenizer tokenizer;
  const auto config = [](const std::string& text, double dropout) {
    return Json{{"type", "prompt"},
                {"num_virtual_tokens", 2},
                {"prompt_tuning_init", "TEXT"},
                {"prompt_tuning_init_text", text},
                {"prompt_dropout", dropout}};
  };
  MethodBank bank({config("5", 0.0), config("7", 0.5)}, model_, {1, 2}, at::kDouble, &tokenizer);
  EXPECT_TRUE(same_values(values(bank, "prompt", 0)[1], model_.word_table()[5]));
  EXPECT_TRUE(same_values(values(bank, "prompt", 1)[1], model_.word_table()[7]));
  const ModelInput input = make_input({texts_[0], texts_[0]}, {0, 1}, 2);
  const at::Tensor still = bank.logits(model_, input).detach();
  bank.context.training = true;
  const at::Tensor dropped = bank.logits(model_, input).detach();
  EXPECT_LT(relative_error(dropped[0], still[0]), 1e-12);
  EXPECT_GT(relative_error(dropped[1], still[1]), 1e-3);
}

/// Att(x, [P, X]) = a Att(x, P) + (1 - a) Att(x, X) with a = Z_P / (Z_P + Z_X), Z the sum of exponentials.
TEST_F(Prompt, KeyLemma) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const int64_t p = 1 + static_cast<int64_t>(seed % 5), n = 1 + static_cast<int64_t>(seed % 7);
    const auto random = [&](uint64_t part, int64_t rows) { return random_tensor(1000 * part + seed, {rows, 1, 10}); };
    const at::Tensor q = random(1, 1), kp = random(2, p), vp = random(3, p), kx = random(4, n), vx = random(5, n);
    const auto attend = [&](const at::Tensor& k, const at::Tensor& v) {
      return attention(q, k, v, {.queries = make_batch({1}), .keys = make_batch({k.size(0)}), .scale = 0.3});
    };
    const auto z = [&](const at::Tensor& k) { return (0.3 * (k * q).sum(-1)).exp().sum(); };
    const at::Tensor alpha = z(kp) / (z(kp) + z(kx));
    EXPECT_LT(relative_error(attend(at::cat({kp, kx}), at::cat({vp, vx})),
                             alpha * attend(kp, vp) + (1.0 - alpha) * attend(kx, vx)),
              1e-12);
  }
}

}  // namespace
}  // namespace peft
