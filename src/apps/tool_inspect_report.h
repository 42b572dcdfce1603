#pragma once
/// The findings of `peft-tool inspect`, as data; and as a table.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace peft {

using Report = nlohmann::ordered_json;  ///< keys in reading order

/// `kind` ("safetensors", "model", "adapter", "run"), `path`, and what that kind has. Where there are tensors: `tensor_count`,
/// `parameters` (values of floating-point tensors), `bytes`, `dtypes`, and, for adapters or when asked for, `tensors`: name, file, dtype,
/// shape, and the tensor's bytes as begin and end in that file.
Report inspect_path(const std::filesystem::path& path, bool list_tensors);

/// One line per key, then the tensors, one line each.
std::string to_table(const Report& report);

}  // namespace peft
