/// Position bias and sliding windows. Buckets are compared with live transformers in tests/oracle/relative_buckets_test.py.

#include <gmock/gmock.h>

#include "src/kernels/attention/internal.h"
#include "tests/kernels/varlen_on_cpu.h"

namespace peft {
namespace {

std::vector<AttentionCase> cases() {
  std::vector<AttentionCase> all;
  for (const bool causal : {false, true}) {
    for (const int64_t prefix : {0, 3, 20}) {
      for (const bool covers : {false, true}) {
        for (const int64_t window : {0, 1, 4, 30}) {
          if (window > 0 && !causal) continue;
          for (const int64_t buckets : {0, 8, 32}) {
            all.push_back({.lengths = {5, 1, 0, 40},
                           .adapters = 2,
                           .groups = 2,
                           .prefix = prefix,
                           .causal = causal,
                           .window = window,
                           .buckets = buckets,
                           .covers_prefix = covers});
          }
        }
      }
    }
  }
  all.push_back({.lengths = {5, 9}, .groups = 2, .causal = true, .state = FeatureMap::elu, .window = 3, .buckets = 8});
  return all;
}

TEST(AttentionPosition, EqualsTheReferenceInFloat64) {
  for (const AttentionCase& c : cases()) {
    SCOPED_TRACE(c.name());
    const AttentionInputs in = make_inputs(c);
    EXPECT_LT(worst_error(outcome(attention, in), outcome(attention_reference, in)), 1e-12);
  }
}

/// The definition, one score at a time.
TEST(AttentionPosition, ReferenceEqualsTheDefinition) {
  for (const AttentionCase& c : cases()) {
    if (c.state) continue;
    SCOPED_TRACE(c.name());
    const AttentionInputs in = make_inputs(c);
    const at::Tensor found = attention_reference(in.leaves[0], in.leaves[1], in.leaves[2], in.args).detach();
    const PackedBatch& rows = *in.args.queries;
    at::Tensor expected = at::zeros_like(found);
    for (int64_t b = 0; b < rows.sequences(); ++b) {
      for (int64_t i = 0; i < rows.length(b); ++i) {
        for (int64_t h = 0; h < c.heads; ++h) {
          const int64_t group = h / (c.heads / c.groups), query = c.prefix + i;
          const at::Tensor q = in.leaves[0].detach()[rows.begin(b) + i][h];
          std::vector<at::Tensor> scores, values;
          for (int64_t position = 0; position < c.prefix + rows.length(b); ++position) {
            const bool front = position < c.prefix;
            if (c.causal && position > query) continue;
            if (c.window > 0 && position <= query - c.window) continue;
            const int64_t row = rows.begin(b) + position - c.prefix;
            const at::Tensor k =
                front ? in.leaves[3].detach()[rows.adapter(b)][position][group] : in.leaves[1].detach()[row][group];
            values.push_back(front ? in.leaves[4].detach()[rows.adapter(b)][position][group]
                                   : in.leaves[2].detach()[row][group]);
            at::Tensor score = at::dot(q, k) * in.args.scale;
            if (c.buckets > 0 && (!front || c.covers_prefix)) {
              const at::Tensor bucket =
                  relative_buckets(at::tensor(position - query, at::kLong), !c.causal, c.buckets, 20);
              score = score + in.leaves.back().detach()[bucket.item<int64_t>()][h];
            }
            scores.push_back(score);
          }
          const at::Tensor p = at::softmax(at::stack(scores), 0);
          expected[rows.begin(b) + i][h] = at::matmul(p, at::stack(values));
        }
      }
    }
    EXPECT_LT(relative_error(found, expected), 1e-12);
  }
}

TEST(AttentionPosition, Gradcheck) {
  for (const bool covers : {false, true}) {
    const AttentionInputs in = make_inputs({.lengths = {3, 1, 5},
                                            .adapters = 2,
                                            .heads = 2,
                                            .groups = 1,
                                            .width = 4,
                                            .prefix = 2,
                                            .causal = true,
                                            .window = 3,
                                            .buckets = 4,
                                            .covers_prefix = covers});
    const auto loss = [&] { return weighted_sum(attention(in.leaves[0], in.leaves[1], in.leaves[2], in.args)); };
    EXPECT_LT(gradient_error(loss, in.leaves), kGradcheckTolerance);
  }
}

/// Around an operator that knows windows, as FlashAttention-2's does: prefix pairs in front count, a state does not.
TEST(AttentionPosition, WindowsOfPackedOperators) {
  for (AttentionCase c : cases()) {
    if (c.window == 0) continue;
    c.buckets = 0;
    SCOPED_TRACE(c.name());
    const AttentionInputs in = make_inputs(c);
    EXPECT_LT(worst_error(outcome(attention_varlen_on_cpu, in), outcome(attention_reference, in)), 1e-12);
  }
  const AttentionInputs in = make_inputs({.lengths = {6, 6}, .groups = 2, .prefix = 2, .window = 3});
  AttentionInputs last = in;  // of a pruned last layer
  last.args.queries = in.args.keys->picked(5);
  last.leaves[0] = in.leaves[0].detach().index_select(0, in.args.keys->picked_rows(5)).requires_grad_(true);
  EXPECT_LT(worst_error(outcome(attention_varlen_on_cpu, last), outcome(attention_reference, last)), 1e-12);
}

/// The last layer's one query per sequence keeps its position.
TEST(AttentionPosition, OnePickedQueryEqualsThatRowOfAll) {
  const AttentionInputs in = make_inputs({.lengths = {6, 6}, .groups = 2, .prefix = 2, .window = 3, .buckets = 8});
  const at::Tensor all = attention(in.leaves[0], in.leaves[1], in.leaves[2], in.args);
  AttentionArgs picked = in.args;
  picked.queries = in.args.keys->picked(4);
  const at::Tensor rows = in.args.keys->picked_rows(4);
  const at::Tensor one = attention(in.leaves[0].index_select(0, rows), in.leaves[1], in.leaves[2], picked);
  EXPECT_LT(relative_error(one, all.index_select(0, rows)), 1e-12);
}

}  // namespace
}  // namespace peft
