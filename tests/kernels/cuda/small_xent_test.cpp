/// small_xent on the emulator, against double precision.

#include <numeric>
#include <optional>

#include "src/kernels/cuda/small_xent/kernels.cuh"
#include "tests/kernels/cuda/elements.h"

namespace peft::cuda {
namespace {

using namespace row_tests;

struct Options {
  bool selected = false, words = false, weighted = true;
  double deviation = 2.0;
};

/// Logits are rows of a wider array; of its columns some are not classes.
template <class T>
struct Case {
  int32_t rows, classes;
  int64_t stride, gradient_stride;
  Options options;
  std::mt19937_64 random;
  Guarded<T> logits, gradient;
  std::vector<int32_t> row, column, label;
  std::vector<float> weight;
  Guarded<float> loss;

  Case(int32_t row_count, int32_t class_count, Options how, uint64_t seed)
      : rows(row_count),
        classes(class_count),
        stride(2 * class_count + 3),
        gradient_stride(class_count + 1),
        options(how),
        random(seed),
        logits(random_elements<T>(static_cast<std::size_t>((2 * row_count + 1) * stride), random, how.deviation)),
        gradient(static_cast<std::size_t>(row_count * gradient_stride)),
        loss(static_cast<std::size_t>(row_count)) {
    for (int32_t i = 0; i < rows; ++i) {
      row.push_back(how.selected ? static_cast<int32_t>(random() % static_cast<uint64_t>(2 * rows + 1)) : i);
      label.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(classes)));
      weight.push_back(how.weighted ? 0.1F * static_cast<float>(1 + random() % 9) : 1.0F);
    }
    column.resize(static_cast<std::size_t>(stride));
    std::iota(column.begin(), column.end(), 0);
    if (how.words) std::shuffle(column.begin(), column.end(), random);
    column.resize(static_cast<std::size_t>(classes));
  }
  SmallXent arguments() {
    return {.logits = logits.data(),
            .logits_stride = stride,
            .row = options.selected ? row.data() : nullptr,
            .column = options.words ? column.data() : nullptr,
            .label = label.data(),
            .weight = options.weighted ? weight.data() : nullptr,
            .loss = loss.data(),
            .dlogits = gradient.data(),
            .dlogits_stride = gradient_stride,
            .rows = rows,
            .classes = classes};
  }
  void run() { ASSERT_EQ(launch_small_xent(arguments(), ElementOf<T>::value, nullptr), 0); }
  double logit(int32_t i, int32_t j) const {
    return static_cast<double>(to_float(logits[static_cast<std::size_t>(row[i] * stride + column[j])]));
  }

  struct Expected {
    double loss;
    Doubles gradient;
  };
  Expected expected(int32_t i) const {
    double others = 0.0;  // relative to the label
    for (int32_t j = 0; j < classes; ++j) {
      if (j != label[i]) others += std::exp(logit(i, j) - logit(i, label[i]));
    }
    const auto w = static_cast<double>(weight[i]);
    Expected result{w * std::log1p(others), {}};
    for (int32_t j = 0; j < classes; ++j) {
      const double p = std::exp(logit(i, j) - logit(i, label[i])) / (1.0 + others);
      result.gradient.push_back(w * (j == label[i] ? -others / (1.0 + others) : p));
    }
    return result;
  }
  void check(double loss_tolerance = 2e-6) const {
    Doubles actual, all;
    for (int32_t i = 0; i < rows; ++i) {
      const Expected e = expected(i);
      ASSERT_NEAR(static_cast<double>(loss[i]), e.loss, loss_tolerance * std::abs(e.loss)) << "row " << i;
      for (int32_t j = 0; j < classes; ++j) {
        actual.push_back(static_cast<double>(to_float(gradient[static_cast<std::size_t>(i * gradient_stride + j)])));
        all.push_back(e.gradient[j]);
      }
      ASSERT_TRUE(std::isnan(to_float(gradient[static_cast<std::size_t>(i * gradient_stride + classes)])));  // the gap
    }
    expect_backward<T>(actual, all);
    ASSERT_TRUE(gradient.guards_hold() && loss.guards_hold());
  }
};

template <class T>
class SmallXentRows : public testing::Test {};
TYPED_TEST_SUITE(SmallXentRows, AllElements);

TYPED_TEST(SmallXentRows, EqualDouble) {
  using T = typename TypeParam::type;
  for (const int32_t classes : {1, 2, 3, 31, 32, 33, 150, 256, 257, 1000, 1024}) {
    for (int how = 0; how < 8; ++how) {
      SCOPED_TRACE("classes " + std::to_string(classes) + ", case " + std::to_string(how));
      Case<T> c(5, classes, {.selected = how % 2 == 1, .words = how / 2 % 2 == 1, .weighted = how < 4},
                static_cast<uint64_t>(classes + how));
      c.run();
      c.check();
    }
  }
}

TYPED_TEST(SmallXentRows, IgnoredRowsAreNotReadAndGiveZeros) {
  using T = typename TypeParam::type;
  Case<T> c(6, 40, {}, 3), clean(6, 40, {}, 3);
  c.weight[2] = 0.0F;
  c.label[2] = -100;
  for (int64_t i = 0; i < c.stride; ++i)
    c.logits[static_cast<std::size_t>(2 * c.stride + i)] = element<T>(std::numeric_limits<double>::quiet_NaN());
  c.run();
  clean.run();
  for (int32_t i = 0; i < 6; ++i) {
    EXPECT_EQ(c.loss[i], i == 2 ? 0.0F : clean.loss[i]);
    for (int64_t j = 0; j < 40; ++j) {
      const auto at = static_cast<std::size_t>(i * c.gradient_stride + j);
      ASSERT_EQ(to_float(c.gradient[at]), i == 2 ? 0.0F : to_float(clean.gradient[at]));
    }
  }
}

TYPED_TEST(SmallXentRows, ConfidentAndHopelessRowsKeepTheirPrecision) {
  using T = typename TypeParam::type;
  for (const double amplitude : {8.0, 40.0, 200.0}) {
    Case<T> c(4, 5, {}, 5);
    for (int32_t i = 0; i < 4; ++i) {
      for (int32_t j = 0; j < 5; ++j) {
        const double sign = (i % 2 == 0) == (j == c.label[i]) ? 1.0 : -1.0;
        c.logits[static_cast<std::size_t>(i * c.stride + j)] = element<T>(sign * amplitude / 2.0 + 0.125 * j);
      }
    }
    c.run();
    if (amplitude < 100.0) {
      c.check(1e-5);
      for (int32_t i = 0; i < 4; ++i) EXPECT_GT(c.loss[i], 0.0F);
    }
    for (int32_t i = 0; i < 4; ++i) EXPECT_TRUE(std::isfinite(c.loss[i]));
    for (int32_t i = 1; i < 4; i += 2)
      EXPECT_NEAR(c.loss[i] / c.weight[i], amplitude + 1.0, 2.0);  // the label is far below four others
  }
}

TYPED_TEST(SmallXentRows, WrongLabelsAndNotANumberReachLossAndGradient) {
  using T = typename TypeParam::type;
  for (const int32_t label : {-1, -100, 7, 1 << 30}) {
    Case<T> c(2, 7, {}, 6);
    c.label[1] = label;
    c.run();
    EXPECT_TRUE(std::isfinite(c.loss[0]));
    EXPECT_TRUE(std::isnan(c.loss[1]));
    EXPECT_TRUE(std::isnan(to_float(c.gradient[static_cast<std::size_t>(c.gradient_stride)])));
  }
  for (const bool own : {true, false}) {
    Case<T> c(1, 7, {}, 7);
    c.label[0] = 3;
    c.logits[own ? 3 : 4] = element<T>(std::numeric_limits<double>::quiet_NaN());
    c.run();
    EXPECT_TRUE(std::isnan(c.loss[0]));
    EXPECT_TRUE(std::isnan(to_float(c.gradient[0])));
  }
}

TYPED_TEST(SmallXentRows, GradientMayReplaceTheLogitsInAnyOrder) {
  using T = typename TypeParam::type;
  std::optional<Case<T>> apart;
  for (const uint64_t order : {1, 2, 3}) {
    emulator::seed() = order;
    Case<T> c(5, 70, {}, 8), shared(5, 70, {}, 8);
    c.run();
    SmallXent a = shared.arguments();
    a.dlogits = shared.logits.data();
    a.dlogits_stride = shared.stride;
    ASSERT_EQ(launch_small_xent(a, ElementOf<T>::value, nullptr), 0);
    if (!apart) apart.emplace(c);
    EXPECT_TRUE(c.gradient.same_bits(apart->gradient) && c.loss.same_bits(apart->loss));
    for (int32_t i = 0; i < 5; ++i)
      EXPECT_EQ(std::memcmp(&shared.logits[static_cast<std::size_t>(i * shared.stride)],
                            &c.gradient[static_cast<std::size_t>(i * c.gradient_stride)], 70 * sizeof(T)),
                0);
  }
  emulator::seed() = 1;
}

TEST(SmallXentShapes, LossAloneAndLimits) {
  Case<float> c(3, 9, {}, 9), full(3, 9, {}, 9);
  SmallXent a = c.arguments();
  a.dlogits = nullptr;
  ASSERT_EQ(launch_small_xent(a, Element::float32, nullptr), 0);
  full.run();
  EXPECT_TRUE(c.loss.same_bits(full.loss));
  EXPECT_TRUE(std::isnan(c.gradient[0]));
  for (const int32_t classes : {0, 1025}) {
    a.classes = classes;
    EXPECT_NE(launch_small_xent(a, Element::float32, nullptr), 0);
  }
  a.rows = 0;
  EXPECT_EQ(launch_small_xent(a, Element::float32, nullptr), 0);
}

}  // namespace
}  // namespace peft::cuda
