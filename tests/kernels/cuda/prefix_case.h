#pragma once
/// Attention with prefixes on the emulator, and the same in double precision as one softmax over [prefix; sequence].

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>

#include "src/kernels/cuda/prefix_attention/api.h"
#include "tests/kernels/cuda/memory.h"

namespace peft::cuda {

/// A group is one sequence here: its rows see each other and its prefix.
struct PrefixCase {
  std::vector<int32_t> group_rows = {0, 70};  ///< [K+1]; rows before the first have no adapter
  std::vector<int32_t> length = {};           ///< [K]; none: all P
  int prefix = 20, heads = 2, key_heads = 2, width = 32;
  bool causal = true;
  double amplitude = 1.0;  ///< of the queries
  double logit = 0.0;      ///< +-200: every logit is near it
  uint64_t seed = 1;

  int groups() const { return static_cast<int>(group_rows.size()) - 1; }
  int rows() const { return group_rows.back(); }
  int length_of(int group) const { return group < 0 ? 0 : length.empty() ? prefix : length[group]; }
  double scale() const { return 1.0 / std::sqrt(width); }
  std::string name() const {
    std::string text = "groups";
    for (const int32_t r : group_rows) text += " " + std::to_string(r);
    text += ", lengths";
    for (const int32_t n : length) text += " " + std::to_string(n);
    return text + ", P " + std::to_string(prefix) + ", H " + std::to_string(heads) + ", G " +
           std::to_string(key_heads) + ", D " + std::to_string(width) + ", causal " + std::to_string(causal) +
           ", amplitude " + std::to_string(amplitude) + ", logit " + std::to_string(logit) + ", seed " +
           std::to_string(seed);
  }
};

/// In double, rounded to T.
struct PrefixInputs {
  std::vector<double> q, k, v, dout, pk, pv;  ///< [T,H,D], [T,G,D] twice, [T,H,D], [K,P,G,D] twice
};
template <class T>
PrefixInputs prefix_inputs(const PrefixCase& c) {
  RoundedNormals<T> normals(c.seed);
  PrefixInputs in;
  const std::size_t rows = c.rows(), width = c.width, keys = static_cast<std::size_t>(c.groups()) * c.prefix;
  const double side = std::sqrt(std::abs(c.logit) / (c.width * c.scale())), size = c.logit == 0.0 ? 1.0 : 0.1;
  in.q = normals(rows * c.heads * width, c.amplitude * size, side);
  in.k = normals(rows * c.key_heads * width, size, c.logit < 0 ? -side : side);
  in.v = normals(rows * c.key_heads * width);
  in.dout = normals(rows * c.heads * width);
  in.pk = normals(keys * c.key_heads * width, size, c.logit < 0 ? -side : side);
  in.pv = normals(keys * c.key_heads * width);
  return in;
}

struct PrefixReference {
  std::vector<double> self, self_lse, out, lse, dq, dk, dv;  ///< dk, dv of the prefix
};
struct PrefixPart {
  std::vector<double> dq, dk;
};

class PrefixOracle {
 public:
  PrefixOracle(const PrefixCase& c, const PrefixInputs& in) : c_(c), in_(in) {}

  PrefixReference run() const {
    PrefixReference r;
    for (auto* x : {&r.self, &r.out}) x->assign(in_.q.size(), 0.0);
    for (auto* x : {&r.self_lse, &r.lse}) x->assign(static_cast<std::size_t>(c_.heads) * c_.rows(), 0.0);
    each_row([&](int k, int begin, int end, int t, int h) {
      const std::size_t index = static_cast<std::size_t>(h) * c_.rows() + t;
      r.self_lse[index] = attend(keys(-1, begin, end, t, h), t, h, &r.self[at(t, h)]);
      r.lse[index] = attend(keys(k, begin, end, t, h), t, h, &r.out[at(t, h)]);
    });
    backward(r);
    return r;
  }

  /// What the prefix adds to dq, and dk, where the sequence's part of the output is `self`, as rounded as the kernels got it.
  PrefixPart prefix_part(const std::vector<double>& self, const PrefixReference& r) const {
    PrefixPart part{std::vector<double>(in_.q.size(), 0.0), std::vector<double>(in_.pk.size(), 0.0)};
    each_row([&](int k, int begin, int end, int t, int h) {
      const std::size_t row = static_cast<std::size_t>(h) * c_.rows() + t;
      const double* dout = &in_.dout[at(t, h)];
      const auto p = [&](const Key& key) { return std::exp(score(t, h, key) - r.lse[row]); };
      std::vector<Key> prefix = keys(k, begin, end, t, h);
      std::erase_if(prefix, [](const Key& key) { return key.prefix < 0; });
      double delta = std::exp(r.self_lse[row] - r.lse[row]) * dot(dout, &self[at(t, h)]);
      for (const Key& key : prefix) delta += p(key) * dot(dout, key.v);
      for (const Key& key : prefix) {
        const double ds = p(key) * (dot(dout, key.v) - delta);
        for (int i = 0; i < c_.width; ++i) {
          part.dq[at(t, h) + i] += c_.scale() * ds * key.k[i];
          part.dk[key.prefix + i] += c_.scale() * ds * in_.q[at(t, h) + i];
        }
      }
    });
    return part;
  }

  /// The sequence's part of dq from a given output and log-sum-exp, as the softmax backward computes it.
  std::vector<double> dq_self(const std::vector<double>& out, const std::vector<double>& lse) const {
    std::vector<double> dq(in_.q.size(), 0.0);
    each_row([&](int, int begin, int end, int t, int h) {
      const double* dout = &in_.dout[at(t, h)];
      const double delta = dot(dout, &out[at(t, h)]), l = lse[static_cast<std::size_t>(h) * c_.rows() + t];
      for (const Key& key : keys(-1, begin, end, t, h)) {
        const double ds = std::exp(score(t, h, key) - l) * (dot(dout, key.v) - delta);
        for (int i = 0; i < c_.width; ++i) dq[at(t, h) + i] += c_.scale() * ds * key.k[i];
      }
    });
    return dq;
  }

 private:
  void backward(PrefixReference& r) const {
    r.dq.assign(in_.q.size(), 0.0);
    for (auto* x : {&r.dk, &r.dv}) x->assign(in_.pk.size(), 0.0);
    each_row([&](int k, int begin, int end, int t, int h) {
      const double* dout = &in_.dout[at(t, h)];
      const double delta = dot(dout, &r.out[at(t, h)]), l = r.lse[static_cast<std::size_t>(h) * c_.rows() + t];
      for (const Key& key : keys(k, begin, end, t, h)) {
        const double p = std::exp(score(t, h, key) - l), ds = p * (dot(dout, key.v) - delta);
        for (int i = 0; i < c_.width; ++i) {
          r.dq[at(t, h) + i] += c_.scale() * ds * key.k[i];
          if (key.prefix < 0) continue;
          r.dk[key.prefix + i] += c_.scale() * ds * in_.q[at(t, h) + i];
          r.dv[key.prefix + i] += p * dout[i];
        }
      }
    });
  }
  struct Key {
    const double *k, *v;
    std::ptrdiff_t prefix;  ///< where its gradient is; -1: of the sequence
  };
  template <class F>
  void each_row(const F& f) const {
    for (int k = -1; k < c_.groups(); ++k) {
      const int begin = k < 0 ? 0 : c_.group_rows[k], end = c_.group_rows[k + 1];
      for (int t = begin; t < end; ++t) {
        for (int h = 0; h < c_.heads; ++h) f(k, begin, end, t, h);
      }
    }
  }
  std::size_t at(int t, int h) const { return (static_cast<std::size_t>(t) * c_.heads + h) * c_.width; }
  double dot(const double* x, const double* y) const { return std::inner_product(x, x + c_.width, y, 0.0); }
  double score(int t, int h, const Key& key) const { return c_.scale() * dot(&in_.q[at(t, h)], key.k); }

  /// Of the prefix of group k (-1: none), then of the sequence.
  std::vector<Key> keys(int k, int begin, int end, int t, int h) const {
    std::vector<Key> result;
    const int head = h / (c_.heads / c_.key_heads);
    for (int j = 0; j < c_.length_of(k); ++j) {
      const std::size_t i = ((static_cast<std::size_t>(k) * c_.prefix + j) * c_.key_heads + head) * c_.width;
      result.push_back({&in_.pk[i], &in_.pv[i], static_cast<std::ptrdiff_t>(i)});
    }
    for (int j = begin; j < (c_.causal ? t + 1 : end); ++j) {
      const std::size_t i = (static_cast<std::size_t>(j) * c_.key_heads + head) * c_.width;
      result.push_back({&in_.k[i], &in_.v[i], -1});
    }
    return result;
  }
  double attend(const std::vector<Key>& keys, int t, int h, double* out) const {
    std::vector<double> s;
    for (const Key& key : keys) s.push_back(score(t, h, key));
    const double top = *std::max_element(s.begin(), s.end());
    double mass = 0.0;
    for (const double x : s) mass += std::exp(x - top);
    for (std::size_t j = 0; j < s.size(); ++j) {
      for (int i = 0; i < c_.width; ++i) out[i] += std::exp(s[j] - top) / mass * keys[j].v[i];
    }
    return top + std::log(mass);
  }

  const PrefixCase& c_;
  const PrefixInputs& in_;
};

template <class T>
struct PrefixRun {
  Slice<T> out, dq;
  Floats lse, delta, dk, dv;
  std::vector<T> self, dq_self;  ///< what the kernels found in out and dq: [T,H,D]
};

struct PrefixOptions {
  bool softmax_dq = true;             ///< else the prefix's part of dq comes alone
  std::vector<double> self_lse = {};  ///< instead of the reference's
};

/// Forward, the softmax backward in double, backward.
template <class T>
PrefixRun<T> run_prefix(const PrefixCase& c, const PrefixInputs& in, const PrefixReference& r,
                        const PrefixOptions& options = {}) {
  Slice<T> self(c.rows(), c.heads, c.width), q = self, dout = self;
  Floats self_lse(static_cast<std::size_t>(c.heads) * c.rows());
  PrefixRun<T> run{self, self, self_lse, self_lse, Floats(in.pk.size()), Floats(in.pk.size()), {}, {}};
  fill_slice(q, in.q);
  fill_slice(dout, in.dout);
  fill_slice(self, r.self);
  run.self = elements(self);
  for (std::size_t i = 0; i < self_lse.count; ++i)
    self_lse[i] = static_cast<float>(options.self_lse.empty() ? r.self_lse[i] : options.self_lse[i]);
  std::vector<uint4> pk = packed_values<T>(in.pk), pv = packed_values<T>(in.pv);
  if (!c.length.empty()) {  // what is behind a prefix is not read
    const std::size_t row = static_cast<std::size_t>(c.key_heads) * c.width;
    for (int k = 0; k < c.groups(); ++k) {
      for (std::size_t i = c.length[k] * row; i < c.prefix * row; ++i) {
        for (std::vector<uint4>* x : {&pk, &pv})
          reinterpret_cast<T*>(x->data())[k * c.prefix * row + i] =
              from_float<T>(std::numeric_limits<float>::quiet_NaN());
      }
    }
  }
  const PrefixShape shape{tile_type<T>(), c.groups(), c.heads,  c.key_heads,
                          c.width,        c.prefix,   c.rows(), static_cast<float>(c.scale())};
  const PrefixKeys keys{pk.data(), pv.data(), c.length.empty() ? nullptr : c.length.data()};
  const PrefixWorkList work = prefix_work_list(c.group_rows, c.width);
  EXPECT_EQ(prefix_attention_forward({shape, keys, q.view(), self.view(), run.out.view(), self_lse.data(),
                                      run.lse.data(), work.forward.data(), static_cast<int32_t>(work.forward.size())},
                                     nullptr),
            0);
  fill_slice(run.dq, options.softmax_dq ? PrefixOracle(c, in).dq_self(values(run.out), values(run.lse))
                                        : std::vector<double>(in.q.size(), 0.0));
  run.dq_self = elements(run.dq);
  Floats partial(work.chunks.size() * c.heads * prefix_partial_floats(c.prefix, c.width));
  EXPECT_EQ(
      prefix_attention_backward({shape, keys, dout.view(), q.view(), self.view(), run.out.view(), run.dq.view(),
                                 self_lse.data(), run.lse.data(), run.delta.data(), run.dk.data(), run.dv.data(),
                                 partial.data(), work.queries.data(), work.chunks.data(), work.first_chunk.data(),
                                 static_cast<int32_t>(work.queries.size()), static_cast<int32_t>(work.chunks.size())},
                                nullptr),
      0);
  for (Slice<T>* x : {&q, &dout, &self, &run.out, &run.dq}) EXPECT_TRUE(x->canaries_live());
  for (Floats* x : {&run.lse, &run.delta, &run.dk, &run.dv, &partial, &self_lse}) EXPECT_TRUE(x->canaries_live());
  return run;
}

}  // namespace peft::cuda
