#pragma once
/// A folder that collects the files of one benchmark until all are there (docs/tasks.md#submissions).

#include <filesystem>
#include <string>
#include <vector>

#include "peft/base/files.h"
#include "peft/submission/manifest.h"
#include "peft/submission/rows.h"
#include "peft/submission/validate.h"

namespace peft {

class SubmissionFolder {
 public:
  /// Makes the folder where there is none, and locks it. Throws ConfigError where it holds files of the other benchmark or anything
  /// else, Error where another process writes to it.
  SubmissionFolder(const std::filesystem::path& folder, const std::string& benchmark);

  /// Writes one file and its entry of the manifest.
  void write(const SubmissionFile& file, const std::string& text, const ManifestEntry& entry);
  /// Writes the files that are missing, with constant predictions. Throws DataError before the first is written.
  void fill_missing(const DumpRoots& roots);
  /// Names of the files that are missing.
  std::vector<std::string> missing() const;
  /// Checks the files that are there. Where all are, and all pass, submission.zip is made and checked too; else there is none.
  Validation finish(const DumpRoots& roots);

 private:
  std::filesystem::path folder_;
  std::string benchmark_;
  FolderLock lock_;
};

/// The benchmark that the files of a folder belong to; empty: it holds none.
std::string benchmark_of(const std::filesystem::path& folder);

}  // namespace peft
