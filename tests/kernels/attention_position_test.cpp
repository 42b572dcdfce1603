/// Position bias and sliding windows. Buckets are compared with live transformers in tests/oracle/relative_buckets_test.py.

#include <gmock/gmock.h>

#include <fmt/ranges.h>

#include "peft/kernels/rotary.h"
#include "src/kernels/attention/internal.h"
#include "tests/kernels/varlen_on_cpu.h"
#include "tests/support/gradcheck.h"

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
  last.args.queries = select_each(in.args.keys, 5);
  last.leaves[0] = in.leaves[0].detach().index_select(0, numbers_of_each(in.args.keys, 5)).requires_grad_(true);
  EXPECT_LT(worst_error(outcome(attention_varlen_on_cpu, last), outcome(attention_reference, last)), 1e-12);
}

/// The last layer's one query per sequence keeps its position.
TEST(AttentionPosition, OnePickedQueryEqualsThatRowOfAll) {
  const AttentionInputs in = make_inputs({.lengths = {6, 6}, .groups = 2, .prefix = 2, .window = 3, .buckets = 8});
  const at::Tensor all = attention(in.leaves[0], in.leaves[1], in.leaves[2], in.args);
  AttentionArgs picked = in.args;
  picked.queries = select_each(in.args.keys, 4);
  const at::Tensor rows = numbers_of_each(in.args.keys, 4);
  const at::Tensor one = attention(in.leaves[0].index_select(0, rows), in.leaves[1], in.leaves[2], picked);
  EXPECT_LT(relative_error(one, all.index_select(0, rows)), 1e-12);
}

/// Some rows of a causal call, as positions say, whichever they are: one of each sequence, several, the last ones.
TEST(AttentionPosition, CausalQueriesEqualThoseRowsOfAll) {
  for (const bool starts : {false, true}) {
    for (AttentionCase c :
         {AttentionCase{.lengths = {6, 3, 9}, .groups = 2, .causal = true},
          AttentionCase{.lengths = {6, 3, 9}, .groups = 2, .prefix = 2, .causal = true},
          AttentionCase{.lengths = {6, 3, 9}, .groups = 2, .causal = true, .state = FeatureMap::elu},
          AttentionCase{.lengths = {6, 3, 9}, .prefix = 2, .causal = true, .window = 3, .buckets = 8}}) {
      AttentionInputs in = make_inputs(c);
      if (starts) in.args.queries = in.args.keys = in.args.keys->starting_at({4, 0, 7});
      for (const std::vector<int64_t>& numbers :
           {std::vector<int64_t>{0, 7, 9}, {2, 7, 11}, {5, 8, 17}, {1, 3, 8, 9, 16}, {4, 5, 7, 8, 16, 17}, {12}}) {
        SCOPED_TRACE(fmt::format("{} starts {} rows {}", c.name(), starts, fmt::join(numbers, " ")));
        const at::Tensor rows = row_numbers(numbers, *in.args.keys);
        AttentionArgs some = in.args;
        some.queries = in.args.keys->select(numbers);
        const auto of = [&](const at::Tensor& q, const AttentionArgs& args, AttentionRoute route) {
          return route(q, in.leaves[1], in.leaves[2], args);
        };
        for (const AttentionRoute route : {AttentionRoute(attention), AttentionRoute(attention_reference)}) {
          const at::Tensor all = of(in.leaves[0], in.args, route).index_select(0, rows),
                           found = of(in.leaves[0].index_select(0, rows), some, route);
          EXPECT_LT(relative_error(found, all), 1e-12);
          EXPECT_LT(worst_error(gradients(weighted_sum(found), in.leaves), gradients(weighted_sum(all), in.leaves)),
                    1e-12);
        }
        const at::Tensor later = at::arange(in.args.keys->rows());
        AttentionInputs cut = in;  // keys behind the last query change nothing
        cut.leaves[1] = in.leaves[1].detach().clone();
        for (int64_t b = 0; b < 3; ++b) {
          const int64_t n = some.queries->length(b), begin = in.args.keys->begin(b);
          const int64_t seen = n == 0 ? 0 : some.queries->index()[some.queries->begin(b) + n - 1] + 1;
          cut.leaves[1].narrow(0, begin + seen, in.args.keys->length(b) - seen).fill_(1e3);
        }
        EXPECT_TRUE(same_values(attention(in.leaves[0].index_select(0, rows), cut.leaves[1], in.leaves[2], some),
                                attention(in.leaves[0].index_select(0, rows), in.leaves[1], in.leaves[2], some)));
      }
    }
  }
}

TEST(AttentionPosition, AQueryBeforeAllKeysSeesNothing) {
  AttentionInputs in = make_inputs({.lengths = {3, 2}, .groups = 2, .causal = true});
  in.args.keys = in.args.keys->starting_at({7, 0});
  for (const AttentionRoute route :
       {AttentionRoute(attention), AttentionRoute(attention_explicit), AttentionRoute(attention_reference)}) {
    const at::Tensor out = route(in.leaves[0], in.leaves[1], in.leaves[2], in.args);
    EXPECT_EQ(out.narrow(0, 0, 3).abs().max().item<double>(), 0.0);
    EXPECT_GT(out.narrow(0, 3, 2).abs().min().item<double>(), 0.0);
    for (const at::Tensor& g : gradients(weighted_sum(out), {in.leaves[0], in.leaves[1], in.leaves[2]}))
      EXPECT_TRUE(g.isfinite().all().item<bool>());
  }
}

/// A prefix stands in front of the first key, wherever that is.
TEST(AttentionPosition, AStartOfAllMovesNothing) {
  for (const AttentionCase& c : cases()) {
    const AttentionInputs in = make_inputs(c);
    AttentionInputs moved = in;
    moved.args.queries = moved.args.keys =
        in.args.keys->starting_at(std::vector<int64_t>(in.args.keys->sequences(), 11));
    EXPECT_LT(worst_error(outcome(attention, moved), outcome(attention, in)), 1e-12) << c.name();
  }
}

TEST(Rotary, TurnsPlanesByTheirAngles) {
  const at::Tensor x = random_leaf(1, {5, 2, 8}), position = at::tensor({0, 1, 2, 100, 5}, at::kLong);
  for (const int64_t columns : {int64_t{0}, int64_t{8}, int64_t{4}}) {
    const int64_t turned = columns == 0 ? 8 : columns, half = turned / 2;
    at::Tensor expected = x.detach().clone();
    for (int64_t t = 0; t < 5; ++t) {
      for (int64_t j = 0; j < half; ++j) {
        const double angle = position[t].item<double>() * std::pow(500.0, -2.0 * static_cast<double>(j) / turned);
        const at::Tensor a = x.detach()[t].select(1, j), b = x.detach()[t].select(1, j + half);
        expected[t].select(1, j).copy_(a * std::cos(angle) - b * std::sin(angle));
        expected[t].select(1, j + half).copy_(b * std::cos(angle) + a * std::sin(angle));
      }
    }
    const auto turn = [&] { return rotate(x, position, {.base = 500.0, .columns = columns}); };
    EXPECT_LT(relative_error(turn(), expected), 1e-13) << columns;
    EXPECT_LT(gradient_error([&] { return weighted_sum(turn()); }, {x}), kGradcheckTolerance);
  }
}

}  // namespace
}  // namespace peft
