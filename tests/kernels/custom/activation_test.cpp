/// The bindings of bias_activation and gated_activation against their formulas in float64.

#include "src/kernels/custom/activation.h"

#include "peft/base/error.h"
#include "tests/kernels/custom/close.h"

namespace peft {
namespace {

using cuda::Activation;

const DropoutContext kTraining{.training = true, .seeds = {7, 8, 9}, .steps = {1, 2, 3}};
const DropoutSite kSite{&kTraining, "layer.1.feed_forward", {0.3, 0.0, 0.1}};

constexpr int64_t kShapes[][2] = {{1, 8}, {5, 136}, {4, 1024}, {3, 1160}, {1, 3072}};

Batch batch_of(int64_t rows) { return make_batch({rows / 2, 0, rows - rows / 2}, {0, 0, 2}, 3, kernel_device()); }

at::Tensor in_double(Activation act, const at::Tensor& x) {
  if (act == Activation::relu) return at::relu(x);
  if (act == Activation::silu) return at::silu(x);
  return at::gelu(x, act == Activation::gelu ? "none" : "tanh");
}

at::Tensor keep_of(const at::Tensor& like, bool dropped, const Batch& rows) {
  const at::Tensor ones = at::ones(like.sizes(), wide(like).options());
  return dropped ? dropout(ones, kSite, rows) : ones;
}

std::string name(at::ScalarType type, Activation act, const at::Tensor& x) {
  return fmt::format("{}, activation {}, {} x {}", c10::toString(type), static_cast<int>(act), x.size(0), x.size(1));
}

TEST(CustomBiasActivation, EqualsFloat64) {
  int how = 0;
  for (const at::ScalarType type : kElements) {
    for (const Activation act : {Activation::gelu, Activation::gelu_tanh, Activation::relu, Activation::silu}) {
      for (const auto& [rows, columns] : kShapes) {
        const bool biased = ++how % 3 != 0, dropped = how % 2 == 0;
        const at::Tensor x = leaf(rounded(1, {rows, columns}, type)), dy = rounded(2, {rows, columns}, type),
                         bias = biased ? rounded(3, {columns}, type, 0.5) : at::Tensor();
        SCOPED_TRACE(name(type, act, x));
        const Batch batch = batch_of(rows);
        const at::Tensor found = custom::bias_activation(x, bias, act, dropped ? kSite : DropoutSite{}, batch);
        const at::Tensor wide_x = leaf(wide(x)),
                         expected = in_double(act, biased ? wide_x + wide(bias) : wide_x) * keep_of(x, dropped, batch);
        ASSERT_EQ(found.scalar_type(), type);
        expect_output(found, expected.detach());
        expect_gradient(torch::autograd::grad({found}, {x}, {dy})[0],
                        torch::autograd::grad({expected}, {wide_x}, {wide(dy)})[0]);
      }
    }
  }
}

TEST(CustomGatedActivation, EqualsFloat64OnHalvesOfOneProjection) {
  int how = 0;
  for (const at::ScalarType type : kElements) {
    for (const Activation act : {Activation::gelu, Activation::gelu_tanh, Activation::silu}) {
      for (const auto& [rows, columns] : kShapes) {
        const bool dropped = ++how % 2 == 0;
        const at::Tensor projection = leaf(rounded(1, {rows, 2 * columns}, type)),
                         dout = rounded(2, {rows, columns}, type), before = projection.detach().clone();
        SCOPED_TRACE(name(type, act, dout));
        const Batch batch = batch_of(rows);
        const auto halves = projection.chunk(2, 1);
        const at::Tensor found =
            custom::gated_activation(halves[0], halves[1], act, dropped ? kSite : DropoutSite{}, batch);
        const at::Tensor wide_projection = leaf(wide(projection));
        const auto wide_halves = wide_projection.chunk(2, 1);
        const at::Tensor expected = in_double(act, wide_halves[0]) * wide_halves[1] * keep_of(dout, dropped, batch);
        ASSERT_EQ(found.scalar_type(), type);
        expect_output(found, expected.detach());
        const auto gradient = [&] { return torch::autograd::grad({found}, {projection}, {dout}, true)[0]; };
        const at::Tensor first = gradient();
        expect_gradient(first, torch::autograd::grad({expected}, {wide_projection}, {wide(dout)})[0]);
        EXPECT_TRUE(same_values(projection, before));  // the kernel writes over its inputs
        EXPECT_TRUE(same_values(gradient(), first));
      }
    }
  }
}

/// Where the output is dropped, so is the gradient: nothing else makes either of them 0.
TEST(CustomActivation, MasksAreThoseOfDropout) {
  const Batch whole = make_batch({9, 4, 7}, {0, 1, 2}, 3, kernel_device());
  for (const Batch& rows : {whole, select_each(whole, 3)}) {
    const at::Tensor ones = rounded(1, {rows->rows(), 1096}, at::kFloat, 0.0, 1.0), mask = dropout(ones, kSite, rows),
                     x = leaf(ones), gate = leaf(3.0 * ones), up = leaf(ones);
    EXPECT_GT((mask == 0).sum().item<int64_t>(), mask.numel() / 40);
    const at::Tensor y = custom::bias_activation(x, {}, Activation::relu, kSite, rows);
    EXPECT_TRUE(same_values(y, mask));
    EXPECT_TRUE(same_values(torch::autograd::grad({y}, {x}, {ones})[0], mask));
    const at::Tensor out = custom::gated_activation(gate, up, Activation::silu, kSite, rows);
    EXPECT_TRUE(same_values(out == 0, mask == 0));
    for (const at::Tensor& d : torch::autograd::grad({out}, {gate, up}, {ones}))
      EXPECT_TRUE(same_values(d == 0, mask == 0));
  }
}

TEST(CustomActivation, UnalignedRowsAreCopied) {
  for (const at::ScalarType type : kElements) {
    const at::Tensor x = rounded(1, {4, 72}, type), other = rounded(2, {4, 72}, type), dy = rounded(3, {4, 72}, type);
    const auto outcome_of = [](const at::Tensor& a, const at::Tensor& b, const at::Tensor& g) {
      const at::Tensor its_a = leaf(a), its_b = leaf(b), its_x = leaf(a);
      const at::Tensor y = custom::bias_activation(its_x, b[0], Activation::gelu),
                       out = custom::gated_activation(its_a, its_b, Activation::silu);
      auto all = torch::autograd::grad({y, out}, {its_x, its_a, its_b}, {g, g});
      all.insert(all.end(), {y, out});
      return all;
    };
    const auto expected = outcome_of(x, other, dy), found = outcome_of(unaligned(x), unaligned(other), unaligned(dy)),
               mixed = outcome_of(x, unaligned(other), dy);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(same_values(found[i], expected[i])) << i;
      EXPECT_TRUE(same_values(mixed[i], expected[i])) << i;
    }
  }
}

TEST(CustomActivation, WhatTheyDoNotServeIsAnError) {
  const at::Tensor x = rounded(1, {4, 16}, at::kFloat), narrow = rounded(1, {4, 12}, at::kFloat);
  EXPECT_THROW(custom::bias_activation(narrow, {}, Activation::gelu), Error);
  EXPECT_THROW(custom::bias_activation(wide(x), {}, Activation::gelu), Error);
  EXPECT_THROW(custom::bias_activation(x, leaf(x[0]), Activation::gelu), Error);
  EXPECT_THROW(custom::bias_activation(x, x[0].to(at::kHalf), Activation::gelu), Error);
  EXPECT_THROW(custom::bias_activation(x, {}, Activation::gelu, kSite, batch_of(3)), Error);
  EXPECT_THROW(custom::gated_activation(narrow, narrow, Activation::silu), Error);
  EXPECT_THROW(custom::gated_activation(x, x.to(at::kHalf), Activation::silu), Error);
  EXPECT_THROW(custom::gated_activation(x, x, Activation::relu), Error);
}

}  // namespace
}  // namespace peft
