#pragma once
/// Fingerprints of content (never of time stamps or paths alone): XXH3, 128 bits, as 32 hexadecimal digits.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace peft {

uint64_t hash64(std::string_view text, uint64_t seed = 0);  ///< XXH3_64bits: stable over machines and versions

/// Streaming 128-bit hash.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher& add(std::span<const std::byte> bytes);
  Hasher& add(std::string_view text);  ///< length-prefixed, so that ("ab","c") and ("a","bc") differ
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string hash_file(const std::filesystem::path& path);  ///< throws DataError when it cannot be read

}  // namespace peft
