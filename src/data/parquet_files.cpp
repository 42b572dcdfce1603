#include "parquet_files.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/base/json.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

constexpr const char* parquet_ending = ".parquet";
constexpr const char* state_file = "state.json";  // of a data set that save_to_disk wrote

SplitFile split_of(std::vector<fs::path> files, FileFormat format) {
  return {files.front(), format, {files.begin() + 1, files.end()}};
}

/// Reads digits off the front of a name.
std::optional<int64_t> take_number(std::string_view& name) {
  const std::size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
  int64_t value = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + digits, value);
  if (error != std::errc()) return std::nullopt;
  name.remove_prefix(digits);
  return value;
}

struct Shard {
  int64_t number, count;
};

/// Of SPLIT-00000-of-00002.parquet, also with a hash behind it as older push_to_hub writes it: SPLIT-00000-of-00002-0a1b2c.parquet.
std::optional<Shard> shard_of(std::string_view name, const std::string& spelling) {
  if (!name.starts_with(spelling + "-") || !name.ends_with(parquet_ending)) return std::nullopt;
  name.remove_prefix(spelling.size() + 1);
  name.remove_suffix(std::string_view(parquet_ending).size());
  const auto number = take_number(name);
  if (!number || !name.starts_with("-of-")) return std::nullopt;
  name.remove_prefix(4);
  const auto count = take_number(name);
  const bool hash = name.starts_with('-') && name.find_first_not_of("0123456789abcdef", 1) == std::string_view::npos;
  if (!count || (!name.empty() && !hash)) return std::nullopt;
  return Shard{*number, *count};
}

void add_shards(const fs::path& folder, const std::string& spelling, std::vector<SplitFile>& found) {
  std::map<int64_t, std::map<int64_t, fs::path>> sets;  // number of shards -> shard -> file
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const auto shard = shard_of(name, spelling);
    if (!shard || !entry.is_regular_file()) continue;
    const auto [known, added] = sets[shard->count].emplace(shard->number, entry.path());
    if (!added)
      throw_error<DataError>("{}: {} and {} are both shard {}", folder.string(),
                             std::min(known->second, entry.path()).filename().string(),
                             std::max(known->second, entry.path()).filename().string(), shard->number);
  }
  for (const auto& [count, shards] : sets) {
    std::vector<fs::path> files;
    for (const auto& [number, path] : shards) {
      const auto expected = static_cast<int64_t>(files.size());
      if (number != expected) break;
      files.push_back(path);
    }
    const auto missing = static_cast<int64_t>(files.size());
    if (missing != count || shards.size() != files.size())
      throw_error<DataError>("{}: no {}-{:05}-of-{:05}{}; {} of its {} shards are there", folder.string(), spelling,
                             missing, count, parquet_ending, shards.size(), count);
    found.push_back(split_of(std::move(files), FileFormat::parquet));
  }
}

std::vector<fs::path> parquet_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(parquet_ending) && !name.starts_with(".") && entry.is_regular_file())
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// Names of the Arrow files that state.json lists.
std::vector<std::string> saved_names(const fs::path& state) {
  const Json written = read_json_file<DataError>(state);
  const auto bad = [&](std::string_view what) { throw_error<DataError>("{}: {}", state.string(), what); };
  if (!written.is_object() || !written.contains("_data_files") || !written["_data_files"].is_array())
    bad("no list \"_data_files\"; expected what save_to_disk of the datasets library writes");
  if (written.contains("_indices_data_files") && !written["_indices_data_files"].empty())
    bad("the rows are chosen by an index; save the data set with a newer datasets library");
  std::vector<std::string> names;
  for (const Json& file : written["_data_files"]) {
    if (!file.is_object() || !file.contains("filename") || !file["filename"].is_string())
      bad("\"_data_files\": expected objects with a \"filename\"");
    names.push_back(file["filename"].get<std::string>());
  }
  if (names.empty()) bad("\"_data_files\": no file");
  return names;
}

SplitFile saved_split(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const std::string& name : saved_names(folder / state_file)) {
    files.push_back(folder / name);
    if (!fs::is_regular_file(files.back()))
      throw_error<DataError>("{}: no such file, but {} names it; {} holds {}", files.back().string(), state_file,
                             folder.string(), describe_folder(folder));
  }
  return split_of(std::move(files), FileFormat::arrow);
}

}  // namespace

bool is_saved_dataset(const fs::path& folder) { return fs::is_regular_file(folder / state_file); }

std::vector<SplitFile> read_table_folder(const fs::path& folder, const std::string& format) {
  std::vector<SplitFile> found;
  if (format == "auto" || format == "hf_parquet")
    if (auto files = parquet_files(folder); !files.empty())
      found.push_back(split_of(std::move(files), FileFormat::parquet));
  if ((format == "auto" || format == "hf_arrow") && is_saved_dataset(folder)) found.push_back(saved_split(folder));
  return found;
}

std::vector<SplitFile> find_tables(const fs::path& folder, const std::string& spelling, const std::string& format) {
  std::vector<SplitFile> found;
  if (format == "auto" || format == "hf_parquet") {
    add_shards(folder, spelling, found);
    const fs::path single = folder / (spelling + parquet_ending);
    if (fs::is_regular_file(single)) found.push_back({single, FileFormat::parquet});
  }
  if (fs::is_directory(folder / spelling)) {
    auto inside = read_table_folder(folder / spelling, format);
    std::move(inside.begin(), inside.end(), std::back_inserter(found));
  }
  return found;
}

}  // namespace peft
