/// small_xent's binding against log_softmax in float64.

#include "src/kernels/custom/cross_entropy.h"

#include <numeric>

#include "peft/base/error.h"
#include "tests/kernels/custom/close.h"

namespace peft {
namespace {

at::Tensor integers(const std::vector<int64_t>& values) {
  return at::tensor(values, at::TensorOptions(at::kLong)).to(kernel_device());
}

/// `count` different numbers below `end`, in no order.
at::Tensor some_of(int64_t end, int64_t count, int64_t step) {
  std::vector<int64_t> values;
  while (std::gcd(step, end) != 1) ++step;
  for (int64_t i = 0; i < count; ++i) values.push_back((i + 1) * step % end);
  return integers(values);
}

at::Tensor labels_of(int64_t rows, int64_t classes) {
  std::vector<int64_t> values;
  for (int64_t i = 0; i < rows; ++i) values.push_back((7 * i + 3) % classes);
  return integers(values);
}

struct XentCase {
  int64_t classes;
  bool rows, columns, weights;
};

void expect_equals_float64(const XentCase& c, at::ScalarType type) {
  constexpr int64_t kRows = 5;
  const int64_t all_rows = c.rows ? 2 * kRows + 1 : kRows, all_columns = c.columns ? c.classes + 40 : c.classes;
  const at::Tensor logits = leaf(rounded(1, {all_rows, all_columns}, type, 3.0)), labels = labels_of(kRows, c.classes),
                   rows = c.rows ? some_of(all_rows, kRows, 3) : at::Tensor(),
                   columns = c.columns ? some_of(all_columns, c.classes, 7) : at::Tensor(),
                   weights = c.weights ? rounded(2, {kRows}, at::kFloat, 0.3, 1.0) : at::Tensor();
  const at::Tensor found = custom::small_xent(logits, rows, columns, labels, weights);
  ASSERT_EQ(found.scalar_type(), at::kFloat);
  const at::Tensor wide_logits = leaf(wide(logits));
  at::Tensor x = c.rows ? wide_logits.index_select(0, rows) : wide_logits;
  if (c.columns) x = x.index_select(1, columns);
  at::Tensor expected = -x.log_softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1);
  if (c.weights) expected = expected * wide(weights);
  EXPECT_LE(relative_error(found, expected), 2e-6);
  const at::Tensor dloss = rounded(3, {kRows}, at::kFloat);
  // Rounded by the kernel and once more when scaled: two halves of a unit, element by element.
  expect_output(torch::autograd::grad({found}, {logits}, {dloss})[0],
                torch::autograd::grad({expected}, {wide_logits}, {wide(dloss)})[0]);
}

TEST(CustomSmallXent, EqualsFloat64) {
  for (const at::ScalarType type : kElements) {
    for (const int64_t classes : {2, 3, 33, 150, 1000}) {
      for (int how = 0; how < 8; ++how) {
        SCOPED_TRACE(testing::Message() << c10::toString(type) << ", " << classes << " classes, case " << how);
        expect_equals_float64({classes, how % 2 == 1, how / 2 % 2 == 1, how < 4}, type);
      }
    }
  }
}

TEST(CustomSmallXent, OneClassCostsNothing) {
  const at::Tensor logits = leaf(rounded(1, {3, 1}, at::kFloat));
  const at::Tensor loss = custom::small_xent(logits, {}, {}, integers({0, 0, 0}), {});
  EXPECT_TRUE(same_values(loss, at::zeros_like(loss)));
  const at::Tensor gradient = torch::autograd::grad({loss.sum()}, {logits})[0];
  EXPECT_TRUE(same_values(gradient, at::zeros_like(gradient)));
}

/// A row selected twice, as an example with two masks might have it, gets both gradients.
TEST(CustomSmallXent, RowsMayBeSelectedTwice) {
  const at::Tensor logits = leaf(rounded(1, {4, 6}, at::kFloat)), wide_logits = leaf(wide(logits)),
                   rows = integers({2, 0, 2}), labels = integers({1, 5, 3});
  const at::Tensor loss = custom::small_xent(logits, rows, {}, labels, {}).sum(),
                   expected = -wide_logits.index_select(0, rows).log_softmax(1).gather(1, labels.unsqueeze(1)).sum();
  expect_gradient(torch::autograd::grad({loss}, {logits})[0], torch::autograd::grad({expected}, {wide_logits})[0]);
}

TEST(CustomSmallXent, StridedLogitsAreReadWhereTheyAre) {
  for (const at::ScalarType type : kElements) {
    const at::Tensor logits = rounded(1, {5, 33}, type), labels = labels_of(5, 33);
    const auto outcome_of = [&](const at::Tensor& given) {
      const at::Tensor x = leaf(given), loss = custom::small_xent(x, {}, {}, labels, {});
      return std::vector<at::Tensor>{loss, torch::autograd::grad({loss.sum()}, {x})[0]};
    };
    const auto expected = outcome_of(logits);
    for (const at::Tensor& moved : {unaligned(logits), logits.t().contiguous().t()}) {
      ASSERT_FALSE(moved.is_contiguous());
      const auto found = outcome_of(moved);
      for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(same_values(found[i], expected[i])) << i;
    }
  }
}

TEST(CustomSmallXent, IgnoredRowsGiveZerosAndWrongLabelsNotANumber) {
  const at::Tensor logits = leaf(rounded(1, {3, 5}, at::kHalf)),
                   weights = at::tensor({1.0F, 0.0F, 1.0F}).to(kernel_device());
  const at::Tensor loss = custom::small_xent(logits, {}, {}, integers({4, -100, 5}), weights);
  const at::Tensor gradient = torch::autograd::grad({loss.sum()}, {logits})[0];
  EXPECT_TRUE(loss[0].isfinite().item<bool>());
  EXPECT_EQ(loss[1].item<float>(), 0.0F);
  EXPECT_TRUE(loss[2].isnan().item<bool>());
  EXPECT_TRUE(gradient[0].isfinite().all().item<bool>());
  EXPECT_EQ(gradient[1].count_nonzero().item<int64_t>(), 0);
  EXPECT_TRUE(gradient[2].isnan().any().item<bool>());
}

TEST(CustomSmallXent, WithoutAGradientTheLossIsTheSame) {
  const at::Tensor logits = rounded(1, {5, 9}, at::kFloat), labels = labels_of(5, 9);
  const at::Tensor loss = custom::small_xent(logits, {}, {}, labels, {});
  EXPECT_FALSE(loss.requires_grad());
  EXPECT_TRUE(same_values(loss, custom::small_xent(leaf(logits), {}, {}, labels, {})));
}

TEST(CustomSmallXent, WhatItDoesNotServeIsAnError) {
  const at::Tensor logits = rounded(1, {3, 5}, at::kFloat), labels = integers({0, 1, 2});
  EXPECT_THROW(custom::small_xent(wide(logits), {}, {}, labels, {}), Error);
  EXPECT_THROW(custom::small_xent(logits[0], {}, {}, labels, {}), Error);
  EXPECT_THROW(custom::small_xent(logits, {}, {}, {}, {}), Error);
  EXPECT_THROW(custom::small_xent(logits, {}, {}, logits.select(1, 0), {}), Error);
  EXPECT_THROW(custom::small_xent(logits, integers({0}), {}, labels, {}), Error);
  EXPECT_THROW(custom::small_xent(logits, {}, {}, labels, logits[0]), Error);
  EXPECT_THROW(custom::small_xent(rounded(1, {3, 1025}, at::kFloat), {}, {}, labels, {}), Error);
}

}  // namespace
}  // namespace peft
