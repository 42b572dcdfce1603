/// What stands around the stock CUDA operators, as far as a CPU can show it: the choice of a backend. The route
/// itself is compared with the reference in attention_test.cpp and state_test.cpp.

#include <gmock/gmock.h>

#include "peft/base/error.h"
#include "src/kernels/attention/select.h"
#include "tests/kernels/varlen_on_cpu.h"

namespace peft {
namespace {

TEST(AttentionVarlen, RowsWithoutKeys) {
  for (const bool state : {false, true}) {
    AttentionInputs in = make_inputs({.lengths = {5, 9, 3}, .groups = 2});
    if (state) in = make_inputs({.lengths = {5, 9, 3}, .groups = 2, .state = FeatureMap::elu});
    in.args.keys = spread({5, 0, 12}, 1);
    EXPECT_LT(worst_error(outcome(attention_varlen_on_cpu, in), outcome(attention_reference, in)), 1e-12);
  }
}

TEST(AttentionVarlen, RepeatsBitForBit) {
  const AttentionInputs in =
      make_inputs({.lengths = {5, 1, 3, 17}, .adapters = 2, .groups = 2, .prefix = 3}, at::kFloat);
  const auto first = outcome(attention_varlen_on_cpu, in), second = outcome(attention_varlen_on_cpu, in);
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(same_values(first[i], second[i]));
}

constexpr PositionSupport kOfNone{.any = true}, kOfPacked{.any = true, .packed = true},
    kOfFlash{.any = true, .flash = true}, kOfEfficient{.any = true, .efficient = true};

TEST(SelectAttention, Table) {
  using enum AttentionBackend;
  using Wish = AttentionImplementation;
  const auto chosen = [](bool cuda, at::ScalarType type, int64_t width, bool dropout = false,
                         Wish wish = Wish::automatic) {
    return select_attention({.wish = wish, .cuda = cuda, .type = type, .width = width, .dropout = dropout});
  };
  const auto just = [](AttentionBackend backend) { return AttentionChoice{backend, false}; };
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16})
    EXPECT_EQ(chosen(false, type, 64), just(cpu));
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    for (const int64_t width : {8, 32, 80, 256}) EXPECT_EQ(chosen(true, type, width), just(flash));
    for (const int64_t width : {4, 12}) EXPECT_EQ(chosen(true, type, width), just(explicit_));
    EXPECT_EQ(chosen(true, type, 264), just(efficient));
    EXPECT_EQ(chosen(true, type, 64, false, Wish::packed), (AttentionChoice{packed, true}));
    EXPECT_EQ(chosen(true, type, 256, false, Wish::packed), (AttentionChoice{flash, true}));
    EXPECT_EQ(chosen(true, type, 64, false, Wish::cudnn), just(cudnn));
    EXPECT_THROW(chosen(true, type, 256, false, Wish::cudnn), ConfigError);
    EXPECT_EQ(chosen(true, type, 64, false, Wish::efficient), just(efficient));
  }
  EXPECT_EQ(chosen(true, at::kFloat, 64), just(efficient));
  EXPECT_EQ(chosen(true, at::kFloat, 64, false, Wish::packed), (AttentionChoice{efficient, true}));
  EXPECT_EQ(chosen(true, at::kFloat, 6), just(explicit_));
  EXPECT_EQ(chosen(true, at::kDouble, 64), just(explicit_));
  for (const bool cuda : {false, true}) {
    EXPECT_EQ(chosen(cuda, at::kBFloat16, 64, true), just(cuda ? explicit_ : cpu));
    EXPECT_EQ(chosen(cuda, at::kBFloat16, 64, true, Wish::reference), just(reference));
    EXPECT_EQ(chosen(cuda, at::kDouble, 5, false, Wish::reference), just(reference));
  }
  EXPECT_EQ(chosen(true, at::kFloat, 64, true, Wish::packed), just(explicit_));
  for (const bool cuda : {false, true}) {
    for (const PositionSupport positions : {kOfPacked, kOfNone}) {
      EXPECT_EQ(select_attention({.cuda = cuda, .type = at::kHalf, .positions = positions}),
                just(cuda ? explicit_ : cpu));
      EXPECT_EQ(select_attention({.wish = Wish::reference, .cuda = cuda, .positions = positions}), just(reference));
    }
  }
  const auto windowed = [&](at::ScalarType type, Wish wish, bool dropout = false) {
    return select_attention({.wish = wish, .cuda = true, .type = type, .dropout = dropout, .positions = kOfFlash});
  };
  EXPECT_EQ(windowed(at::kHalf, Wish::automatic), just(flash));
  EXPECT_EQ(windowed(at::kHalf, Wish::cudnn), just(cudnn));
  EXPECT_EQ(windowed(at::kHalf, Wish::packed), (AttentionChoice{flash, true}));
  EXPECT_EQ(windowed(at::kHalf, Wish::automatic, true), just(explicit_));
  EXPECT_EQ(windowed(at::kHalf, Wish::efficient), just(explicit_));
  EXPECT_EQ(windowed(at::kFloat, Wish::automatic), just(explicit_));
  EXPECT_EQ(select_attention({.positions = kOfFlash}), just(cpu));
  for (const at::ScalarType type : {at::kFloat, at::kHalf}) {
    const auto biased = [&](Wish wish, bool dropout = false, bool cuda = true) {
      return select_attention(
          {.wish = wish, .cuda = cuda, .type = type, .dropout = dropout, .positions = kOfEfficient});
    };
    EXPECT_EQ(biased(Wish::automatic), just(efficient));
    EXPECT_EQ(biased(Wish::efficient), just(efficient));
    EXPECT_EQ(biased(Wish::packed), (AttentionChoice{efficient, true}));
    EXPECT_EQ(biased(Wish::automatic, true), just(explicit_));
    EXPECT_EQ(biased(Wish::automatic, false, false), just(cpu));
  }
  EXPECT_EQ(select_attention({.wish = Wish::flash, .cuda = true, .type = at::kHalf, .positions = kOfEfficient}),
            just(explicit_));
}

TEST(SelectAttention, WhoKnowsThePositions) {
  const auto known = [](const AttentionInputs& in) {
    const PositionSupport found = position_support(in.args);
    return std::vector<bool>{found.any, found.packed, found.flash, found.efficient};
  };
  const auto of = [&](const AttentionCase& c) { return known(make_inputs(c)); };
  using Known = std::vector<bool>;
  EXPECT_EQ(of({.lengths = {4, 9}, .prefix = 2}), (Known{false, false, false, false}));
  EXPECT_EQ(of({.lengths = {4, 9}, .window = 3}), (Known{true, true, true, false}));
  EXPECT_EQ(of({.lengths = {4, 9}, .prefix = 2, .window = 3}), (Known{true, false, true, false}));
  EXPECT_EQ(of({.lengths = {4, 9}, .buckets = 8}), (Known{true, false, false, false}));  // it has a gradient
  AttentionInputs frozen = make_inputs({.lengths = {4, 9}, .prefix = 2, .buckets = 8});
  frozen.args.bias.table_NH = frozen.args.bias.table_NH.detach();
  EXPECT_EQ(known(frozen), (Known{true, true, false, true}));
  frozen.args.bias.covers_prefix = true;
  EXPECT_EQ(known(frozen), (Known{true, false, false, true}));

  AttentionInputs picked = make_inputs({.lengths = {6, 6}, .window = 3});
  for (const auto& [offset, expected] : {std::pair{0, Known{true, true, false, false}},
                                         {3, Known{true, false, false, false}},
                                         {5, Known{true, false, true, false}}}) {
    picked.args.queries = select_each(picked.args.keys, offset);
    EXPECT_EQ(known(picked), expected) << offset;
  }
}

TEST(SelectAttention, PackedInOnePass) {
  using enum AttentionBackend;
  const AttentionSituation packed_wish{.wish = AttentionImplementation::packed, .cuda = true, .type = at::kBFloat16};
  const auto with = [&](const auto& change) {
    AttentionSituation s = packed_wish;
    change(s);
    return select_attention(s);
  };
  EXPECT_EQ(with([](auto& s) { s.keys = 512; }), (AttentionChoice{packed, true}));
  EXPECT_EQ(with([](auto& s) { s.keys = 513; }), (AttentionChoice{flash, true}));
  EXPECT_EQ(with([](auto& s) { s.state = true; }), (AttentionChoice{flash, true}));
  EXPECT_EQ(with([](auto& s) { s.state = s.dropout = true; }), (AttentionChoice{packed, true}));
  EXPECT_EQ(with([](auto& s) { s.type = at::kFloat; }), (AttentionChoice{efficient, true}));
  // Nothing else knows masks that are named, and what knows a bias pads.
  EXPECT_EQ(with([](auto& s) {
              s.keys = 5000;
              s.dropout = true;
            }),
            (AttentionChoice{packed, true}));
  EXPECT_EQ(with([](auto& s) {
              s.keys = 5000;
              s.positions = kOfPacked;
            }),
            (AttentionChoice{packed, true}));
  for (const bool state : {false, true}) {
    EXPECT_EQ(with([&](auto& s) {
                s.keys = 5000;
                s.state = state;
                s.positions = {.any = true, .packed = true, .efficient = true};
              }),
              (AttentionChoice{packed, true}));
  }
  EXPECT_EQ(with([](auto& s) {
              s.keys = 5000;
              s.positions = {.any = true, .packed = true, .flash = true};
            }),
            (AttentionChoice{flash, true}));
  EXPECT_EQ(with([](auto& s) { s.positions = kOfNone; }), (AttentionChoice{explicit_, false}));
}

TEST(SelectAttention, WishesThatCannotBeMet) {
  using Wish = AttentionImplementation;
  for (const Wish wish : {Wish::flash, Wish::cudnn, Wish::efficient, Wish::packed}) {
    EXPECT_THROW(select_attention({.wish = wish, .cuda = false}), ConfigError);
    EXPECT_THROW(select_attention({.wish = wish, .cuda = true, .type = at::kDouble}), ConfigError);
  }
  EXPECT_THROW(select_attention({.wish = Wish::cpu, .cuda = true}), ConfigError);
  EXPECT_THROW(select_attention({.wish = Wish::flash, .cuda = true, .type = at::kFloat}), ConfigError);
  try {
    select_attention({.wish = Wish::flash, .cuda = false, .width = 32});
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "model.attn_implementation: flash does not serve float32 of head width 32 on the CPU");
  }
}

TEST(SelectAttention, NamesAreThoseOfTheConfig) {
  for (std::size_t i = 0; i < kAttentionImplementations.size(); ++i) {
    EXPECT_EQ(attention_implementation(kAttentionImplementations[i]), static_cast<AttentionImplementation>(i));
  }
  EXPECT_THROW(attention_implementation("eager"), Error);
}

}  // namespace
}  // namespace peft
