/// ctest -L gpu_slow: many repeats that must agree bit for bit, as a race between threads would not, and sequences of thousands of rows.

#include "peft/kernels/bank_adamw.h"
#include "src/kernels/custom/activation.h"
#include "src/kernels/custom/cross_entropy.h"
#include "src/kernels/custom/embedding.h"
#include "src/kernels/custom/lora.h"
#include "tests/kernels/custom/beside_reference.h"

namespace peft {
namespace {

/// 60 sequences of 1 to 130 rows.
std::vector<int64_t> mixed_lengths() {
  std::vector<int64_t> lengths;
  for (int64_t b = 0; b < 60; ++b) lengths.push_back(1 + b * 37 % 130);
  return lengths;
}

template <class Run>
void expect_repeats(const Run& run) {
  constexpr int kRepeats = 200;
  const std::vector<at::Tensor> first = run();
  for (int i = 1; i < kRepeats; ++i) {
    const std::vector<at::Tensor> again = run();
    for (std::size_t x = 0; x < first.size(); ++x)
      ASSERT_TRUE(same_values(again[x], first[x])) << "run " << i << ", result " << x;
  }
}

const DropoutContext kTraining{.training = true, .seeds = {3, 4, 5}, .steps = {5, 6, 7}};

TEST(SlowAttentionOnGpu, RepeatsBitForBit) {
  std::vector<int64_t> with_a_long_one = mixed_lengths();
  with_a_long_one[30] = 700;
  const std::vector<AttentionCase> cases{
      {.lengths = mixed_lengths(), .adapters = 3, .groups = 2, .width = 64, .prefix = 20, .causal = true},
      {.lengths = mixed_lengths(), .adapters = 3, .width = 128, .prefix = 65},
      {.lengths = with_a_long_one, .adapters = 3, .groups = 2, .width = 64, .prefix = 20},   // ours: prefix_attention
      {.lengths = mixed_lengths(), .adapters = 3, .groups = 2, .width = 256, .prefix = 20},  // ours: kv_assembly
      {.lengths = mixed_lengths(), .adapters = 3, .width = 64, .state = FeatureMap::elu},
      {.lengths = mixed_lengths(),
       .adapters = 3,
       .width = 96,
       .amplitude = 0.5,
       .state = FeatureMap::taylor1,
       .centered = true},
      {.lengths = mixed_lengths(), .width = 32, .buckets = 32, .frozen_bias = true},
      {.lengths = std::vector<int64_t>(60, 128), .width = 64, .prefix = 20, .causal = true}};
  for (const AttentionCase& c : cases) {
    for (const Wish wish : {Wish::flash, Wish::efficient, Wish::packed}) {  // cuDNN's backward does not repeat itself
      for (const bool dropout : {false, true}) {
        if (dropout && wish != Wish::packed) continue;  // they leave it to explicit probabilities
        SCOPED_TRACE(c.name() + ", " + std::string(name_of(wish)) + (dropout ? ", dropout" : ""));
        AttentionInputs in = make_inputs(c, at::kBFloat16, kernel_device());
        in.args.implementation = wish;
        if (dropout) {
          in.args.dropout = {&kTraining, "layer.0.attention",
                             std::vector<double>(static_cast<std::size_t>(c.adapters), 0.1)};
        }
        expect_repeats([&] { return outcome(attention, in); });
      }
    }
  }
}

at::Tensor leaf(uint64_t seed, at::IntArrayRef shape, at::ScalarType type) {
  return random_tensor(seed, shape).to(kernel_device(), type).requires_grad_(true);
}

/// f(leaves) and its gradients.
template <class Function>
void expect_repeats_with_gradients(const std::vector<at::Tensor>& leaves, const Function& f) {
  expect_repeats([&] {
    const at::Tensor y = f();
    std::vector<at::Tensor> all{y};
    for (const at::Tensor& g : gradients(weighted_sum(y), leaves)) all.push_back(g);
    return all;
  });
}

TEST(SlowRowsOnGpu, RepeatBitForBit) {
  constexpr int64_t kColumns = 768;
  const Batch rows = spread(mixed_lengths(), 3, kernel_device());
  const DropoutSite site{&kTraining, "layer.1.output", {0.1, 0.0, 0.3}};
  const at::Tensor x = leaf(1, {rows->rows(), kColumns}, at::kBFloat16),
                   branch = leaf(2, {rows->rows(), kColumns}, at::kBFloat16);
  {
    SCOPED_TRACE("lora_addition");
    const at::Tensor a = leaf(3, {3, kColumns, 8}, at::kFloat), b = leaf(4, {3, 8, kColumns}, at::kFloat),
                     scale = at::tensor({0.5, 1.0, 2.0}).to(kernel_device(), at::kFloat);
    expect_repeats_with_gradients({x, a, b}, [&] { return custom::lora_addition(x, a, b, scale, rows); });
  }
  {
    SCOPED_TRACE("residual_norm");
    expect_repeats_with_gradients({x, branch},
                                  [&] { return custom::residual_norm(x, branch, {}, {}, site, rows).y_TC; });
  }
  {
    SCOPED_TRACE("packed_embedding");
    const auto table = [](uint64_t seed, int64_t count) {
      return random_tensor(seed, {count, kColumns}).to(kernel_device(), at::kBFloat16);
    };
    custom::EmbeddingTables tables{.word_VC = table(5, 100), .position_NC = table(6, 200), .type_UC = {}, .norm = {}};
    tables.norm = custom::FrozenNorm{};
    const at::Tensor prompt = leaf(7, {3, 20, kColumns}, at::kFloat);
    expect_repeats_with_gradients({x, prompt},
                                  [&] { return custom::packed_embedding(tables, {}, {}, prompt, rows, false, x); });
  }
  {
    SCOPED_TRACE("activations");
    expect_repeats_with_gradients({x},
                                  [&] { return custom::bias_activation(x, {}, cuda::Activation::gelu, site, rows); });
    expect_repeats_with_gradients(
        {x, branch}, [&] { return custom::gated_activation(x, branch, cuda::Activation::silu, site, rows); });
  }
  {
    SCOPED_TRACE("row_dropout");
    expect_repeats_with_gradients({x}, [&] { return custom::row_dropout(x, site, rows); });
  }
  {
    SCOPED_TRACE("small_xent");
    const at::Tensor labels = at::arange(rows->rows(), x.options().dtype(at::kLong)).remainder(kColumns);
    expect_repeats_with_gradients({x}, [&] { return custom::small_xent(x, {}, {}, labels, {}); });
  }
}

TEST(SlowAdamWOnGpu, RepeatsBitForBit) {
  const at::Tensor start = leaf(1, {3, 70000}, at::kFloat).detach(), g = leaf(2, {3, 70000}, at::kFloat).detach();
  expect_repeats([&] {
    const at::Tensor value = start.clone().requires_grad_(true);
    BankAdamW adam({{value, std::vector<float>(3, 1e-3F), std::vector<float>(3, 0.01F)}},
                   std::vector<BankAdamW::Hyperparameters>(3, {.lr_scheduler_type = "constant", .max_grad_norm = 1.0}));
    for (int step = 0; step < 3; ++step) {
      (value * g).sum().backward();
      adam.step();
    }
    return std::vector<at::Tensor>{value.detach(), adam.exp_avg(0), adam.exp_avg_sq(0)};
  });
}

TEST(SlowAttentionOnGpu, LongSequences) {
  for (const bool causal : {false, true}) {
    for (const Wish wish : {Wish::flash, Wish::cudnn, Wish::efficient, Wish::packed}) {
      for (const AttentionCase& c :
           {AttentionCase{.lengths = {2048, 2048}, .heads = 2, .groups = 1, .width = 128, .prefix = 512},
            AttentionCase{.lengths = {4096, 1, 700}, .heads = 2, .groups = 2, .width = 64, .prefix = 20},
            AttentionCase{.lengths = {4096, 1, 700}, .heads = 2, .groups = 2, .width = 64, .state = FeatureMap::elu},
            AttentionCase{
                .lengths = {2048, 700}, .heads = 2, .groups = 2, .width = 64, .buckets = 32, .frozen_bias = true}}) {
        AttentionCase of = c;
        of.causal = causal;
        expect_equals_reference(of, at::kBFloat16, wish);
      }
    }
  }
}

}  // namespace
}  // namespace peft
