/// States that stand for prefix pairs: algebra of the features, and the errors of compression.

#include <cmath>

#include "peft/kernels/attention.h"
#include "tests/support/portable_stream.h"
#include "tests/support/tensors.h"

namespace peft {
namespace {

constexpr double kScale = 0.35;
constexpr int64_t kWidth = 5, kPairs = 7;

struct Prefixed {
  Batch rows = make_batch({4, 2});
  at::Tensor q = random_tensor(1, {6, 4, kWidth}), k = random_tensor(2, {6, 2, kWidth}),
             v = random_tensor(3, {6, 2, kWidth});
  at::Tensor prefix_k = random_tensor(4, {1, kPairs, 2, kWidth}), prefix_v = random_tensor(5, {1, kPairs, 2, kWidth});

  at::Tensor operator()(const LinearState& state) const {
    return attention(q, k, v, {.queries = rows, .keys = rows, .scale = kScale, .state = state});
  }
};

TEST(Ntk, Taylor2OfOnePair) {
  const at::Tensor q = random_tensor(1, {20, kWidth}), k = random_tensor(2, {20, kWidth}), s = kScale * (q * k).sum(-1);
  const auto phi = [](const at::Tensor& x) { return features(x * std::sqrt(kScale), FeatureMap::taylor2); };
  EXPECT_EQ(phi(q).size(1), feature_count(FeatureMap::taylor2, kWidth));
  EXPECT_LT(relative_error((phi(q) * phi(k)).sum(-1), 1.0 + s + s * s / 2.0), 1e-12);
  EXPECT_LT(relative_error((features(q, FeatureMap::taylor1) * features(k, FeatureMap::taylor1)).sum(-1),
                           1.0 + (q * k).sum(-1)),
            1e-12);
  // The order that the files promise: 1, y, squares, then (0,1), (0,2), (1,2).
  const at::Tensor three = features(at::tensor({2.0, 3.0, 5.0}, at::kDouble), FeatureMap::taylor2);
  const double r = std::sqrt(2.0);
  EXPECT_LT(relative_error(three, at::tensor({1.0, 2.0, 3.0, 5.0, 4 / r, 9 / r, 25 / r, 6.0, 10.0, 15.0}, at::kDouble)),
            1e-15);
}

TEST(Ntk, SymmetricTaylor2EqualsFull) {
  // Against the D^2 products without the symmetry: [1, y, vec(y y^T) / sqrt 2].
  const Prefixed p;
  const auto full = [](const at::Tensor& x) {
    const at::Tensor y = x * std::sqrt(kScale), outer = (y.unsqueeze(-1) * y.unsqueeze(-2)).flatten(-2);
    return at::cat({at::ones_like(y.narrow(-1, 0, 1)), y, outer / std::sqrt(2.0)}, -1);
  };
  const at::Tensor found = p(state_of_pairs(p.prefix_k, p.prefix_v, kScale, FeatureMap::taylor2, false));
  for (int64_t h = 0; h < 4; ++h) {
    for (int64_t b = 0; b < 2; ++b) {
      const int64_t g = h / 2, begin = p.rows->begin(b), n = p.rows->length(b);
      const auto part = [&](const at::Tensor& x, int64_t head) { return x.narrow(0, begin, n).select(1, head); };
      const at::Tensor q = part(p.q, h), weights = at::exp(kScale * at::mm(q, part(p.k, g).t()));
      const at::Tensor kernel = at::mm(full(q), full(p.prefix_k[0].select(1, g)).t());
      const at::Tensor expected = (at::mm(weights, part(p.v, g)) + at::mm(kernel, p.prefix_v[0].select(1, g))) /
                                  (weights.sum(1, true) + kernel.sum(1, true));
      EXPECT_LT(relative_error(part(found, h), expected), 1e-12);
    }
  }
}

TEST(Ntk, StateIsAdditive) {
  const Prefixed p;
  const at::Tensor other_k = random_tensor(6, {1, 3, 2, kWidth}), other_v = random_tensor(7, {1, 3, 2, kWidth});
  for (const FeatureMap map : {FeatureMap::elu, FeatureMap::taylor1, FeatureMap::taylor2}) {
    const LinearState one = state_of_pairs(p.prefix_k, p.prefix_v, kScale, map, false),
                      two = state_of_pairs(other_k, other_v, kScale, map, false),
                      both = state_of_pairs(at::cat({p.prefix_k, other_k}, 1), at::cat({p.prefix_v, other_v}, 1),
                                            kScale, map, false);
    LinearState sum = one;
    sum.z_KHMD = one.z_KHMD + two.z_KHMD;
    sum.den_KHM = one.den_KHM + two.den_KHM;
    EXPECT_LT(relative_error(p(sum), p(both)), 1e-12);
  }
}

TEST(Ntk, CenteredShiftInvariance) {
  // Without keys of its own a row gives a / b; one key of score 0 and value 0 beside values of 1 gives b / (1 + b).
  Prefixed p;
  const at::Tensor c = 3.0 * random_tensor(8, {kWidth});
  for (const FeatureMap map : {FeatureMap::taylor1, FeatureMap::taylor2}) {
    const auto outcome = [&](const at::Tensor& keys, const at::Tensor& values, int64_t own) {
      const at::Tensor zeros = at::zeros({own, 2, kWidth}, at::kDouble);
      return attention(p.q, zeros, zeros,
                       {.queries = make_batch({6}),
                        .keys = make_batch({own}),
                        .scale = kScale,
                        .state = state_of_pairs(keys, values, kScale, map, true)});
    };
    const at::Tensor keys = 0.3 * p.prefix_k, ones = at::ones_like(p.prefix_v);
    EXPECT_LT(relative_error(outcome(keys + c, p.prefix_v, 0), outcome(keys, p.prefix_v, 0)), 1e-10);
    const auto log_mass = [&](const at::Tensor& k) { return at::logit(outcome(k, ones, 1)); };
    const at::Tensor grown = log_mass(keys + c) - log_mass(keys), expected = kScale * at::matmul(p.q, c).unsqueeze(-1);
    EXPECT_LT((grown - expected).abs().max().item<double>(), 1e-10);
  }
}

TEST(PortableStream, GivesThePublishedNumbers) {
  EXPECT_EQ(PortableStream(0).word(), 0xE220A8397B1DCDAFU);
  const at::Tensor expected = at::tensor({-0.45275774, 0.20776604, 2.65060581, -0.49042283}, at::kDouble);
  EXPECT_LT((PortableStream(0).normal({4}) - expected).abs().max().item<double>(), 1e-8);
}

/// docs/methods.md#how-well-a-state-replaces-a-prefix: relative Frobenius error of what stands in for the prefix, d = 64, 128 queries and
/// keys, one head.
struct TableRow {
  double s;
  int64_t pairs;
  double mu, t;  ///< keys mu m + t PK
  double none, elu, taylor1, centered1, taylor2, centered2;
  double ungated = 0.0, gated_rows = 0.0;  ///< of taylor1, where rows are gated
};

TEST(Ntk, CompressionTable) {
  const TableRow table[] = {
      {0.3, 16, 0, 0.3, 0.30163, 2.1059, 0.0021393, 0.0020387, 0.00015520, 0.00014696},
      {0.3, 256, 0, 0.3, 1.8082, 0.88765, 0.0057673, 0.0057490, 0.00044347, 0.00044201},
      {0.3, 4096, 0, 0.3, 6.2289, 0.20808, 0.0057277, 0.0057245, 0.00048976, 0.00048951},
      {1.0, 16, 0, 1.0, 0.33654, 1.4422, 0.18591, 0.18102, 0.11645, 0.11181},
      {1.0, 256, 0, 1.0, 1.5400, 0.94875, 0.51506, 0.51449, 0.33679, 0.33658},
      {1.0, 4096, 0, 1.0, 5.6263, 0.79564, 0.52059, 0.52044, 0.38456, 0.38453},
      {1.0, 64, 1, 0.3, 0.53350, 1.1042, 0.15191, 0.030490, 0.13407, 0.0080845, 0.44212, 0.19},
      {1.0, 64, 2, 0.3, 0.69558, 1.0673, 0.25121, 0.037298, 0.32909, 0.010557, 3.0459, 0.34},
  };
  const Batch rows = make_batch({128});
  const double scale = 1.0 / 8.0;
  for (const TableRow& row : table) {
    SCOPED_TRACE("s " + std::to_string(row.s) + ", P " + std::to_string(row.pairs) + ", mu " + std::to_string(row.mu));
    PortableStream stream(0);
    const at::Tensor q = row.s * stream.normal({128, 1, 64}), k = row.s * stream.normal({128, 1, 64}),
                     v = stream.normal({128, 1, 64}), m = stream.normal({64}),
                     pk = row.mu * m + row.t * stream.normal({1, row.pairs, 1, 64}),
                     pv = stream.normal({1, row.pairs, 1, 64});
    AttentionArgs args{.queries = rows, .keys = rows, .scale = scale};
    args.prefix = {pk, pv};
    const at::Tensor exact = attention(q, k, v, args);
    args.prefix = {};
    const auto expect_error = [&](const at::Tensor& found, double published, const char* name) {
      EXPECT_NEAR(relative_error(found, exact) / published, 1.0, 1e-3) << name;
    };
    expect_error(attention(q, k, v, args), row.none, "no prefix");
    const auto with_state = [&](FeatureMap map, bool centered, GatedRows* count = nullptr) {
      args.state = state_of_pairs(pk, pv, scale, map, centered);
      args.state.gated = count;
      return attention(q, k, v, args);
    };
    GatedRows count;
    expect_error(with_state(FeatureMap::elu, false), row.elu, "elu");
    expect_error(with_state(FeatureMap::taylor1, false, &count), row.taylor1, "taylor1");
    EXPECT_NEAR(static_cast<double>(count.gated) / static_cast<double>(count.rows), row.gated_rows, 5e-3);
    expect_error(with_state(FeatureMap::taylor1, true), row.centered1, "centered taylor1");
    expect_error(with_state(FeatureMap::taylor2, false), row.taylor2, "taylor2");
    expect_error(with_state(FeatureMap::taylor2, true), row.centered2, "centered taylor2");
    if (row.ungated > 0.0) {  // the direct formula with whatever sign b has
      const LinearState state = state_of_pairs(pk, pv, scale, FeatureMap::taylor1, false);
      const at::Tensor q2 = q.squeeze(1), phi = features(q2 * std::sqrt(scale), FeatureMap::taylor1),
                       weights = at::exp(scale * at::mm(q2, k.squeeze(1).t()));
      const at::Tensor sum = weights.sum(1) + at::mv(phi, state.den_KHM[0][0]);
      const at::Tensor out = (at::mm(weights, v.squeeze(1)) + at::mm(phi, state.z_KHMD[0][0])) / sum.unsqueeze(1);
      expect_error(out.unsqueeze(1), row.ungated, "ungated taylor1");
    }
  }
}

}  // namespace
}  // namespace peft
