/// grouped_matmul behind lora_addition, against the formula in float64 on the same rounded numbers.

#include "src/kernels/custom/lora.h"

#include <gtest/gtest.h>

#include <random>

#include "peft/base/error.h"
#include "peft/kernels/grouped_matmul.h"
#include "peft/kernels/low_rank.h"
#include "tests/kernels/custom/device.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

namespace peft {
namespace {

struct LoraCase {
  std::vector<int64_t> lengths, adapter;
  int64_t adapters = 1, in = 8, out = 8, rank = 1;

  std::string name() const {
    std::string sequences;
    for (std::size_t b = 0; b < lengths.size(); ++b)
      sequences += std::to_string(lengths[b]) + " of " + std::to_string(adapter[b]) + ", ";
    return sequences + "K " + std::to_string(adapters) + ", C " + std::to_string(in) + ", O " + std::to_string(out) +
           ", R " + std::to_string(rank);
  }

  /// Adapters without a sequence, with one row, and with several work items of a kernel.
  static LoraCase random(uint64_t seed) {
    std::mt19937_64 numbers(seed);
    const auto up_to = [&](uint64_t most) { return static_cast<int64_t>(1 + numbers() % most); };
    LoraCase c{.lengths = {},
               .adapter = {},
               .adapters = up_to(4),
               .in = 8 * up_to(20),
               .out = 8 * up_to(20),
               .rank = up_to(seed % 4 == 0 ? 128 : 20)};
    for (int64_t k = 0; k < c.adapters; ++k) {
      const auto kind = numbers() % 4;
      if (kind == 0 && c.adapters > 1) continue;
      for (int64_t b = kind == 1 ? 1 : up_to(4); b > 0; --b) {
        c.lengths.push_back(kind == 1 ? 1 : kind == 2 ? up_to(9) - 1 : up_to(90));
        c.adapter.push_back(k);
      }
    }
    return c;
  }
};

/// Leaves of the kernel on its device (A and B as methods hold them, in float32) and the same numbers in float64 on the CPU.
struct LoraInputs {
  LoraInputs(const LoraCase& c, at::ScalarType type) : host_rows(make_batch(c.lengths, c.adapter, c.adapters)) {
    rows = make_batch(c.lengths, c.adapter, c.adapters, kernel_device());
    const auto add = [&](uint64_t seed, at::IntArrayRef shape, double scale, bool parameter) {
      const at::Tensor rounded = random_tensor(seed, shape, scale).to(type);
      wide.push_back(rounded.to(at::kDouble).requires_grad_(true));
      leaves.push_back(rounded.to(kernel_device(), parameter ? at::kFloat : type, false, true).requires_grad_(true));
    };
    add(1, {rows->rows(), c.in}, 1.0, false);
    add(2, {c.adapters, c.in, c.rank}, 1.0 / std::sqrt(static_cast<double>(c.in)), true);
    add(3, {c.adapters, c.rank, c.out}, 1.0, true);
    wide_dy = random_tensor(4, {rows->rows(), c.out}).to(type).to(at::kDouble);
    dy = wide_dy.to(kernel_device(), type);
    for (int64_t k = 0; k < c.adapters; ++k) scales.push_back(0.5 + static_cast<double>(k));
    scale_K = at::tensor(scales).to(kernel_device(), at::kFloat);
  }

  /// y, dx, dA, dB.
  std::vector<at::Tensor> found() const {
    const at::Tensor y = custom::lora_addition(leaves[0], leaves[1], leaves[2], scale_K, rows);
    return with_gradients(y, leaves, dy);
  }
  std::vector<at::Tensor> expected() const {
    const at::Tensor low = grouped_matmul(wide[0], wide[1], host_rows->group_rows());
    const at::Tensor y =
        grouped_matmul(low * rows_of_adapters(scales, *host_rows, low), wide[2], host_rows->group_rows());
    return with_gradients(y, wide, wide_dy);
  }
  static std::vector<at::Tensor> with_gradients(const at::Tensor& y, const std::vector<at::Tensor>& leaves,
                                                const at::Tensor& dy) {
    std::vector<at::Tensor> all{y};
    for (const at::Tensor& g : torch::autograd::grad({y}, leaves, {dy})) all.push_back(g);
    return all;
  }

  std::vector<at::Tensor> leaves, wide;  // x, A, B
  at::Tensor dy, wide_dy, scale_K;
  std::vector<double> scales;
  Batch rows, host_rows;
};

void expect_close(const LoraCase& c, at::ScalarType type) {
  SCOPED_TRACE(c.name() + ", " + c10::toString(type));
  const LoraInputs in(c, type);
  const auto found = in.found(), expected = in.expected();
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].scalar_type(), i < 2 ? type : at::kFloat);
    EXPECT_LE(relative_error(found[i].cpu(), expected[i]), type == at::kFloat ? 1e-6 : 4e-3) << "result " << i;
  }
}

class CustomLora : public testing::TestWithParam<at::ScalarType> {};
INSTANTIATE_TEST_SUITE_P(Types, CustomLora, testing::Values(at::kBFloat16, at::kHalf, at::kFloat),
                         [](const auto& test) { return c10::toString(test.param); });

TEST_P(CustomLora, EqualsTheFormulaInDouble) {
  for (uint64_t seed = 1; seed <= 12; ++seed) expect_close(LoraCase::random(seed), GetParam());
  expect_close({.lengths = {1}, .adapter = {0}}, GetParam());
  expect_close({.lengths = {1, 1, 300}, .adapter = {0, 2, 3}, .adapters = 5, .in = 64, .out = 72, .rank = 8},
               GetParam());
}

/// low_rank_addition() with and without our kernel, on the same masks.
TEST_P(CustomLora, ServesTheInterface) {
  const DropoutContext context{.training = true, .seeds = {3, 4, 5}, .steps = {6, 7, 8}};
  const DropoutSite site{&context, "layer.0.query.lora_dropout", {0.25, 0.0, 0.25}};  // exact multipliers
  for (const int64_t out : {40, 12}) {                                                // 12: the plain operations
    const LoraInputs in({.lengths = {30, 2, 41}, .adapter = {0, 1, 2}, .adapters = 3, .in = 72, .out = out, .rank = 5},
                        GetParam());
    const auto results = [&](const std::vector<at::Tensor>& leaves, const at::Tensor& dy, const Batch& rows,
                             bool custom) {
      const LowRankBank bank{leaves[1], leaves[2], in.scales, in.scale_K};
      const at::Tensor y = low_rank_addition(bank, leaves[0], site, rows, {.custom_kernels = custom});
      return LoraInputs::with_gradients(y, leaves, dy.to(y.scalar_type()));
    };
    const auto found = results(in.leaves, in.dy, in.rows, true),
               expected = results(in.wide, in.wide_dy, in.host_rows, false);
    EXPECT_EQ(found[0].scalar_type(), out == 40 ? GetParam() : at::kFloat);
    for (std::size_t i = 0; i < found.size(); ++i)
      EXPECT_LE(relative_error(found[i].cpu(), expected[i]), GetParam() == at::kFloat ? 1e-6 : 6e-3)
          << out << " columns, result " << i;
  }
}

TEST_P(CustomLora, BankIsBitwiseSeparateRuns) {
  const LoraCase c{
      .lengths = {40, 33, 1, 5, 270}, .adapter = {0, 0, 2, 3, 3}, .adapters = 4, .in = 72, .out = 40, .rank = 5};
  const LoraInputs bank(c, GetParam());
  const auto whole = bank.found();
  for (int64_t k = 0; k < c.adapters; ++k) {
    LoraCase alone{.lengths = {}, .adapter = {}, .adapters = 1, .in = c.in, .out = c.out, .rank = c.rank};
    for (std::size_t b = 0; b < c.lengths.size(); ++b) {
      if (c.adapter[b] == k) alone.lengths.push_back(c.lengths[b]);
    }
    alone.adapter.assign(alone.lengths.size(), 0);
    LoraInputs in(alone, GetParam());
    const auto range = [&](const at::Tensor& x) {
      return x.detach().narrow(0, bank.rows->group_rows()[k], in.rows->rows()).clone();
    };
    const auto slice = [&](const at::Tensor& x) { return x.detach().narrow(0, k, 1).clone(); };
    in.leaves = {range(bank.leaves[0]), slice(bank.leaves[1]), slice(bank.leaves[2])};
    for (at::Tensor& leaf : in.leaves) leaf.requires_grad_(true);
    in.dy = range(bank.dy);
    in.scale_K = slice(bank.scale_K);
    const auto separate = in.found();
    for (std::size_t i = 0; i < 4; ++i)
      EXPECT_TRUE(same_values(separate[i], i < 2 ? range(whole[i]) : slice(whole[i]))) << k << ", result " << i;
  }
}

/// Rows of a slice, and rows that 16-byte accesses cannot serve.
TEST_P(CustomLora, StridedRows) {
  LoraInputs in({.lengths = {5, 30}, .adapter = {0, 1}, .adapters = 2, .in = 32, .out = 16, .rank = 3}, GetParam());
  const auto whole = in.found();
  const at::Tensor x = in.leaves[0].detach(), a = in.leaves[1].detach();
  for (const int64_t width : {48, 33}) {
    at::Tensor wider = at::zeros({35, width}, x.options());
    wider.narrow(1, width == 48 ? 8 : 1, 32).copy_(x);
    in.leaves[0] = wider.narrow(1, width == 48 ? 8 : 1, 32).requires_grad_(true);
    in.leaves[1] = a.transpose(1, 2).contiguous().transpose(1, 2).requires_grad_(true);
    const auto found = in.found();
    for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_TRUE(same_values(found[i], whole[i])) << width << ", " << i;
  }
}

TEST(CustomLoraErrors, WhatTheKernelsDoNotServe) {
  const auto run = [](at::ScalarType type, int64_t in, int64_t out, int64_t rank, int64_t adapters) {
    const auto options = at::TensorOptions(kernel_device());
    return custom::lora_addition(at::ones({3, in}, options.dtype(type)), at::ones({adapters, in, rank}, options),
                                 at::ones({adapters, rank, out}, options), at::ones({adapters}, options),
                                 make_batch({3}, {0}, 2, kernel_device()));
  };
  EXPECT_NO_THROW(run(at::kHalf, 8, 16, 128, 2));
  EXPECT_THROW(run(at::kHalf, 8, 16, 129, 2), Error);
  EXPECT_THROW(run(at::kHalf, 12, 16, 2, 2), Error);
  EXPECT_THROW(run(at::kHalf, 8, 12, 2, 2), Error);
  EXPECT_THROW(run(at::kHalf, 8, 16, 2, 1), Error);
  EXPECT_THROW(run(at::kDouble, 8, 16, 2, 2), Error);
}

}  // namespace
}  // namespace peft
