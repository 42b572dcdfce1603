/// ntk_attention on the emulator against the definition in double precision.

#include "tests/kernels/cuda/ntk_run.h"

namespace peft::cuda {
namespace {

/// docs/kernels.md#tolerances: relative L2 in bfloat16, 2.5 times as much for amplitudes from 8 on; half has three bits more.
template <class T>
void expect_parity(const NtkCase& c) {
  SCOPED_TRACE(c.name());
  const NtkInputs in = ntk_inputs<T>(c);
  const NtkReference r = NtkOracle(c, in).run();
  NtkRun<T> run = run_ntk<T>(c, in, r);
  const double of_type = std::is_same_v<T, half> ? 0.25 : 1.0, tolerance = (c.amplitude >= 8.0 ? 2.5 : 1.0) * of_type;
  EXPECT_LT(relative_l2(values(run.out), r.out), 3.5e-3 * tolerance);
  EXPECT_LT(relative_l2(values(run.dq), r.dq), 4e-3 * tolerance);
  EXPECT_LT(relative_l2(values(run.dz), r.dz), 2e-5);
  EXPECT_LT(dden_error(values(run.dden), r.dden, r), 5e-3 * of_type);  // from the rounding of O_s
  EXPECT_LT(dden_error(values(run.dden), run.state.dden, r), 2e-5);
  for (std::size_t i = 0; i < r.lse.size(); ++i)
    ASSERT_NEAR(run.lse[i], r.lse[i], 4e-3 + 1e-6 * std::abs(r.lse[i])) << i;
  for (int t = 0; t < c.rows(); ++t) {
    for (int h = 0; h < c.heads; ++h) {
      const auto at = (static_cast<std::ptrdiff_t>(t) * c.heads + h) * c.width;
      for (int i = 0; i < c.width && t < c.group_rows[0]; ++i) {  // rows without an adapter
        ASSERT_EQ(std::memcmp(&run.out.at(t, h, i), &run.self[at + i], 2), 0) << t << " " << h << " " << i;
        ASSERT_EQ(std::memcmp(&run.dq.at(t, h, i), &run.dq_self[at + i], 2), 0) << t << " " << h << " " << i;
      }
    }
  }
}

class NtkWidths : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(NtkAttention, NtkWidths, testing::Values(32, 64, 80, 96, 128));

TEST_P(NtkWidths, EqualsTheDefinition) {
  for (const StateMap map : {StateMap::elu, StateMap::taylor1}) {
    NtkCase c{.group_rows = {3, 73, 73, 74, 90}, .width = GetParam(), .map = map};
    if (GetParam() > 80) c.group_rows = {2, GetParam() == 96 ? 52 : 36, 53, 53, 54};  // two tiles of the backward pass
    expect_parity<bf16>(c);
    c.group_rows = {0, 33};
    c.causal = false;
    c.centered = true;
    c.seed = 2;
    expect_parity<half>(c);
  }
}

TEST(NtkAttention, RandomGeometry) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    std::mt19937_64 random(seed);
    const auto one_of = [&](const std::vector<int>& x) { return x[random() % x.size()]; };
    NtkCase c{.group_rows = {one_of({0, 0, 1, 130})}, .width = one_of({32, 32, 64}), .seed = seed};
    for (int k = one_of({1, 2, 4}); k > 0; --k)
      c.group_rows.push_back(c.group_rows.back() + one_of({0, 1, 17, 63, 64}));
    c.group_rows.push_back(c.group_rows.back() + one_of({65, 127, 128, 129}));
    c.heads = one_of({2, 4});
    c.key_heads = one_of({1, c.heads});
    c.state_heads = one_of({c.key_heads, c.heads});
    c.map = static_cast<StateMap>(random() % 2);
    c.causal = random() % 2 == 0;
    c.centered = random() % 3 == 0;
    if (random() % 2 == 0)
      expect_parity<bf16>(c);
    else
      expect_parity<half>(c);
  }
}

TEST(NtkAttention, SeveralChunksAndSharedHeads) {
  expect_parity<bf16>({.group_rows = {1, 6, 530}, .heads = 4, .key_heads = 2, .state_heads = 2, .seed = 3});
}

/// Of as many rows and heads as a model has, dden needs no root of squares.
TEST(NtkAttention, MassOfManyHeads) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const NtkCase c{.group_rows = {0, 128}, .heads = 12, .key_heads = 12, .state_heads = 12, .seed = seed};
    const NtkInputs in = ntk_inputs<bf16>(c);
    const NtkReference r = NtkOracle(c, in).run();
    NtkRun<bf16> run = run_ntk<bf16>(c, in, r);
    EXPECT_LT(relative_l2(values(run.dden), r.dden), 5e-3);
  }
}

TEST(NtkAttention, Amplitudes) {
  for (const double amplitude : {8.0, 40.0}) {
    for (const StateMap map : {StateMap::elu, StateMap::taylor1}) {
      expect_parity<bf16>({.group_rows = {0, 50, 90}, .width = 64, .map = map, .amplitude = amplitude, .seed = 4});
      expect_parity<half>({.group_rows = {0, 50, 90}, .map = map, .centered = true, .amplitude = amplitude, .seed = 5});
    }
  }
}

/// Where logits are large, few rows have a state of any weight. Of the rounded output, a delta that is small by chance would be rounding, and
/// with it most of dden (up to 0.1).
TEST(NtkAttention, MassOfFewRows) {
  for (const StateMap map : {StateMap::elu, StateMap::taylor1}) {
    for (uint64_t seed = 1; seed <= 30; ++seed) {
      const NtkCase c{.group_rows = {0, 1 + static_cast<int>(seed * 37 % 50)},
                      .width = std::array{32, 64, 32, 96, 32, 128}[seed % 6],
                      .map = map,
                      .causal = seed % 3 == 0,
                      .centered = seed % 5 == 0,
                      .amplitude = seed % 4 == 0 ? 8.0 : 40.0,
                      .seed = seed};
      const NtkInputs in = ntk_inputs<bf16>(c);
      const NtkReference r = NtkOracle(c, in).run();
      NtkRun<bf16> run = run_ntk<bf16>(c, in, r);
      EXPECT_LT(relative_l2(values(run.dden), r.dden), 1e-2) << c.name();
    }
  }
}

/// Every number that a call writes.
template <class T>
std::vector<uint32_t> bits(NtkRun<T>& run) {
  std::vector<uint32_t> result;
  for (Slice<T>* x : {&run.out, &run.dq}) {
    x->each([&](int t, int h, int i) { result.push_back(pack<T>(x->at(t, h, i), x->at(t, h, i))); });
  }
  for (Floats* x : {&run.lse, &run.dz, &run.dden}) {
    for (std::size_t i = 0; i < x->count; ++i) result.push_back(std::bit_cast<uint32_t>((*x)[i]));
  }
  return result;
}

TEST(NtkAttention, ThreadOrderDoesNotMatter) {
  for (const int width : {32, 96, 128}) {
    const NtkCase c{.group_rows = {2, 70, 75},
                    .heads = 1,
                    .key_heads = 1,
                    .state_heads = 1,
                    .width = width,
                    .map = StateMap::taylor1,
                    .centered = true,
                    .seed = 6};
    const NtkInputs in = ntk_inputs<bf16>(c);
    const NtkReference r = NtkOracle(c, in).run();
    std::vector<uint32_t> first;
    for (const uint64_t order : {1, 2, 3}) {
      emulator::seed() = order;
      NtkRun<bf16> run = run_ntk<bf16>(c, in, r);
      if (first.empty()) first = bits(run);
      EXPECT_EQ(bits(run), first) << "width " << width << ", order " << order;
    }
  }
  emulator::seed() = 1;
}

TEST(NtkAttention, GroupsEqualSeparateRuns) {
  const NtkCase c{.group_rows = {0, 90, 91, 91, 131}, .width = 64, .seed = 7};
  const NtkInputs in = ntk_inputs<bf16>(c);
  NtkRun<bf16> together = run_ntk<bf16>(c, in, NtkOracle(c, in).run());
  const std::size_t row = static_cast<std::size_t>(c.heads) * c.width,
                    state = static_cast<std::size_t>(c.state_heads) * c.features();
  for (int k = 0; k < c.groups(); ++k) {
    const int begin = c.group_rows[k], rows = c.group_rows[k + 1] - begin;
    NtkCase single = c;
    single.group_rows = {0, rows};
    const auto part = [](const std::vector<double>& x, std::size_t first, std::size_t count) {
      return std::vector<double>(x.begin() + first, x.begin() + first + count);
    };
    const NtkInputs alone{part(in.q, begin * row, rows * row),
                          part(in.k, begin * row, rows * row),
                          part(in.v, begin * row, rows * row),
                          part(in.dout, begin * row, rows * row),
                          part(in.z, k * state * c.width, state * c.width),
                          part(in.den, k * state, state),
                          {}};
    NtkRun<bf16> run = run_ntk<bf16>(single, alone, NtkOracle(single, alone).run());
    run.out.each([&](int t, int h, int i) {
      ASSERT_EQ(run.out.at(t, h, i).bits, together.out.at(begin + t, h, i).bits) << k << " " << t;
      ASSERT_EQ(run.dq.at(t, h, i).bits, together.dq.at(begin + t, h, i).bits) << k << " " << t;
    });
    for (std::size_t i = 0; i < run.dz.count; ++i) ASSERT_EQ(run.dz[i], together.dz[k * run.dz.count + i]);
    for (std::size_t i = 0; i < run.dden.count; ++i) ASSERT_EQ(run.dden[i], together.dden[k * run.dden.count + i]);
    for (int h = 0; h < c.heads; ++h) {
      for (int t = 0; t < rows; ++t) ASSERT_EQ(run.lse[h * rows + t], together.lse[h * c.rows() + begin + t]);
    }
  }
}

TEST(NtkAttention, WorkListCoversEveryRowOnce) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 100; ++round) {
    const int width = random() % 2 == 0 ? 64 : 80;
    std::vector<int32_t> group_rows{static_cast<int32_t>(random() % 2 * (random() % 300))};
    for (uint64_t k = random() % 5; k > 0; --k)
      group_rows.push_back(group_rows.back() + static_cast<int32_t>(random() % 3 * (random() % 700)));
    const int32_t rows = group_rows.back();
    const auto groups = static_cast<int32_t>(group_rows.size()) - 1;
    const NtkWorkList list = ntk_work_list(group_rows, width);
    const auto check = [&](const std::vector<RowItem>& items, int most) {
      int32_t row = 0;
      for (const RowItem& item : items) {
        ASSERT_EQ(item.row0, row);
        ASSERT_LE(item.rows, most);
        if (item.rows == 0) continue;
        const int32_t begin = item.group < 0 ? 0 : group_rows[item.group];
        EXPECT_EQ((item.row0 - begin) % most, 0);  // a group's items do not depend on the others
        EXPECT_LE(item.row0 + item.rows, group_rows[item.group + 1]);
        row += item.rows;
      }
      EXPECT_EQ(row, rows);
    };
    check(list.tiles, ntk_tile_rows(width));
    check(list.chunks, ntk_chunk_rows(width));
    EXPECT_EQ(static_cast<int64_t>(list.tiles.size()), row_item_bound(rows, groups, ntk_tile_rows(width)));
    EXPECT_EQ(static_cast<int64_t>(list.chunks.size()), row_item_bound(rows, groups, ntk_chunk_rows(width)));
    ASSERT_EQ(list.first_chunk.size(), group_rows.size());
    for (int32_t k = 0; k < groups; ++k) {
      int32_t covered = 0;
      for (int32_t i = list.first_chunk[k]; i < list.first_chunk[k + 1]; ++i) {
        EXPECT_EQ(list.chunks[i].group, k);
        covered += list.chunks[i].rows;
      }
      EXPECT_EQ(covered, group_rows[k + 1] - group_rows[k]);
    }
  }
  EXPECT_THROW(ntk_work_list({0, 5, 4}, 64), std::invalid_argument);
  EXPECT_THROW(ntk_work_list({}, 64), std::invalid_argument);
}

TEST(NtkAttention, OtherWidthsAreRefused) {
  for (const int width : {16, 48, 72, 256}) {
    EXPECT_FALSE(ntk_supports(width));
    const NtkShape shape{.width = width};
    EXPECT_EQ(ntk_pack({.shape = shape}, nullptr), kNoInstance);
    EXPECT_EQ(ntk_attention_forward({.shape = shape}, nullptr), kNoInstance);
    EXPECT_EQ(ntk_attention_backward({.shape = shape}, nullptr), kNoInstance);
  }
}

}  // namespace
}  // namespace peft::cuda
