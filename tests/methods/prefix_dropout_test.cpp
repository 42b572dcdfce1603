/// Dropout on prefixes (docs/methods.md#prefix).

#include "tests/methods/prefix_method.h"

namespace peft {
namespace {

TEST_F(Prefix, SequenceMasksDiffer) {
  const std::vector<Text> equal{texts_[0], texts_[0]};
  for (Json config : {Json{{"sharing", "none"}}, Json{{"sharing", "simple"}}, Json{{"sharing", "deep"}}}) {
    config = with(config);
    config["prefix_dropout"] = 0.5;
    for (const char* scope : {"sequence", "adapter"}) {
      config["dropout_scope"] = scope;
      MethodBank bank(model_, config);
      const at::Tensor evaluated = bank.logits(model_, make_input(equal));
      EXPECT_LT(relative_error(evaluated[0], evaluated[1]), 1e-12);
      bank.context.training = true;
      const at::Tensor logits = bank.logits(model_, make_input(equal));
      const double difference = relative_error(logits[0], logits[1]);
      if (std::string(scope) == "sequence") {
        EXPECT_GT(difference, 1e-3) << config;
      } else {
        EXPECT_LT(difference, 1e-12) << config;
      }
      EXPECT_GT(relative_error(logits[0], evaluated[0]), 1e-3);
      bank.context.steps = {4};
      EXPECT_GT(relative_error(bank.logits(model_, make_input(equal)), logits), 1e-3) << "another step, another mask";
    }
  }
}

/// Every sequence against the dense network with the pairs that its masks left.
TEST_F(Prefix, PaddedReferenceOfMaskedPairs) {
  for (const char* sharing : {"none", "simple", "deep"}) {
    MethodBank bank(model_, with({{"sharing", sharing}, {"prefix_dropout", 0.4}}));
    bank.context.training = true;
    const at::Tensor logits = bank.logits(model_, make_input(texts_));
    const auto pairs = [&](int64_t b, at::Tensor PrefixKV::*part) {
      return at::stack(
                 {(bank->prefix(attention_of(model_, 0)).*part)[b], (bank->prefix(attention_of(model_, 1)).*part)[b]})
          .flatten(2);
    };
    const auto all = texts_;
    for (std::size_t b = 0; b < all.size(); ++b) {
      const auto row = static_cast<int64_t>(b);
      texts_ = {all[b]};
      EXPECT_LT(relative_error(logits[row],
                               dense_logits(bank, pairs(row, &PrefixKV::k_KPGD), pairs(row, &PrefixKV::v_KPGD))[0]),
                1e-10);
    }
    texts_ = all;
  }
}

TEST_F(Prefix, DropoutMasksKeysAndValuesSeparately) {
  const auto masked = [&](const Json& more) {
    Json config = with({{"num_virtual_tokens", 200}, {"position_shift", "off"}, {"prefix_dropout", 0.25}});
    config.update(more);
    MethodBank bank(model_, config);
    bank.context.training = true;
    at::NoGradGuard no_grad;
    for (const Parameter& p : bank->parameters()) p.value.fill_(1.0);
    bank->begin_pass(bank.context);
    bank->embed(at::zeros({6}, at::kLong), make_batch({4, 2}));
    return std::pair{
        at::stack({bank->prefix(attention_of(model_, 0)).k_KPGD, bank->prefix(attention_of(model_, 1)).k_KPGD}),
        at::stack({bank->prefix(attention_of(model_, 0)).v_KPGD, bank->prefix(attention_of(model_, 1)).v_KPGD})};
  };
  const auto [k, v] = masked(Json::object());
  EXPECT_EQ(k.sizes(), (std::vector<int64_t>{2, 2, 200, 2, 4}));  // layers, sequences, P, G, D
  const auto kept = [](const at::Tensor& x) { return x.gt(0).to(at::kDouble).mean().item<double>(); };
  EXPECT_LT(relative_error(k, k.gt(0).to(at::kDouble) / 0.75), 1e-12);
  const double five_errors = 5.0 * std::sqrt(0.25 * 0.75 / static_cast<double>(k.numel()));
  EXPECT_NEAR(kept(k), 0.75, five_errors);
  EXPECT_NEAR(kept(v), 0.75, five_errors);
  EXPECT_NEAR(kept(k * v), 0.75 * 0.75, five_errors);            // keys and values
  EXPECT_NEAR(kept(k[0] * k[1]), 0.75 * 0.75, 2 * five_errors);  // layers
  const auto [simple_k, simple_v] = masked({{"sharing", "simple"}, {"through_projection", false}});
  EXPECT_TRUE(same_values(simple_k, simple_v));  // on the vector
  EXPECT_NEAR(kept(simple_k), 0.75, five_errors);
  const auto [one_k, one_v] = masked({{"dropout_scope", "adapter"}});
  EXPECT_EQ(one_k.sizes(), (std::vector<int64_t>{2, 1, 200, 2, 4}));
  EXPECT_NEAR(kept(one_k * one_v), 0.75 * 0.75, 2 * five_errors);
}

TEST_F(Prefix, DropoutActsBehindTheFrozenMaps) {
  for (const char* sharing : {"none", "deep"}) {
    for (const char* scope : {"sequence", "adapter"}) {
      SCOPED_TRACE(std::string(sharing) + " " + scope);
      MethodBank bank(model_, with({{"num_virtual_tokens", 30},
                                    {"sharing", sharing},
                                    {"through_projection", true},
                                    {"prefix_dropout", 0.25},
                                    {"dropout_scope", scope}}));
      const auto pairs = [&] {
        at::NoGradGuard no_grad;
        bank->begin_pass(bank.context);
        bank->embed(at::zeros({6}, at::kLong), make_batch({4, 2}));
        return at::stack({bank->prefix(attention_of(model_, 1)).k_KPGD, bank->prefix(attention_of(model_, 1)).v_KPGD});
      };
      const at::Tensor whole = pairs();
      bank.context.training = true;
      const at::Tensor masked = pairs(), kept = masked.ne(0).to(at::kDouble);
      EXPECT_LT(relative_error(masked, whole * kept / 0.75), 1e-12);
      EXPECT_NEAR(kept.mean().item<double>(), 0.75, 5.0 * std::sqrt(0.25 * 0.75 / static_cast<double>(kept.numel())));
    }
  }
}

}  // namespace
}  // namespace peft
