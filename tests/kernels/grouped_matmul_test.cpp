#include "peft/kernels/grouped_matmul.h"

#include <gmock/gmock.h>

#include <numeric>

#include "peft/base/error.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

namespace peft {
namespace {

constexpr int64_t kIn = 5, kOut = 4;

/// Row ranges of K groups, with an empty and a one-row group among them.
std::vector<int64_t> groups_of(int64_t adapters) {
  const std::vector<int64_t> sizes{3, 0, 1, 6, 2};
  std::vector<int64_t> groups{0};
  for (int64_t k = 0; k < adapters; ++k) groups.push_back(groups.back() + sizes[k]);
  return groups;
}

int64_t group_of(const std::vector<int64_t>& groups, int64_t row) {
  int64_t k = 0;
  while (groups[k + 1] <= row) ++k;
  return k;
}

at::Tensor loop(const at::Tensor& x, const at::Tensor& w_KCR, const std::vector<int64_t>& groups) {
  std::vector<at::Tensor> rows;
  for (int64_t t = 0; t < x.size(0); ++t) rows.push_back(at::mv(w_KCR[group_of(groups, t)].t(), x[t]));
  return at::stack(rows);
}

class GroupedMatmul : public testing::TestWithParam<int64_t> {
 protected:
  const int64_t adapters_ = GetParam();
  const std::vector<int64_t> groups_ = groups_of(adapters_);
  const at::Tensor x_ = random_leaf(1, {groups_.back(), kIn}), w_ = random_leaf(2, {adapters_, kIn, kOut}),
                   bias_ = random_leaf(3, {adapters_, kOut});
};

TEST_P(GroupedMatmul, EqualsALoopOverRows) {
  EXPECT_LT(relative_error(grouped_matmul(x_, w_, groups_), loop(x_, w_, groups_)), 1e-14);
}

TEST_P(GroupedMatmul, LinearUsesTorchsLayoutAndAddsTheBias) {
  const at::Tensor w_KOC = w_.detach().transpose(1, 2).contiguous();
  std::vector<at::Tensor> bias_rows;
  for (int64_t t = 0; t < x_.size(0); ++t) bias_rows.push_back(bias_[group_of(groups_, t)]);
  const at::Tensor expected = loop(x_, w_, groups_);
  EXPECT_LT(relative_error(grouped_linear(x_, w_KOC, bias_, groups_), expected + at::stack(bias_rows)), 1e-14);
  EXPECT_LT(relative_error(grouped_linear(x_, w_KOC, {}, groups_), expected), 1e-14);
}

TEST_P(GroupedMatmul, Gradcheck) {
  EXPECT_LT(gradient_error([&] { return weighted_sum(grouped_matmul(x_, w_, groups_)); }, {x_, w_}),
            kGradcheckTolerance);
  const at::Tensor w_KOC = random_leaf(4, {adapters_, kOut, kIn});
  EXPECT_LT(gradient_error([&] { return weighted_sum(grouped_linear(x_, w_KOC, bias_, groups_)); }, {x_, w_KOC, bias_}),
            kGradcheckTolerance);
}

TEST_P(GroupedMatmul, GradientOfAnAdapterDoesNotSeeTheOthersRows) {
  const auto weight_gradient = [&](const at::Tensor& x) {
    return gradients(weighted_sum(grouped_matmul(x, w_, groups_)), {w_})[0];
  };
  const at::Tensor before = weight_gradient(x_.detach());
  for (int64_t changed = 0; changed < adapters_; ++changed) {
    at::Tensor x = x_.detach().clone();
    x.narrow(0, groups_[changed], groups_[changed + 1] - groups_[changed])
        .fill_(std::numeric_limits<double>::infinity());
    const at::Tensor after = weight_gradient(x);
    for (int64_t k = 0; k < adapters_; ++k) {
      if (k != changed) {
        EXPECT_TRUE(same_values(after[k], before[k])) << "adapter " << k << ", rows of " << changed;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Adapters, GroupedMatmul, testing::Range<int64_t>(1, 6));

TEST(GroupedMatmulShapes, AreChecked) {
  const at::Tensor x = random_tensor(1, {4, 5}), w = random_tensor(2, {2, 5, 3});
  const auto refused = [&](const at::Tensor& rows, const std::vector<int64_t>& groups) {
    EXPECT_THAT([&] { grouped_matmul(rows, w, groups); },
                testing::ThrowsMessage<Error>(testing::HasSubstr("grouped_matmul: x 4x")));
  };
  refused(x, {0, 2, 3});
  refused(x, {0, 4});
  refused(x, {});
  refused(random_tensor(1, {4, 6}), {0, 2, 4});
}

TEST(PrependRows, PutsTheAdaptersRowsInFrontOfItsSequences) {
  const Batch rows = make_batch({2, 1, 3}, {0, 2, 2}, 3), longer = rows->lengthened(2);
  const at::Tensor bank = random_tensor(1, {3, 2, 4}), x = random_tensor(2, {6, 4});
  const at::Tensor expected =
      at::cat({bank[0], x.narrow(0, 0, 2), bank[2], x.narrow(0, 2, 1), bank[2], x.narrow(0, 3, 3)});
  EXPECT_TRUE(same_values(prepend_rows(bank, x, rows, longer), expected));
}

TEST(PrependRows, Gradcheck) {
  const Batch rows = make_batch({2, 1, 3}, {0, 2, 2}, 3), longer = rows->lengthened(2);
  const at::Tensor bank = random_leaf(1, {3, 2, 4}), x = random_leaf(2, {6, 4});
  EXPECT_LT(gradient_error([&] { return weighted_sum(prepend_rows(bank, x, rows, longer)); }, {bank, x}),
            kGradcheckTolerance);
}

TEST(PrependRows, GradientSumsInFloat32UnderBfloat16) {
  // 512 ones: a sum carried in bfloat16 would stop at 256.
  const std::vector<int64_t> ones(512, 1);
  const Batch rows = make_batch(ones), longer = rows->lengthened(1);
  const at::Tensor bank = at::zeros({1, 1, 2}, at::kBFloat16).requires_grad_(true),
                   x = at::zeros({512, 2}, at::kBFloat16);
  const at::Tensor gradient = gradients(prepend_rows(bank, x, rows, longer).to(at::kFloat).sum(), {bank})[0];
  EXPECT_EQ(gradient[0][0][0].item<float>(), 512.0F);
}

TEST(GatherAdapters, TakesOneRowPerSequence) {
  const Batch rows = make_batch({2, 0, 3}, {0, 2, 2}, 3);
  const at::Tensor bank = random_leaf(1, {3, 4});
  EXPECT_TRUE(same_values(gather_adapters(bank, *rows), at::stack({bank[0], bank[2], bank[2]})));
  EXPECT_LT(gradient_error([&] { return weighted_sum(gather_adapters(bank, *rows)); }, {bank}), kGradcheckTolerance);
}

}  // namespace
}  // namespace peft
