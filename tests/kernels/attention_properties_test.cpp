/// What attention with a prefix must be, whatever computes it.

#include <cmath>
#include <limits>
#include <numeric>

#include "peft/kernels/attention.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

namespace peft {
namespace {

constexpr int64_t kHeads = 4, kGroups = 2, kWidth = 8;
constexpr double kScale = 0.35;

at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Batch& rows,
                  const PrefixKV& prefix = {}, bool causal = false) {
  return attention(q, k, v, {.queries = rows, .keys = rows, .scale = kScale, .causal = causal, .prefix = prefix});
}

struct Rows {
  Batch rows;
  at::Tensor q, k, v;
  explicit Rows(Batch batch, uint64_t seed = 1)
      : rows(std::move(batch)),
        q(random_leaf(seed, {rows->rows(), kHeads, kWidth})),
        k(random_leaf(seed + 1, {rows->rows(), kGroups, kWidth})),
        v(random_leaf(seed + 2, {rows->rows(), kGroups, kWidth})) {}
  at::Tensor operator()(const PrefixKV& prefix = {}, bool causal = false) const {
    return attend(q, k, v, rows, prefix, causal);
  }
};

PrefixKV random_prefix(int64_t adapters, int64_t pairs) {
  return {random_leaf(11, {adapters, pairs, kGroups, kWidth}), random_leaf(12, {adapters, pairs, kGroups, kWidth})};
}

/// Log-sum-exp of the scores of one sequence's own keys.     [n,H,1]
at::Tensor self_lse(const Rows& r, int64_t b) {
  const int64_t begin = r.rows->begin(b), n = r.rows->length(b);
  const at::Tensor q = r.q.detach().narrow(0, begin, n),
                   k = r.k.detach().narrow(0, begin, n).repeat_interleave(kHeads / kGroups, 1);
  return at::logsumexp(at::einsum("ihd,jhd->ihj", {q, k}) * kScale, -1, true);
}

TEST(Prefix, EqualsConcatenation) {
  // The prefix written into the keys of each sequence, with the queries of the text alone.
  const Rows r(make_batch({3, 1, 5}, {0, 1, 1}, 2));
  const PrefixKV prefix = random_prefix(2, 4);
  std::vector<at::Tensor> keys, values;
  for (int64_t b = 0; b < 3; ++b) {
    for (auto [all, own, rows] : {std::tuple{&keys, &prefix.k_KPGD, &r.k}, std::tuple{&values, &prefix.v_KPGD, &r.v}}) {
      all->push_back((*own)[r.rows->adapter(b)]);
      all->push_back(rows->narrow(0, r.rows->begin(b), r.rows->length(b)));
    }
  }
  const at::Tensor joined = attention(r.q, at::cat(keys), at::cat(values),
                                      {.queries = r.rows, .keys = r.rows->lengthened(4), .scale = kScale});
  const at::Tensor merged = r(prefix);
  EXPECT_LT(relative_error(merged, joined), 1e-12);
  const std::vector<at::Tensor> leaves{r.q, r.k, r.v, prefix.k_KPGD, prefix.v_KPGD};
  const auto found = gradients(weighted_sum(merged), leaves), expected = gradients(weighted_sum(joined), leaves);
  for (std::size_t i = 0; i < leaves.size(); ++i)
    EXPECT_LT(relative_error(found[i], expected[i]), 1e-12) << "leaf " << i;
}

TEST(Prefix, FirstKeysOfASequence) {
  // A sequence's own first m keys given as prefix reproduce plain attention; causal for the rows behind them.
  const int64_t n = 70, m = 20;
  const Rows r(make_batch({n}));
  const auto tail = [&](const at::Tensor& x) { return x.narrow(0, m, n - m); };
  const PrefixKV prefix{r.k.narrow(0, 0, m).unsqueeze(0), r.v.narrow(0, 0, m).unsqueeze(0)};
  for (const bool causal : {false, true}) {
    const at::Tensor split = attend(tail(r.q), tail(r.k), tail(r.v), make_batch({n - m}), prefix, causal),
                     whole = tail(r({}, causal));
    EXPECT_LT(relative_error(split, whole), 1e-12);
    const auto found = gradients(weighted_sum(split), {r.q, r.k, r.v}),
               expected = gradients(weighted_sum(whole), {r.q, r.k, r.v});
    for (int i = 0; i < 3; ++i) EXPECT_LT(relative_error(found[i], expected[i]), 1e-12);
  }
}

TEST(Prefix, DuplicatedPrefixAddsLog2) {
  // Twice every pair is log 2 more on the prefix's log-sum-exp: the same as scores of the prefix raised by log 2, which
  // an extra width with q = 1 and k = log 2 / scale does.
  const Rows r(make_batch({3, 6}, {0, 1}, 2));
  const PrefixKV prefix = random_prefix(2, 5);
  const at::Tensor twice = r({at::cat({prefix.k_KPGD, prefix.k_KPGD}, 1), at::cat({prefix.v_KPGD, prefix.v_KPGD}, 1)});
  const auto wider = [](const at::Tensor& x, double extra) {
    std::vector<int64_t> shape = x.sizes().vec();
    shape.back() = 1;
    return at::cat({x, at::full(shape, extra, x.options())}, -1);
  };
  const at::Tensor raised = attend(wider(r.q, 1.0), wider(r.k, 0.0), wider(r.v, 0.0), r.rows,
                                   {wider(prefix.k_KPGD, std::log(2.0) / kScale), wider(prefix.v_KPGD, 0.0)});
  EXPECT_LT(relative_error(twice, raised.narrow(-1, 0, kWidth)), 1e-12);
}

TEST(Prefix, PairOrderIrrelevant) {
  const Rows r(make_batch({3, 6}, {0, 1}, 2));
  const PrefixKV prefix = random_prefix(2, 5);
  EXPECT_LT(relative_error(r({prefix.k_KPGD.flip(1), prefix.v_KPGD.flip(1)}, true), r(prefix, true)), 1e-12);
}

TEST(Prefix, ZeroPrefixShrinks) {
  // P keys of score 0 and value 0: O = O_own e^L / (e^L + P).
  const int64_t pairs = 7;
  const Rows r(make_batch({3, 6}, {0, 1}, 2));
  const at::Tensor zeros = at::zeros({2, pairs, kGroups, kWidth}, at::kDouble), plain = r(), shrunk = r({zeros, zeros});
  for (int64_t b = 0; b < 2; ++b) {
    const at::Tensor weight = at::exp(self_lse(r, b));
    const auto part = [&](const at::Tensor& x) { return x.narrow(0, r.rows->begin(b), r.rows->length(b)); };
    EXPECT_LT(relative_error(part(shrunk), part(plain) * weight / (weight + static_cast<double>(pairs))), 1e-12);
  }
}

TEST(Prefix, GroupedHeadsShareTheirPairs) {
  const Rows r(make_batch({3, 6}, {0, 1}, 2));
  const PrefixKV prefix = random_prefix(2, 5);
  const auto repeated = [](const at::Tensor& x) { return x.repeat_interleave(kHeads / kGroups, -2); };
  const at::Tensor all_heads =
      attend(r.q, repeated(r.k), repeated(r.v), r.rows, {repeated(prefix.k_KPGD), repeated(prefix.v_KPGD)});
  EXPECT_LT(relative_error(r(prefix), all_heads), 1e-12);
}

TEST(PackedAttention, PermutingSequencesPermutesOutputs) {
  const std::vector<int64_t> lengths{3, 1, 6, 2}, order{2, 0, 3, 1};
  const Rows r(make_batch(lengths));
  const PrefixKV prefix = random_prefix(1, 5);
  std::vector<int64_t> permuted_lengths, rows;
  for (const int64_t b : order) {
    permuted_lengths.push_back(lengths[b]);
    for (int64_t i = 0; i < lengths[b]; ++i) rows.push_back(r.rows->begin(b) + i);
  }
  const at::Tensor index = at::tensor(at::ArrayRef<int64_t>(rows), at::kLong);
  const auto permute = [&](const at::Tensor& x) { return x.index_select(0, index); };
  const at::Tensor out = attend(permute(r.q), permute(r.k), permute(r.v), make_batch(permuted_lengths), prefix, true);
  EXPECT_LT(relative_error(out, permute(r(prefix, true))), 1e-12);
}

TEST(PackedAttention, BankEqualsSeparateRuns) {
  const std::vector<int64_t> lengths{3, 1, 6, 2, 4}, adapter{0, 0, 1, 2, 2};
  const Rows r(make_batch(lengths, adapter, 3));
  const PrefixKV prefix = random_prefix(3, 20);
  const std::vector<at::Tensor> leaves{r.q, r.k, r.v, prefix.k_KPGD, prefix.v_KPGD};
  const at::Tensor bank = r(prefix), weights = random_tensor(99, bank.sizes());
  const auto bank_gradients = gradients((bank * weights).sum(), leaves);
  for (int64_t k = 0; k < 3; ++k) {
    const int64_t begin = r.rows->group_rows()[k], rows = r.rows->group_rows()[k + 1] - begin;
    std::vector<int64_t> own;
    for (std::size_t b = 0; b < lengths.size(); ++b) {
      if (adapter[b] == k) own.push_back(lengths[b]);
    }
    const auto part = [&](const at::Tensor& x) { return x.narrow(0, begin, rows); };
    const at::Tensor single = attend(part(r.q), part(r.k), part(r.v), make_batch(own),
                                     {prefix.k_KPGD.narrow(0, k, 1), prefix.v_KPGD.narrow(0, k, 1)});
    EXPECT_TRUE(same_values(single, part(bank)));
    const auto single_gradients = gradients((single * part(weights)).sum(), leaves);
    for (int i = 0; i < 3; ++i)
      EXPECT_TRUE(same_values(part(single_gradients[i]), part(bank_gradients[i]))) << "leaf " << i;
    for (int i = 3; i < 5; ++i) EXPECT_TRUE(same_values(single_gradients[i][k], bank_gradients[i][k])) << "leaf " << i;
  }
}

TEST(PackedAttention, ANonFiniteAdapterStaysAlone) {
  const Rows r(make_batch({3, 2, 4}, {0, 1, 2}, 3));
  const PrefixKV prefix = random_prefix(3, 5);
  const at::Tensor before = r(prefix);
  PrefixKV broken{prefix.k_KPGD.detach().clone(), prefix.v_KPGD.detach().clone()};
  broken.k_KPGD[1].fill_(std::numeric_limits<double>::infinity());
  const at::Tensor after = r(broken);
  EXPECT_TRUE(same_values(after.narrow(0, 0, 3), before.narrow(0, 0, 3)));
  EXPECT_TRUE(same_values(after.narrow(0, 5, 4), before.narrow(0, 5, 4)));
}

TEST(PackedAttention, RepeatsBitForBit) {
  std::vector<int64_t> lengths(60, 5);
  lengths[30] = 130;
  const Rows r(make_batch(lengths));
  const PrefixKV prefix = random_prefix(1, 20);
  const DropoutContext context{.training = true, .seeds = {3}, .steps = {5}};
  for (const double p : {0.0, 0.3}) {
    const AttentionArgs args{
        .queries = r.rows, .keys = r.rows, .scale = kScale, .prefix = prefix, .dropout = {&context, "site", {p}}};
    const std::vector<at::Tensor> leaves{r.q, r.k, r.v, prefix.k_KPGD, prefix.v_KPGD};
    const at::Tensor first = attention(r.q, r.k, r.v, args);
    const auto first_gradients = gradients(weighted_sum(first), leaves);
    for (int repeat = 0; repeat < 10; ++repeat) {
      const at::Tensor again = attention(r.q, r.k, r.v, args);
      ASSERT_TRUE(same_values(again, first));
      const auto again_gradients = gradients(weighted_sum(again), leaves);
      for (std::size_t i = 0; i < leaves.size(); ++i) ASSERT_TRUE(same_values(again_gradients[i], first_gradients[i]));
    }
  }
}

}  // namespace
}  // namespace peft
