/// Planning of kv_assembly.

#include <gmock/gmock.h>

#include "tests/kernels/cuda/kv_case.h"

namespace peft::cuda::matrix_tests {
namespace {

TEST(KvPlan, RowsAreThoseOfTheSequencesInOrder) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    const KvCase c = KvCase::random(seed);
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + c.name());
    ASSERT_EQ(c.plan.rows.size(), static_cast<std::size_t>(c.sequences() * c.in.prefix + c.rows()));
    int32_t positions = 0;
    const int32_t used = c.for_each_row([&](int32_t row, int32_t b, int32_t j, int32_t text, int32_t position) {
      const KvRow found = c.plan.rows[row];
      EXPECT_EQ(found.source, text >= 0 ? text : ~(c.table_of(b) * c.in.prefix + j));
      if (c.rotate) {
        EXPECT_EQ(found.position, position);
      }
      EXPECT_GE(row, c.plan.cu_k[b]);
      EXPECT_LT(row, c.plan.cu_k[b + 1]);
      positions = std::max(positions, found.position + 1);
    });
    EXPECT_EQ(used, c.plan.cu_k.back());
    EXPECT_EQ(positions, c.plan.positions);
    for (std::size_t row = used; row < c.plan.rows.size(); ++row) EXPECT_EQ(c.plan.rows[row].source, kNoKvRow);
  }
}

TEST(KvPlan, EverySequenceIsInOneSumOfItsTable) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    const KvCase c = KvCase::random(seed);
    const KvPlan& plan = c.plan;
    ASSERT_EQ(plan.sums.size(),
              static_cast<std::size_t>((c.sequences() + kKvSumSequences - 1) / kKvSumSequences + c.tables()));
    ASSERT_EQ(plan.prefix_begin.size(), static_cast<std::size_t>(c.sequences()));
    std::vector<std::vector<int32_t>> found(c.tables()), expected(c.tables());
    for (int32_t b = 0; b < c.sequences(); ++b) {
      if (c.length_of(b) > 0) expected[c.table_of(b)].push_back(plan.cu_k[b]);
    }
    for (int32_t table = 0; table < c.tables(); ++table) {
      for (int32_t s = plan.first_sum[table]; s < plan.first_sum[table + 1]; ++s) {
        EXPECT_EQ(plan.sums[s].table, table);
        EXPECT_LE(plan.sums[s].count, kKvSumSequences);
        for (int32_t i = 0; i < plan.sums[s].count; ++i)
          found[table].push_back(plan.prefix_begin[plan.sums[s].first + i]);
      }
    }
    EXPECT_EQ(found, expected) << "seed " << seed;
    for (std::size_t s = plan.first_sum.back(); s < plan.sums.size(); ++s) EXPECT_EQ(plan.sums[s].count, 0);
  }
}

TEST(KvPlan, WholePrefixesShiftTheOffsetsByMultiplesOfTheirLength) {
  const KvPlan plan = kv_plan({.cu = {0, 4, 5, 9}, .adapter = {0, 0, 1}, .prefix_length = {6, 6}, .prefix = 6});
  EXPECT_THAT(plan.cu_k, testing::ElementsAre(0, 10, 17, 27));
  const KvPlan shorter =
      kv_plan({.cu = {0, 4, 4, 5, 9}, .adapter = {-1, 0, 0, 1}, .prefix_length = {6, 2}, .prefix = 6});
  EXPECT_THAT(shorter.cu_k, testing::ElementsAre(0, 4, 4, 11, 17));
}

std::string refusal(const KvPlanInput& in) {
  try {
    kv_plan(in);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

TEST(KvPlan, SizesThatDoNotFitTogetherAreRefused) {
  using testing::HasSubstr;
  const KvPlanInput good{.cu = {0, 4, 5}, .adapter = {0, 1}, .prefix_length = {2, 3}, .prefix = 3};
  EXPECT_EQ(refusal(good), "accepted");
  const auto with = [&](const auto& change) {
    KvPlanInput in = good;
    change(in);
    return refusal(in);
  };
  EXPECT_THAT(with([](KvPlanInput& in) { in.cu = {}; }), HasSubstr("do not start at 0"));
  EXPECT_THAT(with([](KvPlanInput& in) { in.cu = {1, 4, 5}; }), HasSubstr("do not start at 0"));
  EXPECT_THAT(with([](KvPlanInput& in) { in.cu = {0, 6, 5}; }), HasSubstr("sequence 1 has a negative length"));
  EXPECT_THAT(with([](KvPlanInput& in) { in.adapter = {0}; }), HasSubstr("found 1 adapter numbers, expected 2"));
  EXPECT_THAT(with([](KvPlanInput& in) { in.adapter = {0, 2}; }), HasSubstr("sequence 1 has adapter 2 of 2"));
  EXPECT_THAT(with([](KvPlanInput& in) { in.prefix_length = {2, 4}; }), HasSubstr("adapter 1 has a prefix of 4 rows"));
  EXPECT_THAT(with([](KvPlanInput& in) { in.position = {0, 1}; }), HasSubstr("found 2 positions of 5 rows"));
}

TEST(KvPlan, ShapesThatTheKernelsCannotReadAreRefused) {
  KvAssembly p{};
  p.shape = {Element::bfloat16, 1, 1, 16, 2};
  const float angle = 0.0F;
  EXPECT_EQ(launch_kv_assembly(p, nullptr), 0);
  p.shape.width = 12;
  EXPECT_EQ(launch_kv_assembly(p, nullptr), kRefused);
  p.shape.width = 24;
  EXPECT_EQ(launch_kv_assembly(p, nullptr), 0);
  p.cos = reinterpret_cast<const float*>(reinterpret_cast<std::uintptr_t>(&angle) / 16 * 16);
  EXPECT_EQ(launch_kv_assembly(p, nullptr), kRefused) << "rotation needs halves of whole pieces";
  p.shape.width = 32;
  EXPECT_EQ(launch_kv_assembly(p, nullptr), 0);
  p.k_stride = 4;
  EXPECT_EQ(launch_kv_assembly(p, nullptr), kRefused);
}

}  // namespace
}  // namespace peft::cuda::matrix_tests
