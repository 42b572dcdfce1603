#pragma once
/// Random calls of the packed attention of the CPU, and what they must give: the definition, one number at a time in float64.

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <type_traits>
#include <vector>

#include "peft/base/rng.h"
#include "src/kernels/cpu/kernels.h"

namespace peft::cpu {

struct Bfloat16 {
  uint16_t bits = 0;
};
inline double to_double(double x) { return x; }
inline double to_double(float x) { return x; }
inline double to_double(_Float16 x) { return static_cast<double>(static_cast<float>(x)); }
inline double to_double(Bfloat16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float y;
  std::memcpy(&y, &bits, sizeof(y));
  return y;
}
template <class E>
E from_double(double x) {
  if constexpr (std::is_same_v<E, Bfloat16>) {
    const float y = static_cast<float>(x);
    uint32_t bits;
    std::memcpy(&bits, &y, sizeof(bits));
    return {static_cast<uint16_t>(bits >> 16)};  // any bfloat16 near x will do
  } else {
    return static_cast<E>(x);
  }
}
template <class E>
constexpr Element kElement = std::is_same_v<E, double>     ? Element::f64
                             : std::is_same_v<E, float>    ? Element::f32
                             : std::is_same_v<E, _Float16> ? Element::f16
                                                           : Element::bf16;
template <class E>
using SumType = std::conditional_t<std::is_same_v<E, double>, double, float>;

struct Settings {
  std::vector<int64_t> queries = {}, keys = {};  ///< of each sequence; no keys: those of the queries
  int64_t heads = 2, key_heads = 1, width = 8, prefix = 0, adapters = 1;
  bool table_each = false;  ///< a prefix table of each sequence
  bool causal = false;
  int64_t window = 0, buckets = 0;
  bool bias_of_prefix = false;
  double dropout = 0.0, amplitude = 1.0;
  int64_t query_start = 0, key_start = 0;
  bool gaps = false;  ///< rows that are a selection: their indices have gaps
  uint64_t seed = 1;
};

/// Everything in float64, and the numbers of the element in memory with other numbers between the rows.
template <class E>
class Case {
 public:
  using T = SumType<E>;

  explicit Case(const Settings& s) : settings(s), random_(s.seed) {
    const std::vector<int64_t>& keys = s.keys.empty() ? s.queries : s.keys;
    int64_t tq = 0, tk = 0;
    for (std::size_t b = 0; b < s.queries.size(); ++b) {
      const auto adapter = static_cast<int64_t>(b) * s.adapters / static_cast<int64_t>(s.queries.size());
      sequences.push_back({.first_query = tq,
                           .queries = s.queries[b],
                           .first_key = tk,
                           .keys = keys[b],
                           .query_start = s.query_start,
                           .key_start = s.key_start,
                           .adapter = adapter,
                           .table = s.table_each ? static_cast<int64_t>(b) : adapter,
                           .ordinal = static_cast<uint32_t>(random_() % 100)});
      const bool joins = !s.table_each && s.prefix > 0 && b > 0 && sequences[b - 1].adapter == adapter;
      if (joins) {
        ranges.back().last = static_cast<int64_t>(b) + 1;
      } else {
        ranges.push_back({static_cast<int64_t>(b), static_cast<int64_t>(b) + 1});
      }
      add_indices(query_index, s.queries[b]);
      add_indices(key_index, keys[b]);
      tq += s.queries[b];
      tk += keys[b];
    }
    q = numbers(tq * s.heads * s.width, s.amplitude);
    k = numbers(tk * s.key_heads * s.width);
    v = numbers(tk * s.key_heads * s.width);
    dout = numbers(tq * s.heads * s.width);
    const int64_t tables = s.table_each ? static_cast<int64_t>(s.queries.size()) : s.adapters;
    pk = numbers(tables * s.prefix * s.key_heads * s.width);
    pv = numbers(tables * s.prefix * s.key_heads * s.width);
    for (int64_t a = 0; a < s.adapters && s.dropout > 0.0; ++a) {
      const auto limit = static_cast<uint32_t>(std::lround(s.dropout * 65536.0 * (a == 0 ? 1.0 : 0.5)));
      masks.push_back({.key = {static_cast<uint32_t>(random_()), static_cast<uint32_t>(random_())},
                       .limit = limit,
                       .step = static_cast<uint32_t>(random_() % 1000),
                       .scale = static_cast<float>(65536.0 / (65536.0 - limit))});
    }
    if (s.buckets > 0) {
      table = numbers(s.buckets * s.heads);
      zero = 400;
      span = 800;
      for (int64_t d = 0; d < span; ++d) bucket_of.push_back(static_cast<int32_t>((d * 7 + d / 5) % s.buckets));
    }
  }

  int64_t query_rows() const { return static_cast<int64_t>(query_index.size()); }
  int64_t key_rows() const { return static_cast<int64_t>(key_index.size()); }

  Settings settings;
  std::vector<PackedSequence> sequences;
  std::vector<SequenceRange> ranges;
  std::vector<int64_t> query_index, key_index;
  std::vector<MaskNames> masks;
  std::vector<int32_t> bucket_of;
  int64_t span = 0, zero = 0;
  std::vector<double> q, k, v, dout, pk, pv, table;

 private:
  void add_indices(std::vector<int64_t>& to, int64_t count) {
    int64_t at = settings.gaps ? static_cast<int64_t>(random_() % 3) : 0;
    for (int64_t i = 0; i < count; ++i) {
      to.push_back(at);
      at += settings.gaps ? 1 + static_cast<int64_t>(random_() % 3) : 1;
    }
  }
  /// As the element holds them.
  std::vector<double> numbers(int64_t count, double amplitude = 1.0) {
    std::normal_distribution<double> normal;
    std::vector<double> x;
    for (int64_t i = 0; i < count; ++i) x.push_back(to_double(from_double<E>(amplitude * normal(random_))));
    return x;
  }
  std::mt19937_64 random_;
};

/// out [Tq,H,D], lse [Tq,H], and the gradients for `dout`.
struct Outcome {
  std::vector<double> out, lse, dq, dk, dv, dpk, dpv, dtable;
};

template <class E>
Outcome definition(const Case<E>& c) {
  const Settings& s = c.settings;
  const int64_t h_count = s.heads, g_count = s.key_heads, d_count = s.width, p_count = s.prefix;
  const double scale = 1.0 / std::sqrt(static_cast<double>(d_count));
  Outcome r{std::vector<double>(c.q.size()),  std::vector<double>(c.query_rows() * h_count),
            std::vector<double>(c.q.size()),  std::vector<double>(c.k.size()),
            std::vector<double>(c.v.size()),  std::vector<double>(c.pk.size()),
            std::vector<double>(c.pv.size()), std::vector<double>(c.table.size())};
  for (const PackedSequence& at : c.sequences) {
    for (int64_t h = 0; h < h_count; ++h) {
      const int64_t g = h / (h_count / g_count);
      for (int64_t i = 0; i < at.queries; ++i) {
        const int64_t row = at.first_query + i, query = c.query_index[row] + at.query_start;
        const double* q = &c.q[(row * h_count + h) * d_count];
        struct Seen {
          const double *k, *v;
          double *dk, *dv, *dbias;
          double score, mask, p;
        };
        std::vector<Seen> seen;
        for (int64_t j = -p_count; j < at.keys; ++j) {
          const bool pair = j < 0;
          const int64_t position = at.key_start + (pair ? j : c.key_index[at.first_key + j]);
          if (s.causal && !pair && position > query) continue;
          if (s.window > 0 && position <= query - s.window) continue;
          const int64_t place = pair ? ((at.table * p_count + p_count + j) * g_count + g) * d_count
                                     : ((at.first_key + j) * g_count + g) * d_count;
          Seen x{pair ? &c.pk[place] : &c.k[place],
                 pair ? &c.pv[place] : &c.v[place],
                 pair ? &r.dpk[place] : &r.dk[place],
                 pair ? &r.dpv[place] : &r.dv[place],
                 nullptr,
                 0.0,
                 1.0,
                 0.0};
          for (int64_t d = 0; d < d_count; ++d) x.score += scale * q[d] * x.k[d];
          if (s.buckets > 0 && (!pair || s.bias_of_prefix)) {
            const int64_t entry = c.bucket_of[position - query + c.zero] * h_count + h;
            x.score += c.table[entry];
            x.dbias = &r.dtable[entry];
          }
          if (!c.masks.empty()) {
            const MaskNames& names = c.masks[at.adapter];
            const int64_t column = pair ? j + p_count : j;
            const PhiloxCounter words = philox({static_cast<uint32_t>(h << 20 | (pair ? 1 << 19 : 0) | column / 8),
                                                static_cast<uint32_t>(c.query_index[row]), at.ordinal, names.step},
                                               {names.key[0], names.key[1]});
            const uint32_t draw = words[column % 8 / 2] >> (16 * (column % 2)) & 0xFFFFU;
            x.mask = draw >= names.limit ? static_cast<double>(names.scale) : 0.0;
          }
          seen.push_back(x);
        }
        double top = -std::numeric_limits<double>::infinity(), sum = 0.0;
        for (const Seen& x : seen) top = std::max(top, x.score);
        for (Seen& x : seen) sum += x.p = std::exp(x.score - top);
        r.lse[row * h_count + h] = seen.empty() ? top : top + std::log(sum);
        const double* dout = &c.dout[(row * h_count + h) * d_count];
        double mean = 0.0;
        std::vector<double> dp;
        for (Seen& x : seen) {
          x.p /= sum;
          double dot = 0.0;
          for (int64_t d = 0; d < d_count; ++d) {
            r.out[(row * h_count + h) * d_count + d] += x.p * x.mask * x.v[d];
            dot += dout[d] * x.v[d];
            x.dv[d] += x.p * x.mask * dout[d];
          }
          dp.push_back(dot * x.mask);
          mean += x.p * dp.back();
        }
        for (std::size_t n = 0; n < seen.size(); ++n) {
          const double ds = seen[n].p * (dp[n] - mean);
          if (seen[n].dbias != nullptr) *seen[n].dbias += ds;
          for (int64_t d = 0; d < d_count; ++d) {
            r.dq[(row * h_count + h) * d_count + d] += scale * ds * seen[n].k[d];
            seen[n].dk[d] += scale * ds * q[d];
          }
        }
      }
    }
  }
  return r;
}

/// Rows [t, h, d] in memory that is wider than they are, poisoned with NaN between them.
template <class E>
class Rows {
 public:
  Rows(const std::vector<double>& x, int64_t heads, int64_t width)
      : head_(width + 3), row_(heads * head_ + 5), memory_(2 * row_ + x.size() / (heads * width) * row_) {
    for (E& e : memory_) e = from_double<E>(std::numeric_limits<double>::quiet_NaN());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto n = static_cast<int64_t>(i);
      memory_[row_ + n / (heads * width) * row_ + n / width % heads * head_ + n % width] = from_double<E>(x[i]);
    }
  }
  HeadRows view() const { return {memory_.data() + row_, row_, head_}; }

 private:
  int64_t head_, row_;
  std::vector<E> memory_;
};

template <class X>
std::vector<double> doubles(const std::vector<X>& x) {
  std::vector<double> y;
  for (const X e : x) y.push_back(to_double(e));
  return y;
}

/// body(range, key head) for every unit in reverse order, on so many threads: none depends on another.
template <class Body>
void for_units(int64_t ranges, int64_t key_heads, int threads, const Body& body) {
  std::atomic<int64_t> left{ranges * key_heads};
  const auto work = [&] {
    for (int64_t unit = --left; unit >= 0; unit = --left) body(unit % ranges, unit / ranges);
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
}

template <class E>
Outcome run(const Case<E>& c, const PackedAttentionKernel& kernel, int threads = 1) {
  using T = SumType<E>;
  const Settings& s = c.settings;
  const Rows<E> q(c.q, s.heads, s.width), k(c.k, s.key_heads, s.width), v(c.v, s.key_heads, s.width),
      dout(c.dout, s.heads, s.width);
  std::vector<E> pk, pv;
  for (const double x : c.pk) pk.push_back(from_double<E>(x));
  for (const double x : c.pv) pv.push_back(from_double<E>(x));
  const int64_t stride = c.span + kBiasMargin;
  std::vector<T> bias(s.buckets > 0 ? s.heads * stride : 0, std::numeric_limits<T>::quiet_NaN());
  for (int64_t h = 0; h < s.heads && s.buckets > 0; ++h) {
    for (int64_t d = 0; d < c.span; ++d) bias[h * stride + d] = static_cast<T>(c.table[c.bucket_of[d] * s.heads + h]);
  }
  PackedAttention a{.element = kElement<E>,
                    .heads = s.heads,
                    .key_heads = s.key_heads,
                    .width = s.width,
                    .sequences = c.sequences.data(),
                    .ranges = c.ranges.data(),
                    .query_index = c.query_index.data(),
                    .key_index = c.key_index.data(),
                    .scale = 1.0 / std::sqrt(static_cast<double>(s.width)),
                    .causal = s.causal,
                    .window = s.window,
                    .q = q.view(),
                    .k = k.view(),
                    .v = v.view(),
                    .prefix = s.prefix,
                    .prefix_k = pk.data(),
                    .prefix_v = pv.data(),
                    .bias = s.buckets > 0 ? bias.data() : nullptr,
                    .span = c.span,
                    .zero = c.zero,
                    .bias_of_prefix = s.bias_of_prefix,
                    .masks = c.masks.empty() ? nullptr : c.masks.data()};
  const auto nan = from_double<E>(std::numeric_limits<double>::quiet_NaN());
  std::vector<E> out(c.q.size(), nan), dq(c.q.size(), nan), dk(c.k.size(), nan), dv(c.v.size(), nan);
  std::vector<T> lse(c.query_rows() * s.heads);
  const auto ranges = static_cast<int64_t>(c.ranges.size());
  for_units(ranges, s.key_heads, threads, [&](int64_t r, int64_t g) {
    kernel.forward(a, {out.data(), lse.data()}, r, g);
  });
  const std::size_t table = s.prefix * s.key_heads * s.width, biases = s.buckets * s.heads;
  std::vector<T> dpk(ranges * table), dpv(ranges * table), dbias(ranges * biases);
  const AttentionGradients gradients{.dout = dout.view(),
                                     .out = {out.data(), s.heads * s.width, s.width},
                                     .lse = lse.data(),
                                     .dq = dq.data(),
                                     .dk = dk.data(),
                                     .dv = dv.data(),
                                     .dprefix_k = dpk.data(),
                                     .dprefix_v = dpv.data(),
                                     .dbias = s.buckets > 0 ? dbias.data() : nullptr,
                                     .buckets_of = c.bucket_of.data(),
                                     .buckets = s.buckets};
  for_units(ranges, s.key_heads, threads, [&](int64_t r, int64_t g) { kernel.backward(a, gradients, r, g); });
  Outcome o{doubles(out),
            doubles(lse),
            doubles(dq),
            doubles(dk),
            doubles(dv),
            std::vector<double>(c.pk.size()),
            std::vector<double>(c.pv.size()),
            std::vector<double>(biases)};
  for (int64_t r = 0; r < ranges; ++r) {
    const std::size_t to = c.sequences[c.ranges[r].first].table * table;
    for (std::size_t i = 0; i < table; ++i) {
      o.dpk[to + i] += static_cast<double>(dpk[r * table + i]);
      o.dpv[to + i] += static_cast<double>(dpv[r * table + i]);
    }
    for (std::size_t i = 0; i < biases; ++i) o.dtable[i] += static_cast<double>(dbias[r * biases + i]);
  }
  return o;
}

/// |found - expected| / |expected| of all numbers together; equal infinities are equal, a NaN comes through.
inline double relative_error(const std::vector<double>& found, const std::vector<double>& expected) {
  double error = 0.0, size = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i] == expected[i]) continue;
    error += std::pow(found[i] - expected[i], 2);
  }
  for (const double x : expected) size += std::isfinite(x) ? x * x : 0.0;
  return size > 0.0 ? std::sqrt(error / size) : std::sqrt(error);
}

}  // namespace peft::cpu
