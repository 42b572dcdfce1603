/// packed_embedding on the emulator, against double precision.

#include "tests/kernels/cuda/packed_embedding_case.h"

namespace peft::cuda {
namespace {

using namespace row_tests;

/// One sequence without an adapter, an adapter without sequences, one with more sequences than a chunk, one of length 0.
const std::vector<int64_t> kLengths{2, 4, 1, 3, 0, 5, 2, 1}, kAdapters{-1, 0, 0, 0, 0, 0, 2, 2};

template <class T>
class PackedEmbeddingRows : public testing::Test {};
TYPED_TEST_SUITE(PackedEmbeddingRows, AllElements);

TYPED_TEST(PackedEmbeddingRows, EqualDoubleForwardAndBackward) {
  using T = typename TypeParam::type;
  int how = 0;
  for (const int32_t columns : {8, 128, 328, 520, 1000, 1032, 2056, 4104, 6152}) {
    for (int round = 0; round < (columns <= 328 ? 4 : columns <= 1000 ? 2 : 1); ++round, ++how) {
      SCOPED_TRACE("columns " + std::to_string(columns) + ", case " + std::to_string(how));
      const bool few = columns > 1032;  // a block of 256 threads a row: slow to emulate
      EmbeddingCase<T> c(few ? std::vector<int64_t>{1, 2, 0} : kLengths,
                         few ? std::vector<int64_t>{-1, 0, 0} : kAdapters, few ? 1 : 3, few ? 2 : 3, columns,
                         {.position = how % 5 != 0,
                          .type = how % 3 != 0,
                          .normalise = how % 7 != 0,
                          .dropout = how % 2 == 0,
                          .prompt_dropout = how % 4 < 2,
                          .per_sequence = how % 3 == 1,
                          .accumulate = how % 4 == 1,
                          .given_rows = how % 2 == 1,
                          .kind = how % 5 < 3 ? NormKind::layer_norm : NormKind::rms_norm},
                         static_cast<uint64_t>(how));
      const auto expected = c.expected();
      c.forward();
      expect_forward<T>(c.y.doubles(), expected.y);
      c.backward();
      // dy and the tables are exact here and the sums float32: nothing is rounded to T on this way.
      EXPECT_LE(relative_l2(c.dprompt.doubles(), expected.dprompt), 2e-6);
      if (c.options.given_rows) expect_backward<T>(c.dx.doubles(), expected.dx);
      const auto used = static_cast<std::size_t>(c.plan.first_chunk.back() * c.batch.prompt_rows) * c.width();
      for (std::size_t i = 0; i < c.partial.size(); ++i) ASSERT_EQ(std::isnan(c.partial[i]), i >= used) << i;
      for (const Guarded<T>* each : {&c.y, &c.dy, &c.word, &c.dx}) ASSERT_TRUE(each->guards_hold());
      for (const Guarded<float>* each : {&c.prompt, &c.partial, &c.dprompt}) ASSERT_TRUE(each->guards_hold());
    }
  }
}

TYPED_TEST(PackedEmbeddingRows, GathersAreBitwise) {
  using T = typename TypeParam::type;
  for (const int32_t columns : {264, 1160}) {
    EmbeddingCase<T> c(kLengths, kAdapters, 3, 2, columns, {.position = false, .type = false, .normalise = false}, 3);
    c.forward();
    for (std::size_t row = 0; row < c.plan.rows.size(); ++row) {
      const int32_t number = c.plan.rows[row].word;
      for (std::size_t i = 0; i < c.width(); ++i) {
        const T expected = number >= 0 ? c.word[static_cast<std::size_t>(number) * c.width() + i]
                                       : from_float<T>(c.prompt[static_cast<std::size_t>(-1 - number) * c.width() + i]);
        ASSERT_EQ(std::memcmp(&expected, &c.y[row * c.width() + i], sizeof(T)), 0) << row << ", " << i;
      }
    }
  }
}

TYPED_TEST(PackedEmbeddingRows, ABankEqualsSeparateRunsBitwise) {
  using T = typename TypeParam::type;
  for (const int32_t columns : {136, 1288}) {
    const EmbeddingOptions options{.dropout = true, .prompt_dropout = true, .given_rows = true};
    EmbeddingCase<T> bank(kLengths, kAdapters, 3, 2, columns, options, 5);
    bank.forward();
    bank.backward();
    for (const auto& [adapter, first, last] : {std::tuple{0, 1, 6}, {2, 6, 8}}) {
      // The same tables and names; only the sequences of this adapter.
      EmbeddingCase<T> single = bank;
      EmbeddingBatch& b = single.batch;
      const int64_t first_token = b.cu[first], last_token = b.cu[last];
      b.ids = {b.ids.begin() + first_token, b.ids.begin() + last_token};
      b.types = {b.types.begin() + first_token, b.types.begin() + last_token};
      b.adapter.assign(last - first, adapter);
      b.cu = {b.cu.begin() + first, b.cu.begin() + last + 1};
      for (int64_t& cu : b.cu) cu -= first_token;
      const auto first_row = static_cast<std::size_t>(bank.plan.cu[first]),
                 row_count = static_cast<std::size_t>(bank.plan.cu[last]) - first_row;
      single.plan = embedding_plan(b);
      ASSERT_EQ(single.plan.rows.size(), row_count);
      const auto mask_begin = bank.masks.rows.begin() + bank.plan.cu[first];
      single.masks.rows = single.prompt_masks.rows = {mask_begin, mask_begin + static_cast<int64_t>(row_count)};
      std::memcpy(single.dy.data(), bank.dy.data() + first_row * bank.width(), row_count * bank.width() * sizeof(T));
      single.forward();
      single.backward();
      EXPECT_EQ(
          std::memcmp(single.y.data(), bank.y.data() + first_row * bank.width(), row_count * bank.width() * sizeof(T)),
          0);
      const std::size_t own = static_cast<std::size_t>(adapter) * 2 * bank.width(),
                        token = static_cast<std::size_t>(first_token) * bank.width(),
                        tokens = static_cast<std::size_t>(last_token - first_token) * bank.width();
      EXPECT_EQ(std::memcmp(single.dx.data() + token, bank.dx.data() + token, tokens * sizeof(T)), 0);
      EXPECT_EQ(std::memcmp(single.dprompt.data() + own, bank.dprompt.data() + own, 2 * bank.width() * sizeof(float)),
                0);
    }
  }
}

TYPED_TEST(PackedEmbeddingRows, ThreadOrderDoesNotMatter) {
  using T = typename TypeParam::type;
  for (const int32_t columns : {400, 1800}) {
    std::optional<EmbeddingCase<T>> first;
    for (const uint64_t order : {1, 2, 3, 4}) {
      emulator::seed() = order;
      EmbeddingCase<T> c(kLengths, kAdapters, 3, 2, columns,
                         {.dropout = true, .prompt_dropout = true, .given_rows = true}, 7);
      c.forward();
      c.backward();
      if (!first) first.emplace(c);
      EXPECT_TRUE(c.y.same_bits(first->y) && c.dprompt.same_bits(first->dprompt) && c.dx.same_bits(first->dx));
    }
    emulator::seed() = 1;
  }
}

TEST(PackedEmbeddingShapes, NoPromptsNoRowsAndOtherWidths) {
  EmbeddingCase<float> none({3, 2}, {0, 0}, 1, 0, 64, {}, 9);
  none.forward();
  EXPECT_LE(relative_l2(none.y.doubles(), none.expected().y), 1e-6);
  none.backward();

  EmbeddingCase<float> c(kLengths, kAdapters, 3, 2, 64, {}, 9);
  PackedEmbedding e = c.arguments();
  e.columns = 60;
  EXPECT_NE(launch_packed_embedding_forward(e, c.y.data(), Element::float32, nullptr), 0);
  EXPECT_NE(launch_packed_embedding_backward(e, c.gradient_arguments(), Element::float32, nullptr), 0);
  EXPECT_NE(launch_packed_embedding_token_gradient(e, c.dy.data(), c.y.data(), Element::float32, nullptr), 0);
  e.row_count = 0;
  EXPECT_EQ(launch_packed_embedding_forward(e, c.y.data(), Element::float32, nullptr), 0);
  EXPECT_TRUE(std::isnan(c.y[0]));
}

/// An adapter without sequences: zeros, or what was there.
TEST(PackedEmbeddingShapes, SourcesWithoutSequencesGetNoGradient) {
  for (const bool accumulate : {false, true}) {
    EmbeddingCase<float> c(kLengths, kAdapters, 3, 2, 64, {.accumulate = accumulate}, 11);
    c.backward();
    for (std::size_t i = 2 * 64; i < 2 * 2 * 64; ++i) ASSERT_EQ(c.dprompt[i], accumulate ? 0.5F : 0.0F);
  }
}

TEST(EmbeddingPlan, CoversEverySequenceOnce) {
  std::mt19937_64 random(13);
  for (int round = 0; round < 200; ++round) {
    EmbeddingBatch batch;
    batch.adapters = 1 + static_cast<int64_t>(random() % 4);
    batch.prompt_rows = static_cast<int64_t>(random() % 4);
    batch.per_sequence = random() % 2 == 0;
    batch.cu.push_back(0);
    int64_t adapter = random() % 3 == 0 ? -1 : 0;
    for (uint64_t b = random() % 20; b > 0; --b) {
      if (random() % 4 == 0) adapter = std::min(adapter + 1 + static_cast<int64_t>(random() % 2), batch.adapters - 1);
      batch.adapter.push_back(adapter);
      batch.cu.push_back(batch.cu.back() + static_cast<int64_t>(random() % 4));
    }
    for (int64_t t = 0; t < batch.cu.back(); ++t) batch.ids.push_back(1000 + t);
    const EmbeddingPlan plan = embedding_plan(batch);
    const auto sequences = static_cast<int64_t>(batch.adapter.size()),
               sources = batch.per_sequence ? sequences : batch.adapters;
    ASSERT_EQ(static_cast<int64_t>(plan.chunks.size()), prompt_chunk_bound(sequences, sources));
    ASSERT_EQ(static_cast<int64_t>(plan.first_chunk.size()), sources + 1);

    std::vector<int32_t> seen(batch.adapter.size(), 0);
    const int32_t used = plan.first_chunk.back();
    for (int32_t c = 0; c < static_cast<int32_t>(plan.chunks.size()); ++c) {
      const PromptChunk& chunk = plan.chunks[c];
      ASSERT_EQ(chunk.count == 0, c >= used);
      ASSERT_LE(chunk.count, kPromptChunk);
      if (chunk.count == 0) continue;
      ASSERT_GE(c, plan.first_chunk[chunk.source]);
      ASSERT_LT(c, plan.first_chunk[chunk.source + 1]);
      for (int32_t b = chunk.first; b < chunk.first + chunk.count; ++b) {
        ASSERT_EQ(chunk.source, batch.per_sequence ? b : batch.adapter[b]);
        ++seen[b];
      }
    }
    int64_t row = 0;
    for (int64_t b = 0; b < sequences; ++b) {
      const bool prompted = batch.adapter[b] >= 0 && batch.prompt_rows > 0;
      ASSERT_EQ(seen[b], prompted ? 1 : 0);
      ASSERT_EQ(plan.cu[b], row);
      ASSERT_EQ(plan.first_row[b], row);
      for (int64_t p = 0; prompted && p < batch.prompt_rows; ++p, ++row) {
        const int64_t source = batch.per_sequence ? b : batch.adapter[b];
        ASSERT_EQ(plan.rows[row].word, -1 - (source * batch.prompt_rows + p));
        ASSERT_EQ(plan.rows[row].position, p);
      }
      for (int64_t t = batch.cu[b]; t < batch.cu[b + 1]; ++t, ++row) {
        ASSERT_EQ(plan.rows[row].word, 1000 + t);
        ASSERT_EQ(plan.rows[row].position, row - plan.cu[b]);
      }
    }
    ASSERT_EQ(plan.cu.back(), row);
    ASSERT_EQ(static_cast<int64_t>(plan.rows.size()), row);
  }
}

}  // namespace
}  // namespace peft::cuda
