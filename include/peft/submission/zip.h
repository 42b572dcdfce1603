#pragma once
/// Archives of files without folders.

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace peft {

using NamedFiles = std::vector<std::pair<std::string, std::string>>;  ///< name, content

/// The bytes of a zip archive with the files in the order of their names, and the same time stamp and mode for each: equal files give
/// equal bytes, in any time zone.
std::string zip_bytes(NamedFiles files);

struct ZipLimits {
  std::size_t members = 1000;
  std::size_t bytes = std::size_t{256} << 20;  ///< of all members, unpacked
};

struct ZipContent {
  NamedFiles files;  ///< in the order of the archive
  /// `ARCHIVE: found; expected`, a line for each kind: folders, paths, names that occur twice. These are not read.
  std::vector<std::string> problems;
};

/// Throws DataError: no archive, a damaged or encrypted one, or one that is larger than the limits, whatever its headers say.
ZipContent read_zip(const std::filesystem::path& path, const ZipLimits& limits = {});

}  // namespace peft
