/// packed_attention on the emulator against the definition in double precision.

#include "tests/kernels/cuda/packed_case.h"

namespace peft::cuda {
namespace {

/// docs/kernels.md#tolerances: relative L2 in bfloat16, without its 2.5 times for amplitudes from 8 on; half has three bits more. Gradients
/// of prefixes have a factor with twice the digits.
template <class T>
void expect_parity(const PackedCase& c) {
  SCOPED_TRACE(c.name());
  const PackedInputs in = packed_inputs<T>(c);
  const PackedReference r = PackedOracle(c, in).run();
  PackedRun<T> run = run_packed<T>(c, in);
  const double tolerance = std::is_same_v<T, half> ? 0.25 : 1.0;
  const auto within = [&](const std::vector<double>& found, const std::vector<double>& expected, double cap,
                          const char* name) { expect_within(found, expected, cap, c.amplitude, name); };
  within(values(run.out), r.out, 3.5e-3 * tolerance, "out");
  within(values(run.dq), r.dq, (c.amplitude >= 8.0 ? 5e-3 : 4e-3) * tolerance, "dq");
  within(values(run.dk), r.dk, 5e-3 * tolerance, "dk");
  within(values(run.dv), r.dv, 5e-3 * tolerance, "dv");
  within(values(run.dpk), r.dpk, c.amplitude >= 8.0 ? 2.5e-3 : 1e-4, "dPk");
  within(values(run.dpv), r.dpv, 1e-4, "dPv");
  for (std::size_t i = 0; i < r.lse.size(); ++i) {
    if (std::isinf(r.lse[i]))
      ASSERT_EQ(run.lse[i], r.lse[i]) << i;
    else
      ASSERT_NEAR(run.lse[i], r.lse[i], 1e-5 + 1e-6 * std::abs(r.lse[i])) << i;
  }
}

/// Sequences of these lengths, with the tables given.
PackedCase of_lengths(const std::vector<int>& lengths, PackedCase c) {
  c.cu_q = {0};
  for (const int n : lengths) c.cu_q.push_back(c.cu_q.back() + n);
  c.table.resize(lengths.size(), c.tables - 1);
  return c;
}

class PackedWidths : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(PackedAttention, PackedWidths, testing::Values(32, 64, 80, 96, 128));

TEST_P(PackedWidths, EqualsTheDefinition) {
  expect_parity<bf16>(of_lengths({3, 66}, {.prefix = 20, .width = GetParam(), .causal = true}));
  expect_parity<half>(of_lengths({33, 40}, {.prefix = 65, .key_heads = 1, .width = GetParam(), .biased = true}));
  expect_parity<bf16>(of_lengths({70}, {.width = GetParam()}));
}

TEST(PackedAttention, Lengths) {
  for (const int n : {1, 2, 63, 64, 65, 127, 128, 129, 257}) {
    PackedCase c{.prefix = 5, .heads = 1, .key_heads = 1, .causal = n % 2 == 0, .seed = static_cast<uint64_t>(n)};
    expect_parity<bf16>(of_lengths({n, 2, n}, c));
    c.causal = !c.causal;
    expect_parity<half>(of_lengths({1, n}, c));
  }
  expect_parity<bf16>(of_lengths({512}, {.heads = 1, .key_heads = 1, .causal = true}));
}

TEST(PackedAttention, PrefixLengths) {
  for (const int prefix : {1, 20, 63, 64, 65, 200}) {
    expect_parity<bf16>(of_lengths(
        {9, 30, 1},
        {.table = {0, 0, 1}, .tables = 2, .prefix = prefix, .causal = true, .seed = static_cast<uint64_t>(prefix)}));
  }
}

TEST(PackedAttention, Windows) {
  for (const int window : {1, 5, 64, 100}) {
    expect_parity<bf16>(of_lengths({150, 7, 64}, {.causal = true, .window = window}));
    expect_parity<half>(of_lengths({140}, {.prefix = 3, .key_heads = 1, .window = window}));
  }
}

TEST_P(PackedWidths, Dropout) {
  expect_parity<bf16>(of_lengths({70, 3}, {.prefix = 69, .width = GetParam(), .causal = true, .dropout = 0.3}));
  expect_parity<half>(
      of_lengths({1, 90, 33},
                 {.table = {-1, 0, 1}, .tables = 2, .prefix = 5, .key_heads = 1, .width = GetParam(), .dropout = 0.1}));
}

/// Cross attention: as many sequences, other lengths, none of keys or none of queries among them.
TEST(PackedAttention, OtherKeysThanQueries) {
  PackedCase c = of_lengths({5, 70, 0, 3, 20}, {.prefix = 4});
  c.cu_k = {0, 90, 95, 102, 102, 103};
  expect_parity<bf16>(c);
  c.prefix = 0;  // the fourth has nothing to see
  expect_parity<half>(c);
  c.biased = true;
  expect_parity<bf16>(c);
}

TEST(PackedAttention, RandomGeometry) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    std::mt19937_64 random(seed);
    const auto one_of = [&](const std::vector<int>& x) { return x[random() % x.size()]; };
    PackedCase c{
        .table = {}, .tables = one_of({1, 2, 5}), .prefix = one_of({0, 1, 7, 70}), .width = one_of({32, 32, 64})};
    std::vector<int> lengths;
    for (int b = one_of({1, 3, 6}); b > 0; --b) {
      lengths.push_back(one_of({0, 1, 17, 63, 64, 65, 130}));
      c.table.push_back(static_cast<int32_t>(random() % (c.tables + 1)) - 1);
    }
    std::sort(c.table.begin(), c.table.end());
    c.heads = one_of({2, 4});
    c.key_heads = one_of({1, 2, c.heads});
    c.causal = random() % 2 == 0;
    c.biased = random() % 2 == 0;
    c.window = one_of({0, 0, 3, 70});
    c.dropout = seed % 3 == 0 ? 0.5 : 0.0;
    c.seed = seed;
    if (random() % 2 == 0)
      expect_parity<bf16>(of_lengths(lengths, c));
    else
      expect_parity<half>(of_lengths(lengths, c));
  }
}

TEST(PackedAttention, Amplitudes) {
  for (const double amplitude : {8.0, 40.0}) {
    expect_parity<bf16>(of_lengths({128, 100}, {.prefix = 30, .width = 64, .amplitude = amplitude, .seed = 4}));
    for (uint64_t seed = 1; seed <= 20; ++seed) {  // few rows, whose errors no average hides
      std::mt19937_64 random(seed);
      const auto one_of = [&](const std::vector<int>& x) { return x[random() % x.size()]; };
      PackedCase c{.prefix = one_of({0, 1, 5, 30, 70}), .amplitude = amplitude, .seed = seed};
      c.causal = random() % 2 == 0;
      c.dropout = random() % 4 == 0 ? 0.2 : 0.0;
      const std::vector<int> lengths = {one_of({1, 2, 17, 40, 100}), one_of({1, 7, 30, 64})};
      expect_parity<bf16>(of_lengths(lengths, c));
      expect_parity<half>(of_lengths(lengths, c));
    }
  }
}

/// As many sequences as a batch may have.
TEST(PackedAttention, ManySequences) {
  std::vector<int> lengths;
  for (int b = 0; b < 512; ++b) lengths.push_back(b % 4);
  PackedCase c{.table = {}, .tables = 3, .prefix = 2, .heads = 1, .key_heads = 1};
  for (int b = 0; b < 512; ++b) c.table.push_back(b / 200);
  expect_parity<bf16>(of_lengths(lengths, c));
}

TEST(PackedAttention, ExtremeLogits) {
  for (const double logit : {200.0, -200.0}) {
    const PackedCase c = of_lengths({20, 73}, {.prefix = 21, .causal = true, .logit = logit, .seed = 6});
    const PackedInputs in = packed_inputs<bf16>(c);
    const PackedReference r = PackedOracle(c, in).run();
    PackedRun<bf16> run = run_packed<bf16>(c, in);
    EXPECT_LT(relative_l2(values(run.out), r.out), 3.5e-3);
    EXPECT_LT(relative_l2(values(run.dv), r.dv), 5e-3);
    EXPECT_LT(relative_l2(values(run.dpv), r.dpv), 1e-4);
    // All keys lie near one point, far from 0: the rounding of ds must not add up.
    EXPECT_LT(relative_l2(values(run.dq), r.dq), 4e-3);
    EXPECT_LT(relative_l2(values(run.dk), r.dk), 5e-3);
    EXPECT_LT(relative_l2(values(run.dpk), r.dpk), 1e-4);
  }
}

/// The first P keys of a sequence may as well be its prefix.
TEST(PackedAttention, FirstKeysAsPrefix) {
  PackedCase plain = of_lengths({90}, {});
  plain.cu_k = {0, 120};
  const PackedInputs in = packed_inputs<bf16>(plain);
  PackedCase split = plain;
  split.prefix = 64;  // whole tiles, so that the order of sums is the same
  split.cu_k = {0, 56};
  const auto cut = static_cast<std::ptrdiff_t>(split.prefix) * plain.key_heads * plain.width;
  PackedInputs of_split = in;
  of_split.pk.assign(in.k.begin(), in.k.begin() + cut);
  of_split.pv.assign(in.v.begin(), in.v.begin() + cut);
  of_split.k.assign(in.k.begin() + cut, in.k.end());
  of_split.v.assign(in.v.begin() + cut, in.v.end());
  PackedRun<bf16> a = run_packed<bf16>(plain, in), b = run_packed<bf16>(split, of_split);
  EXPECT_TRUE(same_bits(elements(a.out), elements(b.out)));
  EXPECT_TRUE(same_bits(elements(a.dq), elements(b.dq)));
  const std::vector<double> dk = values(a.dk), own = values(b.dk), prefix = values(b.dpk);
  EXPECT_EQ(std::vector<double>(dk.begin() + cut, dk.end()), own);
  EXPECT_LT(relative_l2(prefix, {dk.begin(), dk.begin() + cut}), 3e-3);  // one is rounded, the other float
}

/// Every number that a call writes of sequence b.
std::vector<double> numbers(PackedRun<bf16>& run, const PackedCase& c, int b) {
  std::vector<double> result;
  const auto add = [&](Slice<bf16>& x, const std::vector<int32_t>& cu) {
    for (int t = cu[b]; t < cu[b + 1]; ++t) {
      for (int h = 0; h < x.heads; ++h) {
        for (int i = 0; i < x.width; ++i) result.push_back(x.value(t, h, i));
      }
    }
  };
  for (Slice<bf16>* x : {&run.out, &run.dq}) add(*x, c.cu_q);
  for (Slice<bf16>* x : {&run.dk, &run.dv}) add(*x, c.keys());
  for (int t = c.cu_q[b]; t < c.cu_q[b + 1]; ++t) {
    for (int h = 0; h < c.heads; ++h) {
      result.push_back(run.lse[static_cast<std::size_t>(h) * c.rows() + t]);
      result.push_back(run.delta[static_cast<std::size_t>(h) * c.rows() + t]);
    }
  }
  return result;
}

/// Neither the order of sequences nor what is beside one changes a bit of it.
TEST(PackedAttention, PermutedSequences) {
  const std::vector<int> lengths = {70, 3, 129}, order = {2, 0, 1};
  const PackedCase c = of_lengths(lengths, {.prefix = 9, .key_heads = 1, .causal = true, .seed = 9});
  const PackedInputs in = packed_inputs<bf16>(c);
  PackedCase permuted = of_lengths({129, 70, 3}, c);
  PackedInputs other = in;
  const auto move = [&](std::vector<double>& to, const std::vector<double>& from, int heads) {
    to.clear();
    for (const int b : order) {
      const auto at = [&](int row) { return from.begin() + static_cast<std::ptrdiff_t>(row) * heads * c.width; };
      to.insert(to.end(), at(c.cu_q[b]), at(c.cu_q[b + 1]));
    }
  };
  move(other.q, in.q, c.heads);
  move(other.dout, in.dout, c.heads);
  move(other.k, in.k, c.key_heads);
  move(other.v, in.v, c.key_heads);
  PackedRun<bf16> first = run_packed<bf16>(c, in), second = run_packed<bf16>(permuted, other);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(numbers(second, permuted, i), numbers(first, c, order[i])) << i;
}

/// A bank's tables, gradients of their prefixes included, are those of the tables alone.
TEST(PackedAttention, TablesEqualSeparateRuns) {
  const std::vector<int> lengths = {70, 3, 9, 129, 40}, of_table = {0, 2, 3, 5};  // the first sequence of each table
  const PackedCase c = of_lengths(
      lengths, {.table = {0, 0, 1, 2, 2}, .tables = 3, .prefix = 9, .key_heads = 1, .causal = true, .seed = 10});
  const PackedInputs in = packed_inputs<bf16>(c);
  PackedRun<bf16> together = run_packed<bf16>(c, in);
  const std::size_t pairs = static_cast<std::size_t>(c.prefix) * c.key_heads * c.width;
  for (int k = 0; k < c.tables; ++k) {
    const std::vector<int> own(lengths.begin() + of_table[k], lengths.begin() + of_table[k + 1]);
    const PackedCase single = of_lengths(own, {.table = {}, .prefix = 9, .key_heads = 1, .causal = true, .seed = 10});
    const auto part = [&](const std::vector<double>& x, std::size_t values) {
      return std::vector<double>(x.begin() + static_cast<std::ptrdiff_t>(c.cu_q[of_table[k]] * values),
                                 x.begin() + static_cast<std::ptrdiff_t>(c.cu_q[of_table[k + 1]] * values));
    };
    const auto table = [&](const std::vector<double>& x) {
      return std::vector<double>(x.begin() + static_cast<std::ptrdiff_t>(k * pairs),
                                 x.begin() + static_cast<std::ptrdiff_t>((k + 1) * pairs));
    };
    const std::size_t q_values = static_cast<std::size_t>(c.heads) * c.width,
                      k_values = static_cast<std::size_t>(c.key_heads) * c.width;
    PackedInputs alone = in;
    alone.q = part(in.q, q_values);
    alone.dout = part(in.dout, q_values);
    alone.k = part(in.k, k_values);
    alone.v = part(in.v, k_values);
    alone.pk = table(in.pk);
    alone.pv = table(in.pv);
    PackedRun<bf16> run = run_packed<bf16>(single, alone);
    for (int b = 0; b < single.sequences(); ++b)
      EXPECT_EQ(numbers(run, single, b), numbers(together, c, of_table[k] + b)) << k << ", " << b;
    EXPECT_EQ(values(run.dpk), table(values(together.dpk))) << k;
    EXPECT_EQ(values(run.dpv), table(values(together.dpv))) << k;
  }
}

TEST(PackedAttention, ThreadOrderDoesNotMatter) {
  for (const int width : {32, 128}) {
    const PackedCase c =
        of_lengths({66, 4}, {.prefix = 70, .width = width, .causal = true, .biased = true, .dropout = 0.2, .seed = 8});
    const PackedInputs in = packed_inputs<bf16>(c);
    std::vector<double> first;
    for (const uint64_t order : {1, 2, 3}) {
      emulator::seed() = order;
      PackedRun<bf16> run = run_packed<bf16>(c, in);
      std::vector<double> all = values(run.dpk), dpv = values(run.dpv);
      all.insert(all.end(), dpv.begin(), dpv.end());
      for (int b = 0; b < c.sequences(); ++b) {
        const std::vector<double> x = numbers(run, c, b);
        all.insert(all.end(), x.begin(), x.end());
      }
      if (first.empty()) first = all;
      EXPECT_EQ(all, first) << "width " << width << ", order " << order;
    }
  }
  emulator::seed() = 1;
}

TEST(PackedAttention, OtherWidthsAndEmptyCalls) {
  EXPECT_EQ(packed_attention_forward({.shape = {.width = 48}}, nullptr), kNoInstance);
  EXPECT_EQ(packed_attention_backward({.shape = {.width = 256}}, nullptr), kNoInstance);
  EXPECT_EQ(packed_attention_forward({.shape = {.width = 64}}, nullptr), 0);
  EXPECT_EQ(packed_attention_backward({.shape = {.width = 64}}, nullptr), 0);
}

TEST(PackedAttention, WorkList) {
  const PackedWorkList work =
      packed_work_list({0, 10, 10, 600, 601, 605}, {0, 10, 15, 200, 201, 205}, {-1, 0, 2, 2, 3}, 5, 64);
  EXPECT_EQ(work.sequences[2].query0, 10);
  EXPECT_EQ(work.sequences[2].keys, 185);
  EXPECT_EQ(work.sequences[2].table, 2);
  EXPECT_EQ(work.first_chunk, (std::vector<int32_t>{1, 1, 1, 3, 4, 4}));  // one item before the first table's
  EXPECT_EQ(work.chunks[1].row0, 10);
  EXPECT_EQ(work.chunks[2].rows, 591 - prefix_chunk_rows(64));
  EXPECT_THROW(packed_work_list({0, 1, 2}, {0, 1, 2}, {1, 0}, 2, 64), std::invalid_argument);
  EXPECT_THROW(packed_work_list({0, 1}, {0, 1}, {2}, 2, 64), std::invalid_argument);
  EXPECT_THROW(packed_work_list({0, 1}, {0, 1, 2}, {0}, 2, 64), std::invalid_argument);
}

/// The oracle itself: its gradients are differences of its output.
TEST(PackedOracle, GradientsAreDifferences) {
  PackedCase c = of_lengths({4, 2}, {.prefix = 3, .key_heads = 1, .width = 4, .biased = true, .window = 2});
  PackedInputs in = packed_inputs<bf16>(c);
  const PackedReference r = PackedOracle(c, in).run();
  const auto loss = [&] {
    const PackedReference x = PackedOracle(c, in).run();
    return std::inner_product(x.out.begin(), x.out.end(), in.dout.begin(), 0.0);
  };
  expect_differences(loss, in.q, r.dq);
  expect_differences(loss, in.k, r.dk);
  expect_differences(loss, in.v, r.dv);
  expect_differences(loss, in.pk, r.dpk);
  expect_differences(loss, in.pv, r.dpv);
}

}  // namespace
}  // namespace peft::cuda
