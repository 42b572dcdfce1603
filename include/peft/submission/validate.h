#pragma once
/// The rules of the leaderboards, checked before anything is uploaded (docs/tasks.md#submissions).

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "peft/submission/rows.h"

namespace peft {

struct Validation {
  std::string benchmark;
  std::vector<std::string> failures;  ///< one line for each rule that a file breaks: `FILE:LINE: found; expected`
  std::vector<std::string> warnings;  ///< one line each
  std::vector<std::string> filled;    ///< names of the files that the manifest marks as filled
  std::vector<std::string> present;   ///< names of the benchmark's files that are there
  std::vector<std::string> dumps;     ///< names of those that were compared with the test file of a dump

  bool passed() const { return failures.empty(); }
};

/// The rows that a file must have: those of the dump in the first root that holds it, else the official ones.
TestRows expected_rows(const SubmissionFile& file, const DumpRoots& roots);

/// Appends what is wrong with the bytes of one file; `shown_as` names it in messages.
void validate_content(const SubmissionFile& file, std::string_view content, const std::string& shown_as,
                      const TestRows& rows, Validation& validation);

/// A folder of files, or an archive of them. The benchmark is that of most files. With `all` every file of it must be there. A
/// submission.zip in a folder must hold the folder's files. Throws DataError where nothing of either benchmark is there, or the place
/// cannot be read.
Validation validate_submission(const std::filesystem::path& place, const DumpRoots& roots, bool all = true);

}  // namespace peft
