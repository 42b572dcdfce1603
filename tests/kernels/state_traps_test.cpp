/// Numerical traps of attention with a linear state (docs/kernels.md#numerical-traps).

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "src/kernels/attention/internal.h"
#include "tests/kernels/attention_case.h"

namespace peft {
namespace {

using Inputs = AttentionInputs;

constexpr FeatureMap kMaps[] = {FeatureMap::elu, FeatureMap::taylor1, FeatureMap::taylor2};

at::Tensor run(AttentionRoute route, const Inputs& in) {
  return route(in.leaves[0], in.leaves[1], in.leaves[2], in.args);
}

/// Q such that every logit is near +200 or -200.
Inputs extreme_logits(FeatureMap map, double logit, at::ScalarType dtype) {
  Inputs in = make_inputs({.lengths = {5, 1, 3}, .state = map}, dtype);
  const double side = std::sqrt(200.0 / (8.0 * in.args.scale));
  in.leaves[0] = (0.1 * in.leaves[0].detach() + side).requires_grad_(true);
  in.leaves[1] = (0.1 * in.leaves[1].detach() + (logit > 0 ? side : -side)).requires_grad_(true);
  return in;
}

TEST(Ntk, ZeroStateIsPlainSoftmax) {
  for (const FeatureMap map : kMaps) {
    for (const double logit : {200.0, -200.0}) {
      for (const auto& [dtype, tolerance] : {std::pair{at::kDouble, 1e-12}, std::pair{at::kFloat, 1e-6}}) {
        Inputs in = extreme_logits(map, logit, dtype), plain = in;
        for (int i : {3, 4}) in.leaves[i] = at::zeros_like(in.leaves[i].detach()).requires_grad_(true);
        in.place();
        plain.args.state = {};
        plain.leaves.resize(3);
        for (const AttentionRoute route : {AttentionRoute(attention), AttentionRoute(attention_explicit)}) {
          const auto found = outcome(route, in), expected = outcome(route, plain);
          for (int i = 0; i < 4; ++i) EXPECT_LT(relative_error(found[i], expected[i]), tolerance) << i;
          for (const at::Tensor& x : found) EXPECT_TRUE(x.isfinite().all().item<bool>());
        }
      }
    }
  }
}

TEST(Ntk, ExtremeLogitsBesideAState) {
  for (const double logit : {200.0, -200.0}) {
    const Inputs in = extreme_logits(FeatureMap::elu, logit, at::kDouble);
    EXPECT_LT(worst_error(outcome(attention, in), outcome(attention_reference, in)), 1e-12);
    const Inputs narrow = extreme_logits(FeatureMap::elu, logit, at::kFloat);
    const auto found = outcome(attention, narrow), expected = outcome(attention_reference, narrow.widened());
    EXPECT_LT(relative_error(found[0], expected[0]), 1e-4);  // a logit of 200 itself is rounded by 1e-5
    for (const at::Tensor& x : found) EXPECT_TRUE(x.isfinite().all().item<bool>());
  }
}

TEST(Ntk, ValuesWithoutMassAreLegal) {
  // den = 0 beside Z != 0, as one author's script starts: O = O_s + e^-L a.
  Inputs in = make_inputs({.lengths = {5, 1, 3}, .state = FeatureMap::elu});
  in.leaves[4] = at::zeros_like(in.leaves[4].detach()).requires_grad_(true);
  in.place();
  EXPECT_LT(worst_error(outcome(attention, in), outcome(attention_reference, in)), 1e-12);
  AttentionArgs bare = in.args;
  bare.state = {};
  EXPECT_GT(relative_error(run(attention, in), attention(in.leaves[0], in.leaves[1], in.leaves[2], bare)), 1e-2);
}

TEST(Ntk, SmallFeaturesKeepTheirDigits) {
  const at::Tensor y = at::tensor({-18.0, -12.0, -1.0, 0.0, 2.0}, at::kDouble),
                   phi = features(y.to(at::kFloat), FeatureMap::elu);
  const at::Tensor exact = at::where(y > 0, y + 1.0, at::exp(y));
  EXPECT_LT(((phi.to(at::kDouble) - exact) / exact).abs().max().item<double>(), 1e-6);
  EXPECT_TRUE(features(at::full({1}, 500.0, at::kFloat), FeatureMap::elu).equal(at::full({1}, 501.0, at::kFloat)));
}

TEST(Ntk, NegativeMassIsGated) {
  for (const FeatureMap map : {FeatureMap::taylor1, FeatureMap::taylor2}) {
    for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
      for (const double logit : {0.0, 200.0, -200.0}) {
        Inputs in = logit == 0.0 ? make_inputs({.lengths = {5, 1, 3}, .amplitude = 20.0, .state = map}, dtype)
                                 : extreme_logits(map, logit, dtype);
        if (logit != 0.0) in.leaves[4] = (-in.leaves[4].detach().abs()).requires_grad_(true);  // every b < 0
        in.place();
        GatedRows count;
        in.args.state.gated = &count;
        const at::Tensor y = in.leaves[0].detach() * std::sqrt(in.args.scale);
        const at::Tensor b = at::einsum("thm,hm->th", {features(y, map), in.leaves[4].detach()[0]}), off = b <= 0;
        const auto gated = off.sum().item<int64_t>();
        ASSERT_GT(gated, 0);
        if (logit == 0.0) {
          ASSERT_LT(gated, off.numel());
        }
        const at::Tensor out = run(attention, in);
        EXPECT_EQ(count.gated, gated);
        EXPECT_EQ(count.rows, off.numel());
        Inputs plain = in;
        plain.args.state = {};
        const at::Tensor expected = run(attention, plain), where_off = off.unsqueeze(-1).to(dtype);
        EXPECT_LT(relative_error(out * where_off, expected * where_off), dtype == at::kDouble ? 1e-12 : 1e-6);
        // A loss on the gated rows alone: the state gets nothing, q what plain attention gives it.
        const auto found = gradients(weighted_sum(out * where_off), in.leaves),
                   own = gradients(weighted_sum(expected * where_off), in.leaves);
        for (int i : {3, 4}) EXPECT_EQ(found[i].abs().max().item<double>(), 0.0);
        EXPECT_LT(relative_error(found[0], own[0]), dtype == at::kDouble ? 1e-12 : 1e-5);
        for (const at::Tensor& x : outcome(attention, in)) EXPECT_TRUE(x.isfinite().all().item<bool>());
      }
    }
  }
}

TEST(Ntk, ANonFiniteAdapterStaysAlone) {
  Inputs in = make_inputs({.lengths = {3, 2, 4}, .adapters = 3, .state = FeatureMap::taylor1});
  const auto before = outcome(attention, in);
  {
    at::NoGradGuard no_grad;
    in.leaves[3][1].fill_(std::numeric_limits<double>::infinity());
  }
  const at::Tensor after = run(attention, in);
  EXPECT_TRUE(same_values(after.narrow(0, 0, 3), before[0].narrow(0, 0, 3)));
  EXPECT_TRUE(same_values(after.narrow(0, 5, 4), before[0].narrow(0, 5, 4)));
  const auto grads = gradients(weighted_sum(after), in.leaves);
  for (int i : {3, 4}) {
    for (int64_t k : {0, 2}) EXPECT_TRUE(same_values(grads[i][k], before[1 + i][k]));
  }
}

}  // namespace
}  // namespace peft
