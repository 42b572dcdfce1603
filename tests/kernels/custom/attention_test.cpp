/// Attention with its source by our own kernels: ntk_attention, kv_assembly and prefix_attention behind operators over packed sequences in
/// float64, against the reference in float64.

#include "src/kernels/attention/custom_packed.h"
#include "src/kernels/attention/custom_source.h"
#include "tests/kernels/custom/beside_reference.h"
#include "tests/kernels/dense_on_cpu.h"

namespace peft {
namespace {

/// The operators of varlen_on_cpu.h, or with a bias those of dense_on_cpu.h, in float64 behind tensors of another type; log-sum-exps in
/// float32, as a GPU has them.
const VarlenOps& wide_ops() {
  static const auto ops_of = [](VarlenArgs& a) -> const VarlenOps& {
    if (!a.bias_HS.defined()) return cpu_varlen_ops();
    a.bias_HS = a.bias_HS.to(at::kDouble);
    return cpu_dense_varlen_ops();
  };
  static const VarlenOps ops{
      [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const VarlenArgs& given) {
        VarlenArgs a = given;
        const VarlenOut wide = ops_of(a).forward(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble), a);
        return VarlenOut{wide.out_THD.to(q.scalar_type()), wide.lse_HT.to(at::kFloat)};
      },
      [](const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& out,
         const at::Tensor& lse_HT, const VarlenArgs& given) {
        VarlenArgs a = given;
        auto d = ops_of(a).backward(dout.to(at::kDouble), q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble),
                                    out.to(at::kDouble), lse_HT.to(at::kDouble), a);
        for (at::Tensor& x : d) x = x.to(q.scalar_type());
        return d;
      }};
  return ops;
}

using MakeSource = std::unique_ptr<SourceRoute> (*)(const AttentionArgs&, const at::Tensor&);

template <MakeSource kMake>
at::Tensor custom_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionArgs& args) {
  auto source = kMake(args, q);
  EXPECT_NE(source, nullptr);
  return attention_varlen(q, k, v, args, wide_ops(), std::move(source));
}

double relative_l2(const at::Tensor& found, const at::Tensor& expected) {
  return ((found.to(at::kDouble) - expected).norm() / expected.norm()).item<double>();
}

/// docs/kernels.md#tolerances: relative L2 errors of output and gradients, against the reference on the same numbers in float64, and at
/// most twice those of the stock route in the same type.
void expect_close(AttentionRoute route, const AttentionCase& c, at::ScalarType type) {
  const AttentionInputs in = make_inputs(c, type, kernel_device());
  const auto found = outcome(route, in), expected = outcome(attention_reference, in.widened()),
             stock = outcome(attention, in);
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].scalar_type(), i == 0 ? type : in.leaves[i - 1].scalar_type());
    const double error = relative_l2(found[i], expected[i]), twice = 2.0 * relative_l2(stock[i], expected[i]);
    EXPECT_LE(error, std::min(cap_of(i, c.state.has_value(), type), twice))
        << c.name() << ", " << c10::toString(type) << ", result " << i;
  }
}

TEST(CustomAttention, PrefixMergedByK5) {
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    for (const int64_t width : {32, 64, 80, 96, 128}) {
      expect_close(custom_attention<custom_prefix>,
                   {.lengths = {5, 1, 70}, .heads = 2, .groups = 2, .width = width, .prefix = 3}, type);
    }
    expect_close(custom_attention<custom_prefix>,
                 {.lengths = {5, 1, 3, 20, 2}, .adapters = 3, .heads = 4, .groups = 2, .width = 32, .prefix = 70},
                 type);
    expect_close(custom_attention<custom_prefix>,
                 {.lengths = {4, 9, 2}, .adapters = 2, .groups = 4, .width = 32, .prefix = 5, .causal = true}, type);
    expect_close(custom_attention<custom_prefix>,
                 {.lengths = {4, 9, 2}, .adapters = 2, .groups = 1, .width = 64, .prefix = 5, .per_sequence = true},
                 type);
  }
}

TEST(CustomAttention, PrefixInFrontByK2) {
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf, at::kFloat}) {
    expect_close(custom_attention<custom_assembly>,
                 {.lengths = {5, 1, 3, 20, 2}, .adapters = 3, .heads = 4, .groups = 2, .width = 256, .prefix = 7},
                 type);
    expect_close(custom_attention<custom_assembly>,
                 {.lengths = {4, 9, 2}, .adapters = 2, .groups = 4, .width = 8, .prefix = 5, .causal = true}, type);
    expect_close(custom_attention<custom_assembly>,
                 {.lengths = {4, 9, 2}, .adapters = 2, .groups = 1, .width = 24, .prefix = 5, .per_sequence = true},
                 type);
    expect_close(custom_attention<custom_assembly>,
                 {.lengths = {4, 9, 2}, .groups = 2, .width = 32, .prefix = 5, .causal = true, .window = 6}, type);
  }
}

/// Behind an operator of dense batches that has a position bias.
TEST(CustomAttention, SourcesBesideABias) {
  for (const bool causal : {false, true}) {
    const AttentionCase c{.lengths = {5, 1, 40},
                          .heads = 2,
                          .groups = 2,
                          .width = 32,
                          .prefix = 3,
                          .causal = causal,
                          .buckets = 8,
                          .frozen_bias = true};
    AttentionCase covered = c, state = c;
    covered.covers_prefix = true;
    state.prefix = 0;
    state.state = FeatureMap::elu;
    for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
      expect_close(custom_attention<custom_prefix>, c, type);
      expect_close(custom_attention<custom_assembly>, c, type);
      expect_close(custom_attention<custom_assembly>, covered, type);
      expect_close(custom_attention<custom_state>, state, type);
    }
  }
}

TEST(CustomAttention, StateMergedByK1) {
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    for (const int64_t width : {32, 64, 80, 96, 128}) {
      expect_close(custom_attention<custom_state>,
                   {.lengths = {5, 1, 130}, .heads = 4, .groups = 2, .width = width, .state = FeatureMap::elu}, type);
    }
    for (const FeatureMap map : {FeatureMap::elu, FeatureMap::taylor1}) {
      for (const bool centered : {false, true}) {
        expect_close(custom_attention<custom_state>,
                     {.lengths = {5, 1, 3, 20, 2},
                      .adapters = 3,
                      .heads = 4,
                      .groups = 2,
                      .width = 32,
                      .causal = !centered,
                      .amplitude = 0.5,
                      .state = map,
                      .centered = centered,
                      .shared_state = centered},
                     type);
      }
    }
  }
}

TEST(CustomAttention, OnePassByK5) {
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    for (const int64_t width : {32, 64, 80, 96, 128}) {
      expect_close(attention_packed, {.lengths = {5, 1, 70}, .heads = 2, .groups = 2, .width = width, .prefix = 3},
                   type);
    }
    expect_close(attention_packed,
                 {.lengths = {5, 1, 3, 20, 2}, .adapters = 3, .heads = 4, .groups = 2, .width = 32, .prefix = 70},
                 type);
    expect_close(attention_packed,
                 {.lengths = {4, 9, 2},
                  .adapters = 2,
                  .groups = 1,
                  .width = 64,
                  .prefix = 5,
                  .causal = true,
                  .per_sequence = true},
                 type);
    expect_close(attention_packed, {.lengths = {40, 9}, .groups = 2, .width = 32, .causal = true}, type);
  }
}

/// What expect_close does of the values, and without a stock route to compare with.
TEST(CustomAttention, OnePassWithPositions) {
  for (const bool causal : {false, true}) {
    std::vector<AttentionCase> cases{
        {.lengths = {40, 1, 9}, .heads = 2, .groups = 2, .width = 32, .prefix = 4, .causal = causal, .buckets = 8},
        {.lengths = {40, 70}, .heads = 2, .groups = 1, .width = 64, .causal = causal, .window = 11, .buckets = 32},
        {.lengths = {70}, .heads = 2, .groups = 1, .width = 32, .causal = causal, .window = 3}};
    for (AttentionCase& c : cases) {
      c.frozen_bias = true;
      const AttentionInputs in = make_inputs(c, at::kBFloat16, kernel_device());
      const auto found = outcome(attention_packed, in), expected = outcome(attention_reference, in.widened());
      for (std::size_t i = 0; i < found.size(); ++i)
        EXPECT_LE(relative_l2(found[i], expected[i]), cap_of(i, false, at::kBFloat16)) << c.name() << ", result " << i;
    }
  }
}

/// The masks of the reference, bit for bit: with others nothing would be close.
TEST(CustomAttention, OnePassWithDropout) {
  const DropoutContext context{.training = true, .seeds = {3, 4}, .steps = {5, 6}};
  for (const int64_t prefix : {0, 5}) {
    AttentionInputs in =
        make_inputs({.lengths = {40, 1, 9, 70}, .adapters = 2, .groups = 2, .width = 32, .prefix = prefix},
                    at::kBFloat16, kernel_device());
    in.args.dropout = {&context, "layer.0.attention", {0.4, 0.1}};
    const auto found = outcome(attention_packed, in), expected = outcome(attention_reference, in.widened());
    for (std::size_t i = 0; i < found.size(); ++i)
      EXPECT_LE(relative_l2(found[i], expected[i]), cap_of(i, false, at::kBFloat16)) << i;
  }
}

/// ntk_attention merges the state behind packed_attention, which knows masks and a bias; features dropped out are merged by plain
/// operations.
TEST(CustomAttention, OnePassBesideAState) {
  const DropoutContext context{.training = true, .seeds = {3, 4}, .steps = {5, 6}};
  for (const FeatureMap map : {FeatureMap::elu, FeatureMap::taylor1, FeatureMap::taylor2}) {
    for (const bool dropout : {false, true}) {
      AttentionInputs in = make_inputs({.lengths = {40, 1, 9, 70},
                                        .adapters = 2,
                                        .groups = 2,
                                        .width = 32,
                                        .causal = dropout,
                                        .amplitude = 0.5,
                                        .state = map,
                                        .centered = true,
                                        .buckets = 8,
                                        .frozen_bias = true},
                                       at::kBFloat16, kernel_device());
      if (dropout) in.args.dropout = {&context, "layer.0.attention", {0.4, 0.1}};
      if (dropout && map == FeatureMap::elu) in.args.state.dropout = {&context, "layer.0.features", {0.2, 0.3}};
      const auto found = outcome(attention_packed, in), expected = outcome(attention_reference, in.widened());
      for (std::size_t i = 0; i < found.size(); ++i) {
        EXPECT_LE(relative_l2(found[i], expected[i]), cap_of(i, true, at::kBFloat16))
            << "map " << static_cast<int>(map) << ", dropout " << dropout << ", result " << i;
      }
    }
  }
}

/// Two batches, as cross attention and a pruned last layer have them.
TEST(CustomAttention, OnePassOverOtherKeys) {
  AttentionInputs in = make_inputs({.lengths = {30, 4, 66}, .heads = 2, .groups = 2, .width = 32, .prefix = 3},
                                   at::kHalf, kernel_device());
  in.args.queries = select_each(in.args.keys, 0);
  in.leaves[0] = in.leaves[0].detach().index_select(0, numbers_of_each(in.args.keys, 0)).requires_grad_(true);
  const auto found = outcome(attention_packed, in), expected = outcome(attention_reference, in.widened());
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_LE(relative_l2(found[i], expected[i]), cap_of(i, false, at::kBFloat16)) << i;
}

/// Slices of one fused projection, as a model has them.
TEST(CustomAttention, SlicesOfAFusedProjection) {
  AttentionInputs in = make_inputs({.lengths = {5, 30, 3}, .heads = 2, .groups = 2, .width = 32, .prefix = 4},
                                   at::kBFloat16, kernel_device());
  const auto whole = outcome(custom_attention<custom_prefix>, in);
  const at::Tensor fused =
      at::cat({in.leaves[0].flatten(1), in.leaves[1].flatten(1), in.leaves[2].flatten(1)}, 1).detach();
  for (int i = 0; i < 3; ++i) {
    in.leaves[i] = fused.narrow(1, 64 * i, 64).unflatten(1, {2, 32}).detach().requires_grad_(true);
    ASSERT_FALSE(in.leaves[i].is_contiguous());
  }
  const auto slices = outcome(custom_attention<custom_prefix>, in);
  for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_TRUE(same_values(slices[i], whole[i])) << i;
}

/// Rows one element off what 16-byte accesses need are copied, not misread.
TEST(CustomAttention, UnalignedRows) {
  AttentionInputs in = make_inputs({.lengths = {5, 30}, .heads = 2, .groups = 2, .width = 32, .state = FeatureMap::elu},
                                   at::kHalf, kernel_device());
  const auto whole = outcome(custom_attention<custom_state>, in);
  at::Tensor wider = at::zeros({35, 2, 33}, in.leaves[0].options().requires_grad(false));
  wider.narrow(2, 1, 32).copy_(in.leaves[0].detach());
  in.leaves[0] = wider.narrow(2, 1, 32).requires_grad_(true);
  const auto found = outcome(custom_attention<custom_state>, in);
  for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_TRUE(same_values(found[i], whole[i])) << i;
}

TEST(CustomAttention, WhichKernelServes) {
  const auto q = [](at::ScalarType type, int64_t width) {
    return at::zeros({35, 4, width}, at::TensorOptions(kernel_device()).dtype(type));
  };
  const auto inputs = [](const AttentionCase& c) { return make_inputs(c, at::kFloat, kernel_device()); };
  const AttentionInputs prefix = inputs({.lengths = {5, 30}, .width = 64, .prefix = 2}),
                        none = inputs({.lengths = {5, 30}, .width = 64});
  AttentionInputs state = inputs({.lengths = {5, 30}, .width = 64, .state = FeatureMap::taylor1});
  EXPECT_EQ(custom_source(none.args, q(at::kHalf, 64)), nullptr);
  EXPECT_NE(custom_prefix(prefix.args, q(at::kHalf, 64)), nullptr);
  AttentionInputs windowed = prefix;  // its prefix is seen by all
  windowed.args.window = 3;
  EXPECT_EQ(custom_prefix(windowed.args, q(at::kHalf, 64)), nullptr);
  for (const bool covers_prefix : {false, true}) {
    const AttentionInputs biased = inputs({.lengths = {5, 30},
                                           .width = 64,
                                           .prefix = 2,
                                           .buckets = 8,
                                           .covers_prefix = covers_prefix,
                                           .frozen_bias = true});
    EXPECT_EQ(custom_prefix(biased.args, q(at::kHalf, 64)) == nullptr, covers_prefix);
    EXPECT_NE(custom_assembly(biased.args, q(at::kHalf, 64)), nullptr);
  }
  for (const auto& other : {q(at::kFloat, 64), q(at::kHalf, 256)}) {
    EXPECT_EQ(custom_prefix(prefix.args, other), nullptr);
    EXPECT_NE(custom_assembly(prefix.args, other), nullptr);
    EXPECT_EQ(custom_state(state.args, other), nullptr);
    EXPECT_NE(custom_source(state.args, other), nullptr);  // the stock one
  }
  EXPECT_EQ(custom_assembly(prefix.args, q(at::kFloat, 12)), nullptr);
  EXPECT_NE(custom_state(state.args, q(at::kBFloat16, 64)), nullptr);
  GatedRows gated;
  state.args.state.gated = &gated;  // ntk_attention does not count the rows it switches off
  EXPECT_EQ(custom_state(state.args, q(at::kBFloat16, 64)), nullptr);
  state.args.state.map = FeatureMap::taylor2;
  state.args.state.gated = nullptr;
  EXPECT_EQ(custom_state(state.args, q(at::kBFloat16, 64)), nullptr);
}

}  // namespace
}  // namespace peft
