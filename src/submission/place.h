#pragma once
/// The files of a folder or an archive. Private to src/submission.

#include <filesystem>
#include <string>
#include <vector>

#include "peft/submission/zip.h"

namespace peft {

struct Place {
  NamedFiles files;                   ///< by name
  std::vector<std::string> problems;  ///< `PLACE: found; expected`: what is no file, or has no name of one
  bool archive = false;
};

/// Files that a folder holds beside those of the benchmark: the manifest, the archive, the lock.
bool is_beside_the_files(const std::string& name);

/// Throws DataError.
Place read_place(const std::filesystem::path& path);

/// That of most files, by their names in any case; empty: of none.
std::string benchmark_of(const Place& place);

bool same_but_for_case(std::string_view a, std::string_view b);

}  // namespace peft
