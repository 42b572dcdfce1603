#include "peft/kernels/optimizer.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>

#include "src/kernels/fused_optimizer.h"
#include "tests/support/tensors.h"

namespace peft {
namespace {

constexpr int kSteps = 100;
constexpr int64_t kSize = 37;

/// torch.optim.AdamW on one number, as its documentation writes it.
struct PlainAdamW {
  double p, m = 0.0, v = 0.0;
  void step(double gradient, const AdamW& o) {
    const double g = gradient * o.gradient_scale;
    p -= o.learning_rate * o.weight_decay * p;
    m = o.beta1 * m + (1.0 - o.beta1) * g;
    v = o.beta2 * v + (1.0 - o.beta2) * g * g;
    const double m_hat = m / (1.0 - std::pow(o.beta1, o.step)), v_hat = v / (1.0 - std::pow(o.beta2, o.step));
    p -= o.learning_rate * m_hat / (std::sqrt(v_hat) + o.epsilon);
  }
};

double adamw_error(at::ScalarType dtype) {
  at::Tensor p = random_tensor(1, {kSize}).to(dtype), m = at::zeros({kSize}, dtype), v = at::zeros({kSize}, dtype);
  std::vector<PlainAdamW> plain;
  for (int64_t i = 0; i < kSize; ++i) plain.push_back({p[i].item<double>()});
  for (int64_t t = 1; t <= kSteps; ++t) {
    const AdamW options{.learning_rate = 1e-2 / t,
                        .beta1 = 0.9,
                        .beta2 = 0.99,
                        .weight_decay = 0.1,
                        .step = t,
                        .gradient_scale = t % 3 == 0 ? 0.5 : 1.0};
    const at::Tensor g = random_tensor(100 + t, {kSize}, t % 7 == 0 ? 1e-9 : 1.0).to(dtype);
    adamw_step(p, g, m, v, options);
    for (int64_t i = 0; i < kSize; ++i) plain[i].step(g[i].item<double>(), options);
  }
  at::Tensor expected = at::empty({kSize}, at::kDouble);
  for (int64_t i = 0; i < kSize; ++i) expected[i] = plain[i].p;
  return relative_error(p, expected);
}

TEST(AdamW, EqualsThePlainFormulaOverAHundredSteps) {
  EXPECT_LT(adamw_error(at::kDouble), 1e-12);
  EXPECT_LT(adamw_error(at::kFloat), 1e-6);
}

TEST(AdamW, EqualsTorchsOwnStep) {
  at::Tensor p = random_tensor(1, {kSize}), m = at::zeros({kSize}, at::kDouble), v = at::zeros({kSize}, at::kDouble);
  std::vector<at::Tensor> torch_p{p.clone()}, torch_m{m.clone()}, torch_v{v.clone()},
      torch_step{at::zeros({}, at::kFloat)};
  for (int64_t t = 1; t <= kSteps; ++t) {
    const at::Tensor g = random_tensor(100 + t, {kSize});
    adamw_step(p, g, m, v, {.learning_rate = 1e-2, .weight_decay = 0.01, .step = t});
    torch_step[0].fill_(static_cast<double>(t));
    at::_fused_adamw_(torch_p, {g}, torch_m, torch_v, {}, torch_step, 1e-2, 0.9, 0.999, 0.01, 1e-8, false, false);
  }
  EXPECT_LT(relative_error(p, torch_p[0]), 1e-12);
  EXPECT_LT(relative_error(m, torch_m[0]), 1e-12);
  EXPECT_LT(relative_error(v, torch_v[0]), 1e-12);
}

/// What serves a GPU, here on the CPU's tensors.
TEST(AdamW, FusedOperatorsEqualOurOwnLoop) {
  const std::vector<std::vector<int64_t>> shapes{{5}, {3, 4}, {1}};
  AdamWSlices ours, theirs;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    for (AdamWSlices* slices : {&ours, &theirs}) {
      slices->parameters.push_back(random_tensor(i, shapes[i]));
      slices->exp_avgs.push_back(at::zeros(shapes[i], at::kDouble));
      slices->exp_avg_sqs.push_back(at::zeros(shapes[i], at::kDouble));
      slices->gradients.emplace_back();
    }
  }
  for (int64_t t = 1; t <= kSteps; ++t) {
    for (std::size_t i = 0; i < shapes.size(); ++i)
      ours.gradients[i] = theirs.gradients[i] = random_tensor(100 * (i + 1) + t, shapes[i]);
    EXPECT_NEAR(fused_sum_of_squares(theirs.gradients), sum_of_squares(ours.gradients), 1e-12);
    const AdamW options{
        .learning_rate = 1e-2, .weight_decay = 0.1, .step = t, .gradient_scale = t % 2 == 0 ? 0.3 : 1.0};
    adamw_step(ours, options);
    fused_adamw_step(theirs, options);
  }
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    EXPECT_LT(relative_error(theirs.parameters[i], ours.parameters[i]), 1e-12);
    EXPECT_LT(relative_error(theirs.exp_avg_sqs[i], ours.exp_avg_sqs[i]), 1e-12);
  }
}

TEST(AdamW, StepsASliceAndNothingBesideIt) {
  at::Tensor p = random_tensor(1, {3, 5}), m = at::zeros({3, 5}, at::kDouble), v = at::zeros({3, 5}, at::kDouble);
  const at::Tensor before = p.clone();
  adamw_step(p[1], random_tensor(2, {3, 5})[1], m[1], v[1], {.learning_rate = 0.1});
  EXPECT_TRUE(same_values(p[0], before[0]));
  EXPECT_TRUE(same_values(p[2], before[2]));
  EXPECT_FALSE(same_values(p[1], before[1]));
  EXPECT_EQ(m[0].abs().sum().item<double>() + v[2].abs().sum().item<double>(), 0.0);
}

TEST(AdamW, AcceptsALeafThatRequiresAGradient) {
  const at::Tensor p = random_leaf(1, {4});
  adamw_step(p, at::ones({4}, at::kDouble), at::zeros({4}, at::kDouble), at::zeros({4}, at::kDouble),
             {.learning_rate = 0.1});
  EXPECT_TRUE(p.is_leaf());
}

TEST(Sgd, EqualsThePlainFormulaOverAHundredSteps) {
  for (const auto& [dtype, tolerance] : {std::pair{at::kDouble, 1e-12}, std::pair{at::kFloat, 1e-6}}) {
    at::Tensor p = random_tensor(1, {kSize}).to(dtype), buffer = at::zeros({kSize}, dtype);
    std::vector<double> plain(kSize), momentum(kSize, 0.0);
    for (int64_t i = 0; i < kSize; ++i) plain[i] = p[i].item<double>();
    for (int t = 1; t <= kSteps; ++t) {
      const at::Tensor g = random_tensor(100 + t, {kSize}).to(dtype);
      sgd_step(p, g, buffer, 1e-3, 0.9, 0.1, 0.5);
      for (int64_t i = 0; i < kSize; ++i) {
        plain[i] -= 1e-3 * 0.1 * plain[i];
        momentum[i] = 0.9 * momentum[i] + 0.5 * g[i].item<double>();
        plain[i] -= 1e-3 * momentum[i];
      }
    }
    EXPECT_LT(relative_error(p, at::tensor(at::ArrayRef<double>(plain), at::kDouble)), tolerance);
  }
}

TEST(SumOfSquares, DoesNotDependOnThreads) {
  const at::Tensor x = random_tensor(1, {300'001}).to(at::kFloat);
  const int threads = at::get_num_threads();
  const double sum = sum_of_squares(x);
  for (const int count : {1, 2, 3, 7}) {
    at::set_num_threads(count);
    EXPECT_EQ(sum_of_squares(x), sum);
  }
  at::set_num_threads(threads);
  EXPECT_NEAR(sum, x.to(at::kDouble).square().sum().item<double>(), 1e-12 * sum);
}

TEST(SumOfSquares, TakesAnyShape) {
  const at::Tensor x = random_tensor(1, {7, 9});
  EXPECT_NEAR(sum_of_squares(x.t()), x.square().sum().item<double>(), 1e-12);
  EXPECT_EQ(sum_of_squares(at::zeros({0}, at::kFloat)), 0.0);
  EXPECT_TRUE(std::isnan(sum_of_squares(at::full({3}, std::nan("")))));
}

}  // namespace
}  // namespace peft
