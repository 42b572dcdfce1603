#include "peft/submission/folder.h"

#include <algorithm>

#include "peft/base/error.h"
#include "peft/submission/zip.h"
#include "src/submission/place.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

// Before the lock makes a file: the folder may be one that was named by mistake.
const fs::path& checked(const fs::path& folder, const std::string& benchmark) {
  std::error_code unreadable;
  if (!path_exists(folder)) return folder;
  if (!fs::is_directory(folder, unreadable)) throw_error<ConfigError>("{}: no folder; expected one", folder.string());
  const auto known = submission_files(benchmark);
  std::vector<std::string> others;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const auto is = [&](const SubmissionFile* file) { return file->name == name; };
    if (!is_beside_the_files(name) && std::none_of(known.begin(), known.end(), is)) others.push_back(name);
  }
  if (!others.empty())
    throw_error<ConfigError>("{}: holds {}; expected an empty folder, or one with files of {} alone", folder.string(),
                             *std::min_element(others.begin(), others.end()), benchmark_title(benchmark));
  return folder;
}

}  // namespace

SubmissionFolder::SubmissionFolder(const fs::path& folder, const std::string& benchmark)
    : folder_(checked(folder, benchmark)), benchmark_(benchmark), lock_(folder_) {}

void SubmissionFolder::write(const SubmissionFile& file, const std::string& text, const ManifestEntry& entry) {
  Manifest manifest = read_manifest(folder_);
  write_atomic(folder_ / file.name, text);
  manifest[file.name] = entry;
  std::erase_if(manifest, [&](const auto& known) { return !path_exists(folder_ / known.first); });
  write_manifest(folder_, manifest);
}

std::vector<std::string> SubmissionFolder::missing() const {
  std::vector<std::string> names;
  for (const SubmissionFile* file : submission_files(benchmark_))
    if (!path_exists(folder_ / file->name)) names.push_back(file->name);
  return names;
}

void SubmissionFolder::fill_missing(const DumpRoots& roots) {
  struct Filled {
    const SubmissionFile* file;
    std::string text;
    int64_t rows;
  };
  std::vector<Filled> filled;
  for (const SubmissionFile* file : submission_files(benchmark_)) {
    if (path_exists(folder_ / file->name)) continue;
    const auto rows = constant_rows(*file, expected_rows(*file, roots));
    filled.push_back({file, submission_text(*file, rows, file->name), static_cast<int64_t>(rows.size())});
  }
  for (const Filled& one : filled) write(*one.file, one.text, {.filled = true, .rows = one.rows});
}

Validation SubmissionFolder::finish(const DumpRoots& roots) {
  const fs::path archive = folder_ / submission_zip_name;
  fs::remove(archive);  // of files that may have changed
  const bool all = missing().empty();
  Validation validation = validate_submission(folder_, roots, all);
  if (!all || !validation.passed()) return validation;
  NamedFiles files;
  for (const std::string& name : validation.present) files.emplace_back(name, MappedFile(folder_ / name).text());
  write_atomic(archive, zip_bytes(std::move(files)));
  Validation packed = validate_submission(archive, roots);
  validation.failures = std::move(packed.failures);
  return validation;
}

std::string benchmark_of(const fs::path& folder) {
  std::error_code unreadable;
  if (!fs::is_directory(folder, unreadable)) return {};
  const Place place = read_place(folder);
  return benchmark_of(place);
}

}  // namespace peft
