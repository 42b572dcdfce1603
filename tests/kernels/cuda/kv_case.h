#pragma once
/// Random batches with prefixes for the tests of kv_assembly, and where every row must come from, worked out sequence by sequence.

#include <string>

#include "src/kernels/cuda/kv_assembly/launch.cuh"
#include "tests/kernels/cuda/guarded.h"

namespace peft::cuda::matrix_tests {

struct KvCase {
  KvPlanInput in;
  int32_t heads = 2, kv_heads = 2, width = 16;
  bool rotate = false;
  KvPlan plan;

  /// Lengths of sequences and their adapters; prefix lengths of adapters.
  KvCase(const std::vector<int32_t>& lengths, const std::vector<int32_t>& adapter,
         const std::vector<int32_t>& prefix_length, int32_t prefix) {
    in.cu = {0};
    for (const int32_t length : lengths) in.cu.push_back(in.cu.back() + length);
    in.adapter = adapter;
    in.prefix_length = prefix_length;
    in.prefix = prefix;
  }

  static KvCase random(uint64_t seed) {
    std::mt19937_64 random(seed * 104729);
    const auto adapters = static_cast<int32_t>(1 + random() % 4), prefix = static_cast<int32_t>(random() % 5 * 3);
    std::vector<int32_t> lengths, adapter, prefix_length;
    for (int32_t k = 0; k < adapters; ++k) {
      prefix_length.push_back(random() % 2 == 0 ? prefix : static_cast<int32_t>(random() % (prefix + 1)));
      if (random() % 4 == 0) continue;  // an adapter without sequences
      for (uint64_t b = random() % 12; b > 0; --b) {
        lengths.push_back(static_cast<int32_t>(random() % 4 == 0 ? random() % 2 : random() % 9));
        adapter.push_back(k);
      }
    }
    if (random() % 3 == 0) {  // the first ones without an adapter
      for (std::size_t b = 0; b < adapter.size() && b < 2; ++b) adapter[b] = -1;
    }
    KvCase c(lengths, adapter, prefix_length, prefix);
    constexpr int32_t kHeads[][2] = {{2, 2}, {4, 1}, {6, 2}, {1, 1}}, kWidths[] = {16, 32, 48, 8, 24};
    const auto& heads = kHeads[random() % 4];
    c.heads = heads[0];
    c.kv_heads = heads[1];
    c.rotate = random() % 2 == 0;
    c.width = kWidths[random() % (c.rotate ? 3 : 5)];
    c.in.per_sequence = random() % 3 == 0;
    c.in.rotate_prefix = c.rotate && random() % 2 == 0;
    c.in.text_after_prefix = random() % 2 == 0;
    if (random() % 2 == 0) {
      for (int32_t t = 0; t < c.in.cu.back(); ++t) c.in.position.push_back(static_cast<int32_t>(random() % 40));
    }
    c.plan = kv_plan(c.in);
    return c;
  }

  std::string name() const {
    return "B " + std::to_string(sequences()) + ", T " + std::to_string(rows()) + ", K " +
           std::to_string(in.prefix_length.size()) + ", P " + std::to_string(in.prefix) + ", H " +
           std::to_string(heads) + ", G " + std::to_string(kv_heads) + ", D " + std::to_string(width) +
           (rotate ? ", rotated" : "") + (in.rotate_prefix ? " with the prefix" : "") +
           (in.per_sequence ? ", per sequence" : "");
  }
  int32_t sequences() const { return static_cast<int32_t>(in.adapter.size()); }
  int32_t rows() const { return in.cu.back(); }
  int32_t tables() const { return in.per_sequence ? sequences() : static_cast<int32_t>(in.prefix_length.size()); }
  int32_t row_values() const { return kv_heads * width; }
  int32_t table_of(int32_t b) const { return in.per_sequence ? b : in.adapter[b]; }
  int32_t length_of(int32_t b) const {
    return in.cu[b] == in.cu[b + 1] || in.adapter[b] < 0 ? 0 : in.prefix_length[in.adapter[b]];
  }
  KvShape shape(Element type) const { return {type, heads, kv_heads, width, in.prefix}; }

  /// visit(row of keys, sequence, row of the prefix or -1, row of the text or -1, position or -1), in the order of the keys.
  template <class Visit>
  int32_t for_each_row(const Visit& visit) const {
    int32_t row = 0;
    for (int32_t b = 0; b < sequences(); ++b) {
      const int32_t length = length_of(b);
      for (int32_t j = 0; j < length; ++j) visit(row++, b, j, -1, rotate && in.rotate_prefix ? j : -1);
      for (int32_t t = in.cu[b]; t < in.cu[b + 1]; ++t) {
        const int32_t position =
            (in.position.empty() ? t - in.cu[b] : in.position[t]) + (in.text_after_prefix ? length : 0);
        visit(row++, b, -1, t, rotate ? position : -1);
      }
    }
    return row;
  }
};

/// Angles of transformers' Llama, base 10000.
struct RotaryTables {
  Guarded<float> cos, sin;
  RotaryTables(int32_t positions, int32_t width)
      : cos(positions, width / 2, width / 2), sin(positions, width / 2, width / 2) {
    for (int32_t p = 0; p < positions; ++p) {
      for (int32_t i = 0; i < width / 2; ++i) {
        const double angle = p * std::pow(10000.0, -2.0 * i / width);
        cos(p, i) = static_cast<float>(std::cos(angle));
        sin(p, i) = static_cast<float>(std::sin(angle));
      }
    }
  }
};

/// A head rotated in double precision: x cos + rotate_half(x) sin, rotate_half(x) = [-x2, x1], with cos and sin repeated for both halves.
template <class At>
double rotated(const RotaryTables& tables, int32_t position, int32_t width, int32_t d, double direction, const At& x) {
  const int32_t half_width = width / 2, i = d % half_width;
  const double other = d < half_width ? -x(d + half_width) : x(d - half_width);
  return x(d) * tables.cos.value(position, i) + direction * other * tables.sin.value(position, i);
}

/// Distance of neighbouring values of T at x.
template <class T>
double ulp(double x) {
  const int bits = std::is_same_v<T, bf16>   ? 7
                   : std::is_same_v<T, half> ? 10
                                             : 23,
            least = sizeof(T) == 2 && bits == 10 ? -14 : -126;
  int exponent = 0;
  std::frexp(x, &exponent);
  return std::ldexp(1.0, std::max(exponent - 1, least) - bits);
}
/// Two units of T, and what float32 loses where the two products cancel.
template <class T>
double rotation_tolerance(double expected, double first, double second) {
  return 2.0 * ulp<T>(expected) + std::ldexp(std::abs(first) + std::abs(second), -22);
}

}  // namespace peft::cuda::matrix_tests
