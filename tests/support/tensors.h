#pragma once
/// Deterministic tensors and comparisons of the tests.

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "peft/base/rng.h"
#include "peft/tensor/packed_batch.h"

namespace peft {

/// N(0, scale^2), float64; the same numbers for the same seed and shape.
inline at::Tensor random_tensor(uint64_t seed, at::IntArrayRef shape, double scale = 1.0) {
  at::Tensor values = at::empty(shape, at::kFloat);
  RngStream(seed, "test").fill_normal({values.data_ptr<float>(), static_cast<std::size_t>(values.numel())}, 0.0F, 1.0F);
  return values.to(at::kDouble) * scale;
}

inline at::Tensor random_leaf(uint64_t seed, at::IntArrayRef shape, double scale = 1.0) {
  return random_tensor(seed, shape, scale).requires_grad_(true);
}

/// A scalar that depends on every element of y with another weight.
inline at::Tensor weighted_sum(const at::Tensor& y, uint64_t seed = 99) {
  return (y * random_tensor(seed, y.sizes()).to(y.options())).sum();
}

/// ||found - expected|| / ||expected|| in float64; the absolute norm where nothing is expected.
inline double relative_error(const at::Tensor& found, const at::Tensor& expected) {
  const at::Tensor f = found.detach().to(at::kDouble), e = expected.detach().to(at::kDouble);
  EXPECT_EQ(f.sizes(), e.sizes());
  if (f.sizes() != e.sizes()) return 1e300;
  const double difference = (f - e).norm().item<double>(), norm = e.norm().item<double>();
  return norm > 0.0 ? difference / norm : difference;
}

/// Same type, shape and values; no tolerance.
inline bool same_values(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && at::equal(a.detach(), b.detach());
}

/// Sequences of the given lengths, sequence b of adapter `adapter[b]` (empty: all of adapter 0) and with ordinal b.
inline Batch make_batch(const std::vector<int64_t>& lengths, const std::vector<int64_t>& adapter = {},
                        int64_t adapters = 1, at::Device device = at::kCPU) {
  std::vector<PackedBatch::Sequence> sequences;
  for (std::size_t b = 0; b < lengths.size(); ++b) {
    sequences.push_back({lengths[b], adapter.empty() ? 0 : adapter[b], static_cast<int64_t>(b)});
  }
  return std::make_shared<const PackedBatch>(sequences, adapters, device);
}

/// Number of row `index` of every sequence.
inline std::vector<int64_t> row_of_each(const PackedBatch& rows, int64_t index) {
  std::vector<int64_t> numbers;
  for (int64_t b = 0; b < rows.sequences(); ++b) numbers.push_back(rows.begin(b) + index);
  return numbers;
}
inline Batch select_each(const Batch& rows, int64_t index) { return rows->select(row_of_each(*rows, index)); }
inline at::Tensor numbers_of_each(const Batch& rows, int64_t index) {
  return row_numbers(row_of_each(*rows, index), *rows);
}

}  // namespace peft
