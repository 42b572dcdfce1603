/// Every route against attention_reference: values and gradients.

#include "peft/kernels/attention.h"

#include <gmock/gmock.h>

#include "peft/base/error.h"
#include "src/kernels/attention/internal.h"
#include "tests/kernels/varlen_on_cpu.h"

namespace peft {
namespace {

using Case = AttentionCase;
using Inputs = AttentionInputs;
using Route = AttentionRoute;

std::vector<int64_t> random_lengths(int64_t count, uint64_t longest) {
  std::vector<int64_t> lengths;
  const RngStream stream(5, "lengths");
  for (int64_t b = 0; b < count; ++b) lengths.push_back(1 + static_cast<int64_t>(stream.below(b, longest)));
  return lengths;
}

std::vector<int64_t> one_long_among_short() {
  std::vector<int64_t> lengths(20, 2);
  lengths[7] = 257;
  return lengths;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const int64_t prefix : {0, 1, 20, 63, 64, 65, 200}) {
    for (const bool causal : {false, true}) {
      all.push_back({.lengths = {5, 1, 3, 17}, .adapters = 2, .groups = 2, .prefix = prefix, .causal = causal});
    }
  }
  for (const int64_t length : {1, 2, 63, 64, 65, 127, 128, 129, 257}) {
    all.push_back({.lengths = {length}, .heads = 2, .groups = 1, .prefix = 20, .causal = length % 2 == 1});
  }
  for (const bool causal : {false, true}) {
    all.push_back({.lengths = one_long_among_short(), .adapters = 3, .prefix = 20, .causal = causal});
    all.push_back({.lengths = random_lengths(64, 40), .adapters = 5, .groups = 1, .prefix = 3, .causal = causal});
    all.push_back({.lengths = random_lengths(512, 4),
                   .adapters = 7,
                   .heads = 2,
                   .groups = 2,
                   .width = 4,
                   .prefix = 1,
                   .causal = causal});
    all.push_back({.lengths = {4, 0, 9},
                   .adapters = 3,
                   .prefix = 2,
                   .causal = causal});  // an empty sequence, adapter 1 without rows
    for (const int64_t prefix : {1, 20}) {
      all.push_back({.lengths = {5, 1, 0, 17},
                     .adapters = 2,
                     .groups = 2,
                     .prefix = prefix,
                     .causal = causal,
                     .per_sequence = true});
    }
    for (const double amplitude : {8.0, 40.0, 60.0}) {  // at 60 logits reach +-200
      all.push_back(
          {.lengths = {9, 1, 30}, .adapters = 2, .groups = 2, .prefix = 5, .causal = causal, .amplitude = amplitude});
    }
  }
  return all;
}

TEST(Attention, EqualsTheReferenceInFloat64) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name());
    const Inputs in = make_inputs(c);
    const auto expected = outcome(attention_reference, in);
    EXPECT_LT(worst_error(outcome(attention, in), expected), 1e-12);
    EXPECT_LT(worst_error(outcome(attention_explicit, in), expected), 1e-12);
    EXPECT_LT(worst_error(outcome(attention_varlen_on_cpu, in), expected), 1e-12);
  }
}

TEST(Attention, EqualsTheReferenceInFloat32) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name());
    const Inputs in = make_inputs(c, at::kFloat);
    const auto found = outcome(attention, in);
    // docs/kernels.md#tolerances allows 2e-5, and 2.5 times the cap for amplitudes of 8 and more.
    EXPECT_LT(worst_error(found, outcome(attention_reference, in.widened())), c.amplitude >= 8.0 ? 5e-5 : 1e-5);
  }
}

TEST(Attention, Bfloat16StaysWithinTheMeasuredTolerances) {
  // out, dq, dk, dv, dPk, dPv: docs/kernels.md#tolerances
  const double tolerances[] = {3.5e-3, 4e-3, 5e-3, 5e-3, 5.5e-3, 5.5e-3};
  for (const bool causal : {false, true}) {
    Inputs in = make_inputs(
        {.lengths = {33, 1, 64, 100}, .adapters = 2, .groups = 2, .width = 32, .prefix = 20, .causal = causal},
        at::kBFloat16);
    const auto found = outcome(attention, in);
    for (at::Tensor& leaf : in.leaves) leaf = leaf.detach().to(at::kDouble).requires_grad_(true);
    in.args.prefix = {in.leaves[3], in.leaves[4]};
    const at::Tensor out = attention_reference(in.leaves[0], in.leaves[1], in.leaves[2], in.args);
    std::vector<at::Tensor> expected{out};
    const at::Tensor weights =
        random_tensor(99, out.sizes()).to(at::kBFloat16).to(at::kDouble);  // as the bfloat16 loss rounds them
    for (const at::Tensor& g : gradients((out * weights).sum(), in.leaves)) expected.push_back(g);
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].scalar_type(), at::kBFloat16);
      EXPECT_LT(relative_error(found[i], expected[i]), tolerances[i]) << "output " << i << ", causal " << causal;
    }
  }
}

TEST(Attention, Gradcheck) {
  for (const bool causal : {false, true}) {
    for (const int64_t groups : {1, 2}) {
      const Inputs in = make_inputs({.lengths = {3, 1, 2},
                                     .adapters = 2,
                                     .heads = 2,
                                     .groups = groups,
                                     .width = 4,
                                     .prefix = 3,
                                     .causal = causal});
      const auto loss = [&] { return weighted_sum(attention(in.leaves[0], in.leaves[1], in.leaves[2], in.args)); };
      EXPECT_LT(gradient_error(loss, in.leaves), kGradcheckTolerance);
    }
  }
}

TEST(Attention, DropoutOnProbabilitiesEqualsTheReferenceAndFiniteDifferences) {
  const DropoutContext context{.training = true, .seeds = {3, 4}, .steps = {5, 6}};
  for (const bool causal : {false, true}) {
    Inputs in = make_inputs(
        {.lengths = {3, 1, 2}, .adapters = 2, .heads = 4, .groups = 2, .width = 4, .prefix = 3, .causal = causal});
    in.args.dropout = {&context, "layer.0.attention", {0.4}};
    EXPECT_LT(worst_error(outcome(attention, in), outcome(attention_reference, in)), 1e-12);
    const auto loss = [&] { return weighted_sum(attention(in.leaves[0], in.leaves[1], in.leaves[2], in.args)); };
    EXPECT_LT(gradient_error(loss, in.leaves), kGradcheckTolerance);
    const at::Tensor dropped = attention(in.leaves[0], in.leaves[1], in.leaves[2], in.args);
    in.args.dropout.p = {0.0};
    EXPECT_GT(relative_error(dropped, attention(in.leaves[0], in.leaves[1], in.leaves[2], in.args)), 1e-2);
  }
}

TEST(Attention, OneQueryPerSequenceEqualsThatRowOfAll) {
  for (const bool dropout : {false, true}) {
    const DropoutContext context{.training = dropout, .seeds = {3, 4}, .steps = {5, 6}};
    Inputs in = make_inputs({.lengths = {5, 2, 9}, .adapters = 2, .groups = 2, .prefix = 4});
    in.args.dropout = {&context, "layer.1.attention", {0.4}};
    AttentionArgs pruned = in.args;
    pruned.queries = select_each(in.args.keys, 1);
    const at::Tensor rows = numbers_of_each(in.args.keys, 1);
    const auto all = [&] { return attention(in.leaves[0], in.leaves[1], in.leaves[2], in.args).index_select(0, rows); };
    const auto few = [&] { return attention(in.leaves[0].index_select(0, rows), in.leaves[1], in.leaves[2], pruned); };
    EXPECT_LT(relative_error(few(), all()), 1e-12);
    EXPECT_LT(worst_error(gradients(weighted_sum(few()), in.leaves), gradients(weighted_sum(all()), in.leaves)), 1e-12);
  }
}

TEST(Attention, QueriesWithoutAnyKeyGiveZeros) {
  for (const Route route : {Route(attention), Route(attention_explicit), Route(attention_reference)}) {
    const at::Tensor q = random_leaf(1, {3, 2, 4}), k = random_leaf(2, {2, 2, 4}), v = random_leaf(3, {2, 2, 4});
    const AttentionArgs args{.queries = make_batch({1, 2}), .keys = make_batch({2, 0}), .scale = 0.5};
    const at::Tensor out = route(q, k, v, args);
    EXPECT_GT(out[0].abs().sum().item<double>(), 0.0);
    EXPECT_TRUE(same_values(out.narrow(0, 1, 2), at::zeros({2, 2, 4}, at::kDouble)));
    for (const at::Tensor& g : gradients(weighted_sum(out), {q, k, v})) EXPECT_TRUE(g.isfinite().all().item<bool>());
  }
}

TEST(Attention, PrefixAloneServesASequenceWithoutKeys) {
  const at::Tensor q = random_leaf(1, {3, 2, 4}), k = random_leaf(2, {2, 2, 4}), v = random_leaf(3, {2, 2, 4});
  AttentionArgs args{.queries = make_batch({1, 2}), .keys = make_batch({2, 0}), .scale = 0.5};
  args.prefix = {random_leaf(4, {1, 3, 2, 4}), random_leaf(5, {1, 3, 2, 4})};
  const Inputs in{{q, k, v, args.prefix.k_KPGD, args.prefix.v_KPGD}, args};
  EXPECT_LT(worst_error(outcome(attention, in), outcome(attention_reference, in)), 1e-12);
}

TEST(Attention, APrefixOfNoPairsIsNoPrefix) {
  Inputs in = make_inputs({.lengths = {4, 2}, .adapters = 2});
  const at::Tensor expected = attention(in.leaves[0], in.leaves[1], in.leaves[2], in.args);
  in.args.prefix = {at::zeros({2, 0, 4, 8}, at::kDouble), at::zeros({2, 0, 4, 8}, at::kDouble)};
  for (const Route route : {Route(attention), Route(attention_explicit), Route(attention_reference)}) {
    EXPECT_LT(relative_error(route(in.leaves[0], in.leaves[1], in.leaves[2], in.args), expected), 1e-14);
  }
}

TEST(Attention, PrefixesOfSequencesEqualSingleSequences) {
  Inputs in = make_inputs({.lengths = {5, 1, 3}, .adapters = 2, .groups = 2, .prefix = 4, .per_sequence = true});
  const at::Tensor together = attention(in.leaves[0], in.leaves[1], in.leaves[2], in.args);
  for (int64_t b = 0; b < 3; ++b) {
    const int64_t begin = in.args.keys->begin(b), n = in.args.keys->length(b);
    AttentionArgs alone{.queries = make_batch({n}), .keys = make_batch({n}), .scale = in.args.scale};
    alone.prefix = {in.leaves[3].narrow(0, b, 1), in.leaves[4].narrow(0, b, 1)};
    const auto rows = [&](int i) { return in.leaves[i].narrow(0, begin, n); };
    EXPECT_LT(relative_error(together.narrow(0, begin, n), attention(rows(0), rows(1), rows(2), alone)), 1e-12);
  }
}

TEST(Attention, RefusesShapesThatDoNotFit) {
  const Inputs in = make_inputs({.lengths = {4, 2}, .adapters = 2, .prefix = 3});
  const auto refused = [&](const at::Tensor& q, const at::Tensor& k, const AttentionArgs& args) {
    EXPECT_THAT([&] { attention(q, k, k, args); }, testing::ThrowsMessage<Error>(testing::StartsWith("attention: ")));
  };
  const at::Tensor &q = in.leaves[0], &k = in.leaves[1];
  refused(q.narrow(0, 0, 5), k, in.args);
  refused(q, k.narrow(1, 0, 3), in.args);
  refused(q, k.narrow(2, 0, 4), in.args);
  AttentionArgs args = in.args;
  args.prefix.k_KPGD = in.args.prefix.k_KPGD.narrow(0, 0, 1);  // one adapter of two
  refused(q, k, args);
  args = in.args;
  args.prefix.v_KPGD = in.args.prefix.v_KPGD.narrow(1, 0, 2);
  refused(q, k, args);
  args = in.args;
  args.prefix.per_sequence = true;
  args.prefix.k_KPGD = args.prefix.v_KPGD = at::zeros({3, 3, 4, 8}, at::kDouble);  // three tables, two sequences
  refused(q, k, args);
  args = make_inputs({.lengths = {4, 2}, .adapters = 2, .state = FeatureMap::elu}).args;
  for (at::Tensor* part : {&args.state.z_KHMD, &args.state.den_KHM}) {
    const at::Tensor whole = *part;
    *part = whole.narrow(2, 0, 7);
    refused(q, k, args);
    *part = whole.narrow(0, 0, 1);
    refused(q, k, args);
    *part = whole;
  }
  args.state.center_KHD = at::zeros({2, 4, 7}, at::kDouble);
  refused(q, k, args);
  args.state.center_KHD = at::Tensor();
  args.prefix = in.args.prefix;  // both
  refused(q, k, args);
}

}  // namespace
}  // namespace peft
