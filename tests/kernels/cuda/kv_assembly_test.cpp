/// kv_assembly on the emulator: copies bit for bit, rotations and sums against double precision.

#include <gtest/gtest.h>

#include "tests/kernels/cuda/kv_case.h"

namespace peft::cuda::matrix_tests {
namespace {

constexpr uint64_t kCases = 24;

/// All tensors of a pass over one case.
template <class T>
struct Tensors {
  const KvCase& c;
  int32_t q_values, kv_values, capacity;
  Guarded<T> qkv, prefix_k, prefix_v, q_out, keys, values;
  RotaryTables angles;

  Tensors(const KvCase& of, uint64_t seed)
      : c(of),
        q_values(c.heads * c.width),
        kv_values(c.row_values()),
        capacity(static_cast<int32_t>(c.plan.rows.size())),
        qkv(c.rows(), q_values + 2 * kv_values, q_values + 2 * kv_values + 16),
        prefix_k(c.tables() * c.in.prefix, kv_values, kv_values),
        prefix_v(prefix_k),
        q_out(c.rows(), q_values, q_values + 8),
        keys(capacity, kv_values, kv_values),
        values(keys),
        angles(c.plan.positions, c.width) {
    std::mt19937_64 random(seed);
    for (Guarded<T>* each : {&qkv, &prefix_k, &prefix_v}) each->fill_normal(random);
  }
  int run(T* rotated_q, int64_t rotated_stride) {
    return launch_kv_assembly(
        {c.shape(kElement<T>), qkv.data(), qkv.data() + q_values, qkv.data() + q_values + kv_values, qkv.stride(),
         qkv.stride(), qkv.stride(), prefix_k.data(), prefix_v.data(), rotated_q, rotated_stride, keys.data(),
         values.data(), c.rotate ? angles.cos.data() : nullptr, c.rotate ? angles.sin.data() : nullptr,
         c.plan.rows.data(), capacity},
        nullptr);
  }
  int run() { return run(q_out.data(), q_out.stride()); }
};

/// `found` is `from` bit for bit, or rotated.
template <class T>
void expect_heads(const KvCase& c, const RotaryTables& angles, const T* found, const T* from, int32_t heads,
                  int32_t position, double direction) {
  if (position < 0) {
    ASSERT_EQ(std::memcmp(found, from, heads * c.width * sizeof(T)), 0);
    return;
  }
  for (int32_t i = 0; i < heads * c.width; ++i) {
    const int32_t d = i % c.width, partner = i + (d < c.width / 2 ? c.width / 2 : -c.width / 2);
    const double expected = rotated(angles, position, c.width, d, direction,
                                    [&](int32_t e) { return static_cast<double>(to_float(from[i - d + e])); });
    const auto value = static_cast<double>(to_float(found[i]));
    ASSERT_LE(std::abs(value - expected), rotation_tolerance<T>(expected, static_cast<double>(to_float(from[i])),
                                                                static_cast<double>(to_float(from[partner]))))
        << "column " << i << ": found " << value << ", expected " << expected;
  }
}

template <class T>
bool all_nan(const T* row, int64_t values) {
  for (int64_t i = 0; i < values; ++i) {
    if (!is_nan(static_cast<double>(to_float(row[i])))) return false;
  }
  return true;
}

template <class T>
class KvAssemblyCuda : public testing::Test {};
TYPED_TEST_SUITE(KvAssemblyCuda, ElementTypes);

template <class T>
void check_forward(const KvCase& c, uint64_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed) + ": " + c.name());
  Tensors<T> t(c, seed);
  ASSERT_EQ(t.run(), 0);
  for (const Guarded<T>* each : {&t.qkv, &t.q_out, &t.keys, &t.values}) EXPECT_EQ(each->broken_canary(), -1);
  const int32_t used = c.for_each_row([&](int32_t row, int32_t b, int32_t j, int32_t text, int32_t position) {
    SCOPED_TRACE("row " + std::to_string(row));
    const int64_t in_table = c.table_of(b) * c.in.prefix + j;
    const T *k = text < 0 ? t.prefix_k.row(in_table) : t.qkv.row(text) + t.q_values,
            *v = text < 0 ? t.prefix_v.row(in_table) : t.qkv.row(text) + t.q_values + t.kv_values;
    expect_heads(c, t.angles, t.keys.row(row), k, c.kv_heads, position, 1.0);
    expect_heads(c, t.angles, t.values.row(row), v, c.kv_heads, -1, 1.0);
    if (text >= 0 && c.rotate) expect_heads(c, t.angles, t.q_out.row(text), t.qkv.row(text), c.heads, position, 1.0);
  });
  for (int32_t row = used; row < t.capacity; ++row) {
    EXPECT_TRUE(all_nan(t.keys.row(row), t.kv_values)) << "row " << row << " belongs to no sequence";
    EXPECT_TRUE(all_nan(t.values.row(row), t.kv_values)) << "row " << row << " belongs to no sequence";
  }
}

/// Gradients of everything that the forward reads.
template <class T>
struct Gradients {
  Guarded<T> dq_out, dkeys, dvalues, dqkv;
  Guarded<float> dprefix_k, dprefix_v;
  std::vector<float> partial;

  Gradients(const Tensors<T>& t, uint64_t seed)
      : dq_out(t.q_out),
        dkeys(t.keys),
        dvalues(t.values),
        dqkv(t.c.rows(), t.qkv.columns(), t.qkv.stride() + 8),
        dprefix_k(t.prefix_k.rows(), t.kv_values, t.kv_values),
        dprefix_v(dprefix_k),
        partial(t.c.plan.sums.size() * t.c.in.prefix * 2 * t.kv_values, std::numeric_limits<float>::quiet_NaN()) {
    std::mt19937_64 random(seed + 1);
    std::normal_distribution<float> normal;
    const auto fill = [&](T* row, int32_t values) {
      for (int32_t i = 0; i < values; ++i) row[i] = from_float<T>(normal(random));
    };
    for (int32_t i = 0; i < t.c.rows(); ++i) fill(dq_out.row(i), t.q_values);
    for (int32_t i = 0; i < t.c.plan.cu_k.back(); ++i) {  // rows of no sequence stay NaN: they must not be read
      fill(dkeys.row(i), t.kv_values);
      fill(dvalues.row(i), t.kv_values);
    }
  }
  int run(Tensors<T>& t, bool accumulate = false, bool own = true, bool prefix = true) {
    T* d = dqkv.data();
    const int64_t stride = dqkv.stride();
    const KvPlan& plan = t.c.plan;
    return launch_kv_assembly_backward({t.c.shape(kElement<T>),
                                        dq_out.data(),
                                        dq_out.stride(),
                                        dkeys.data(),
                                        dvalues.data(),
                                        d,
                                        own ? d + t.q_values : nullptr,
                                        d + t.q_values + t.kv_values,
                                        stride,
                                        stride,
                                        stride,
                                        prefix ? dprefix_k.data() : nullptr,
                                        prefix ? dprefix_v.data() : nullptr,
                                        accumulate,
                                        t.c.in.rotate_prefix,
                                        t.c.rotate ? t.angles.cos.data() : nullptr,
                                        t.c.rotate ? t.angles.sin.data() : nullptr,
                                        plan.rows.data(),
                                        plan.sums.data(),
                                        plan.first_sum.data(),
                                        plan.prefix_begin.data(),
                                        plan.length.data(),
                                        t.capacity,
                                        static_cast<int32_t>(plan.sums.size()),
                                        t.c.tables(),
                                        partial.data()},
                                       nullptr);
  }
};

template <class T>
void check_backward(const KvCase& c, uint64_t seed, bool accumulate) {
  SCOPED_TRACE("seed " + std::to_string(seed) + ": " + c.name());
  Tensors<T> t(c, seed);
  Gradients<T> g(t, seed);
  std::mt19937_64 random(seed);
  if (accumulate) {
    g.dprefix_k.fill_normal(random);
    g.dprefix_v.fill_normal(random);
  }
  std::vector<double> expected_k(t.prefix_k.rows() * t.kv_values, 0.0), expected_v = expected_k;
  if (accumulate) {
    for (std::size_t i = 0; i < expected_k.size(); ++i) {
      expected_k[i] = static_cast<double>(g.dprefix_k.data()[i]);
      expected_v[i] = static_cast<double>(g.dprefix_v.data()[i]);
    }
  }
  ASSERT_EQ(g.run(t, accumulate), 0);
  EXPECT_EQ(g.dqkv.broken_canary(), -1);
  EXPECT_EQ(g.dprefix_k.broken_canary(), -1);
  EXPECT_EQ(g.dprefix_v.broken_canary(), -1);
  c.for_each_row([&](int32_t row, int32_t b, int32_t j, int32_t text, int32_t position) {
    SCOPED_TRACE("row " + std::to_string(row));
    if (text >= 0) {
      const T* d = g.dqkv.row(text);
      expect_heads(c, t.angles, d + t.q_values, g.dkeys.row(row), c.kv_heads, position, -1.0);
      expect_heads(c, t.angles, d + t.q_values + t.kv_values, g.dvalues.row(row), c.kv_heads, -1, -1.0);
      if (c.rotate)
        expect_heads(c, t.angles, d, g.dq_out.row(text), c.heads, position, -1.0);
      else
        EXPECT_TRUE(all_nan(d, t.q_values)) << "dq is not this kernel's without rotation";
      return;
    }
    const int64_t at = (c.table_of(b) * int64_t{c.in.prefix} + j) * t.kv_values;
    for (int32_t i = 0; i < t.kv_values; ++i) {
      const int32_t d = i % c.width;
      const auto value = [&](int32_t e) { return g.dkeys.value(row, i - d + e); };
      expected_k[at + i] += position >= 0 ? rotated(t.angles, position, c.width, d, -1.0, value) : value(d);
      expected_v[at + i] += g.dvalues.value(row, i);
    }
  });
  RelativeError of_k, of_v;
  for (std::size_t i = 0; i < expected_k.size(); ++i) {
    of_k.add(static_cast<double>(g.dprefix_k.data()[i]), expected_k[i]);
    of_v.add(static_cast<double>(g.dprefix_v.data()[i]), expected_v[i]);
    if (expected_k[i] == 0.0) {
      ASSERT_EQ(g.dprefix_k.data()[i], 0.0F) << i;
    }
  }
  EXPECT_LE(of_k.value(), 1e-6);  // float32 sums: the type of the gradients does not matter
  EXPECT_LE(of_v.value(), 1e-6);
}

TYPED_TEST(KvAssemblyCuda, RowsAreThePrefixAndThenTheSequence) {
  for (uint64_t seed = 1; seed <= kCases; ++seed) check_forward<typename TypeParam::Type>(KvCase::random(seed), seed);
}

TYPED_TEST(KvAssemblyCuda, BackwardScattersRowsAndSumsPrefixes) {
  for (uint64_t seed = 1; seed <= kCases; ++seed)
    check_backward<typename TypeParam::Type>(KvCase::random(seed), seed, seed % 2 == 0);
}

/// One long sequence among 63 short ones, some of them empty; B = 1; no prefix at all; nothing but empty sequences.
TYPED_TEST(KvAssemblyCuda, UnevenBatches) {
  using T = typename TypeParam::Type;
  std::vector<int32_t> lengths(64, 1), adapter(64, 0);
  lengths[20] = 90;
  lengths[0] = lengths[31] = lengths[63] = 0;
  for (int b = 40; b < 64; ++b) adapter[b] = 2;  // adapter 1 has no sequence
  for (const bool rotate : {false, true}) {
    for (KvCase c : {KvCase(lengths, adapter, {5, 5, 3}, 5), KvCase({7}, {0}, {4}, 4),
                     KvCase({3, 1, 5}, {0, 0, 0}, {0}, 0), KvCase({0, 0}, {0, 1}, {2, 2}, 2)}) {
      c.rotate = c.in.rotate_prefix = c.in.text_after_prefix = rotate;
      c.plan = kv_plan(c.in);
      check_forward<T>(c, 3);
      check_backward<T>(c, 3, false);
    }
  }
}

/// From one chunk of eight to five, full and begun.
TYPED_TEST(KvAssemblyCuda, PrefixSumsOfAnyNumberOfSequences) {
  for (const int32_t sequences : {1, 7, 8, 9, 16, 17, 24, 25, 32, 33, 40}) {
    KvCase c(std::vector<int32_t>(sequences, 1), std::vector<int32_t>(sequences, 0), {2}, 2);
    c.plan = kv_plan(c.in);
    check_backward<typename TypeParam::Type>(c, 7, false);
  }
}

TYPED_TEST(KvAssemblyCuda, QueriesRotateInPlace) {
  using T = typename TypeParam::Type;
  KvCase c({5, 2}, {0, 0}, {3}, 3);
  c.rotate = true;
  c.plan = kv_plan(c.in);
  Tensors<T> apart(c, 1), in_place(c, 1);
  ASSERT_EQ(apart.run(), 0);
  ASSERT_EQ(in_place.run(in_place.qkv.data(), in_place.qkv.stride()), 0);
  for (int32_t i = 0; i < c.rows(); ++i) {
    EXPECT_EQ(std::memcmp(in_place.qkv.row(i), apart.q_out.row(i), apart.q_values * sizeof(T)), 0);
    EXPECT_EQ(std::memcmp(in_place.qkv.row(i) + apart.q_values, apart.qkv.row(i) + apart.q_values,
                          2 * apart.kv_values * sizeof(T)),
              0);
  }
  EXPECT_TRUE(in_place.keys.same_bits(apart.keys));
}

TYPED_TEST(KvAssemblyCuda, OnlyTheGradientsThatAreWanted) {
  using T = typename TypeParam::Type;
  KvCase c({5, 2, 4}, {0, 0, 1}, {3, 2}, 3);
  c.plan = kv_plan(c.in);
  Tensors<T> t(c, 1);
  Gradients<T> all(t, 1), prefix_alone(t, 1), self_alone(t, 1);
  ASSERT_EQ(all.run(t), 0);
  ASSERT_EQ(prefix_alone.run(t, false, false, true), 0);
  ASSERT_EQ(self_alone.run(t, false, true, false), 0);
  EXPECT_TRUE(prefix_alone.dprefix_k.same_bits(all.dprefix_k));
  EXPECT_TRUE(prefix_alone.dprefix_v.same_bits(all.dprefix_v));
  EXPECT_TRUE(all_nan(prefix_alone.dqkv.row(0), prefix_alone.dqkv.columns()));
  EXPECT_TRUE(self_alone.dqkv.same_bits(all.dqkv));
  EXPECT_TRUE(all_nan(self_alone.dprefix_k.row(0), t.kv_values));
}

TYPED_TEST(KvAssemblyCuda, PrefixGradientsOfABankEqualSeparateRunsBitForBit) {
  using T = typename TypeParam::Type;
  std::vector<int32_t> lengths, adapter;
  for (int b = 0; b < 45; ++b) {
    lengths.push_back(b % 4);
    adapter.push_back(b < 20 ? 0 : 2);
  }
  KvCase c(lengths, adapter, {3, 3, 2}, 3);
  c.rotate = c.in.rotate_prefix = true;
  c.plan = kv_plan(c.in);
  Tensors<T> t(c, 5);
  Gradients<T> bank(t, 5);
  ASSERT_EQ(bank.run(t), 0);
  for (const auto& [k, first, last] : {std::array{0, 0, 20}, {2, 20, 45}}) {
    KvCase one({lengths.begin() + first, lengths.begin() + last}, std::vector<int32_t>(last - first, 0),
               {c.in.prefix_length[k]}, 3);
    one.rotate = one.in.rotate_prefix = true;
    one.plan = kv_plan(one.in);
    Tensors<T> own(one, 5);
    Gradients<T> single(own, 5);
    for (int32_t i = 0; i < one.plan.cu_k.back(); ++i) {
      std::memcpy(single.dkeys.row(i), bank.dkeys.row(c.plan.cu_k[first] + i), t.kv_values * sizeof(T));
      std::memcpy(single.dvalues.row(i), bank.dvalues.row(c.plan.cu_k[first] + i), t.kv_values * sizeof(T));
    }
    emulator::seed() = 9;
    ASSERT_EQ(single.run(own), 0);
    emulator::seed() = 1;
    for (int32_t j = 0; j < 3; ++j) {
      EXPECT_EQ(std::memcmp(single.dprefix_k.row(j), bank.dprefix_k.row(3 * k + j), t.kv_values * sizeof(float)), 0);
      EXPECT_EQ(std::memcmp(single.dprefix_v.row(j), bank.dprefix_v.row(3 * k + j), t.kv_values * sizeof(float)), 0);
    }
  }
}

}  // namespace
}  // namespace peft::cuda::matrix_tests
