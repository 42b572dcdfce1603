/// The attention of the CPU, whatever it is asked for at once: against finite differences, and bit for bit on any number of threads.

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/kernels/attention_case.h"

namespace peft {
namespace {

const DropoutContext kTraining{.training = true, .seeds = {3, 4}, .steps = {5, 6}};

/// Bit i of `choice` says whether the call has the i-th of: grouped heads, a causal mask, a window, a bias, dropout, other queries.
AttentionInputs combination(int choice, const AttentionCase& start, at::ScalarType type) {
  AttentionCase c = start;
  const auto has = [&](int bit) { return (choice >> bit & 1) != 0; };
  c.groups = has(0) ? 1 : c.heads;
  c.causal = has(1);
  c.window = has(2) ? 3 : 0;
  c.buckets = has(3) ? 4 : 0;
  AttentionInputs in = make_inputs(c, type);
  if (has(4)) in.args.dropout = {&kTraining, "layer.0.attention", {0.3, 0.1}};
  if (has(5)) {
    const std::vector<int64_t> rows{0, 2, in.args.keys->rows() - 1};
    in.leaves[0] = in.leaves[0].detach().index_select(0, at::tensor(rows)).requires_grad_(true);
    in.args.queries = in.args.keys->select(rows);
  }
  return in;
}

TEST(AttentionCombinations, Gradcheck) {
  for (const AttentionCase& source : {AttentionCase{.lengths = {}}, AttentionCase{.lengths = {}, .prefix = 2},
                                      AttentionCase{.lengths = {}, .prefix = 2, .per_sequence = true},
                                      AttentionCase{.lengths = {}, .prefix = 2, .covers_prefix = true},
                                      AttentionCase{.lengths = {}, .state = FeatureMap::elu}}) {
    for (int choice = 0; choice < 64; ++choice) {
      AttentionCase c = source;
      c.lengths = {3, 1, 2};
      c.adapters = 2;
      c.heads = 2;
      c.width = 3;
      const AttentionInputs in = combination(choice, c, at::kDouble);
      const auto loss = [&] { return weighted_sum(attention(in.leaves[0], in.leaves[1], in.leaves[2], in.args)); };
      EXPECT_LT(gradient_error(loss, in.leaves), kGradcheckTolerance) << choice << ", " << c.name();
    }
  }
}

TEST(AttentionCombinations, ThreadsChangeNoBit) {
  const int threads = at::get_num_threads();
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (int choice = 0; choice < 64; ++choice) {
      const AttentionInputs in = combination(
          choice, {.lengths = {40, 3, 0, 130, 17, 60}, .adapters = 2, .heads = 4, .width = 24, .prefix = 7}, type);
      at::set_num_threads(1);
      const auto alone = outcome(attention, in);
      for (const int count : {2, 3, 8}) {
        at::set_num_threads(count);
        const auto found = outcome(attention, in);
        for (std::size_t i = 0; i < alone.size(); ++i)
          EXPECT_TRUE(same_values(found[i], alone[i]))
              << "choice " << choice << ", output " << i << ", threads " << count;
      }
    }
  }
  at::set_num_threads(threads);
}

}  // namespace
}  // namespace peft
