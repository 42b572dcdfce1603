#include "src/submission/place.h"

#include <algorithm>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/submission/manifest.h"
#include "peft/submission/table.h"
#include "src/submission/findings.h"
#include "src/submission/text.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t largest_file = 256 << 20;

Place read_folder(const fs::path& folder) {
  Place place;
  Findings problems(folder.string());
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (is_beside_the_files(name)) continue;
    if (!entry.is_regular_file()) {
      problems.add("no file", 0, fmt::format("{} is no file; expected files alone", in_quotes(name)));
    } else if (entry.file_size() > largest_file) {
      throw_error<DataError>("{}: {} bytes; expected at most {}", entry.path().string(), entry.file_size(),
                             largest_file);
    } else {
      place.files.emplace_back(name, MappedFile(entry.path()).text());
    }
  }
  std::sort(place.files.begin(), place.files.end());
  place.problems = problems.lines();
  return place;
}

}  // namespace

bool is_beside_the_files(const std::string& name) {
  return name == manifest_name || name == submission_zip_name || name == ".lock";
}

Place read_place(const fs::path& path) {
  if (!path_exists(path)) throw_error<DataError>("{}: no such folder or archive", path.string());
  if (fs::is_directory(path)) return read_folder(path);
  ZipContent content = read_zip(path);
  return {.files = std::move(content.files), .problems = std::move(content.problems), .archive = true};
}

std::string benchmark_of(const Place& place) {
  std::map<std::string, int64_t> files;
  for (const SubmissionFile& file : submission_table())
    for (const auto& member : place.files)
      if (same_but_for_case(member.first, file.name)) ++files[file.benchmark];
  const auto most =
      std::max_element(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == files.end() ? "" : most->first;
}

bool same_but_for_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace peft
