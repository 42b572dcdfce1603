/// bank_adamw on the emulator, against the same formula in double precision.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "src/kernels/cuda/bank_adamw/kernels.cuh"

namespace peft::cuda {
namespace {

/// A bank in host memory with random segments, and canaries between them.
struct Bank {
  std::vector<AdamSegment> segments;
  std::vector<AdamJob> jobs;
  std::vector<AdamCounters> counters, before;
  std::vector<float> p, g, m, v, partial;
  std::vector<uint16_t> shadow;
  AdamWorkList work;

  explicit Bank(uint64_t seed, int job_count = 3) : counters(job_count), before(job_count) {
    std::mt19937_64 random(seed);
    const auto uniform = [&](double a, double b) { return std::uniform_real_distribution<double>(a, b)(random); };
    int64_t offset = 0;
    for (int j = 0; j < job_count; ++j) {
      jobs.push_back({.schedule = static_cast<ScheduleKind>(random() % 4),
                      .warmup = static_cast<int64_t>(random() % 5),
                      .total = 40,
                      .max_grad_norm = random() % 3 == 0 ? 0.0 : uniform(0.1, 5.0)});
      for (int s = 0; s < 3; ++s) {
        auto count = static_cast<int64_t>(s == 1 ? 1 + random() % 9 : 1 + random() % (3 * kAdamChunk));
        if (s == 0) count = (count + 3) / 4 * 4;
        if (count % 4 == 0) offset = (offset + 3) / 4 * 4;
        segments.push_back(
            {offset, count, j, static_cast<float>(uniform(1e-4, 1e-2)), static_cast<float>(uniform(0.0, 0.2))});
        offset += count + 1 + static_cast<int64_t>(random() % 3);  // at least one element that belongs to nobody
      }
    }
    for (std::vector<float>* x : {&p, &g, &m, &v}) x->assign(offset, -7.5F);
    shadow.assign(offset, 77);
    for (const AdamSegment& s : segments) {
      for (int64_t i = s.offset; i < s.offset + s.count; ++i) {
        p[i] = static_cast<float>(uniform(-1, 1));
        m[i] = v[i] = 0.0F;
      }
    }
    work = adam_work_list(segments, job_count);
    partial.assign(work.chunks.size(), std::numeric_limits<float>::quiet_NaN());
  }

  /// Gradients of step number `step`, the same whatever happened before.
  void fill_gradients(uint64_t step) {
    std::mt19937_64 random(step);
    std::normal_distribution<float> normal;
    for (const AdamSegment& s : segments) {
      for (int64_t i = s.offset; i < s.offset + s.count; ++i) g[i] = normal(random);
    }
  }
  void step() {
    ASSERT_EQ(launch_bank_adamw({p.data(), g.data(), m.data(), v.data(), shadow.data(), segments.data(), jobs.data(),
                                 counters.data(), work.chunks.data(), work.first_chunk.data(), before.data(),
                                 partial.data(), static_cast<int32_t>(work.chunks.size())},
                                nullptr),
              0);
  }
  bool owned(int64_t i) const {
    for (const AdamSegment& s : segments) {
      if (i >= s.offset && i < s.offset + s.count) return true;
    }
    return false;
  }
};

TEST(BankAdamW, EqualsTheFormulaInDouble) {
  for (const uint64_t seed : {1, 2, 3}) {
    Bank bank(seed);
    std::vector<double> p(bank.p.begin(), bank.p.end()), m(p.size(), 0.0), v(p.size(), 0.0);
    constexpr int kSteps = 20;
    for (int step = 0; step < kSteps; ++step) {
      bank.fill_gradients(step);
      const std::vector<float> g = bank.g;
      bank.step();
      for (std::size_t j = 0; j < bank.jobs.size(); ++j) {
        const AdamJob& job = bank.jobs[j];
        double squares = 0.0;
        for (const AdamSegment& s : bank.segments) {
          for (int64_t i = s.offset; s.job == static_cast<int>(j) && i < s.offset + s.count; ++i)
            squares += std::pow(g[i], 2.0);
        }
        const double norm = std::sqrt(squares),
                     clip = job.max_grad_norm > 0 ? std::min(1.0, job.max_grad_norm / (norm + 1e-6)) : 1.0;
        EXPECT_NEAR(bank.counters[j].gradient_norm, norm, 1e-6 * norm);
        for (const AdamSegment& s : bank.segments) {
          if (s.job != static_cast<int>(j)) continue;
          const double rate = s.learning_rate * schedule_factor(job.schedule, step, job.warmup, job.total),
                       t = step + 1;
          for (int64_t i = s.offset; i < s.offset + s.count; ++i) {
            const double d = g[i] * clip;
            p[i] -= rate * s.weight_decay * p[i];
            m[i] = job.beta1 * m[i] + (1.0 - job.beta1) * d;
            v[i] = job.beta2 * v[i] + (1.0 - job.beta2) * d * d;
            p[i] -= rate / (1.0 - std::pow(job.beta1, t)) * m[i] /
                    (std::sqrt(v[i] / (1.0 - std::pow(job.beta2, t))) + job.epsilon);
          }
        }
      }
    }
    for (std::size_t i = 0; i < p.size(); ++i) {
      if (bank.owned(static_cast<int64_t>(i))) {
        ASSERT_NEAR(bank.p[i], p[i], 2e-6 * std::max(1.0, std::abs(p[i]))) << i;
        ASSERT_EQ(bank.g[i], 0.0F) << i;
        ASSERT_EQ(bank.shadow[i], to_bf16(bank.p[i]).bits) << i;
      } else {
        ASSERT_EQ(bank.p[i], -7.5F) << i;
        ASSERT_EQ(bank.g[i], -7.5F) << i;
        ASSERT_EQ(bank.shadow[i], 77) << i;
      }
    }
    for (const AdamCounters& c : bank.counters) {
      EXPECT_EQ(c.step, kSteps);
      EXPECT_EQ(c.updates, kSteps);
    }
  }
}

TEST(BankAdamW, ThreadOrderDoesNotMatter) {
  std::vector<float> first;
  for (const uint64_t order : {1, 2, 3, 4}) {
    emulator::seed() = order;
    Bank bank(5);
    for (int step = 0; step < 5; ++step) {
      bank.fill_gradients(step);
      bank.step();
    }
    if (first.empty()) first = bank.p;
    EXPECT_EQ(std::memcmp(first.data(), bank.p.data(), first.size() * sizeof(float)), 0);
  }
  emulator::seed() = 1;
}

TEST(BankAdamW, NonFiniteGradientsStopTheirOwnJobAlone) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    Bank clean(7), broken(7);
    for (int step = 0; step < 3; ++step) {
      for (Bank* bank : {&clean, &broken}) bank->fill_gradients(step);
      const Bank before = broken;
      if (step == 1) {
        const AdamSegment& hit = broken.segments[5];  // of job 1
        broken.g[hit.offset + hit.count - 1] = bad;
      }
      clean.step();
      broken.step();
      if (step == 1) {
        for (const AdamSegment& s : broken.segments) {
          for (int64_t i = s.offset; s.job == 1 && i < s.offset + s.count; ++i) {
            ASSERT_EQ(broken.p[i], before.p[i]);
            ASSERT_EQ(broken.m[i], before.m[i]);
            ASSERT_EQ(broken.v[i], before.v[i]);
            ASSERT_EQ(broken.g[i], 0.0F);
          }
        }
      }
    }
    for (const AdamSegment& s : broken.segments) {
      for (int64_t i = s.offset; s.job != 1 && i < s.offset + s.count; ++i) ASSERT_EQ(broken.p[i], clean.p[i]) << i;
    }
    EXPECT_EQ(broken.counters[1].step, 3);
    EXPECT_EQ(broken.counters[1].updates, 2);
    EXPECT_EQ(broken.counters[0].updates, 3);
  }
}

TEST(BankAdamW, InactiveJobIsNotTouched) {
  Bank bank(9), all(9);
  bank.jobs[0].active = 0;
  const Bank before = bank;
  for (Bank* each : {&bank, &all}) {
    each->fill_gradients(1);
    each->step();
  }
  EXPECT_EQ(bank.counters[0].step, 0);
  for (const AdamSegment& s : bank.segments) {
    for (int64_t i = s.offset; i < s.offset + s.count; ++i) ASSERT_EQ(bank.p[i], s.job == 0 ? before.p[i] : all.p[i]);
  }
}

TEST(BankAdamW, WorkListCoversEverySegmentOnce) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 50; ++round) {
    std::vector<AdamSegment> segments;
    std::vector<int64_t> expected;
    const auto jobs = static_cast<int32_t>(1 + random() % 5);
    int64_t offset = 0;
    for (int32_t j = 0; j < jobs; ++j) {
      for (uint64_t s = random() % 4; s > 0; --s) {
        const auto count = static_cast<int64_t>(random() % 10000);
        segments.push_back({offset, count, j, 0.0F, 0.0F});
        for (int64_t i = 0; i < count; ++i) expected.push_back(offset + i);
        offset += (count + 3) / 4 * 4;
      }
    }
    const AdamWorkList list = adam_work_list(segments, jobs);
    std::vector<int64_t> covered;
    ASSERT_EQ(list.first_chunk.size(), static_cast<std::size_t>(jobs + 1));
    ASSERT_EQ(list.first_chunk.back(), static_cast<int32_t>(list.chunks.size()));
    for (std::size_t c = 0; c < list.chunks.size(); ++c) {
      const AdamChunk& chunk = list.chunks[c];
      EXPECT_EQ(chunk.job, segments[chunk.segment].job);
      EXPECT_GE(static_cast<int32_t>(c), list.first_chunk[chunk.job]);
      EXPECT_LT(static_cast<int32_t>(c), list.first_chunk[chunk.job + 1]);
      EXPECT_EQ(chunk.offset % 4, 0);
      for (int64_t i = 0; i < chunk.count; ++i) covered.push_back(chunk.offset + i);
    }
    EXPECT_EQ(covered, expected);
  }
}

}  // namespace
}  // namespace peft::cuda
