/// residual_norm's binding against its formula in float64.

#include "src/kernels/custom/norm.h"

#include <torch/csrc/autograd/function.h>

#include "peft/base/error.h"
#include "tests/kernels/custom/close.h"

namespace peft {
namespace {

const DropoutContext kTraining{.training = true, .seeds = {7, 8, 9}, .steps = {1, 2, 3}};

/// `rows` rows of three adapters, the second without sequences.
Batch batch_of(int64_t rows) { return make_batch({rows / 2, 0, rows - rows / 2}, {0, 0, 2}, 3, kernel_device()); }

at::Tensor norm_in_double(const at::Tensor& s, const custom::FrozenNorm& norm) {
  const at::Tensor centred = norm.kind == cuda::NormKind::layer_norm ? s - s.mean(1, true) : s;
  at::Tensor y = centred / (centred.square().mean(1, true) + norm.eps).sqrt();
  if (norm.weight_C.defined()) y = y * wide(norm.weight_C);
  return norm.bias_C.defined() ? y + wide(norm.bias_C) : y;
}

enum class Used { both, y, sum };

struct NormTestCase {
  int64_t rows, columns;
  cuda::NormKind kind = cuda::NormKind::layer_norm;
  bool weights = true, bias = true, dropout = true;
  Used used = Used::both;
};

void expect_equals_float64(const NormTestCase& c, at::ScalarType type) {
  const std::vector<int64_t> shape{c.rows, c.columns};
  const at::Tensor x = leaf(rounded(1, shape, type, 1.0, 0.5)), branch = leaf(rounded(2, shape, type)),
                   bias = c.bias ? rounded(3, {c.columns}, type) : at::Tensor();
  custom::FrozenNorm norm{.kind = c.kind, .eps = 1e-5};
  if (c.weights) {
    norm.weight_C = rounded(4, {c.columns}, type, 0.3, 1.0);
    norm.bias_C = rounded(5, {c.columns}, type, 0.5);
  }
  const Batch rows = batch_of(c.rows);
  const DropoutSite site{&kTraining, "layer.1.output", {c.dropout ? 0.3 : 0.0, 0.0, c.dropout ? 0.1 : 0.0}};
  const auto found = custom::residual_norm(x, branch, bias, norm, site, rows);
  ASSERT_EQ(found.y_TC.scalar_type(), type);

  const at::Tensor keep = dropout(at::ones(shape, wide(x).options()), site, rows);
  expect_output(found.sum_TC, wide(x) + (wide(branch) + (c.bias ? wide(bias) : at::zeros_like(keep))) * keep);
  const at::Tensor s = leaf(wide(found.sum_TC)), y = norm_in_double(s, norm);  // y is a function of s as stored
  expect_output(found.y_TC, y.detach());

  const at::Tensor dy = rounded(6, shape, type), ds = rounded(7, shape, type);
  std::vector<at::Tensor> outputs, given, expected_outputs, expected_given;
  const auto use = [&](const at::Tensor& output, const at::Tensor& expected, const at::Tensor& gradient) {
    outputs.push_back(output);
    given.push_back(gradient);
    expected_outputs.push_back(expected);
    expected_given.push_back(wide(gradient));
  };
  if (c.used != Used::sum) use(found.y_TC, y, dy);
  if (c.used != Used::y) use(found.sum_TC, s.clone(), ds);
  const auto gradients = torch::autograd::grad(outputs, {x, branch}, given);
  const at::Tensor expected = torch::autograd::grad(expected_outputs, {s}, expected_given)[0];
  expect_gradient(gradients[0], expected);
  expect_gradient(gradients[1], expected * keep);
}

TEST(CustomResidualNorm, EqualsFloat64) {
  /// Widths for one warp a row and, above 1024, for one block a row; few are multiples of 256.
  constexpr int64_t kShapes[][2] = {{1, 8}, {5, 128}, {3, 264}, {4, 1000}, {2, 1024}, {2, 1032}, {1, 4104}, {2, 8192}};
  for (const at::ScalarType type : kElements) {
    int how = 0;
    for (const auto& [rows, columns] : kShapes) {
      for (const cuda::NormKind kind : {cuda::NormKind::layer_norm, cuda::NormKind::rms_norm}) {
        SCOPED_TRACE(testing::Message() << c10::toString(type) << ", " << rows << " x " << columns << ", case " << how);
        expect_equals_float64({.rows = rows,
                               .columns = columns,
                               .kind = kind,
                               .weights = how % 4 != 3,
                               .bias = how % 3 != 0,
                               .dropout = how / 2 % 2 == 0,
                               .used = static_cast<Used>(how % 3)},
                              type);
        ++how;
      }
    }
  }
}

TEST(CustomResidualNorm, WithoutABranchTheSumIsX) {
  for (const at::ScalarType type : kElements) {
    const at::Tensor x = leaf(rounded(1, {3, 136}, type)), dy = rounded(6, {3, 136}, type),
                     ds = rounded(7, {3, 136}, type);
    const custom::FrozenNorm norm{.kind = cuda::NormKind::rms_norm, .eps = 1e-5};
    const auto found = custom::residual_norm(x, {}, {}, norm);
    const at::Tensor s = leaf(wide(x)), y = norm_in_double(s, norm);
    EXPECT_TRUE(same_values(found.sum_TC, x));
    expect_output(found.y_TC, y.detach());
    const auto gradient = torch::autograd::grad({found.y_TC, found.sum_TC}, {x}, {dy, ds})[0];
    expect_gradient(gradient, torch::autograd::grad({y, s.clone()}, {s}, {wide(dy), wide(ds)})[0]);
  }
}

/// With x 0 and the branch 1 the sum is the mask; the branch's gradient is the sum's under the same mask.
TEST(CustomResidualNorm, MasksAreThoseOfDropout) {
  const DropoutSite site{&kTraining, "layer.1.output", {0.3, 0.0, 0.1}};
  for (const int64_t columns : {136, 1096}) {
    const Batch whole = make_batch({9, 4, 7}, {0, 1, 2}, 3, kernel_device());
    for (const Batch& rows : {whole, select_each(whole, 3)}) {
      const at::Tensor ones = rounded(1, {rows->rows(), columns}, at::kFloat, 0.0, 1.0), x = leaf(at::zeros_like(ones)),
                       branch = leaf(ones), mask = dropout(ones, site, rows);
      const auto found = custom::residual_norm(x, branch, {}, {}, site, rows);
      EXPECT_TRUE(same_values(found.sum_TC, mask));
      EXPECT_GT((mask == 0).sum().item<int64_t>(), mask.numel() / 20);
      const auto gradients = torch::autograd::grad({found.sum_TC}, {x, branch}, {ones});
      EXPECT_TRUE(same_values(gradients[0], ones));
      EXPECT_TRUE(same_values(gradients[1], mask));
    }
  }
}

TEST(CustomResidualNorm, UnalignedRowsAreCopied) {
  for (const at::ScalarType type : kElements) {
    const at::Tensor x = rounded(1, {4, 72}, type), branch = rounded(2, {4, 72}, type), dy = rounded(6, {4, 72}, type);
    const custom::FrozenNorm norm{.weight_C = rounded(4, {72}, type)},
        moved_norm{.weight_C = unaligned(norm.weight_C.view({1, 72})).view({72})};
    const auto outcome_of = [&](const at::Tensor& a, const at::Tensor& b, const at::Tensor& g,
                                const custom::FrozenNorm& weights) {
      const at::Tensor its_x = leaf(a), its_branch = leaf(b);
      const auto results = custom::residual_norm(its_x, its_branch, {}, weights);
      const auto d = torch::autograd::grad({results.y_TC, results.sum_TC}, {its_x, its_branch}, {g, g});
      return std::vector<at::Tensor>{results.y_TC, results.sum_TC, d[0], d[1]};
    };
    const auto expected = outcome_of(x, branch, dy, norm),
               found = outcome_of(unaligned(x), unaligned(branch), unaligned(dy), moved_norm);
    for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(same_values(found[i], expected[i])) << i;
  }
}

/// normalised_sum() with and without our kernel: y, s and the gradients of x and the branch.
TEST(CustomResidualNorm, ServesTheInterface) {
  const Batch rows = batch_of(20);
  const DropoutSite site{&kTraining, "layer.1.output", {0.3, 0.0, 0.1}};
  const auto results = [&](const RowNorm& norm, int64_t columns, at::ScalarType type, bool branch, bool custom) {
    const at::Tensor x = leaf(rounded(1, {20, columns}, at::kFloat).to(type)),
                     b = branch ? leaf(rounded(2, {20, columns}, at::kFloat).to(type)) : at::Tensor();
    const NormedSum found = normalised_sum(x, b, norm, branch ? site : DropoutSite(), rows, {.custom_kernels = custom});
    const bool served = custom && columns % 8 == 0 && !norm.weight_C.requires_grad();
    EXPECT_EQ(found.y_TC.grad_fn()->name().find("ResidualNorm") != std::string::npos, served);
    std::vector<at::Tensor> all{found.y_TC, found.sum_TC}, leaves{x};
    if (branch) leaves.push_back(b);
    if (norm.weight_C.requires_grad()) leaves.push_back(norm.weight_C);
    const at::Tensor dy = rounded(6, {20, columns}, at::kFloat).to(type);
    for (const at::Tensor& g : torch::autograd::grad({(found.y_TC * dy).sum() + found.sum_TC.sum()}, leaves))
      all.push_back(g);
    return all;
  };
  for (const int64_t columns : {136, 12}) {  // 12: the plain operations
    for (const NormKind kind : {NormKind::layer_norm, NormKind::rms_norm}) {
      for (const bool branch : {true, false}) {
        for (const bool trained : {false, true}) {
          const at::Tensor weight = rounded(4, {columns}, at::kFloat, 0.3, 1.0),
                           bias = kind == NormKind::rms_norm ? at::Tensor() : rounded(5, {columns}, at::kFloat);
          const auto norm_in = [&](at::ScalarType type) {
            return RowNorm{kind, 1e-5, trained ? leaf(weight.to(type)) : weight.to(type),
                           bias.defined() ? bias.to(type) : bias};
          };
          const auto found = results(norm_in(at::kFloat), columns, at::kFloat, branch, true),
                     expected = results(norm_in(at::kDouble), columns, at::kDouble, branch, false);
          ASSERT_EQ(found.size(), expected.size());
          for (std::size_t i = 0; i < found.size(); ++i)
            EXPECT_LE(relative_error(found[i], expected[i]), 2e-6) << columns << ", result " << i;
        }
      }
    }
  }
}

TEST(CustomResidualNorm, WhatItDoesNotServeIsAnError) {
  const at::Tensor x = rounded(1, {4, 16}, at::kFloat);
  const DropoutSite site{&kTraining, "layer.1.output", {0.1}};
  EXPECT_THROW(custom::residual_norm(rounded(1, {4, 12}, at::kFloat), {}, {}, {}), Error);
  EXPECT_THROW(custom::residual_norm(rounded(1, {1, 8200}, at::kFloat), {}, {}, {}), Error);
  EXPECT_THROW(custom::residual_norm(wide(x), {}, {}, {}), Error);
  EXPECT_THROW(custom::residual_norm(x, x.to(at::kHalf), {}, {}), Error);
  EXPECT_THROW(custom::residual_norm(x, x, x[0].narrow(0, 0, 8), {}), Error);
  EXPECT_THROW(custom::residual_norm(x, x, {}, {.weight_C = leaf(x[0])}), Error);
  EXPECT_THROW(custom::residual_norm(x, {}, x[0], {}), Error);
  EXPECT_THROW(custom::residual_norm(x, {}, {}, {}, site, batch_of(4)), Error);
  EXPECT_THROW(custom::residual_norm(x, x, {}, {}, site, batch_of(5)), Error);
  EXPECT_THROW(custom::residual_norm(x, x, {}, {}, site), Error);
}

}  // namespace
}  // namespace peft
