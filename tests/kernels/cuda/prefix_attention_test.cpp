/// prefix_attention on the emulator against one softmax over [prefix; sequence] in double precision.

#include "tests/kernels/cuda/prefix_case.h"

namespace peft::cuda {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// docs/kernels.md#tolerances: relative L2 in bfloat16, 2.5 times as much for amplitudes from 8 on; half has three bits more.
template <class T>
void expect_parity(const PrefixCase& c, const PrefixOptions& options = {}) {
  SCOPED_TRACE(c.name());
  const PrefixInputs in = prefix_inputs<T>(c);
  const PrefixReference r = PrefixOracle(c, in).run();
  PrefixRun<T> run = run_prefix<T>(c, in, r, options);
  const double tolerance = (c.amplitude >= 8.0 ? 2.5 : 1.0) * (std::is_same_v<T, half> ? 0.25 : 1.0);
  EXPECT_LT(relative_l2(values(run.out), r.out), 3.5e-3 * tolerance);
  EXPECT_LT(relative_l2(values(run.dq), r.dq), 4e-3 * tolerance);
  EXPECT_LT(relative_l2(values(run.dk), r.dk), 2.5e-3 * tolerance);
  EXPECT_LT(relative_l2(values(run.dv), r.dv), 1e-4);  // p is not rounded
  for (std::size_t i = 0; i < r.lse.size(); ++i)
    ASSERT_NEAR(run.lse[i], r.lse[i], 1e-5 + 1e-6 * std::abs(r.lse[i])) << i;
  std::vector<double> deltas(r.lse.size()), expected(r.lse.size());
  for (int k = -1; k < c.groups(); ++k) {
    for (int t = k < 0 ? 0 : c.group_rows[k]; t < c.group_rows[k + 1]; ++t) {
      for (int h = 0; h < c.heads; ++h) {
        const auto at = (static_cast<std::ptrdiff_t>(t) * c.heads + h) * c.width;
        const std::size_t row = static_cast<std::size_t>(h) * c.rows() + t;
        deltas[row] = run.delta[row];
        expected[row] = std::inner_product(&r.out[at], &r.out[at] + c.width, &in.dout[at], 0.0);
        if (c.length_of(k) > 0) continue;
        EXPECT_EQ(run.lse[row], static_cast<float>(r.self_lse[row]));
        for (int i = 0; i < c.width; ++i) {
          ASSERT_EQ(std::memcmp(&run.out.at(t, h, i), &run.self[at + i], 2), 0) << t << " " << h << " " << i;
          ASSERT_EQ(std::memcmp(&run.dq.at(t, h, i), &run.dq_self[at + i], 2), 0) << t << " " << h << " " << i;
        }
      }
    }
  }
  EXPECT_LT(relative_l2(deltas, expected), 3.5e-3 * tolerance);
}

class PrefixWidths : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(PrefixAttention, PrefixWidths, testing::Values(32, 64, 80, 96, 128));

TEST_P(PrefixWidths, EqualsOneSoftmax) {
  expect_parity<bf16>({.group_rows = {3, 70, 70, 71}, .prefix = 20, .width = GetParam()});
  expect_parity<half>({.group_rows = {0, 33}, .prefix = 65, .key_heads = 1, .width = GetParam(), .causal = false});
}

TEST(PrefixAttention, PrefixLengths) {
  for (const int prefix : {1, 63, 64, 65, 130}) {
    expect_parity<bf16>({.group_rows = {0, 20, 41}, .prefix = prefix, .seed = static_cast<uint64_t>(prefix)});
    expect_parity<half>({.group_rows = {0, 9, 30, 41, 46},
                         .length = {prefix, 0, (prefix + 1) / 2, prefix},
                         .prefix = prefix,
                         .seed = static_cast<uint64_t>(prefix)});
  }
}

TEST(PrefixAttention, RandomGeometry) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    std::mt19937_64 random(seed);
    const auto one_of = [&](const std::vector<int>& x) { return x[random() % x.size()]; };
    PrefixCase c{.group_rows = {one_of({0, 0, 1, 66})}, .prefix = one_of({1, 7, 70}), .width = one_of({32, 32, 64})};
    for (int k = one_of({1, 2, 3}); k > 0; --k) c.group_rows.push_back(c.group_rows.back() + one_of({0, 1, 17, 64}));
    c.group_rows.push_back(c.group_rows.back() + one_of({63, 65, 127, 129}));
    for (int k = 0; k < c.groups() && seed % 2 == 0; ++k)
      c.length.push_back(static_cast<int32_t>(random() % (c.prefix + 1)));
    c.heads = one_of({2, 4});
    c.key_heads = one_of({1, c.heads});
    c.causal = random() % 2 == 0;
    c.seed = seed;
    if (random() % 2 == 0)
      expect_parity<bf16>(c);
    else
      expect_parity<half>(c);
  }
}

TEST(PrefixAttention, SeveralChunksAndSharedHeads) {
  expect_parity<bf16>({.group_rows = {1, 6, 530}, .prefix = 10, .heads = 4, .key_heads = 2, .seed = 3});
}

TEST(PrefixAttention, Amplitudes) {
  for (const double amplitude : {8.0, 40.0}) {
    const PrefixCase c{.group_rows = {0, 128, 228}, .prefix = 30, .width = 64, .amplitude = amplitude, .seed = 4};
    expect_parity<bf16>(c);
    expect_parity<half>(c);
    expect_parity<bf16>({.group_rows = {0, 300}, .prefix = 1, .causal = false, .amplitude = amplitude, .seed = 5});
  }
}

/// The kernels' own errors, without those of the softmax part: few rows, whose errors no average hides.
template <class T>
void expect_prefix_part(const PrefixCase& c) {
  SCOPED_TRACE(c.name());
  const PrefixInputs in = prefix_inputs<T>(c);
  const PrefixReference r = PrefixOracle(c, in).run();
  PrefixRun<T> run = run_prefix<T>(c, in, r, {.softmax_dq = false});
  std::vector<double> self;
  for (const T x : run.self) self.push_back(static_cast<double>(to_float(x)));
  const PrefixPart part = PrefixOracle(c, in).prefix_part(self, r);
  const double tolerance = std::is_same_v<T, half> ? 0.25 : 1.0;
  expect_within(values(run.dq), part.dq, 4e-3 * tolerance, c.amplitude, "dq");
  expect_within(values(run.dk), part.dk, c.amplitude >= 8.0 ? 2.5e-3 : 1e-4, c.amplitude, "dPk");
}
TEST(PrefixAttention, FewRows) {
  for (const double amplitude : {1.0, 8.0, 40.0}) {
    for (uint64_t seed = 1; seed <= 12; ++seed) {
      const PrefixCase c{.group_rows = {0, 7, 24},
                         .prefix = seed % 3 == 0   ? 30
                                   : seed % 3 == 1 ? 1
                                                   : 5,
                         .width = seed % 2 == 0 ? 32 : 64,
                         .causal = seed % 4 < 2,
                         .amplitude = amplitude,
                         .seed = seed};
      expect_prefix_part<bf16>(c);
      expect_prefix_part<half>(c);
    }
  }
}

TEST(PrefixAttention, ExtremeLogits) {
  for (const double logit : {200.0, -200.0}) {
    const PrefixCase c{.group_rows = {0, 20, 53}, .prefix = 21, .logit = logit, .seed = 6};
    const PrefixInputs in = prefix_inputs<bf16>(c);
    const PrefixReference r = PrefixOracle(c, in).run();
    PrefixRun<bf16> run = run_prefix<bf16>(c, in, r);
    EXPECT_LT(relative_l2(values(run.out), r.out), 3.5e-3);
    EXPECT_LT(relative_l2(values(run.dv), r.dv), 1e-4);
    EXPECT_LT(relative_l2(values(run.dk), r.dk), 2.5e-3);
    expect_prefix_part<bf16>(c);  // keys near one point, far from 0: the rounding of ds must not add up
    expect_prefix_part<half>(c);
  }
}

TEST(PrefixAttention, RowsWithoutKeys) {
  // The prefix is all there is: plain attention over it, whatever L_s and O_s say.
  for (const double no_keys : {-kInfinity, kInfinity}) {
    const PrefixCase c{.group_rows = {0, 20, 40}, .prefix = 66, .seed = 7};
    const PrefixInputs in = prefix_inputs<bf16>(c);
    PrefixReference r = PrefixOracle(c, in).run();
    for (double& x : r.self) x = std::numeric_limits<double>::quiet_NaN();
    PrefixOptions options;
    options.self_lse.assign(r.self_lse.size(), no_keys);
    PrefixRun<bf16> run = run_prefix<bf16>(c, in, r, options);
    for (int t = 0; t < c.rows(); ++t) {
      const int k = t < 20 ? 0 : 1;
      for (int h = 0; h < c.heads; ++h) {
        std::vector<double> s;
        double mass = 0.0, out = 0.0;
        for (int j = 0; j < c.prefix; ++j) {
          const auto key = ((static_cast<std::ptrdiff_t>(k) * c.prefix + j) * c.key_heads + h) * c.width;
          const auto query = (static_cast<std::ptrdiff_t>(t) * c.heads + h) * c.width;
          const double p =
              std::exp(c.scale() * std::inner_product(&in.q[query], &in.q[query] + c.width, &in.pk[key], 0.0));
          mass += p;
          out += p * in.pv[key];
        }
        EXPECT_NEAR(run.lse[static_cast<std::size_t>(h) * c.rows() + t], std::log(mass), 1e-5);
        EXPECT_NEAR(run.out.value(t, h, 0), out / mass, 0.01);
      }
    }
  }
}

/// Every number that a call writes.
std::vector<float> numbers(PrefixRun<bf16>& run) {
  std::vector<float> result;
  for (const std::vector<double>& x :
       {values(run.out), values(run.dq), values(run.lse), values(run.delta), values(run.dk), values(run.dv)}) {
    for (const double value : x) result.push_back(static_cast<float>(value));
  }
  return result;
}

TEST(PrefixAttention, ThreadOrderDoesNotMatter) {
  for (const int width : {32, 128}) {
    const PrefixCase c{.group_rows = {2, 60, 64}, .prefix = 70, .heads = 1, .key_heads = 1, .width = width, .seed = 8};
    const PrefixInputs in = prefix_inputs<bf16>(c);
    const PrefixReference r = PrefixOracle(c, in).run();
    std::vector<float> first;
    for (const uint64_t order : {1, 2, 3}) {
      emulator::seed() = order;
      PrefixRun<bf16> run = run_prefix<bf16>(c, in, r);
      if (first.empty()) first = numbers(run);
      EXPECT_TRUE(same_bits(numbers(run), first)) << "width " << width << ", order " << order;
    }
  }
  emulator::seed() = 1;
}

TEST(PrefixAttention, GroupsEqualSeparateRuns) {
  const PrefixCase c{.group_rows = {0, 70, 71, 71, 100}, .prefix = 24, .seed = 9};
  const PrefixInputs in = prefix_inputs<bf16>(c);
  PrefixRun<bf16> together = run_prefix<bf16>(c, in, PrefixOracle(c, in).run());
  const std::size_t row = static_cast<std::size_t>(c.heads) * c.width, keys = c.prefix * row;
  for (int k = 0; k < c.groups(); ++k) {
    const int begin = c.group_rows[k], rows = c.group_rows[k + 1] - begin;
    PrefixCase single = c;
    single.group_rows = {0, rows};
    const auto part = [](const std::vector<double>& x, std::size_t first, std::size_t count) {
      return std::vector<double>(x.begin() + first, x.begin() + first + count);
    };
    const PrefixInputs alone{part(in.q, begin * row, rows * row), part(in.k, begin * row, rows * row),
                             part(in.v, begin * row, rows * row), part(in.dout, begin * row, rows * row),
                             part(in.pk, k * keys, keys),         part(in.pv, k * keys, keys)};
    PrefixRun<bf16> run = run_prefix<bf16>(single, alone, PrefixOracle(single, alone).run());
    EXPECT_EQ(values(run.out), part(values(together.out), begin * row, rows * row));
    EXPECT_EQ(values(run.dq), part(values(together.dq), begin * row, rows * row));
    EXPECT_EQ(values(run.dk), part(values(together.dk), k * keys, keys));
    EXPECT_EQ(values(run.dv), part(values(together.dv), k * keys, keys));
  }
}

TEST(PrefixAttention, OtherWidthsAndEmptyCalls) {
  EXPECT_EQ(prefix_attention_forward({.shape = {.width = 48}}, nullptr), kNoInstance);
  EXPECT_EQ(prefix_attention_backward({.shape = {.width = 256}}, nullptr), kNoInstance);
  EXPECT_EQ(prefix_attention_forward({.shape = {.width = 64}}, nullptr), 0);
  EXPECT_EQ(prefix_attention_backward({.shape = {.width = 64}}, nullptr), 0);
}

TEST(PrefixAttention, WorkListHasTheSizesOfTheKernels) {
  const PrefixWorkList list = prefix_work_list({5, 700, 700, 701}, 96);
  EXPECT_EQ(list.forward.size(), static_cast<std::size_t>(row_item_bound(701, 3, prefix_forward_rows(96))));
  EXPECT_EQ(list.queries.size(), static_cast<std::size_t>(row_item_bound(701, 3, prefix_query_rows(96))));
  EXPECT_EQ(list.chunks.size(), static_cast<std::size_t>(row_item_bound(701, 3, prefix_chunk_rows(96))));
  EXPECT_EQ(list.first_chunk, (std::vector<int32_t>{1, 3, 3, 4}));
}

/// The oracle itself: its gradients are differences of its output.
TEST(PrefixOracle, GradientsAreDifferences) {
  PrefixCase c{.group_rows = {1, 4, 6}, .length = {3, 2}, .prefix = 3, .key_heads = 1, .width = 4};
  PrefixInputs in = prefix_inputs<bf16>(c);
  const PrefixReference r = PrefixOracle(c, in).run();
  const auto loss = [&] {
    const PrefixReference x = PrefixOracle(c, in).run();
    return std::inner_product(x.out.begin(), x.out.end(), in.dout.begin(), 0.0);
  };
  expect_differences(loss, in.q, r.dq);
  expect_differences(loss, in.pk, r.dk);
  expect_differences(loss, in.pv, r.dv);
}

}  // namespace
}  // namespace peft::cuda
