#pragma once
/// The header of a safetensors file, without LibTorch: what is in the file and where. Every check of the format is made here.
///
/// A file is: uint64 little endian N; N bytes of a JSON object, padded with spaces; the tensors' bytes without gaps. The object maps
/// names to {"dtype", "shape", "data_offsets": [begin, end] from the first byte after the header}, and "__metadata__" to an object of
/// strings.    [github.com/huggingface/safetensors, "Format"]

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace peft {

/// One tensor's entry in a header.
struct TensorEntry {
  std::string dtype;  ///< as spelled in the file: F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL ...
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  ///< bytes from the start of the file

  uint64_t numel() const;  ///< product of the shape, 1 for a scalar
};

struct SafetensorsHeader {
  std::map<std::string, TensorEntry> entries;
  std::map<std::string, std::string> metadata;
};

/// Largest header accepted, as in the reference implementation.
inline constexpr uint64_t kSafetensorsMaxHeaderBytes = 100'000'000;

/// Bits per value of a dtype of the format (also of those without a tensor type here: F8_E4M3, F6_E2M3, F4 ...), 0 when unknown.
int safetensors_dtype_bits(std::string_view dtype);

/// The header of a whole file's bytes. `path` starts every message; throws DataError for whatever SafetensorsFile refuses.
SafetensorsHeader parse_safetensors_header(std::string_view file, const std::filesystem::path& path);

/// The refusal of pickle files: "pickle files are not opened; convert with: python -c ..." with a complete shell command that reads
/// `pickles` (a file, or a pattern the shell expands: only its last part may hold `*`) and writes `target`.
std::string pickle_advice(const std::filesystem::path& pickles, const std::filesystem::path& target);

/// A tensor name for messages: quoted, control characters escaped, so that the message stays one line.
std::string quoted_name(std::string_view name);

}  // namespace peft
