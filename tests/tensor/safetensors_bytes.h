#pragma once
/// Hand-made safetensors files for the tests of their reader.

#include <cstdint>
#include <string>

namespace peft {

inline std::string little_endian(uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
  return bytes;
}

inline std::string safetensors_bytes(const std::string& json, const std::string& data) {
  return little_endian(json.size()) + json + data;
}

}  // namespace peft
