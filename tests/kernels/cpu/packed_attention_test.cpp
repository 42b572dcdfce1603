/// The packed attention of the CPU against its definition, for every instruction set that this processor has.

#include "src/kernels/cpu/packed_attention.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/kernels/cpu/attention_case.h"

namespace peft::cpu {
namespace {

std::string name_of(const Settings& s) {
  return fmt::format(
      "{} sequences, first of {} queries, H {}, G {}, D {}, P {}{}, K {}, causal {}, window {}, buckets {}{}, dropout "
      "{}, "
      "starts {} {}, gaps {}, seed {}",
      s.queries.size(), s.queries[0], s.heads, s.key_heads, s.width, s.prefix, s.table_each ? " each" : "", s.adapters,
      s.causal, s.window, s.buckets, s.bias_of_prefix ? " and of pairs" : "", s.dropout, s.query_start, s.key_start,
      s.gaps, s.seed);
}

template <class E>
void expect_equal(const Settings& s, double tolerance) {
  const Case<E> c(s);
  const Outcome expected = definition(c);
  const AllKernels kernels = all_kernels();
  for (int i = 0; i < kernels.count; ++i) {
    SCOPED_TRACE(fmt::format("{}, element {}, {}", kernels.items[i]->name, static_cast<int>(kElement<E>), name_of(s)));
    const Outcome found = run(c, kernels.items[i]->attention);
    EXPECT_LT(relative_error(found.out, expected.out), tolerance);
    EXPECT_LT(relative_error(found.lse, expected.lse), tolerance);
    EXPECT_LT(relative_error(found.dq, expected.dq), tolerance);
    EXPECT_LT(relative_error(found.dk, expected.dk), tolerance);
    EXPECT_LT(relative_error(found.dv, expected.dv), tolerance);
    EXPECT_LT(relative_error(found.dpk, expected.dpk), tolerance);
    EXPECT_LT(relative_error(found.dpv, expected.dpv), tolerance);
    EXPECT_LT(relative_error(found.dtable, expected.dtable), tolerance);
  }
}

void expect_equal_everywhere(const Settings& s) {
  expect_equal<double>(s, 1e-12);
  expect_equal<float>(s, 1e-5);
  // O is rounded, and with it delta: dq and dk of few keys feel that most.
  expect_equal<Bfloat16>(s, 2e-2);
  expect_equal<_Float16>(s, 2.5e-3);
}

TEST(PackedAttention, EqualsItsDefinition) {
  for (const int64_t prefix : {0, 1, 20, 130}) {
    for (const bool causal : {false, true}) {
      expect_equal_everywhere({.queries = {5, 1, 0, 17, 60},
                               .heads = 4,
                               .key_heads = 2,
                               .prefix = prefix,
                               .adapters = 2,
                               .causal = causal});
    }
  }
}

TEST(PackedAttention, EveryWidth) {
  for (const int64_t width : {1, 4, 8, 12, 20, 33, 64, 80, 100, 256})
    expect_equal_everywhere({.queries = {19, 2}, .width = width, .prefix = 3, .causal = true, .dropout = 0.2});
}

TEST(PackedAttention, LengthsAroundTheBlocks) {
  for (const int64_t length : {1, 2, 3, 15, 16, 17, 47, 48, 49, 127, 128, 129, 257})
    expect_equal_everywhere(
        {.queries = {length}, .key_heads = 2, .prefix = length % 3 * 10, .causal = length % 2 == 1, .dropout = 0.1});
}

/// All of it at once, drawn at random.
TEST(PackedAttention, RandomCalls) {
  std::mt19937_64 random(11);
  const auto below = [&](int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); };
  for (int i = 0; i < 150; ++i) {
    Settings s{.key_heads = 1 + below(3), .width = 4 + below(40), .seed = random()};
    s.heads = s.key_heads * (1 + below(3));
    const int64_t sequences = 1 + below(12), most = below(4) == 0 ? 300 / sequences + 1 : 30;
    for (int64_t b = 0; b < sequences; ++b) s.queries.push_back(below(most));
    if (below(3) == 0) {
      for (int64_t b = 0; b < sequences; ++b) s.keys.push_back(below(most));
    }
    s.adapters = 1 + below(std::min<int64_t>(3, sequences));
    s.prefix = below(2) * below(40);
    s.table_each = below(3) == 0;
    s.causal = below(2) == 0;
    s.window = below(3) == 0 ? 1 + below(20) : 0;
    s.buckets = below(2) * (2 + below(16));
    s.bias_of_prefix = below(2) == 0;
    s.dropout = below(2) == 0 ? 0.3 : 0.0;
    s.gaps = below(4) == 0;
    s.query_start = below(3) == 0 ? below(30) : 0;
    s.key_start = s.keys.empty() ? s.query_start : below(30);
    expect_equal<double>(s, 1e-12);
    expect_equal<float>(s, 2e-5);
  }
}

TEST(PackedAttention, LargeScores) {
  for (const double amplitude : {8.0, 40.0, 200.0}) {
    const Settings s{.queries = {40, 9}, .prefix = 5, .causal = true, .amplitude = amplitude};
    expect_equal<double>(s, 1e-11);
    expect_equal<float>(s, 1e-4);
  }
}

/// A sequence alone, and among others in another place of the batch: the same bits.
TEST(PackedAttention, NeighboursChangeNothing) {
  Settings s{.queries = {40, 9, 130},
             .heads = 4,
             .key_heads = 2,
             .width = 24,
             .prefix = 12,
             .adapters = 3,
             .causal = true,
             .dropout = 0.2};
  const Case<float> all(s);
  for (const Kernels* set : {&kernels(), all_kernels().items[0]}) {
    const Outcome together = run(all, set->attention);
    for (std::size_t b = 0; b < 3; ++b) {
      Case<float> one = all;
      const PackedSequence& at = all.sequences[b];
      one.sequences = {at};
      one.ranges = {{0, 1}};
      one.sequences[0].first_query = one.sequences[0].first_key = 0;
      const auto cut = [&](const std::vector<double>& x, int64_t row, int64_t first, int64_t count) {
        return std::vector<double>(x.begin() + first * row, x.begin() + (first + count) * row);
      };
      const int64_t query = s.heads * s.width, key = s.key_heads * s.width;
      one.q = cut(all.q, query, at.first_query, at.queries);
      one.dout = cut(all.dout, query, at.first_query, at.queries);
      one.k = cut(all.k, key, at.first_key, at.keys);
      one.v = cut(all.v, key, at.first_key, at.keys);
      one.query_index = one.key_index = {all.query_index.begin() + at.first_query,
                                         all.query_index.begin() + at.first_query + at.queries};
      const Outcome alone = run(one, set->attention);
      EXPECT_EQ(alone.out, cut(together.out, query, at.first_query, at.queries));
      EXPECT_EQ(alone.dq, cut(together.dq, query, at.first_query, at.queries));
      EXPECT_EQ(alone.dk, cut(together.dk, key, at.first_key, at.keys));
      EXPECT_EQ(alone.dv, cut(together.dv, key, at.first_key, at.keys));
    }
  }
}

/// Sequences of one adapter share a unit: what they have in common is packed once, and changes none of them.
TEST(PackedAttention, SequencesOfOneUnitChangeNothing) {
  const Settings s{
      .queries = {40, 9, 130, 0, 61}, .heads = 2, .width = 24, .prefix = 12, .causal = true, .dropout = 0.2};
  Case<float> together(s), apart(s);
  apart.ranges.clear();
  for (int64_t b = 0; b < 5; ++b) apart.ranges.push_back({b, b + 1});
  const Outcome one = run(together, kernels().attention), five = run(apart, kernels().attention);
  EXPECT_EQ(one.out, five.out);
  EXPECT_EQ(one.dq, five.dq);
  EXPECT_EQ(one.dk, five.dk);
  EXPECT_EQ(one.dv, five.dv);
  EXPECT_LT(relative_error(one.dpk, five.dpk), 1e-6);  // another order of sums
}

/// Units on many threads at once: for the thread sanitizer, and the same bits.
TEST(PackedAttention, UnitsOnThreads) {
  Settings s{.heads = 6,
             .key_heads = 3,
             .width = 16,
             .prefix = 5,
             .adapters = 4,
             .causal = true,
             .buckets = 6,
             .dropout = 0.1};
  for (int64_t b = 0; b < 12; ++b) s.queries.push_back(1 + b * 7 % 50);
  const Case<float> c(s);
  const Outcome alone = run(c, kernels().attention), found = run(c, kernels().attention, 4);
  EXPECT_EQ(found.out, alone.out);
  EXPECT_EQ(found.dq, alone.dq);
  EXPECT_EQ(found.dk, alone.dk);
  EXPECT_EQ(found.dv, alone.dv);
  EXPECT_EQ(found.dpk, alone.dpk);
  EXPECT_EQ(found.dtable, alone.dtable);
}

/// A query whose scores are no numbers spoils its own row and nothing else of the output; hidden keys spoil nothing.
TEST(PackedAttention, ScoresThatAreNoNumbers) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    const Settings s{.queries = {20, 7}, .heads = 1, .causal = true};
    Case<float> c(s);
    const Outcome before = run(c, kernels().attention);
    c.q[3 * s.width] = bad;
    const Outcome after = run(c, kernels().attention);
    for (int64_t i = 0; i < 27; ++i) {
      for (int64_t d = 0; d < s.width; ++d) {
        const double x = after.out[i * s.width + d];
        if (i == 3) {
          EXPECT_TRUE(std::isnan(x));
        } else {
          EXPECT_EQ(x, before.out[i * s.width + d]);
        }
      }
    }
    EXPECT_EQ(std::vector<double>(after.dk.begin() + 20 * s.width, after.dk.end()),
              std::vector<double>(before.dk.begin() + 20 * s.width, before.dk.end()));
  }
}

TEST(PackedAttention, HundredThousandKeys) {
  const Settings s{.queries = {2}, .keys = {100000}, .heads = 2, .width = 16};
  expect_equal<float>(s, 1e-4);
  const Settings causal{
      .queries = {3}, .keys = {100000}, .heads = 1, .causal = true, .dropout = 0.1, .query_start = 99990};
  expect_equal<float>(causal, 1e-4);
}

}  // namespace
}  // namespace peft::cpu
