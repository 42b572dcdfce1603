/// Attention with a linear state, whatever route computes it (docs/kernels.md#merging-parts). Numerical traps: state_traps_test.cpp.

#include "peft/kernels/state.h"

#include <gmock/gmock.h>

#include <cmath>

#include "src/kernels/attention/internal.h"
#include "src/kernels/attention/state_internal.h"
#include "tests/kernels/varlen_on_cpu.h"

namespace peft {
namespace {

using Case = AttentionCase;
using Inputs = AttentionInputs;

constexpr FeatureMap kMaps[] = {FeatureMap::elu, FeatureMap::taylor1, FeatureMap::taylor2};

at::Tensor run(AttentionRoute route, const Inputs& in) {
  return route(in.leaves[0], in.leaves[1], in.leaves[2], in.args);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const FeatureMap map : kMaps) {
    for (const bool causal : {false, true}) {
      all.push_back({.lengths = {5, 1, 3, 17}, .adapters = 2, .causal = causal, .state = map});
      all.push_back({.lengths = {1}, .heads = 2, .groups = 1, .causal = causal, .state = map});
      all.push_back({.lengths = {4, 0, 9}, .adapters = 3, .causal = causal, .state = map});
      for (const bool shared : {false, true}) {
        all.push_back({.lengths = {70, 2, 2},
                       .adapters = 3,
                       .groups = 2,
                       .causal = causal,
                       .state = map,
                       .centered = shared,
                       .shared_state = shared});
      }
      for (const double amplitude : {8.0, 60.0}) {  // at 60 logits reach +-200; taylor maps gate rows
        all.push_back({.lengths = {9, 1, 30},
                       .adapters = 2,
                       .groups = 2,
                       .causal = causal,
                       .amplitude = amplitude,
                       .state = map});
      }
    }
  }
  return all;
}

/// The reference divides the sums of the direct formula and leaves the gradient to autograd.
TEST(Ntk, MergedBackward) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name());
    const Inputs in = make_inputs(c);
    const auto expected = outcome(attention_reference, in);
    EXPECT_LT(worst_error(outcome(attention, in), expected), 1e-12);
    EXPECT_LT(worst_error(outcome(attention_explicit, in), expected), 1e-12);
    EXPECT_LT(worst_error(outcome(attention_varlen_on_cpu, in), expected), 1e-12);
  }
}

TEST(Ntk, Float32) {
  for (const Case& c : cases()) {
    if (c.amplitude > 1.0 && c.state != FeatureMap::elu) continue;  // b near 0 has no relative accuracy
    SCOPED_TRACE(c.name());
    const Inputs in = make_inputs(c, at::kFloat);
    const auto expected = outcome(attention_reference, in.widened());
    for (const AttentionRoute route : {AttentionRoute(attention), AttentionRoute(attention_explicit)})
      EXPECT_LT(worst_error(outcome(route, in), expected), c.amplitude > 1.0 ? 5e-5 : 1e-5);
  }
}

TEST(Ntk, Bfloat16StaysWithinTheTolerances) {
  // out, dq, dk, dv, dZ, dden: docs/kernels.md#tolerances
  const double tolerances[] = {3.5e-3, 4e-3, 5e-3, 5e-3, 2.5e-3, 5e-3};
  for (const FeatureMap map : {FeatureMap::elu, FeatureMap::taylor1}) {
    for (const bool causal : {false, true}) {
      const Inputs in = make_inputs(
          {.lengths = {33, 1, 64, 100}, .adapters = 2, .groups = 2, .width = 32, .causal = causal, .state = map},
          at::kBFloat16);
      const auto found = outcome(attention, in);
      const Inputs wide = in.widened();
      const at::Tensor out = run(attention_reference, wide), weights = random_tensor(99, out.sizes());
      std::vector<at::Tensor> expected{out};
      for (const at::Tensor& g : gradients((out * weights.to(at::kBFloat16).to(at::kDouble)).sum(), wide.leaves))
        expected.push_back(g);
      for (std::size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(found[i].scalar_type(), i < 4 ? at::kBFloat16 : at::kFloat);
        EXPECT_LT(relative_error(found[i], expected[i]), tolerances[i]) << "output " << i << ", causal " << causal;
      }
    }
  }
}

TEST(Ntk, Gradcheck) {
  for (const FeatureMap map : kMaps) {
    for (const bool causal : {false, true}) {
      for (const bool shared : {false, true}) {
        const Inputs in = make_inputs({.lengths = {3, 1, 2},
                                       .adapters = 2,
                                       .heads = 2,
                                       .groups = 1,
                                       .width = 4,
                                       .causal = causal,
                                       .state = map,
                                       .centered = shared,
                                       .shared_state = shared});
        EXPECT_LT(gradient_error([&] { return weighted_sum(run(attention, in)); }, in.leaves), kGradcheckTolerance);
      }
    }
  }
}

TEST(Ntk, DropoutOfProbabilitiesAndFeatures) {
  const DropoutContext context{.training = true, .seeds = {3, 4}, .steps = {5, 6}};
  for (const FeatureMap map : kMaps) {
    Inputs in = make_inputs({.lengths = {3, 1, 2}, .adapters = 2, .groups = 2, .width = 4, .state = map});
    const at::Tensor plain = run(attention, in);
    for (const double attention_p : {0.0, 0.4}) {
      in.args.dropout = {&context, "layer.0.attention", {attention_p}};
      in.args.state.dropout = {&context, "layer.0.feature", {0.3, 0.6}};
      const auto expected = outcome(attention_reference, in);
      EXPECT_LT(worst_error(outcome(attention, in), expected), 1e-12);
      EXPECT_LT(worst_error(outcome(attention_explicit, in), expected), 1e-12);
      EXPECT_LT(gradient_error([&] { return weighted_sum(run(attention, in)); }, in.leaves), kGradcheckTolerance);
      EXPECT_GT(relative_error(run(attention, in), plain), 1e-2);
      // The last sequence alone sees the masks it saw in the batch.
      AttentionArgs alone = in.args;
      alone.queries = alone.keys =
          std::make_shared<const PackedBatch>(std::vector<PackedBatch::Sequence>{{2, 1, 2}}, 2);
      const auto rows = [&](int i) { return in.leaves[i].narrow(0, 4, 2); };
      EXPECT_LT(relative_error(attention(rows(0), rows(1), rows(2), alone), run(attention, in).narrow(0, 4, 2)), 1e-12);
    }
  }
}

TEST(Ntk, FeatureDropoutKeepsTheMean) {
  const DropoutContext context{.training = true, .seeds = {3}, .steps = {5}};
  Inputs in = make_inputs({.lengths = {4000}, .state = FeatureMap::elu});
  in.args.state.dropout = {&context, "site", {0.25}};
  const at::Tensor mask = feature_dropout_mask(in.args, 4, in.leaves[0].detach());
  EXPECT_NEAR(mask.mean().item<double>(), 1.0, 5.0 * std::sqrt(1.0 / 3.0 / static_cast<double>(mask.numel())));
  EXPECT_NEAR((mask == 0).to(at::kDouble).mean().item<double>(), 0.25, 5e-3);
  const at::Tensor heads = mask.select(1, 0) - mask.select(1, 1);
  EXPECT_GT(heads.abs().mean().item<double>(), 0.1);  // every head its own mask
}

TEST(Ntk, CausalEqualsPerRowReference) {
  for (const FeatureMap map : kMaps) {
    const Inputs in = make_inputs({.lengths = {6}, .causal = true, .state = map});
    const at::Tensor all = run(attention, in);
    for (int64_t i = 0; i < 6; ++i) {
      AttentionArgs row = in.args;
      row.causal = false;
      row.queries = make_batch({1});
      row.keys = make_batch({i + 1});
      const at::Tensor one = attention(in.leaves[0].narrow(0, i, 1), in.leaves[1].narrow(0, 0, i + 1),
                                       in.leaves[2].narrow(0, 0, i + 1), row);
      EXPECT_LT(relative_error(all.narrow(0, i, 1), one), 1e-12);
    }
  }
}

TEST(Ntk, PerKvHead) {
  for (const FeatureMap map : kMaps) {
    const Inputs shared = make_inputs(
        {.lengths = {5, 2}, .adapters = 2, .groups = 2, .state = map, .centered = true, .shared_state = true});
    AttentionArgs repeated = shared.args;
    const auto repeat = [](const at::Tensor& x) { return x.repeat_interleave(2, 1); };
    repeated.state.z_KHMD = repeat(shared.leaves[3]);
    repeated.state.den_KHM = repeat(shared.leaves[4]);
    repeated.state.center_KHD = repeat(shared.args.state.center_KHD);
    const at::Tensor found = run(attention, shared),
                     expected = attention(shared.leaves[0], shared.leaves[1], shared.leaves[2], repeated);
    EXPECT_LT(relative_error(found, expected), 1e-12);
    EXPECT_LT(
        worst_error(gradients(weighted_sum(found), shared.leaves), gradients(weighted_sum(expected), shared.leaves)),
        1e-12);
  }
}

TEST(Ntk, T5ScaleOne) {
  // scale 1: the features see the query itself.
  Inputs in = make_inputs({.lengths = {4}, .heads = 1, .groups = 1, .state = FeatureMap::taylor1});
  in.args.scale = 1.0;
  const at::Tensor q = in.leaves[0].detach().squeeze(1), k = in.leaves[1].detach().squeeze(1),
                   v = in.leaves[2].detach().squeeze(1), z = in.leaves[3].detach()[0][0],
                   den = in.leaves[4].detach()[0][0];
  const at::Tensor phi = at::cat({at::ones({4, 1}, at::kDouble), q}, 1), weights = at::exp(at::mm(q, k.t()));
  const at::Tensor b = at::mv(phi, den);
  ASSERT_GT(b.min().item<double>(), 0.0);
  const at::Tensor expected = (at::mm(weights, v) + at::mm(phi, z)) / (weights.sum(1) + b).unsqueeze(1);
  EXPECT_LT(relative_error(run(attention, in).squeeze(1), expected), 1e-12);
}

TEST(Ntk, StateAloneServesARowWithoutKeys) {
  for (const FeatureMap map : kMaps) {
    Inputs in = make_inputs({.lengths = {3}, .state = map});
    in.args.queries = make_batch({1, 2});
    in.args.keys = make_batch({3, 0});
    EXPECT_LT(worst_error(outcome(attention, in), outcome(attention_reference, in)), 1e-12);
    EXPECT_LT(worst_error(outcome(attention_explicit, in), outcome(attention_reference, in)), 1e-12);
    in.args.state.den_KHM = at::zeros_like(in.leaves[4].detach());
    in.args.state.z_KHMD = at::zeros_like(in.leaves[3].detach());
    for (const AttentionRoute route : {AttentionRoute(attention), AttentionRoute(attention_explicit)}) {
      const at::Tensor out = run(route, in);
      EXPECT_EQ(out.narrow(0, 1, 2).abs().max().item<double>(), 0.0);
      for (const at::Tensor& g : gradients(weighted_sum(out), in.leaves)) EXPECT_TRUE(g.isfinite().all().item<bool>());
    }
  }
}

TEST(Ntk, RowsBeyondOneChunkOfFeatures) {
  const Inputs in = make_inputs({.lengths = std::vector<int64_t>(12, 100),
                                 .adapters = 2,
                                 .heads = 2,
                                 .groups = 2,
                                 .width = 128,
                                 .state = FeatureMap::taylor2});  // 8385 features: 250 rows a chunk
  EXPECT_LT(worst_error(outcome(attention, in), outcome(attention_reference, in)), 1e-11);
}

}  // namespace
}  // namespace peft
