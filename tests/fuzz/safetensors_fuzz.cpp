// The safetensors header parser on arbitrary files: DataError with a one-line message, or entries that tile the data.
#include <cstdlib>
#include <string_view>

#include "peft/base/error.h"
#include "peft/tensor/safetensors_header.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  try {
    const auto header = peft::parse_safetensors_header(file, "x.safetensors");
    uint64_t bits = 0, bytes = 0;
    for (const auto& [name, entry] : header.entries) {
      require(entry.begin <= entry.end && entry.end <= size);
      bits += entry.numel() * static_cast<uint64_t>(peft::safetensors_dtype_bits(entry.dtype));
      bytes += entry.end - entry.begin;
    }
    require(bits == 8 * bytes);
  } catch (const peft::DataError& e) {
    require(std::string_view(e.what()).find('\n') == std::string_view::npos);
  }
  return 0;
}
