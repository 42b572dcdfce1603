/// normalised_sum() of the CPU: one pass over the rows beside the same in plain operations.

#include "peft/kernels/norm.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

namespace peft {
namespace {

const DropoutContext kTraining{.training = true, .seeds = {7, 8}, .steps = {1, 2}};

struct Results {
  at::Tensor y, sum;
  std::vector<at::Tensor> gradients;
};

/// In the type of the leaves; float64 goes by plain operations.
Results results(const std::vector<at::Tensor>& leaves, RowNorm norm, const DropoutSite& site, const Batch& rows,
                int uses) {
  norm.weight_C = norm.weight_C.to(leaves[0].scalar_type());
  if (norm.bias_C.defined()) norm.bias_C = norm.bias_C.to(leaves[0].scalar_type());
  const NormedSum found = normalised_sum(leaves[0], leaves.size() > 1 ? leaves[1] : at::Tensor(), norm, site, rows);
  at::Tensor loss = at::zeros({}, leaves[0].options());
  if ((uses & 1) != 0) loss = loss + (found.y_TC * random_tensor(8, found.y_TC.sizes()).to(loss.scalar_type())).sum();
  if ((uses & 2) != 0)
    loss = loss + (found.sum_TC * random_tensor(9, found.sum_TC.sizes()).to(loss.scalar_type())).sum();
  return {found.y_TC, found.sum_TC, gradients(loss, leaves)};
}

TEST(NormalisedSum, EqualsPlainOperationsInFloat64) {
  const Batch rows = make_batch({5, 1, 0, 3}, {0, 0, 1, 1}, 2);
  for (const auto& [type, tolerance] : {std::pair{at::kFloat, 2e-6}, {at::kBFloat16, 1.2e-2}, {at::kHalf, 2e-3}}) {
    for (const NormKind kind : {NormKind::layer_norm, NormKind::rms_norm}) {
      for (const double p : {0.0, 0.3}) {
        for (int choice = 1; choice < 8; ++choice) {
          const bool branch = (choice & 4) == 0;
          const int uses = choice & 3;
          if (uses == 0) continue;
          SCOPED_TRACE(fmt::format("type {}, kind {}, p {}, branch {}, uses {}", static_cast<int>(type),
                                   static_cast<int>(kind), p, branch, uses));
          std::vector<at::Tensor> leaves, wide;
          for (uint64_t i = 0; i < (branch ? 2U : 1U); ++i) {
            leaves.push_back(random_tensor(i, {9, 32}).to(type).detach().requires_grad_(true));
            wide.push_back(leaves.back().detach().to(at::kDouble).requires_grad_(true));
          }
          const RowNorm norm{
              kind, 1e-5, (1.0 + 0.2 * random_tensor(5, {32})).to(type).to(at::kDouble),
              kind == NormKind::layer_norm ? random_tensor(6, {32}).to(type).to(at::kDouble) : at::Tensor()};
          const DropoutSite site{&kTraining, "layer.0.feed_forward", {p, p / 2}};
          const Results found = results(leaves, norm, site, rows, uses),
                        expected = results(wide, norm, site, rows, uses);
          EXPECT_EQ(found.y.scalar_type(), type);
          EXPECT_LT(relative_error(found.y, expected.y), tolerance);
          EXPECT_LT(relative_error(found.sum, expected.sum), tolerance);
          for (std::size_t i = 0; i < leaves.size(); ++i)
            EXPECT_LT(relative_error(found.gradients[i], expected.gradients[i]), tolerance) << i;
        }
      }
    }
  }
}

TEST(NormalisedSum, TrainedWeightsHaveTheirGradients) {
  const Batch rows = make_batch({4});
  const at::Tensor x = random_leaf(1, {4, 16}), weight = random_leaf(2, {16}), bias = random_leaf(3, {16});
  const at::Tensor narrow = weight.detach().to(at::kFloat).requires_grad_(true);
  const auto loss = [&](const at::Tensor& rows_x, const at::Tensor& w, const at::Tensor& b) {
    return weighted_sum(normalised_sum(rows_x, {}, {NormKind::layer_norm, 1e-5, w, b}, {}, rows).y_TC);
  };
  EXPECT_LT(gradient_error([&] { return loss(x, weight, bias); }, {x, weight, bias}), kGradcheckTolerance);
  EXPECT_LT(
      relative_error(gradients(loss(x.detach().to(at::kFloat), narrow, bias.detach().to(at::kFloat)), {narrow})[0],
                     gradients(loss(x, weight, bias), {weight})[0]),
      1e-5);
}

}  // namespace
}  // namespace peft
