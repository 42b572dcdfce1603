#include "peft/kernels/dropout.h"

#include <gtest/gtest.h>

#include <cmath>

#include "peft/base/hash.h"
#include "peft/base/rng.h"
#include "src/kernels/cuda/common/dropout.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

namespace peft {
namespace {

const DropoutContext kTraining{.training = true, .seeds = {7, 8, 9}, .steps = {1, 2, 3}};

at::Tensor mask_of(const DropoutSite& site, const Batch& rows, int64_t columns) {
  return dropout(at::ones({rows->rows(), columns}, at::kDouble), site, rows);
}

/// Column c of a row: 16 bits of a Philox block whose counter names (block, position, ordinal, step) and whose key names the site.
bool kept(const DropoutSite& site, int64_t adapter, uint32_t block, int64_t column, int64_t position, int64_t ordinal) {
  const uint64_t name = hash64(site.name, site.context->seeds[adapter]);
  const PhiloxCounter words =
      philox({block + static_cast<uint32_t>(column / 8), static_cast<uint32_t>(position),
              static_cast<uint32_t>(ordinal), static_cast<uint32_t>(site.context->steps[adapter])},
             {static_cast<uint32_t>(name), static_cast<uint32_t>(name >> 32)});
  const int64_t half = column % 8;
  return (words[half / 2] >> (half % 2 == 0 ? 0 : 16) & 0xFFFF) >=
         static_cast<uint32_t>(std::lround(site.of(adapter) * 65536.0));
}

TEST(Dropout, EqualsAPlainPhiloxLoop) {
  const Batch rows = make_batch({5, 1, 3}, {0, 2, 2}, 3);
  for (const int64_t columns : {1, 7, 8, 127, 128, 129, 300}) {  // the vectorised fill takes 128 columns at a time
    const DropoutSite site{&kTraining, "layer.3.feed_forward", {0.3}};
    const at::Tensor mask = mask_of(site, rows, columns);
    const double scale = 65536.0 / (65536.0 - std::lround(0.3 * 65536.0));
    for (int64_t b = 0; b < 3; ++b) {
      for (int64_t t = rows->begin(b); t < rows->begin(b) + rows->length(b); ++t) {
        for (int64_t c = 0; c < columns; ++c) {
          const bool keep = kept(site, rows->adapter(b), 0, c, t - rows->begin(b), rows->ordinal(b));
          ASSERT_EQ(mask[t][c].item<double>(), keep ? scale : 0.0)
              << "row " << t << ", column " << c << " of " << columns;
        }
      }
    }
  }
}

TEST(Dropout, AttentionMaskEqualsAPlainPhiloxLoop) {
  const Batch rows = make_batch({2, 3}, {0, 2}, 3);
  const DropoutSite site{&kTraining, "layer.0.attention", {0.25}};
  constexpr int64_t kPrefix = 11, kOwn = 19;
  const at::Tensor mask = attention_dropout_mask(site, *rows, 1, 2, kPrefix, kOwn);
  ASSERT_EQ(mask.sizes(), (std::vector<int64_t>{2, 3, kPrefix + kOwn}));
  for (int64_t h = 0; h < 2; ++h) {
    for (int64_t i = 0; i < 3; ++i) {
      for (int64_t j = 0; j < kPrefix + kOwn; ++j) {
        const bool prefix = j < kPrefix;
        const uint32_t first_block = static_cast<uint32_t>(h) << 20 | (prefix ? 1U << 19 : 0U);
        ASSERT_EQ(mask[h][i][j].item<float>(),
                  kept(site, 2, first_block, prefix ? j : j - kPrefix, i, 1) ? 4.0F / 3.0F : 0.0F);
      }
    }
  }
}

TEST(Dropout, MasksOfTheCudaKernelsAreTheSame) {
  const auto rows = std::make_shared<const PackedBatch>(
      std::vector<PackedBatch::Sequence>{{4, 0, 3}, {2, 1, 5}, {0, 1, 6}, {6, 2, 0}}, 3);
  const DropoutSite site{&kTraining, "layer.3.feed_forward", {0.3, 0.0, 0.999999}};
  std::vector<int64_t> adapters, ordinals;
  for (int64_t b = 0; b < rows->sequences(); ++b) {
    adapters.push_back(rows->adapter(b));
    ordinals.push_back(rows->ordinal(b));
  }
  std::vector<cuda::MaskStream> streams;
  for (int64_t k = 0; k < 3; ++k)
    streams.push_back(cuda::mask_stream(hash64(site.name, kTraining.seeds[k]), site.of(k)));
  const auto compare = [&](const Batch& batch, const std::vector<cuda::MaskRow>& mask_rows) {
    const at::Tensor expected = mask_of(site, batch, 203).to(at::kFloat);
    ASSERT_EQ(static_cast<int64_t>(mask_rows.size()), batch->rows());
    for (int64_t t = 0; t < batch->rows(); ++t) {
      const cuda::RowMask mask({mask_rows.data(), streams.data(), kTraining.steps.data()}, t);
      for (int c = 0; c < 203; ++c) ASSERT_EQ(mask.chunk(c / 8).apply(c % 8, 1.0F), expected[t][c].item<float>());
    }
  };
  compare(rows, cuda::mask_rows(rows->cu(), adapters, ordinals));
  const auto long_enough = std::make_shared<const PackedBatch>(
      std::vector<PackedBatch::Sequence>{{4, 0, 3}, {3, 1, 5}, {5, 1, 6}, {6, 2, 0}}, 3);
  compare(select_each(long_enough, 2), cuda::picked_mask_rows(2, adapters, ordinals));
}

TEST(Dropout, MasksDoNotDependOnPackingBankOrNeighbours) {
  const auto bank = std::make_shared<const PackedBatch>(
      std::vector<PackedBatch::Sequence>{{4, 0, 0}, {2, 1, 5}, {3, 1, 6}, {6, 2, 0}}, 3);
  const at::Tensor all = mask_of({&kTraining, "site", {0.4}}, bank, 40);
  const DropoutContext single{
      .training = true, .seeds = {8}, .steps = {2}};  // adapter 1 by itself, its examples in another order
  const auto alone =
      std::make_shared<const PackedBatch>(std::vector<PackedBatch::Sequence>{{3, 0, 6}, {1, 0, 0}, {2, 0, 5}}, 1);
  const at::Tensor own = mask_of({&single, "site", {0.4}}, alone, 40);
  EXPECT_TRUE(same_values(own.narrow(0, 0, 3), all.narrow(0, 6, 3)));
  EXPECT_TRUE(same_values(own.narrow(0, 4, 2), all.narrow(0, 4, 2)));
  const at::Tensor wide = mask_of({&kTraining, "site", {0.4}}, bank, 50);
  EXPECT_TRUE(same_values(wide.narrow(1, 0, 40).contiguous(), all));
}

TEST(Dropout, PickedRowsKeepTheirMasks) {
  const Batch rows = make_batch({4, 3}, {0, 1}, 3);
  const DropoutSite site{&kTraining, "site", {0.4}};
  EXPECT_TRUE(same_values(mask_of(site, select_each(rows, 2), 40),
                          mask_of(site, rows, 40).index_select(0, numbers_of_each(rows, 2))));
}

TEST(Dropout, MaskIsTheSameInForwardAndBackward) {
  const Batch rows = make_batch({5, 3}, {0, 1}, 3);
  const DropoutSite site{&kTraining, "site", {0.4}};
  const at::Tensor x = random_leaf(1, {8, 20});
  const at::Tensor y = dropout(x, site, rows);
  EXPECT_TRUE(same_values(gradients(y.sum(), {x})[0], mask_of(site, rows, 20)));
  EXPECT_TRUE(same_values(y, x.detach() * mask_of(site, rows, 20)));
  EXPECT_LT(gradient_error([&] { return weighted_sum(dropout(x, site, rows)); }, {x}), kGradcheckTolerance);
}

TEST(Dropout, KeepRateIsWithinFiveStandardErrors) {
  const Batch rows = make_batch({64});
  for (const double p : {0.01, 0.1, 0.5, 0.9}) {
    const double count = 64 * 1024,
                 rate = mask_of({&kTraining, "rate", {p}}, rows, 1024).ne(0).sum().item<double>() / count;
    EXPECT_NEAR(rate, 1.0 - p, 5.0 * std::sqrt(p * (1.0 - p) / count)) << p;
  }
}

TEST(Dropout, EveryPartOfTheNameChangesTheMask) {
  const auto mask = [](uint64_t seed, int64_t step, const std::string& name, int64_t ordinal) {
    const DropoutContext context{.training = true, .seeds = {seed}, .steps = {step}};
    return mask_of({&context, name, {0.5}},
                   std::make_shared<const PackedBatch>(std::vector<PackedBatch::Sequence>{{2, 0, ordinal}}, 1), 64);
  };
  const at::Tensor base = mask(1, 1, "layer.0.attention", 0);
  EXPECT_TRUE(same_values(mask(1, 1, "layer.0.attention", 0), base));
  for (const at::Tensor& other : {mask(2, 1, "layer.0.attention", 0), mask(1, 2, "layer.0.attention", 0),
                                  mask(1, 1, "layer.1.attention", 0), mask(1, 1, "layer.0.attention", 1)}) {
    EXPECT_NEAR(other.ne(base).sum().item<double>(), 64.0,
                5.0 * std::sqrt(128 * 0.25));  // independent: half of 128 differ
  }
  EXPECT_NEAR(base[0].ne(base[1]).sum().item<double>(), 32.0, 5.0 * std::sqrt(64 * 0.25));  // positions
}

TEST(Dropout, InactiveSitesAreTheIdentity) {
  const Batch rows = make_batch({3});
  const at::Tensor x = random_tensor(1, {3, 4});
  const DropoutContext evaluation{.training = false, .seeds = {1}, .steps = {1}};
  for (const DropoutSite& site :
       {DropoutSite{}, DropoutSite{&evaluation, "site", {0.5}}, DropoutSite{&kTraining, "site", {0.0}}}) {
    EXPECT_FALSE(site.active());
    EXPECT_TRUE(dropout(x, site, rows).is_same(x));
  }
}

TEST(Dropout, EveryAdapterMayHaveItsOwnProbability) {
  const Batch rows = make_batch({5, 7, 3}, {0, 1, 2}, 3);
  const std::vector<double> p{0.5, 0.0, 0.2};
  const at::Tensor mixed = mask_of({&kTraining, "site", p}, rows, 40);
  for (int64_t b = 0; b < 3; ++b) {
    const auto part = [&](const at::Tensor& t) { return t.narrow(0, rows->begin(b), rows->length(b)); };
    EXPECT_TRUE(same_values(part(mixed), part(mask_of({&kTraining, "site", {p[b]}}, rows, 40)))) << b;
  }
}

TEST(Dropout, AProbabilityJustBelowOneStaysFinite) {
  const at::Tensor mask = mask_of({&kTraining, "site", {0.999999}}, make_batch({64}), 4096);
  EXPECT_TRUE(mask.isfinite().all().item<bool>());
}

TEST(Dropout, KeepsTheTypeOfItsInput) {
  const Batch rows = make_batch({3});
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    EXPECT_EQ(dropout(at::ones({3, 8}, dtype), {&kTraining, "site", {0.5}}, rows).scalar_type(), dtype);
  }
}

}  // namespace
}  // namespace peft
