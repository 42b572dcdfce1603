#pragma once
/// Dropout for the kernels' tests: random streams, and the multipliers that the project's own generator gives.

#include <random>
#include <string>
#include <vector>

#include "peft/base/hash.h"
#include "peft/base/rng.h"
#include "src/kernels/cuda/common/dropout.h"

namespace peft::cuda::row_tests {

struct Masks {
  std::vector<MaskRow> rows;
  std::vector<MaskStream> streams;
  std::vector<int64_t> steps;
  std::vector<uint64_t> names;
  std::vector<double> probabilities;

  Masks(int64_t row_count, std::mt19937_64& random, double probability = 0.3) {
    for (uint64_t seed = 0; seed < 3; ++seed) {
      names.push_back(peft::hash64("layer.1.feed_forward", random()));
      probabilities.push_back(seed == 1 ? probability / 2 : probability);
      streams.push_back(mask_stream(names.back(), probabilities.back()));
      steps.push_back(static_cast<int64_t>(random() % 100000));
    }
    for (int64_t i = 0; i < row_count; ++i) {
      rows.push_back({static_cast<uint32_t>(random() % 512), static_cast<uint32_t>(random() % 64),
                      static_cast<int32_t>(random() % 4) - 1, 0});
    }
  }
  NamedDropout arguments() const { return {rows.data(), streams.data(), steps.data()}; }

  /// By peft::philox, one column at a time.
  double multiplier(int64_t row, int64_t column) const {
    const MaskRow& r = rows[static_cast<std::size_t>(row)];
    if (r.adapter < 0) return 1.0;
    const auto k = static_cast<std::size_t>(r.adapter);
    const auto limit = static_cast<uint32_t>(std::min(std::lround(probabilities[k] * 65536.0), 65535L));
    const peft::PhiloxCounter words =
        peft::philox({static_cast<uint32_t>(column / 8), r.position, r.ordinal, static_cast<uint32_t>(steps[k])},
                     {static_cast<uint32_t>(names[k]), static_cast<uint32_t>(names[k] >> 32)});
    const auto part = static_cast<std::size_t>(column % 8);
    const uint32_t draw = words[part / 2] >> (part % 2 == 0 ? 0 : 16) & 0xFFFFU;
    return draw >= limit ? 65536.0 / (65536.0 - limit) : 0.0;
  }
};

}  // namespace peft::cuda::row_tests
