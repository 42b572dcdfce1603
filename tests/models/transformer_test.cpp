/// The packed network against a padded and masked implementation of its own.

#include "peft/models/transformer.h"

#include <gtest/gtest.h>

#include "tests/base/temporary_folder.h"
#include "tests/support/dense_bert.h"
#include "tests/support/gradcheck.h"

namespace peft {
namespace {

std::vector<Text> eight_texts() {
  std::vector<Text> texts;
  for (const int64_t length : {5, 1, 17, 3, 8, 2, 30, 5}) texts.push_back(random_text(texts.size(), length));
  return texts;
}

TEST(Transformer, EqualsAPaddedAndMaskedImplementation) {
  const TemporaryFolder folder;
  int number = 0;
  for (const TinyBert& tiny :
       {TinyBert{}, TinyBert{.width = 32, .heads = 4, .layers = 3, .feed_forward = 20, .labels = 3, .seed = 2},
        TinyBert{.heads = 1, .layers = 1, .labels = 1, .seed = 3}}) {
    const auto model = Transformer::load(tiny.write(folder / std::to_string(number++)), "float64");
    const auto texts = eight_texts();
    const at::Tensor logits = bare_logits(model, texts);
    EXPECT_EQ(logits.sizes(), (std::vector<int64_t>{8, tiny.labels}));
    EXPECT_LT(relative_error(logits, DenseBert(tiny).logits(texts)), 1e-10);
  }
}

TEST(Transformer, LogitsDoNotDependOnTheBatch) {
  const TemporaryFolder folder;
  const auto model = Transformer::load(TinyBert().write(folder.path()), "float64");
  const auto texts = eight_texts();
  const at::Tensor together = bare_logits(model, texts);
  const std::vector<std::size_t> order{6, 0, 3, 7, 1, 5, 2, 4};
  std::vector<Text> shuffled;
  for (const std::size_t b : order) shuffled.push_back(texts[b]);
  const at::Tensor moved = bare_logits(model, shuffled);
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto b = static_cast<int64_t>(order[i]);
    EXPECT_LT(relative_error(moved[static_cast<int64_t>(i)], together[b]), 1e-12);
    EXPECT_LT(relative_error(bare_logits(model, {texts[order[i]]})[0], together[b]), 1e-12);
  }
}

TEST(Transformer, LowerPrecisionsFollowFloat64) {
  const TemporaryFolder folder;
  const TinyBert tiny{.width = 32, .heads = 4};
  tiny.write(folder.path());
  const auto texts = eight_texts();
  const at::Tensor expected = bare_logits(Transformer::load(folder.path(), "float64"), texts);
  const at::Tensor single = bare_logits(Transformer::load(folder.path(), "float32"), texts),
                   half = bare_logits(Transformer::load(folder.path(), "bfloat16"), texts);
  EXPECT_EQ(single.scalar_type(), at::kFloat);
  EXPECT_LT(relative_error(single, expected), 1e-5);
  EXPECT_EQ(half.scalar_type(), at::kFloat);
  EXPECT_LT(relative_error(half, expected), 3e-2);  // bfloat16 has 8 bits: 4e-3 a rounding
}

TEST(Transformer, SeparateQueryKeyValueMapsEqualTheFusedOne) {
  const TemporaryFolder folder;
  auto model = Transformer::load(TinyBert().write(folder.path()), "float64");
  const at::Tensor fused = bare_logits(model, eight_texts());
  model.unfuse();
  EXPECT_LT(relative_error(bare_logits(model, eight_texts()), fused), 1e-13);
}

TEST(Transformer, DropoutFollowsTheNamesNotThePacking) {
  const TemporaryFolder folder;
  const auto model = Transformer::load(TinyBert{.dropout = 0.2}.write(folder.path()), "float64");
  Sockets none;
  const auto texts = eight_texts();
  const DropoutContext training{.training = true, .seeds = {5}, .steps = {3}};
  const at::Tensor dropped = model.classify(make_input(texts), none, training);
  EXPECT_GT(relative_error(dropped, bare_logits(model, texts)), 1e-2);
  EXPECT_LT(relative_error(model.classify(make_input({texts[0], texts[1]}), none, training), dropped.narrow(0, 0, 2)),
            1e-12);
  const DropoutContext next{.training = true, .seeds = {5}, .steps = {4}};
  EXPECT_GT(relative_error(model.classify(make_input(texts), none, next), dropped), 1e-2);
}

TEST(Transformer, OverriddenDropoutReachesEverySite) {
  const TemporaryFolder folder;
  auto model = Transformer::load(TinyBert{.dropout = 0.2}.write(folder.path()), "float64");
  model.override_dropout(0.0);
  Sockets none;
  const DropoutContext training{.training = true, .seeds = {5}, .steps = {3}};
  const auto texts = eight_texts();
  EXPECT_TRUE(same_values(model.classify(make_input(texts), none, training), bare_logits(model, texts)));
}

TEST(Transformer, TrainingGradientsUnderDropoutPassFiniteDifferences) {
  const TemporaryFolder folder;
  auto model = Transformer::load(
      TinyBert{.width = 4, .layers = 1, .feed_forward = 6, .vocabulary = 6, .positions = 5, .dropout = 0.2}.write(
          folder.path()),
      "float64");
  model.unfuse();
  std::vector<at::Tensor> leaves;
  model.for_tensors([&](const std::string&, at::Tensor& tensor) {
    tensor = tensor.detach().clone().requires_grad_(true);
    leaves.push_back(tensor);
  });
  Sockets none;
  const DropoutContext training{.training = true, .seeds = {5}, .steps = {3}};
  const ModelInput input = make_input({random_text(1, 4, 6), random_text(2, 2, 6)});
  EXPECT_LT(gradient_error([&] { return weighted_sum(model.classify(input, none, training)); }, leaves),
            kGradcheckTolerance);
}

}  // namespace
}  // namespace peft
