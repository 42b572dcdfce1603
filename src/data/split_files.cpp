#include "peft/data/split_files.h"

#include <algorithm>
#include <optional>

#include "parquet_files.h"
#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/data/dataset.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

const std::map<std::string, std::vector<std::string>>& spellings() {
  static const std::map<std::string, std::vector<std::string>> table{
      {"train", {"train"}}, {"dev", {"dev", "val", "valid", "validation", "eval"}}, {"test", {"test"}}};
  return table;
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

[[noreturn]] void throw_missing(const fs::path& path, const std::string& what) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) throw_error<DataError>("{}: no such {}", path.string(), what);
  throw_error<DataError>("{}: no such {}; {} holds {}", path.string(), what, folder.string(), describe_folder(folder));
}

// The format a file name promises; nothing when it promises none.
std::optional<FileFormat> format_of_name(const fs::path& path, const TaskSpec& spec) {
  const std::string extension = lower(path.extension().string());
  if (extension == ".tsv" || extension == ".txt") return spec.dump.tsv() ? FileFormat::glue_tsv : FileFormat::tsv;
  if (extension == ".csv") return FileFormat::csv;
  if (extension == ".jsonl") return FileFormat::jsonl;
  if (extension == ".json") return FileFormat::json;
  if (extension == ".parquet") return FileFormat::parquet;
  if (extension == ".arrow") return FileFormat::arrow;
  return std::nullopt;
}

// With data.format the file is of that format whatever its name.
FileFormat format_of_file(const fs::path& path, const TaskSpec& spec, const DataConfig& data) {
  const auto promised = format_of_name(path, spec);
  if (data.format == "glue_tsv") return FileFormat::glue_tsv;
  if (data.format == "tsv") return FileFormat::tsv;
  if (data.format == "csv") return FileFormat::csv;
  if (data.format == "jsonl") return promised == FileFormat::json ? FileFormat::json : FileFormat::jsonl;
  if (data.format == "hf_parquet") return FileFormat::parquet;
  if (data.format == "hf_arrow") return FileFormat::arrow;
  if (promised) return *promised;
  throw_error<ConfigError>(
      "{}: the name does not tell the format (.tsv, .csv, .jsonl, .json, .parquet, .arrow); set data.format",
      path.string());
}

/// The only shape of a split; nothing where there is none.
std::optional<SplitFile> only_shape(std::vector<SplitFile> found, const fs::path& folder, const std::string& split) {
  if (found.empty()) return std::nullopt;
  if (found.size() > 1) {
    const auto name = [&](const SplitFile& file) { return fs::relative(file.path, folder).string(); };
    throw_error<DataError>("{}: {} and {} both hold the split {}; set data.format or data.files", folder.string(),
                           name(found[0]), name(found[1]), split);
  }
  return std::move(found.front());
}

SplitFile named_file(const fs::path& path, const std::string& split, const TaskSpec& spec, const DataConfig& data) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    if (auto table = only_shape(read_table_folder(path, data.format), path, split)) return *table;
    throw_error<DataError>("{}: a folder, expected a file", path.string());
  }
  if (!fs::exists(path, ignored)) throw_missing(path, "file");
  return {path, format_of_file(path, spec, data)};
}

// Extensions looked for in a folder, in this order.
std::vector<std::string> extensions(const DataConfig& data) {
  if (data.format == "auto") return {".tsv", ".jsonl", ".json", ".csv"};
  if (data.format == "csv") return {".csv"};
  if (data.format == "jsonl") return {".jsonl", ".json"};
  if (data.format == "hf_parquet" || data.format == "hf_arrow") return {};  // parquet_files.h knows their shapes
  return {".tsv"};
}

std::optional<SplitFile> find_in_folder(const fs::path& folder, const std::string& split, const TaskSpec& spec,
                                        const DataConfig& data) {
  std::vector<SplitFile> found;
  for (const auto& extension : extensions(data))
    for (const auto& spelling : spellings().at(split))
      if (const fs::path path = folder / (spelling + extension); fs::is_regular_file(path))
        found.push_back({path, format_of_file(path, spec, data)});
  for (const auto& spelling : spellings().at(split))
    for (SplitFile& table : find_tables(folder, spelling, data.format)) found.push_back(std::move(table));
  return only_shape(std::move(found), folder, split);
}

bool holds_splits(const fs::path& folder, const TaskSpec& spec, const DataConfig& data) {
  return std::any_of(spellings().begin(), spellings().end(),
                     [&](const auto& entry) { return find_in_folder(folder, entry.first, spec, data).has_value(); });
}

// The folder itself, or the task's folder inside it.
fs::path task_folder(const fs::path& folder, const TaskSpec& spec, const DataConfig& data) {
  if (holds_splits(folder, spec, data) || spec.dump.folder.empty()) return folder;
  std::vector<fs::path> inside;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_directory() && lower(entry.path().filename().string()) == lower(spec.dump.folder))
      inside.push_back(entry.path());
  if (inside.empty()) return folder;
  std::sort(inside.begin(), inside.end());
  return inside.front();
}

[[noreturn]] void throw_nothing_found(const fs::path& folder, const TaskSpec& spec, const DataConfig& data,
                                      const std::vector<std::string>& asked) {
  std::vector<std::string> endings = extensions(data);
  if (data.format == "auto" || data.format == "hf_parquet") endings.emplace_back(".parquet");
  if (data.format == "hf_arrow") endings.emplace_back("/state.json");
  std::string names;
  for (const auto& split : asked)
    for (const auto& ending : endings) names += (names.empty() ? "" : ", ") + split + ending;
  if (!spec.dump.folder.empty()) names += " or a folder " + spec.dump.folder;
  throw_error<DataError>("{}: expected {}; found {}", folder.string(), names, describe_folder(folder));
}

void refuse_shared_files(const std::map<std::string, SplitFile>& files) {
  for (auto a = files.begin(); a != files.end(); ++a)
    for (auto b = std::next(a); b != files.end(); ++b)
      if (fs::equivalent(a->second.path, b->second.path))
        throw_error<DataError>("{}: given for both {} and {}", a->second.path.string(), a->first, b->first);
}

}  // namespace

std::string SplitFile::name() const {
  return more.empty() ? path.string() : fmt::format("{} and {} more", path.string(), more.size());
}

std::string canonical_split(const std::string& name) {
  for (const auto& [split, accepted] : spellings())
    if (std::find(accepted.begin(), accepted.end(), name) != accepted.end()) return split;
  throw_error<ConfigError>("unknown split \"{}\"; expected train, dev (val, valid, validation, eval) or test", name);
}

std::map<std::string, SplitFile> find_split_files(const TaskSpec& spec, const TaskConfig& task, const DataConfig& data,
                                                  const std::vector<std::string>& asked) {
  if (!spec.dump.tsv() && data.format == "glue_tsv")
    throw_error<ConfigError>("data.format: glue_tsv is the format of the GLUE tasks; expected tsv, csv or jsonl for {}",
                             task.name);
  std::map<std::string, SplitFile> files;
  for (const auto& [name, path] : data.files) {
    const std::string split = canonical_split(name);
    if (!files.emplace(split, named_file(path, split, spec, data)).second)
      throw_error<ConfigError>("data.files: {} is the split {}, which is given twice", name, split);
  }
  const fs::path root = task.data;
  if (root.empty() && files.empty())
    throw_error<ConfigError>("task.data: missing; expected a file or folder, or data.files");
  if (!root.empty() && !fs::exists(root)) throw_missing(root, "file or folder");
  const bool wanted =
      std::any_of(asked.begin(), asked.end(), [&](const auto& split) { return !files.contains(split); });
  if (!root.empty() && fs::is_directory(root) && !is_saved_dataset(root)) {
    const fs::path folder = task_folder(root, spec, data);
    for (const auto& entry : spellings())
      if (!files.contains(entry.first))
        if (auto found = find_in_folder(folder, entry.first, spec, data)) files.emplace(entry.first, std::move(*found));
    const bool any = std::any_of(asked.begin(), asked.end(), [&](const auto& split) { return files.contains(split); });
    if (!any) throw_nothing_found(folder, spec, data, asked);
  } else if (!root.empty() && wanted) {
    if (asked.size() != 1)
      throw_error<ConfigError>("task.data: {} is one {}; name one per split in data.files", root.string(),
                               fs::is_directory(root) ? "data set of save_to_disk" : "file");
    files.emplace(asked.front(), named_file(root, asked.front(), spec, data));
  }
  refuse_shared_files(files);
  return files;
}

}  // namespace peft
