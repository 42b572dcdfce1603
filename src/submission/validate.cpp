#include "peft/submission/validate.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/submission/manifest.h"
#include "src/submission/place.h"
#include "src/submission/text.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

const SubmissionFile* find_file(const std::string& benchmark, const std::string& name) {
  for (const SubmissionFile& file : submission_table())
    if (file.benchmark == benchmark && same_but_for_case(file.name, name)) return &file;
  return nullptr;
}

std::string all_names(const std::string& benchmark) {
  std::vector<std::string> names;
  for (const SubmissionFile* file : submission_files(benchmark)) names.push_back(file->name);
  return fmt::format("{}", fmt::join(names, ", "));
}

void check_names(const fs::path& where, const Place& place, bool all, Validation& validation) {
  validation.failures = place.problems;
  for (const auto& member : place.files) {
    const SubmissionFile* file = find_file(validation.benchmark, member.first);
    if (file == nullptr) {
      validation.failures.push_back(fmt::format("{}: {} is no file of {}; expected {} alone", where.string(),
                                                in_quotes(member.first), benchmark_title(validation.benchmark),
                                                all_names(validation.benchmark)));
      continue;
    }
    if (file->name != member.first)
      validation.failures.push_back(
          fmt::format("{}: the name {}; expected {}", where.string(), in_quotes(member.first), file->name));
    validation.present.push_back(file->name);
  }
  if (!all) return;
  std::vector<std::string> missing;
  for (const SubmissionFile* file : submission_files(validation.benchmark))
    if (std::find(validation.present.begin(), validation.present.end(), file->name) == validation.present.end())
      missing.push_back(file->name);
  if (!missing.empty())
    validation.failures.push_back(fmt::format("{}: no {}; expected all {} files of {}", where.string(),
                                              fmt::join(missing, ", "), submission_files(validation.benchmark).size(),
                                              benchmark_title(validation.benchmark)));
}

/// What the manifest says, in the folder or beside the archive.
void read_filled(const fs::path& folder, Validation& validation) {
  try {
    for (const auto& [name, entry] : read_manifest(folder)) {
      const auto& present = validation.present;
      if (entry.filled && std::find(present.begin(), present.end(), name) != present.end())
        validation.filled.push_back(name);
    }
  } catch (const DataError& error) {
    validation.failures.emplace_back(error.what());
  }
  if (!validation.filled.empty())
    validation.warnings.push_back(fmt::format("{}: filled, not predicted: {}", (folder / manifest_name).string(),
                                              fmt::join(validation.filled, ", ")));
}

/// An archive in the folder that is not of its files would be uploaded by mistake.
void compare_archive(const fs::path& path, const Place& folder, Validation& validation) {
  if (!path_exists(path)) return;
  try {
    const Place archive = read_place(path);
    validation.failures.insert(validation.failures.end(), archive.problems.begin(), archive.problems.end());
    if (archive.files != folder.files)
      validation.failures.push_back(
          fmt::format("{}: holds other files than the folder; expected the same, byte for byte", path.string()));
  } catch (const DataError& error) {
    validation.failures.emplace_back(error.what());
  }
}

}  // namespace

TestRows expected_rows(const SubmissionFile& file, const DumpRoots& roots) {
  for (const fs::path& root : roots)
    if (auto rows = read_test_rows(file, root)) return std::move(*rows);
  return official_rows(file);
}

Validation validate_submission(const fs::path& place_path, const DumpRoots& roots, bool all) {
  const Place place = read_place(place_path);
  Validation validation;
  validation.benchmark = benchmark_of(place);
  if (validation.benchmark.empty() && !place.problems.empty()) {  // such as a whole folder in an archive
    validation.failures = place.problems;
    return validation;
  }
  if (validation.benchmark.empty())
    throw_error<DataError>("{}: no file of a leaderboard; expected {} (GLUE) or {} (SuperGLUE)", place_path.string(),
                           all_names("glue"), all_names("superglue"));
  check_names(place_path, place, all, validation);
  for (const auto& [name, content] : place.files) {
    const SubmissionFile* file = find_file(validation.benchmark, name);
    if (file == nullptr) continue;
    const TestRows rows = expected_rows(*file, roots);
    const std::string shown = (place_path / name).string();
    if (!rows.source.empty()) validation.dumps.push_back(file->name);
    if (static_cast<int64_t>(rows.idx.size()) != file->lines)
      validation.warnings.push_back(
          fmt::format("{}: {} rows, and the leaderboard has {}", rows.source.string(), rows.idx.size(), file->lines));
    validate_content(*file, content, shown, rows, validation);
  }
  read_filled(place.archive ? fs::absolute(place_path).parent_path() : place_path, validation);
  if (!place.archive) compare_archive(place_path / submission_zip_name, place, validation);
  return validation;
}

}  // namespace peft
