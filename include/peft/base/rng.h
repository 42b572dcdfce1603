#pragma once
/// Counter-based random numbers: Philox4x32-10 [Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"].
///
/// A stream is named by (seed, purpose, step), never by call order, so a bank of adapters, a single run and a resumed run see the
/// same numbers. Output i of a stream depends on the name and on i alone.

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <span>
#include <string_view>

#include "peft/base/hash.h"

namespace peft {

using PhiloxCounter = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

/// One block of four 32-bit words.
constexpr PhiloxCounter philox(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

/// A named stream.
class RngStream {
 public:
  RngStream(uint64_t seed, std::string_view purpose, uint64_t step = 0) : RngStream(hash64(purpose, seed), step) {}
  RngStream(uint64_t name, uint64_t step) : key_{uint32_t(name), uint32_t(name >> 32)}, step_(step) {}

  /// Word i (32 bits) of the stream.
  uint32_t word(uint64_t i) const { return block(i / 4)[i % 4]; }
  PhiloxCounter block(uint64_t i) const {
    return philox({uint32_t(i), uint32_t(i >> 32), uint32_t(step_), uint32_t(step_ >> 32)}, key_);
  }
  /// Uniform in [0, n) without modulo bias worth mentioning (64-bit multiply-shift on two words).
  uint64_t below(uint64_t i, uint64_t n) const {
    const auto w = block(i);
    const uint64_t x = (uint64_t{w[0]} << 32) | w[1];
    return static_cast<uint64_t>((static_cast<unsigned __int128>(x) * n) >> 64);
  }
  /// Uniform in (0, 1), exact in float32.
  static float uniform(uint32_t word) { return (float(word >> 9) + 0.5F) * 0x1p-23F; }

  /// Uniform in (low, high), element i from word i.
  void fill_uniform(std::span<float> out, float low, float high) const {
    for (std::size_t i = 0; i < out.size(); i += 4) {
      const auto w = block(i / 4);
      for (std::size_t j = 0; j < 4 && i + j < out.size(); ++j) out[i + j] = low + (high - low) * uniform(w[j]);
    }
  }
  /// Normal by Box-Muller in double from words (2j, 2j+1), rounded to float32.
  void fill_normal(std::span<float> out, float mean, float std) const {
    for (std::size_t i = 0; i < out.size(); i += 4) {
      const auto w = block(i / 4);
      for (std::size_t j = 0; j < 4 && i + j < out.size(); j += 2) {
        const double radius = std::sqrt(-2.0 * std::log((w[j] + 0.5) * 0x1p-32));
        const double angle = 2.0 * std::numbers::pi * (w[j + 1] + 0.5) * 0x1p-32;
        out[i + j] = float(mean + std * radius * std::cos(angle));
        if (i + j + 1 < out.size()) out[i + j + 1] = float(mean + std * radius * std::sin(angle));
      }
    }
  }

 private:
  PhiloxKey key_;
  uint64_t step_;
};

}  // namespace peft
