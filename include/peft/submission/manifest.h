#pragma once
/// manifest.json of a folder of submission files: where each of them comes from. It is not part of the archive.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace peft {

inline constexpr const char* manifest_name = "manifest.json";
inline constexpr const char* submission_zip_name = "submission.zip";

struct ManifestEntry {
  bool filled = false;            ///< with one constant prediction, in place of an adapter's
  std::string run = {};           ///< the run folder; empty where filled
  std::string adapter_hash = {};  ///< of the files of the adapter
  int64_t rows = 0;               ///< predictions
};

using Manifest = std::map<std::string, ManifestEntry>;  ///< by the name of the file

/// Empty where there is none. Throws DataError where it is damaged.
Manifest read_manifest(const std::filesystem::path& folder);
void write_manifest(const std::filesystem::path& folder, const Manifest& manifest);

}  // namespace peft
