/// ctest -L gpu_slow: many repeats that must agree bit for bit, as a race between threads would not, and sequences of thousands of rows.

#include "src/kernels/own/lora.h"
#include "tests/kernels/own/beside_reference.h"

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

TEST(SlowAttentionOnGpu, RepeatsBitForBit) {
  const std::vector<AttentionCase> cases{
      {.lengths = mixed_lengths(), .adapters = 3, .groups = 2, .width = 64, .prefix = 20, .causal = true},
      {.lengths = mixed_lengths(), .adapters = 3, .width = 128, .prefix = 65},
      {.lengths = mixed_lengths(), .adapters = 3, .width = 64, .state = FeatureMap::elu},
      {.lengths = mixed_lengths(), .width = 32, .buckets = 32, .frozen_bias = true},
      {.lengths = std::vector<int64_t>(60, 128), .width = 64, .prefix = 20, .causal = true}};
  const DropoutContext context{.training = true, .seeds = {3, 4, 5}, .steps = {5, 6, 7}};
  for (const AttentionCase& c : cases) {
    for (const Wish wish : {Wish::flash, Wish::efficient, Wish::own}) {  // cuDNN's backward does not repeat itself
      for (const bool dropout : {false, true}) {
        if (dropout && wish != Wish::own) continue;  // they leave it to explicit probabilities
        SCOPED_TRACE(c.name() + ", " + std::string(name_of(wish)) + (dropout ? ", dropout" : ""));
        AttentionInputs in = make_inputs(c, at::kBFloat16, kernel_device());
        in.args.implementation = wish;
        if (dropout) {
          in.args.dropout = {&context, "layer.0.attention",
                             std::vector<double>(static_cast<std::size_t>(c.adapters), 0.1)};
        }
        expect_repeats([&] { return outcome(attention, in); });
      }
    }
  }
}

TEST(SlowLoraOnGpu, RepeatsBitForBit) {
  const Batch rows = spread(mixed_lengths(), 3, kernel_device());
  const auto leaf = [&](uint64_t seed, at::IntArrayRef shape, at::ScalarType type) {
    return random_tensor(seed, shape).to(kernel_device(), type).requires_grad_(true);
  };
  const std::vector<at::Tensor> leaves{leaf(1, {rows->rows(), 768}, at::kBFloat16), leaf(2, {3, 768, 8}, at::kFloat),
                                       leaf(3, {3, 8, 768}, at::kFloat)};
  const at::Tensor scale = at::tensor({0.5, 1.0, 2.0}).to(kernel_device(), at::kFloat);
  expect_repeats([&] {
    const at::Tensor y = own::lora_addition(leaves[0], leaves[1], leaves[2], scale, rows);
    std::vector<at::Tensor> all{y};
    for (const at::Tensor& g : gradients(weighted_sum(y), leaves)) all.push_back(g);
    return all;
  });
}

TEST(SlowAttentionOnGpu, LongSequences) {
  for (const bool causal : {false, true}) {
    for (const Wish wish : {Wish::flash, Wish::cudnn, Wish::efficient, Wish::own}) {
      for (const AttentionCase& c :
           {AttentionCase{.lengths = {2048, 2048}, .heads = 2, .groups = 1, .width = 128, .prefix = 512},
            AttentionCase{.lengths = {4096, 1, 700}, .heads = 2, .groups = 2, .width = 64, .prefix = 20},
            AttentionCase{.lengths = {4096, 1, 700}, .heads = 2, .groups = 2, .width = 64, .state = FeatureMap::elu},
            AttentionCase{
                .lengths = {2048, 700}, .heads = 2, .groups = 2, .width = 64, .buckets = 32, .frozen_bias = true}}) {
        AttentionCase of = c;
        of.causal = causal;
        expect_equals_reference(of, at::kBFloat16, wish, 6e-3);
      }
    }
  }
}

}  // namespace
}  // namespace peft
