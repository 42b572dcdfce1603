/// bank_adamw behind BankAdamW, beside torch's formula in float64.

#include "peft/kernels/bank_adamw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "peft/base/error.h"
#include "peft/kernels/optimizer.h"
#include "src/kernels/cuda/common/rowmath.h"
#include "tests/kernels/custom/device.h"
#include "tests/support/tensors.h"

namespace peft {
namespace {

constexpr int64_t kJobs = 3;

/// Tensors of one number, of odd sizes, and of more numbers than a block takes.
const std::vector<std::vector<int64_t>> kShapes{{}, {7}, {3, 5}, {64, 70}, {8}};

/// Jobs [first, first + count) of a bank: leaves, and a loss whose gradient is known.
struct Bank {
  explicit Bank(int64_t first_job = 0, int64_t count = kJobs) : first(first_job), jobs(count) {
    std::vector<BankAdamW::Trained> trained;
    for (std::size_t i = 0; i < kShapes.size(); ++i) {
      leaves.push_back(numbers(i).narrow(0, first, jobs).clone().requires_grad_(true));
      trained.push_back({leaves[i], {}, {}});
      for (int64_t k = first; k < first + jobs; ++k) {
        trained[i].learning_rate.push_back(rate(i, k));
        trained[i].weight_decay.push_back(decay(k));
      }
    }
    std::vector<BankAdamW::Hyperparameters> table;
    for (int64_t k = first; k < first + jobs; ++k) table.push_back(job(k));
    adam = std::make_unique<BankAdamW>(trained, table);
  }

  static at::Tensor numbers(uint64_t seed) {
    std::vector<int64_t> shape = kShapes[seed % kShapes.size()];
    shape.insert(shape.begin(), kJobs);
    return random_tensor(seed, shape).to(kernel_device(), at::kFloat);
  }
  static float rate(std::size_t tensor, int64_t k) {
    return 1e-3F * static_cast<float>(k + 1) / static_cast<float>(tensor + 1);
  }
  static float decay(int64_t k) { return 0.1F * static_cast<float>(k); }
  static BankAdamW::Hyperparameters job(int64_t k) {
    return {.lr_scheduler_type = k == 0   ? "linear"
                                 : k == 1 ? "constant"
                                          : "cosine",
            .warmup_steps = 5 * k,
            .total_steps = 120,
            .beta2 = k == 1 ? 0.99 : 0.999,
            .max_grad_norm = k == 2 ? 0.0 : 1.5};
  }
  static double factor(int64_t k, int64_t step) {
    const auto kind = k == 0   ? cuda::ScheduleKind::linear
                      : k == 1 ? cuda::ScheduleKind::constant
                               : cuda::ScheduleKind::cosine;
    return cuda::schedule_factor(kind, step, 5 * k, 120);
  }
  /// Of all jobs at step `step`, from 0.
  static at::Tensor gradient(std::size_t tensor, int64_t step) {
    return numbers(tensor + kShapes.size() * static_cast<std::size_t>(step + 1));
  }

  /// One step as a trainer has it; `poisoned` gets a gradient that is not a number.
  void step(int64_t number, int64_t poisoned = -1) {
    at::Tensor loss = at::zeros({}, leaves[0].options());
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      at::Tensor g = gradient(i, number).narrow(0, first, jobs).clone();
      if (poisoned >= 0 && i == 1) g[poisoned][3] = std::numeric_limits<float>::quiet_NaN();
      loss = loss + (leaves[i] * g).sum();
    }
    loss.backward();
    adam->step();
  }
  /// Slice k of every leaf, gradient and moment.
  std::vector<at::Tensor> of(int64_t k) const {
    std::vector<at::Tensor> slices;
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      for (const at::Tensor& x : {leaves[i].detach(), leaves[i].grad(), adam->exp_avg(i), adam->exp_avg_sq(i)})
        slices.push_back(x[k].cpu().clone());
    }
    return slices;
  }

  int64_t first, jobs;
  std::vector<at::Tensor> leaves;
  std::unique_ptr<BankAdamW> adam;
};

void expect_same(const std::vector<at::Tensor>& found, const std::vector<at::Tensor>& expected) {
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(same_values(found[i], expected[i])) << i;
}

TEST(CustomAdamW, EqualsTorchsFormulaInDoubleAfterHundredSteps) {
  Bank bank;
  for (int64_t step = 0; step < 100; ++step) bank.step(step);
  const auto counters = bank.adam->counters();
  for (int64_t k = 0; k < kJobs; ++k) {
    const BankAdamW::Hyperparameters job = Bank::job(k);
    std::vector<at::Tensor> p, m, v;
    for (std::size_t i = 0; i < kShapes.size(); ++i) {
      p.push_back(Bank::numbers(i)[k].cpu().to(at::kDouble).contiguous());
      m.push_back(at::zeros_like(p[i]));
      v.push_back(at::zeros_like(p[i]));
    }
    double norm = 0.0;
    for (int64_t step = 0; step < 100; ++step) {
      std::vector<at::Tensor> g;
      for (std::size_t i = 0; i < kShapes.size(); ++i)
        g.push_back(Bank::gradient(i, step)[k].cpu().to(at::kDouble).contiguous());
      double squares = 0.0;
      for (const at::Tensor& each : g) squares += sum_of_squares(each);
      norm = std::sqrt(squares);
      for (std::size_t i = 0; i < kShapes.size(); ++i) {
        adamw_step(p[i], g[i], m[i], v[i],
                   {.learning_rate = static_cast<double>(Bank::rate(i, k)) * Bank::factor(k, step),
                    .beta1 = job.beta1,
                    .beta2 = job.beta2,
                    .epsilon = job.epsilon,
                    .weight_decay = Bank::decay(k),
                    .step = step + 1,
                    .gradient_scale = job.max_grad_norm > 0 ? std::min(1.0, job.max_grad_norm / (norm + 1e-6)) : 1.0});
      }
    }
    for (std::size_t i = 0; i < kShapes.size(); ++i) {
      EXPECT_LE(relative_error(bank.leaves[i][k].cpu(), p[i]), 1e-6) << k << ", tensor " << i;
      EXPECT_LE(relative_error(bank.adam->exp_avg(i)[k].cpu(), m[i]), 1e-6) << k << ", tensor " << i;
      EXPECT_LE(relative_error(bank.adam->exp_avg_sq(i)[k].cpu(), v[i]), 1e-6) << k << ", tensor " << i;
      EXPECT_EQ(bank.leaves[i].grad().count_nonzero().item<int64_t>(), 0);
    }
    EXPECT_EQ(counters[k].step, 100);
    EXPECT_EQ(counters[k].updates, 100);
    EXPECT_NEAR(counters[k].gradient_norm / norm, 1.0, 1e-6);
  }
}

TEST(CustomAdamW, BankIsBitwiseSeparateRuns) {
  Bank bank;
  for (int64_t step = 0; step < 4; ++step) bank.step(step);
  for (int64_t k = 0; k < kJobs; ++k) {
    Bank alone(k, 1);
    for (int64_t step = 0; step < 4; ++step) alone.step(step);
    expect_same(bank.of(k), alone.of(0));
  }
}

TEST(CustomAdamW, GradientsThatAreNoNumbersStopTheirOwnJobAlone) {
  Bank clean, hit;
  clean.step(0);
  hit.step(0);
  const auto before = hit.of(1);
  clean.step(1);
  hit.step(1, 1);
  expect_same(hit.of(1), before);  // gradients too: zeros
  for (const int64_t other : {0, 2}) expect_same(hit.of(other), clean.of(other));
  const auto counters = hit.adam->counters();
  EXPECT_EQ(counters[1].step, 2);
  EXPECT_EQ(counters[1].updates, 1);
  EXPECT_TRUE(std::isnan(counters[1].gradient_norm));
  EXPECT_EQ(counters[0].updates, 2);
}

TEST(CustomAdamW, InactiveJobIsNotTouched) {
  Bank all, stopped;
  all.step(0);
  stopped.step(0);
  stopped.adam->set_active({true, true, false});
  const auto before = stopped.of(2);
  all.step(1);
  stopped.step(1);
  const auto after = stopped.of(2);
  for (std::size_t i = 0; i < after.size(); ++i) {
    const bool gradient = i % 4 == 1;  // what autograd added is left there
    const at::Tensor expected = gradient ? Bank::gradient(i / 4, 1)[2].cpu() : before[i];
    EXPECT_TRUE(same_values(after[i], expected)) << i;
  }
  EXPECT_EQ(stopped.adam->counters()[2].step, 1);
  for (const int64_t other : {0, 1}) expect_same(stopped.of(other), all.of(other));
}

TEST(CustomAdamW, GradientsOfSeveralPassesAddUpInTheBuffer) {
  Bank bank;
  const void* place = bank.leaves[3].grad().const_data_ptr();
  for (int64_t pass = 0; pass < 2; ++pass) (bank.leaves[3] * Bank::gradient(3, pass)).sum().backward();
  EXPECT_EQ(bank.leaves[3].grad().const_data_ptr(), place);
  EXPECT_TRUE(same_values(bank.leaves[3].grad(), Bank::gradient(3, 0) + Bank::gradient(3, 1)));
}

TEST(CustomAdamW, LeavesKeepValuesAndLayoutAndBeginOn16Bytes) {
  const Bank bank;
  for (std::size_t i = 0; i < kShapes.size(); ++i) {
    EXPECT_TRUE(same_values(bank.leaves[i], Bank::numbers(i)));
    EXPECT_TRUE(bank.leaves[i].is_leaf() && bank.leaves[i].requires_grad());
    for (const at::Tensor& x : {bank.leaves[i].detach(), bank.leaves[i].grad(), bank.adam->exp_avg(i)}) {
      EXPECT_TRUE(x.is_contiguous());
      EXPECT_EQ(reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16, 0U) << i;
    }
  }
}

TEST(CustomAdamW, GoesOnFromCountersAndMomentsOfAnother) {
  Bank whole, first, second;
  for (int64_t step = 0; step < 6; ++step) whole.step(step);
  for (int64_t step = 0; step < 3; ++step) first.step(step);
  second.adam->set_counters(first.adam->counters());
  for (std::size_t i = 0; i < kShapes.size(); ++i) {
    second.leaves[i].detach().copy_(first.leaves[i].detach());
    second.adam->exp_avg(i).copy_(first.adam->exp_avg(i));
    second.adam->exp_avg_sq(i).copy_(first.adam->exp_avg_sq(i));
  }
  for (int64_t step = 3; step < 6; ++step) second.step(step);
  for (int64_t k = 0; k < kJobs; ++k) expect_same(second.of(k), whole.of(k));
}

TEST(CustomAdamW, Errors) {
  Bank bank;
  bank.leaves[2].mutable_grad().reset();
  EXPECT_THROW(bank.adam->step(), Error);
  const auto leaf = [](at::ScalarType type) {
    return at::zeros({2, 3}, at::TensorOptions(kernel_device()).dtype(type)).requires_grad_(true);
  };
  const std::vector<BankAdamW::Hyperparameters> jobs(2);
  EXPECT_NO_THROW(BankAdamW({{leaf(at::kFloat), {1, 1}, {0, 0}}}, jobs));
  EXPECT_THROW(BankAdamW({{leaf(at::kDouble), {1, 1}, {0, 0}}}, jobs), Error);
  EXPECT_THROW(BankAdamW({{leaf(at::kFloat), {1}, {0, 0}}}, jobs), Error);
  EXPECT_THROW(BankAdamW({{leaf(at::kFloat), {1, 1}, {0, 0}}}, std::vector<BankAdamW::Hyperparameters>(3)), Error);
  EXPECT_THROW(BankAdamW({{leaf(at::kFloat).detach(), {1, 1}, {0, 0}}}, jobs), Error);
  EXPECT_THROW(BankAdamW({}, jobs), Error);
  const std::vector<BankAdamW::Hyperparameters> unknown(2, {.lr_scheduler_type = "polynomial"});
  EXPECT_THROW(BankAdamW({{leaf(at::kFloat), {1, 1}, {0, 0}}}, unknown), Error);
}

}  // namespace
}  // namespace peft
