#include "peft/base/rng.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

namespace peft {
namespace {

constexpr std::size_t many = 1 << 20;

struct Moments {
  double mean, variance, skew, kurtosis;
};

Moments moments_of(const std::vector<float>& values) {
  const double n = double(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double second = 0, third = 0, fourth = 0;
  for (const double value : values) {
    const double d = value - mean;
    second += d * d;
    third += d * d * d;
    fourth += d * d * d * d;
  }
  second /= n;
  return {mean, second, third / n / std::pow(second, 1.5), fourth / n / second / second};
}

double correlation(const RngStream& a, const RngStream& b) {
  std::vector<float> x(many), y(many);
  a.fill_normal(x, 0, 1);
  b.fill_normal(y, 0, 1);
  return std::inner_product(x.begin(), x.end(), y.begin(), 0.0) / double(many);
}

TEST(Philox, GivesThePublishedVectors) {  // Random123, tests/kat_vectors, philox4x32 10
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox({ones, ones, ones, ones}, {ones, ones}),
            (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RngStream, DependsOnItsNameAlone) {
  EXPECT_EQ(RngStream(42, "dropout", 7).block(5), RngStream(42, "dropout", 7).block(5));
  std::set<PhiloxCounter> blocks;
  for (const uint64_t seed : {0, 1, 42}) {
    for (const char* purpose : {"dropout", "init", ""}) {
      for (const uint64_t step : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32}) {
        blocks.insert(RngStream(seed, purpose, step).block(0));
        blocks.insert(RngStream(seed, purpose, step).block(uint64_t{1} << 32));
      }
    }
  }
  EXPECT_EQ(blocks.size(), 54U);
}

TEST(RngStream, ElementsDoNotDependOnHowManyAreAsked) {
  const RngStream stream(1, "init");
  std::vector<float> longer(1003);
  stream.fill_normal(longer, 0, 1);
  for (const std::size_t size : {1, 2, 3, 4, 5, 6, 7, 255, 256, 257, 1001}) {
    std::vector<float> normal(size), uniform(size);
    stream.fill_normal(normal, 0, 1);
    stream.fill_uniform(uniform, -1, 3);
    for (std::size_t i = 0; i < size; ++i) {
      EXPECT_EQ(normal[i], longer[i]) << size;
      EXPECT_EQ(uniform[i], -1.0F + 4.0F * RngStream::uniform(stream.word(i))) << size;
    }
  }
}

TEST(RngStream, NormalIsBoxMullerOfTwoWords) {
  const RngStream stream(3, "init");
  std::vector<float> values(6);
  stream.fill_normal(values, 2, 0.5F);
  for (std::size_t i = 0; i < values.size(); i += 2) {
    const double u = (stream.word(i) + 0.5) * 0x1p-32, v = (stream.word(i + 1) + 0.5) * 0x1p-32;
    const double radius = std::sqrt(-2 * std::log(u));
    EXPECT_FLOAT_EQ(values[i], float(2 + 0.5 * radius * std::cos(2 * std::numbers::pi * v)));
    EXPECT_FLOAT_EQ(values[i + 1], float(2 + 0.5 * radius * std::sin(2 * std::numbers::pi * v)));
  }
}

// Tolerances: five standard errors of each moment for 2^20 samples.
TEST(RngStream, NormalMoments) {
  std::vector<float> values(many);
  RngStream(42, "init").fill_normal(values, 1, 2);
  const Moments m = moments_of(values);
  const double root = std::sqrt(double(many));
  EXPECT_NEAR(m.mean, 1, 5 * 2 / root);
  EXPECT_NEAR(m.variance, 4, 5 * 4 * std::sqrt(2.0) / root);
  EXPECT_NEAR(m.skew, 0, 5 * std::sqrt(6.0) / root);
  EXPECT_NEAR(m.kurtosis, 3, 5 * std::sqrt(24.0) / root);
}

TEST(RngStream, UniformMomentsAndBounds) {
  std::vector<float> values(many);
  RngStream(42, "init").fill_uniform(values, -1, 3);
  const Moments m = moments_of(values);
  const double root = std::sqrt(double(many));
  EXPECT_NEAR(m.mean, 1, 5 * std::sqrt(16.0 / 12) / root);
  EXPECT_NEAR(m.variance, 16.0 / 12, 5 * 16.0 * std::sqrt(1.0 / 180) / root);
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  EXPECT_GE(*low, -1.0F);
  EXPECT_LE(*high, 3.0F);
}

TEST(RngStream, UniformStaysInsideTheOpenUnitInterval) {
  EXPECT_GT(RngStream::uniform(0), 0.0F);
  EXPECT_LT(RngStream::uniform(0xffffffff), 1.0F);
}

TEST(RngStream, StreamsAreUncorrelated) {
  const double bound = 5 / std::sqrt(double(many));
  EXPECT_NEAR(correlation({1, "init"}, {2, "init"}), 0, bound);
  EXPECT_NEAR(correlation({1, "init"}, {1, "dropout"}), 0, bound);
  EXPECT_NEAR(correlation({1, "init", 0}, {1, "init", 1}), 0, bound);
}

TEST(RngStream, BelowIsUniform) {
  const RngStream stream(1, "shuffle");
  std::vector<int> counts(7);
  constexpr int draws = 70000;
  for (uint64_t i = 0; i < draws; ++i) ++counts.at(stream.below(i, counts.size()));
  double chi_square = 0;
  for (const int count : counts) chi_square += (count - 10000.0) * (count - 10000.0) / 10000.0;
  EXPECT_LT(chi_square, 22.46);  // 0.999 quantile, 6 degrees of freedom
  EXPECT_EQ(stream.below(0, 1), 0U);
}

}  // namespace
}  // namespace peft
