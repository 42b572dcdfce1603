/// row_dropout's binding: the masks of peft::dropout(), forward and backward.

#include <torch/csrc/autograd/function.h>

#include "peft/base/error.h"
#include "src/kernels/custom/dropout.h"
#include "tests/kernels/custom/close.h"

namespace peft {
namespace {

const DropoutContext kTraining{.training = true, .seeds = {7, 8, 9}, .steps = {1, 2, 3}};

TEST(CustomRowDropout, EqualsNamedDropout) {
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const int64_t columns : {8, 24, 264}) {
      const Batch rows = make_batch({5, 0, 1, 30}, {0, 0, 2, 2}, 3, kernel_device());
      const DropoutSite site{&kTraining, "head.pooler", {0.3, 0.5, 0.1}};
      const at::Tensor x = leaf(rounded(1, {36, columns}, type)), dy = rounded(2, {36, columns}, type);
      const at::Tensor keep = dropout(at::ones({36, columns}, wide(x).options()), site, rows);
      const at::Tensor y = dropout(x, site, rows, {.custom_kernels = true});
      ASSERT_EQ(y.scalar_type(), type);
      EXPECT_TRUE(same_values(y.ne(0), keep.ne(0)));
      expect_output(y.detach(), wide(x) * keep);
      const at::Tensor dx = torch::autograd::grad({y}, {x}, {dy})[0];
      EXPECT_TRUE(same_values(dx.ne(0), keep.ne(0)));
      expect_output(dx, wide(dy) * keep);
    }
  }
}

TEST(CustomRowDropout, TransposedRowsAndInactiveSites) {
  const Batch rows = make_batch({3, 5}, {0, 1}, 2, kernel_device());
  const DropoutContext training{.training = true, .seeds = {1, 2}, .steps = {4, 4}};
  const at::Tensor x = rounded(1, {16, 8}, at::kFloat).t();
  const DropoutSite site{&training, "x", {0.4}};
  EXPECT_TRUE(same_values(custom::row_dropout(x, site, rows), dropout(x.contiguous(), site, rows)));
  EXPECT_TRUE(custom::row_dropout(x, {&training, "x", {0.0}}, rows).is_same(x));
  EXPECT_THROW(custom::row_dropout(x.narrow(1, 0, 7), site, rows), Error);
  EXPECT_THROW(custom::row_dropout(x.to(at::kDouble), site, rows), Error);
}

}  // namespace
}  // namespace peft
