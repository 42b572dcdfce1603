#pragma once
/// Attention over packed sequences with prefixes on the emulator, and the same in double precision by the definition.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>

#include "src/kernels/cuda/packed_attention/api.h"
#include "tests/kernels/cuda/attention_masks.h"
#include "tests/kernels/cuda/memory.h"

namespace peft::cuda {

struct PackedCase {
  std::vector<int32_t> cu_q = {0, 70}, cu_k = {};  ///< [B+1]; no cu_k: the queries' own
  std::vector<int32_t> table = {0};                ///< [B], of each sequence's prefix
  int tables = 1, prefix = 0, heads = 2, key_heads = 2, width = 32;
  bool causal = false, biased = false;
  int window = 0;
  double amplitude = 1.0;  ///< of the queries
  double logit = 0.0;      ///< +-200: every logit is near it
  double dropout = 0.0;
  uint64_t seed = 1;

  AttentionMasks masks() const { return {dropout, cu_q, table}; }

  const std::vector<int32_t>& keys() const { return cu_k.empty() ? cu_q : cu_k; }
  int sequences() const { return static_cast<int>(table.size()); }
  int rows() const { return cu_q.back(); }
  int key_rows() const { return keys().back(); }
  double scale() const { return 1.0 / std::sqrt(width); }
  int longest(const std::vector<int32_t>& cu) const {
    int most = 0;
    for (std::size_t b = 0; b + 1 < cu.size(); ++b) most = std::max(most, cu[b + 1] - cu[b]);
    return most;
  }
  int bias_zero() const { return static_cast<int>(packed_tiles(longest(cu_q))); }
  int bias_span() const { return bias_zero() + static_cast<int>(packed_tiles(longest(keys()))); }
  std::string name() const {
    const auto list = [](const std::vector<int32_t>& x) {
      std::string text;
      for (const int32_t i : x) text += " " + std::to_string(i);
      return text;
    };
    return "q" + list(cu_q) + ", k" + list(keys()) + ", tables" + list(table) + ", P " + std::to_string(prefix) +
           ", H " + std::to_string(heads) + ", G " + std::to_string(key_heads) + ", D " + std::to_string(width) +
           ", causal " + std::to_string(causal) + ", biased " + std::to_string(biased) + ", window " +
           std::to_string(window) + ", amplitude " + std::to_string(amplitude) + ", logit " + std::to_string(logit) +
           ", dropout " + std::to_string(dropout) + ", seed " + std::to_string(seed);
  }
};

/// In double, rounded to T; the bias to float.
struct PackedInputs {
  std::vector<double> q, k, v, dout, pk, pv, bias;
};
template <class T>
PackedInputs packed_inputs(const PackedCase& c) {
  RoundedNormals<T> normals(c.seed);
  PackedInputs in;
  const std::size_t width = c.width, rows = c.rows() * width * c.heads, keys = c.key_rows() * width * c.key_heads,
                    pairs = static_cast<std::size_t>(c.tables) * c.prefix * width * c.key_heads;
  const double side = std::sqrt(std::abs(c.logit) / (c.width * c.scale())), size = c.logit == 0.0 ? 1.0 : 0.1,
               key_side = c.logit < 0 ? -side : side;
  in.q = normals(rows, c.amplitude * size, side);
  in.k = normals(keys, size, key_side);
  in.v = normals(keys);
  in.dout = normals(rows);
  in.pk = normals(pairs, size, key_side);
  in.pv = normals(pairs);
  if (c.biased) in.bias = normals(static_cast<std::size_t>(c.heads) * c.bias_span());  // exact in float
  return in;
}

struct PackedReference {
  std::vector<double> out, lse, dq, dk, dv, dpk, dpv;
};

class PackedOracle {
 public:
  PackedOracle(const PackedCase& c, const PackedInputs& in) : c_(c), in_(in) {}

  PackedReference run() const {
    PackedReference r;
    r.out.assign(in_.q.size(), 0.0);
    r.lse.assign(static_cast<std::size_t>(c_.heads) * c_.rows(), -std::numeric_limits<double>::infinity());
    each_query([&](int b, int i, int h, std::size_t q, std::size_t row) {
      const std::vector<Key> keys = keys_of(b, i, h);
      if (keys.empty()) return;
      double top = -std::numeric_limits<double>::infinity(), mass = 0.0;
      for (const Key& key : keys) top = std::max(top, score(q, key));
      for (const Key& key : keys) mass += std::exp(score(q, key) - top);
      r.lse[row] = top + std::log(mass);
      for (const Key& key : keys) {
        const double p = std::exp(score(q, key) - r.lse[row]);
        for (int x = 0; x < c_.width; ++x) r.out[q + x] += key.kept * p * (*key.v)[key.at + x];
      }
    });
    backward(r);
    return r;
  }

 private:
  void backward(PackedReference& r) const {
    r.dq.assign(in_.q.size(), 0.0);
    for (auto* x : {&r.dk, &r.dv}) x->assign(in_.k.size(), 0.0);
    for (auto* x : {&r.dpk, &r.dpv}) x->assign(in_.pk.size(), 0.0);
    each_query([&](int b, int i, int h, std::size_t q, std::size_t row) {
      const double delta = dot(&in_.dout[q], &r.out[q]);
      for (const Key& key : keys_of(b, i, h)) {
        std::vector<double>&dk = key.k == &in_.k ? r.dk : r.dpk, &dv = key.k == &in_.k ? r.dv : r.dpv;
        const double p = std::exp(score(q, key) - r.lse[row]),
                     ds = p * (key.kept * dot(&in_.dout[q], &(*key.v)[key.at]) - delta);
        for (int x = 0; x < c_.width; ++x) {
          r.dq[q + x] += c_.scale() * ds * (*key.k)[key.at + x];
          dk[key.at + x] += c_.scale() * ds * in_.q[q + x];
          dv[key.at + x] += key.kept * p * in_.dout[q + x];
        }
      }
    });
  }
  struct Key {
    const std::vector<double>*k, *v;
    std::size_t at;
    double bias, kept;
  };
  template <class F>
  void each_query(const F& f) const {
    for (int b = 0; b < c_.sequences(); ++b) {
      for (int t = c_.cu_q[b]; t < c_.cu_q[b + 1]; ++t) {
        for (int h = 0; h < c_.heads; ++h)
          f(b, t - c_.cu_q[b], h, (static_cast<std::size_t>(t) * c_.heads + h) * c_.width,
            static_cast<std::size_t>(h) * c_.rows() + t);
      }
    }
  }
  double dot(const double* x, const double* y) const { return std::inner_product(x, x + c_.width, y, 0.0); }
  double score(std::size_t q, const Key& key) const {
    return c_.scale() * dot(&in_.q[q], &(*key.k)[key.at]) + key.bias;
  }
  std::vector<Key> keys_of(int b, int i, int h) const {
    std::vector<Key> result;
    const int head = h / (c_.heads / c_.key_heads), begin = c_.keys()[b], count = c_.keys()[b + 1] - begin;
    const auto at = [&](int row) { return (static_cast<std::size_t>(row) * c_.key_heads + head) * c_.width; };
    const int row = c_.cu_q[b] + i;
    for (int j = 0; c_.table[b] >= 0 && j < c_.prefix; ++j)
      result.push_back({&in_.pk, &in_.pv, at(c_.table[b] * c_.prefix + j), 0.0, masks_.multiplier(row, h, true, j)});
    for (int j = 0; j < count; ++j) {
      if ((c_.causal && j > i) || (c_.window > 0 && j <= i - c_.window)) continue;
      const double bias = c_.biased ? in_.bias[h * c_.bias_span() + c_.bias_zero() + j - i] : 0.0;
      result.push_back({&in_.k, &in_.v, at(begin + j), bias, masks_.multiplier(row, h, false, j)});
    }
    return result;
  }

  const PackedCase& c_;
  const PackedInputs& in_;
  AttentionMasks masks_ = c_.masks();
};

template <class T>
struct PackedRun {
  Slice<T> out, dq, dk, dv;
  Floats lse, delta, dpk, dpv;
};

/// Forward and backward.
template <class T>
PackedRun<T> run_packed(const PackedCase& c, const PackedInputs& in) {
  Slice<T> q(c.rows(), c.heads, c.width), dout = q, k(c.key_rows(), c.key_heads, c.width), v = k;
  Floats of_rows(static_cast<std::size_t>(c.heads) * c.rows()), of_prefix(in.pk.size());
  PackedRun<T> run{q, q, k, k, of_rows, of_rows, of_prefix, of_prefix};
  fill_slice(q, in.q);
  fill_slice(dout, in.dout);
  fill_slice(k, in.k);
  fill_slice(v, in.v);
  const std::vector<uint4> pk = packed_values<T>(in.pk), pv = packed_values<T>(in.pv);
  const std::vector<float> bias(in.bias.begin(), in.bias.end());
  const PackedWorkList work = packed_work_list(c.cu_q, c.keys(), c.table, c.tables, c.width);
  const PackedShape shape{.type = tile_type<T>(),
                          .heads = c.heads,
                          .key_heads = c.key_heads,
                          .width = c.width,
                          .prefix = c.prefix,
                          .tables = c.tables,
                          .query_rows = c.rows(),
                          .key_rows = c.key_rows(),
                          .scale = static_cast<float>(c.scale()),
                          .causal = c.causal,
                          .window = c.window};
  const AttentionMasks masks = c.masks();
  const PackedKeys keys{.k = k.view(),
                        .v = v.view(),
                        .prefix_k = pk.data(),
                        .prefix_v = pv.data(),
                        .sequences = work.sequences.data(),
                        .bias = c.biased ? bias.data() : nullptr,
                        .bias_zero = c.bias_zero(),
                        .bias_span = c.bias_span(),
                        .dropout = masks.view()};
  const auto count = [](const auto& x) { return static_cast<int32_t>(x.size()); };
  EXPECT_EQ(packed_attention_forward({.shape = shape,
                                      .keys = keys,
                                      .q = q.view(),
                                      .out = run.out.view(),
                                      .lse = run.lse.data(),
                                      .items = work.queries.data(),
                                      .item_count = count(work.queries)},
                                     nullptr),
            0);
  Floats partial(work.chunks.size() * c.heads * prefix_partial_floats(c.prefix, c.width));
  EXPECT_EQ(packed_attention_backward({.shape = shape,
                                       .keys = keys,
                                       .dout = dout.view(),
                                       .q = q.view(),
                                       .out = run.out.view(),
                                       .dq = run.dq.view(),
                                       .dk = run.dk.view(),
                                       .dv = run.dv.view(),
                                       .lse = run.lse.data(),
                                       .delta = run.delta.data(),
                                       .dprefix_k = run.dpk.data(),
                                       .dprefix_v = run.dpv.data(),
                                       .partial = partial.data(),
                                       .queries = work.queries.data(),
                                       .key_items = work.keys.data(),
                                       .chunks = work.chunks.data(),
                                       .first_chunk = work.first_chunk.data(),
                                       .query_count = count(work.queries),
                                       .key_count = count(work.keys),
                                       .chunk_count = count(work.chunks)},
                                      nullptr),
            0);
  for (Slice<T>* x : {&q, &dout, &k, &v, &run.out, &run.dq, &run.dk, &run.dv}) EXPECT_TRUE(x->canaries_live());
  for (Floats* x : {&run.lse, &run.delta, &run.dpk, &run.dpv, &partial}) EXPECT_TRUE(x->canaries_live());
  return run;
}

}  // namespace peft::cuda
