// Objectives that read tokens: losses against formulas written out, and predictions.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>

#include "tests/objectives/examples.h"

namespace peft {
namespace {

using Tags = std::vector<int64_t>;

at::Tensor random_logits(int64_t rows, int64_t columns, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  return (at::randn({rows, columns}, generator, at::kDouble) * 3).requires_grad_();
}

void expect_equal(const at::Tensor& logits, const at::Tensor& found, const std::vector<at::Tensor>& expected) {
  const at::Tensor formula = at::stack(expected);
  ASSERT_EQ(found.sizes(), formula.sizes());
  EXPECT_LT((found - formula).abs().max().item<double>(), 1e-12);
  const at::Tensor weights = at::arange(1, formula.numel() + 1, formula.options().requires_grad(false));
  const auto gradient = [&](const at::Tensor& losses) {
    return torch::autograd::grad({(losses * weights).sum()}, {logits})[0];
  };
  const at::Tensor a = gradient(found), b = gradient(formula);
  EXPECT_TRUE(a.isfinite().all().item<bool>());
  EXPECT_LT((a - b).abs().max().item<double>(), 1e-12);
}

at::Tensor cross_entropy_of(const at::Tensor& scores, int64_t right) {
  return at::logsumexp(scores, 0) - scores[right];
}

/// Sentences of 6 tokens, with words that begin at the given ones.
EncodedSplit tagged(const std::vector<std::pair<Tags, std::vector<int32_t>>>& sentences) {
  EncodedSplit split;
  split.target_kind = TargetKind::tags;
  for (const auto& [tags, words] : sentences) {
    split.add_sequence(std::span<const int32_t>(std::vector<int32_t>(6, 1)), std::vector<uint8_t>(6, 0));
    split.end_example(tags, split.size());
    split.add_words(words);
  }
  return split;
}

TEST(TokenClassification, LossIsOverWordsThatHaveAToken) {
  // The second sentence has no token of a word: its first one is read and has no tag. Of the third the last word was
  // cut off.
  const auto split = tagged({{{2, 0}, {1, 4}}, {{1}, {-1}}, {{1, 1, 0}, {1, 2, -1}}});
  ASSERT_EQ(split.first_row(3), 5);
  EXPECT_EQ(split.read_tokens(0), (Tags{1, 4}));
  EXPECT_EQ(split.read_tokens(1), (Tags{0}));
  const at::Tensor logits = random_logits(5, 3, 1);
  const Objective& tags = objective("token_classification");
  expect_equal(logits, tags.losses(logits, targets_of(split)),
               {cross_entropy_of(logits[0], 2) + cross_entropy_of(logits[1], 0), logits.sum() * 0,
                cross_entropy_of(logits[3], 1) + cross_entropy_of(logits[4], 1)});
  EXPECT_EQ(tags.normaliser(split, 0), 2);
  EXPECT_EQ(tags.normaliser(split, 1), 0);
  EXPECT_EQ(tags.normaliser(split, 2), 2);
}

TEST(TokenClassification, PredictsTheLargestLogitOfEachWord) {
  const auto split = tagged({{{0, 0, 0}, {1, -1, 2}}, {{1}, {3}}, {{1}, {3}}});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor logits = at::tensor({1.0F, 2.0F, 5.0F, 5.0F, 0.0F, 3.0F, nan, 1.0F}).view({4, 2});
  const TaskInfo task{.name = "", .objective = "token_classification", .labels = {"O", "B-X"}, .metrics = {}};
  const Objective& tags = objective("token_classification");
  const auto predictions = tags.predict({logits, {}}, split);
  EXPECT_EQ(predictions, (std::vector<Target>{Tags{1, -1, 0}, Tags{1}, Target()}));
  const Scored scored = tags.scored(predictions, split, task);
  using Names = std::vector<std::vector<std::string>>;
  EXPECT_EQ(scored.predicted_tags, (Names{{"B-X", "O", "O"}, {"B-X"}, {"O"}}));
  EXPECT_EQ(scored.reference_tags, (Names{{"O", "O", "O"}, {"B-X"}, {"B-X"}}));
  EXPECT_EQ(target_json(predictions[0], task), (Json{"B-X", nullptr, "O"}));
}

/// A text "abcdef..." whose tokens are its letters, two tokens in front of them, one behind.
EncodedSplit windows(const std::vector<std::vector<std::array<int32_t, 2>>>& examples, int32_t letters) {
  EncodedSplit split;
  split.target_kind = TargetKind::span;
  for (const auto& answers : examples) {
    std::vector<int32_t> ends;
    for (const auto& [first, last] : answers) {
      const auto tokens = static_cast<std::size_t>(letters + 3);
      split.add_sequence(std::span<const int32_t>(std::vector<int32_t>(tokens, 1)), std::vector<uint8_t>(tokens, 0));
      ends.insert(ends.end(), {first, last});
      split.text_spans.insert(split.text_spans.end(), 2, outside_text);
      for (int32_t i = 0; i < letters; ++i) split.text_spans.push_back({i, i + 1});
      split.text_spans.push_back(outside_text);
    }
    split.end_example({}, split.size(), std::nullopt, ends);
    split.texts.emplace_back("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH");
    split.references.push_back({"b"});
  }
  return split;
}

TEST(SpanAnswers, LossIsTheSumOverWindowsOfBothEnds) {
  const auto split = windows({{{3, 4}}, {{0, 0}, {2, 2}}}, 4);  // windows of 7 tokens
  ASSERT_EQ(split.first_row(2), 21);
  const at::Tensor logits = random_logits(21, 2, 2);
  const auto window = [&](int64_t w, int64_t first, int64_t last) {
    const at::Tensor rows = logits.narrow(0, 7 * w, 7);
    return (cross_entropy_of(rows.select(1, 0), first) + cross_entropy_of(rows.select(1, 1), last)) / 2;
  };
  const Objective& span = objective("span");
  expect_equal(logits, span.losses(logits, targets_of(split)), {window(0, 3, 4), window(1, 0, 0) + window(2, 2, 2)});
  EXPECT_EQ(span.normaliser(split, 0), 1);
  EXPECT_EQ(span.normaliser(split, 1), 2);
}

std::string answer(const EncodedSplit& split, const at::Tensor& logits) {
  const auto predictions = objective("span").predict({logits, {}}, split);
  return std::string(std::get<std::string_view>(predictions.at(0)));
}

TEST(SpanAnswers, PredictsTheBestPartOfTheText) {
  auto split = windows({{{0, 0}, {0, 0}}}, 4);
  at::Tensor logits = at::zeros({14, 2});
  const auto set = [&](int64_t row, float first, float last) {
    logits[row][0] = first;
    logits[row][1] = last;
  };
  set(0, 9, 9);    // no answer
  set(1, 99, 99);  // the question
  set(3, 4, 0);    // b
  set(4, 0, 3);    // c
  set(2, 0, 20);   // a in front of b: no part; a alone is 0 + 20
  EXPECT_EQ(answer(split, logits), "a");
  set(2, 0, 0);
  EXPECT_EQ(answer(split, logits), "bc");
  set(11, 1, 0);  // c of the second window, which begins anew
  set(12, 0, 9);  // d
  EXPECT_EQ(answer(split, logits), "cd");
  split.may_lack_answer = true;
  EXPECT_EQ(answer(split, logits), "cd");  // the second window's first token says 0
  set(7, 9, 9);
  EXPECT_EQ(answer(split, logits), "");
  logits[5][0] = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(is_hidden(objective("span").predict({logits, {}}, split).at(0)));
}

TEST(SpanAnswers, AnAnswerHasAtMostThirtyTokens) {
  const auto split = windows({{{0, 0}}}, 44);
  at::Tensor logits = at::zeros({47, 2});
  logits[2][0] = 9;       // a
  logits[2 + 30][1] = 9;  // 31 tokens
  logits[2 + 29][1] = 5;  // 30
  EXPECT_EQ(answer(split, logits).size(), 30U);
}

}  // namespace
}  // namespace peft
