/// Packed sequences in the places of dense batches: T5's bias on the memory-efficient operator, cuDNN's square of a causal prefix. The
/// operators themselves need a GPU; here one of the same contract in float64 stands in their place.

#include "src/kernels/attention/select.h"
#include "tests/kernels/dense_on_cpu.h"

namespace peft {
namespace {

void expect_equals_reference(const AttentionCase& c) {
  SCOPED_TRACE(c.name());
  const AttentionInputs in = make_inputs(c);
  EXPECT_EQ(position_support(in.args).efficient, c.buckets > 0);
  EXPECT_LT(worst_error(outcome(attention_dense_on_cpu, in), outcome(attention_reference, in)), 1e-12);
}

TEST(AttentionDense, EqualsReference) {
  for (const bool causal : {false, true}) {
    for (const std::vector<int64_t>& lengths :
         {std::vector<int64_t>{7, 1, 33, 4}, std::vector<int64_t>{32, 32}, std::vector<int64_t>{5, 5, 5}}) {
      for (const int64_t prefix : {0, 1, 6, 32}) {
        for (const int64_t buckets : {0, 8}) {
          const AttentionCase c{.lengths = lengths,
                                .adapters = 2,
                                .groups = 2,
                                .prefix = prefix,
                                .causal = causal,
                                .buckets = buckets,
                                .frozen_bias = true};
          expect_equals_reference(c);
        }
      }
    }
  }
}

TEST(AttentionDense, BiasOfPrefixesToo) {
  for (const bool causal : {false, true}) {
    for (const bool per_sequence : {false, true}) {
      expect_equals_reference({.lengths = {7, 1, 33, 4},
                               .prefix = 5,
                               .causal = causal,
                               .per_sequence = per_sequence,
                               .buckets = 8,
                               .covers_prefix = true,
                               .frozen_bias = true});
    }
  }
}

TEST(AttentionDense, StateBehindABias) {
  for (const bool causal : {false, true}) {
    expect_equals_reference({.lengths = {7, 1, 33},
                             .adapters = 2,
                             .causal = causal,
                             .state = FeatureMap::elu,
                             .centered = causal,
                             .buckets = 8,
                             .frozen_bias = true});
  }
}

/// The first row of each sequence alone, as a pruned last layer has it: its position is 0.
TEST(AttentionDense, PickedQueries) {
  for (const bool covers_prefix : {false, true}) {
    AttentionInputs in = make_inputs({.lengths = {7, 2, 33},
                                      .groups = 2,
                                      .prefix = 5,
                                      .buckets = 8,
                                      .covers_prefix = covers_prefix,
                                      .frozen_bias = true});
    in.args.queries = select_each(in.args.keys, 0);
    in.leaves[0] = in.leaves[0].detach().index_select(0, numbers_of_each(in.args.keys, 0)).requires_grad_(true);
    EXPECT_TRUE(position_support(in.args).efficient);
    EXPECT_LT(worst_error(outcome(attention_dense_on_cpu, in), outcome(attention_reference, in)), 1e-12);
  }
}

/// What hides keys, and the bias, in types that end early.
TEST(AttentionDense, OtherTypes) {
  for (const auto& [type, tolerance] : {std::pair{at::kFloat, 1e-5}, {at::kBFloat16, 5e-2}, {at::kHalf, 1e-2}}) {
    for (const int64_t buckets : {0, 8}) {
      const AttentionInputs in = make_inputs(
          {.lengths = {7, 1, 33}, .groups = 2, .prefix = 4, .amplitude = 4.0, .buckets = buckets, .frozen_bias = true},
          type);
      EXPECT_LT(worst_error(outcome(attention_dense_on_cpu, in), outcome(attention_reference, in.widened())), tolerance)
          << c10::toString(type);
    }
  }
}

/// Cross attention: other keys than queries, a sequence without keys among them. Large logits do not let hidden keys through.
TEST(AttentionDense, OtherKeys) {
  for (const double amplitude : {1.0, 200.0}) {
    for (const int64_t prefix : {0, 3}) {
      AttentionInputs in = make_inputs({.lengths = {5, 9, 3}, .groups = 2, .prefix = prefix, .amplitude = amplitude});
      in.args.keys = spread({4, 0, 13}, 1);
      EXPECT_LT(worst_error(outcome(attention_dense_on_cpu, in), outcome(attention_reference, in)), 1e-12);
    }
  }
}

TEST(AttentionDense, PaddedLogSumExpsComeBack) {
  const Batch rows = make_batch({3, 0, 5, 1, 0});
  const at::Tensor lse = random_tensor(1, {2, 9});
  for (const int64_t place : {0, 2}) {
    const at::Tensor padded = lse_to_padded(lse, rows, 8, place);
    ASSERT_EQ(padded.sizes(), (std::vector<int64_t>{5, 2, 8}));
    for (int64_t b = 0; b < 5; ++b) {
      for (int64_t h = 0; h < 2; ++h) {
        for (int64_t i = 0; i < 8; ++i) {
          const auto found = padded[b][h][i].item<double>();
          if (i >= place && i - place < rows->length(b)) {
            EXPECT_EQ(found, lse[h][rows->begin(b) + i - place].item<double>());
          } else {
            EXPECT_EQ(found, std::numeric_limits<double>::infinity());
          }
        }
      }
    }
    EXPECT_TRUE(same_values(lse_of_padded(padded, rows, place), lse));
  }
}

}  // namespace
}  // namespace peft
