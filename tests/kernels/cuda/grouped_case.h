#pragma once
/// Random banks for the tests of grouped_matmul.

#include <string>

#include "peft/base/rng.h"
#include "src/kernels/cuda/grouped_matmul/gradient_sum.cuh"
#include "src/kernels/cuda/grouped_matmul/kernels.cuh"
#include "src/kernels/cuda/grouped_matmul/launch.cuh"
#include "src/kernels/cuda/grouped_matmul/row_dropout.cuh"
#include "tests/kernels/cuda/guarded.h"

namespace peft::cuda::matrix_tests {

/// Of docs/kernels.md#tolerances, for this type.
template <class T>
constexpr double kTolerance = sizeof(T) == 4 ? 1e-6 : 4e-3;

struct GroupedCase {
  std::vector<int32_t> group_rows;  // [K+1]
  int32_t rows = 0, wide = 0, rank = 0;
  FactorLayout layout = FactorLayout::wide_by_rank;
  bool drops = false;
  std::vector<MaskStream> streams;  // [K]
  std::vector<int64_t> steps;       // [K]
  std::vector<MaskRow> mask_rows;   // [T]
  std::vector<float> scale;
  GroupedWorkList work;

  /// Group sizes after `without` rows that have no adapter.
  GroupedCase(uint64_t seed, int32_t without, const std::vector<int32_t>& sizes, int32_t wide_, int32_t rank_)
      : wide(wide_), rank(rank_) {
    std::mt19937_64 random(seed);
    layout = random() % 2 == 0 ? FactorLayout::wide_by_rank : FactorLayout::rank_by_wide;
    drops = random() % 2 == 0;
    group_rows.push_back(without);
    for (const int32_t size : sizes) {
      group_rows.push_back(group_rows.back() + size);
      scale.push_back(std::uniform_real_distribution<float>(0.25F, 4.0F)(random));
      streams.push_back(mask_stream(random(), std::uniform_real_distribution<double>(0.0, 0.6)(random)));
      steps.push_back(static_cast<int64_t>(random() % 100));
    }
    rows = group_rows.back();
    for (int32_t t = 0; t < rows; ++t) {
      mask_rows.push_back({static_cast<uint32_t>(random() % 500), static_cast<uint32_t>(random() % 50), group(t), 0});
    }
    work = grouped_work_list(group_rows, rows);
  }

  /// Everything random, with an empty group and a one-row group among the possible ones; twelve seeds have twelve ranks.
  static GroupedCase random(uint64_t seed) {
    std::mt19937_64 random(seed * 7919);
    constexpr int32_t kSizes[] = {0, 1, 5, 63, 64, 65, 100}, kWidths[] = {8, 24, 64, 72, 136, 200},
                      kRanks[] = {1, 3, 4, 8, 12, 16, 17, 32, 40, 64, 100, 128};
    std::vector<int32_t> sizes(1 + random() % 4);
    for (int32_t& size : sizes) size = kSizes[random() % 7];
    return {seed, static_cast<int32_t>(random() % 3 * 3), sizes, kWidths[random() % 6], kRanks[seed % 12]};
  }

  std::string name() const {
    std::string text = "rows";
    for (const int32_t row : group_rows) text += " " + std::to_string(row);
    return text + ", wide " + std::to_string(wide) + ", rank " + std::to_string(rank) + ", layout " +
           std::to_string(static_cast<int>(layout)) + (drops ? ", dropout" : "");
  }
  int32_t groups() const { return static_cast<int32_t>(group_rows.size()) - 1; }
  int group(int32_t row) const {
    for (int k = 0; k < groups(); ++k) {
      if (row >= group_rows[k] && row < group_rows[k + 1]) return k;
    }
    return -1;
  }
  NamedDropout masks() const {
    return drops ? NamedDropout{mask_rows.data(), streams.data(), steps.data()} : NamedDropout{};
  }
  /// 0 or the scale of kept elements, drawn by the project's own generator as peft/kernels/dropout.h says.
  double mask(int32_t row, int32_t column) const {
    const int k = group(row);
    if (!drops || k < 0) return 1.0;
    const MaskStream& stream = streams[k];
    const PhiloxCounter words = philox({static_cast<uint32_t>(column / 8), mask_rows[row].position,
                                        mask_rows[row].ordinal, static_cast<uint32_t>(steps[k])},
                                       {stream.key[0], stream.key[1]});
    const uint32_t word = words[column % 8 / 2], draw = column % 2 == 0 ? word & 0xFFFF : word >> 16;
    return draw >= stream.limit ? static_cast<double>(stream.scale) : 0.0;
  }
  int64_t padded_rank() const { return (rank + 7) / 8 * 8; }

  /// A case of group k alone.
  GroupedCase only(int k) const {
    GroupedCase one = *this;
    one.rows = group_rows[k + 1] - group_rows[k];
    one.group_rows = {0, one.rows};
    one.scale = {scale[k]};
    one.streams = {streams[k]};
    one.steps = {steps[k]};
    one.mask_rows.assign(mask_rows.begin() + group_rows[k], mask_rows.begin() + group_rows[k + 1]);
    for (MaskRow& row : one.mask_rows) row.adapter = 0;
    one.work = grouped_work_list(one.group_rows, one.rows);
    return one;
  }
};

/// The three tensors of a product: x [T, wide], h [T, rank], one factor a group.
template <class T>
struct GroupedTensors {
  Guarded<T> x, h, weight;

  GroupedTensors(const GroupedCase& c, uint64_t seed)
      : x(c.rows, c.wide, c.wide + 24),
        h(c.rows, c.padded_rank(), c.padded_rank() + 8),
        weight(c.groups(), static_cast<int64_t>(c.wide) * c.rank, static_cast<int64_t>(c.wide) * c.rank) {
    std::mt19937_64 random(seed);
    x.fill_normal(random);
    h.fill_normal(random);
    weight.fill_normal(random);
    for (int32_t t = 0; t < c.rows; ++t) {
      for (int64_t r = c.rank; r < c.padded_rank(); ++r) h(t, r) = from_float<T>(0.0F);
    }
  }
  double factor(const GroupedCase& c, int k, int64_t wide, int64_t rank) const {
    return weight.value(k, c.layout == FactorLayout::wide_by_rank ? wide * c.rank + rank : rank * c.wide + wide);
  }
};

template <class T>
int shrink(const GroupedCase& c, const T* x, int64_t x_stride, const T* weight, Guarded<T>& h) {
  return launch_grouped_shrink(
      {kElement<T>, c.layout, c.wide, c.rank, x, x_stride, weight, h.data(), h.stride(), c.scale.data(), c.masks(),
       c.work.tiles.data(), static_cast<int32_t>(c.work.tiles.size())},
      nullptr);
}
template <class T>
int expand(const GroupedCase& c, const T* h, int64_t h_stride, const T* weight, Guarded<T>& y, bool accumulate) {
  return launch_grouped_expand(
      {kElement<T>, c.layout, c.wide, c.rank, h, h_stride, weight, y.data(), y.stride(), accumulate, c.scale.data(),
       c.masks(), c.work.tiles.data(), static_cast<int32_t>(c.work.tiles.size())},
      nullptr);
}
template <class T>
int gradient(const GroupedCase& c, const T* x, int64_t x_stride, const T* h, int64_t h_stride, Guarded<float>& out,
             bool accumulate) {
  std::vector<float> partial(c.work.chunks.size() * c.wide * c.rank, std::numeric_limits<float>::quiet_NaN());
  const GroupedGradient p{kElement<T>,
                          c.layout,
                          c.wide,
                          c.rank,
                          x,
                          x_stride,
                          h,
                          h_stride,
                          out.data(),
                          accumulate,
                          c.scale.data(),
                          c.masks(),
                          c.work.chunks.data(),
                          c.work.first_chunk.data(),
                          static_cast<int32_t>(c.work.chunks.size()),
                          c.groups(),
                          partial.data()};
  if (const int error = launch_gradient_partials(p, nullptr)) return error;
  return launch_gradient_sum(p, nullptr);
}

}  // namespace peft::cuda::matrix_tests
