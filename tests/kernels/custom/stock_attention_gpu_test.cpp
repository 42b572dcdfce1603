/// attention() on a GPU by every implementation that serves it, against the reference in float64. What CPUs cannot show: that the stock
/// operators take merged outputs and log-sum-exps as aten_ops.cpp hands them over.

#include "tests/kernels/custom/beside_reference.h"

namespace peft {
namespace {

std::vector<AttentionCase> cases(bool prefixes, bool states) {
  std::vector<AttentionCase> all;
  for (const bool causal : {false, true}) {
    for (const std::vector<int64_t>& lengths :
         {std::vector<int64_t>{5, 1, 3, 200, 2, 64}, std::vector<int64_t>{32, 32, 32, 32}}) {
      all.push_back({.lengths = lengths, .width = 64, .causal = causal});
      all.push_back({.lengths = lengths, .groups = 2, .width = 128, .causal = causal});
      all.push_back({.lengths = lengths, .width = 64, .causal = causal, .window = 7});
      all.push_back({.lengths = lengths, .width = 64, .causal = causal, .buckets = 32, .frozen_bias = true});
      if (prefixes) {
        all.push_back({.lengths = lengths, .adapters = 2, .width = 32, .prefix = 20, .causal = causal});
        all.push_back({.lengths = lengths, .groups = 1, .width = 64, .prefix = 65, .causal = causal});
        all.push_back(
            {.lengths = lengths, .adapters = 2, .width = 64, .prefix = 4, .causal = causal, .per_sequence = true});
        all.push_back({.lengths = lengths, .groups = 2, .width = 64, .prefix = 20, .causal = causal, .window = 50});
        for (const bool covers : {false, true}) {
          all.push_back({.lengths = lengths,
                         .groups = 2,
                         .width = 32,
                         .prefix = 20,
                         .causal = causal,
                         .buckets = 32,
                         .covers_prefix = covers,
                         .frozen_bias = true});
        }
      }
      if (states) {
        all.push_back({.lengths = lengths, .adapters = 2, .width = 64, .causal = causal, .state = FeatureMap::elu});
        all.push_back({.lengths = lengths,
                       .groups = 2,
                       .width = 32,
                       .causal = causal,
                       .amplitude = 0.5,
                       .state = FeatureMap::taylor1,
                       .centered = true});
      }
    }
  }
  return all;
}

TEST(AttentionOnGpu, HalfAndBfloat16) {
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    for (const Wish wish : {Wish::automatic, Wish::flash, Wish::efficient, Wish::packed}) {
      for (const AttentionCase& c : cases(true, true)) expect_equals_reference(c, type, wish);
    }
  }
}

TEST(AttentionOnGpu, CudnnOfEqualLengths) {
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    for (const AttentionCase& c : cases(true, true)) expect_equals_reference(c, type, Wish::cudnn);
  }
}

/// One query a sequence, as a pruned last layer has them, and a sequence without keys.
TEST(AttentionOnGpu, PickedRowsAndMissingKeys) {
  for (const Wish wish : {Wish::automatic, Wish::cudnn, Wish::efficient, Wish::packed}) {
    for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{32, 32, 32}, std::vector<int64_t>{5, 70, 3}}) {
      AttentionInputs in = make_inputs({.lengths = lengths, .width = 64, .prefix = 4}, at::kHalf, kernel_device());
      in.args.queries = select_each(in.args.keys, 2);
      in.leaves[0] = in.leaves[0].detach().index_select(0, numbers_of_each(in.args.keys, 2)).requires_grad_(true);
      expect_equals_reference(in, wish, "picked rows");
    }
    AttentionInputs in =
        make_inputs({.lengths = {5, 9, 3}, .width = 64, .state = FeatureMap::elu}, at::kHalf, kernel_device());
    in.args.keys = spread({5, 0, 12}, 1, kernel_device());
    expect_equals_reference(in, wish, "without keys");
  }
}

TEST(AttentionOnGpu, Float32) {
  for (const Wish wish : {Wish::automatic, Wish::efficient, Wish::packed, Wish::reference}) {
    for (const AttentionCase& c : cases(true, true)) expect_equals_reference(c, at::kFloat, wish);
  }
}

TEST(AttentionOnGpu, LargeLogits) {
  for (const Wish wish : {Wish::flash, Wish::efficient, Wish::packed}) {
    for (const double amplitude : {8.0, 40.0}) {
      expect_equals_reference({.lengths = {5, 64, 1}, .width = 64, .prefix = 20, .amplitude = amplitude}, at::kBFloat16,
                              wish, 2.5);
    }
  }
}

/// Every score near -200, lengths that end in the middle of cuDNN's tiles.
TEST(AttentionOnGpu, VeryNegativeLogSumExps) {
  for (const Wish wish : {Wish::flash, Wish::cudnn, Wish::efficient, Wish::packed}) {
    for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{64, 64}, std::vector<int64_t>{192, 192}}) {
      AttentionInputs in = make_inputs({.lengths = lengths, .width = 64}, at::kBFloat16, kernel_device());
      for (const auto& [i, side] : {std::pair{0, 5.0}, {1, -5.0}})  // 64 * 25 / sqrt(64)
        in.leaves[i] = (0.1 * in.leaves[i].detach() + side).requires_grad_(true);
      const auto found = outcome_of(in, wish), expected = outcome_of(in.widened(), Wish::reference);
      EXPECT_LE(relative_error(found[0], expected[0]), cap_of(0, false, at::kBFloat16)) << name_of(wish);
      for (const at::Tensor& x : found) EXPECT_TRUE(at::isfinite(x).all().item<bool>()) << name_of(wish);
    }
  }
}

TEST(AttentionOnGpu, RepeatsBitForBit) {
  for (const Wish wish : {Wish::flash, Wish::efficient, Wish::packed}) {
    for (const AttentionCase& c : {AttentionCase{.lengths = {5, 300, 1, 70}, .adapters = 2, .width = 64, .prefix = 20},
                                   AttentionCase{.lengths = {5, 300, 1, 70}, .width = 64, .state = FeatureMap::elu}}) {
      const AttentionInputs in = make_inputs(c, at::kBFloat16, kernel_device());
      const auto first = outcome_of(in, wish);
      for (int run = 0; run < 20; ++run) {
        const auto again = outcome_of(in, wish);
        for (std::size_t i = 0; i < first.size(); ++i)
          ASSERT_TRUE(same_values(again[i], first[i])) << name_of(wish) << ", run " << run << ", result " << i;
      }
    }
  }
}

}  // namespace
}  // namespace peft
