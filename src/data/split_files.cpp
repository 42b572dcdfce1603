#include "peft/data/split_files.h"

#include <algorithm>
#include <array>
#include <optional>

#include "parquet_files.h"
#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/base/lower_case.h"
#include "peft/data/dataset.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

const std::map<std::string, std::vector<std::string>>& spellings() {
  static const std::map<std::string, std::vector<std::string>> table{
      {"train", {"train"}}, {"dev", {"dev", "val", "valid", "validation", "eval"}}, {"test", {"test"}}};
  return table;
}

// Names without ending that a file of a split, or of a part of one, may have.
std::vector<std::string> names_of(const TaskSpec& spec, const std::string& split) {
  const auto bar = split.find('_');
  std::vector<std::string> names = spellings().at(split.substr(0, bar));
  if (const auto more = spec.dump.names.find(split); more != spec.dump.names.end())
    names.insert(names.end(), more->second.begin(), more->second.end());
  if (bar == std::string::npos) return names;
  std::vector<std::string> of_part;
  for (const TaskSpec::Part& part : spec.parts) {
    if (part.name != split.substr(bar + 1)) continue;
    for (const std::string& name : names)
      for (const char* between : {"_", "-"}) {
        of_part.push_back(name + between + part.name);
        for (const std::string& spelling : part.spellings) of_part.push_back(name + between + spelling);
      }
  }
  return of_part;
}

// All splits and parts of splits that a task may have files of.
std::vector<std::string> possible_splits(const TaskSpec& spec) {
  std::vector<std::string> splits;
  for (const auto& entry : spellings()) splits.push_back(entry.first);
  for (const TaskSpec::Part& part : spec.parts)
    for (const char* split : {"dev", "test"}) splits.push_back(std::string(split) + "_" + part.name);
  return splits;
}

[[noreturn]] void throw_missing(const fs::path& path, const std::string& what) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) throw_error<DataError>("{}: no such {}", path.string(), what);
  throw_error<DataError>("{}: no such {}; {} holds {}", path.string(), what, folder.string(), describe_folder(folder));
}

constexpr std::array conll_extensions{".conll", ".bio", ".iob", ".iob2", ".txt"};

bool is_conll(const std::string& extension, const TaskSpec& spec) {
  return spec.target == TargetKind::tags &&
         std::find(conll_extensions.begin(), conll_extensions.end(), extension) != conll_extensions.end();
}

// The format a file name promises; nothing when it promises none.
std::optional<FileFormat> format_of_name(const fs::path& path, const TaskSpec& spec) {
  const std::string extension = lower_case(path.extension().string());
  if (is_conll(extension, spec)) return FileFormat::conll;
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
  if (data.format == "conll") return FileFormat::conll;
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
std::vector<std::string> extensions(const TaskSpec& spec, const DataConfig& data) {
  const bool tags = spec.target == TargetKind::tags;
  if (data.format == "conll" || (data.format == "auto" && tags)) {
    std::vector<std::string> all(conll_extensions.begin(), conll_extensions.end());
    if (data.format == "auto") all.insert(all.end(), {".jsonl", ".json"});
    return all;
  }
  if (data.format == "auto") return {".tsv", ".jsonl", ".json", ".csv"};
  if (data.format == "csv") return {".csv"};
  if (data.format == "jsonl") return {".jsonl", ".json"};
  if (data.format == "hf_parquet" || data.format == "hf_arrow") return {};  // parquet_files.h knows their shapes
  return {".tsv"};
}

std::optional<SplitFile> find_in_folder(const fs::path& folder, const std::string& split, const TaskSpec& spec,
                                        const DataConfig& data) {
  std::vector<SplitFile> found;
  for (const auto& extension : extensions(spec, data))
    for (const auto& spelling : names_of(spec, split))
      if (const fs::path path = folder / (spelling + extension); fs::is_regular_file(path))
        found.push_back({path, format_of_file(path, spec, data)});
  for (const auto& spelling : names_of(spec, split))
    for (SplitFile& table : find_tables(folder, spelling, data.format)) found.push_back(std::move(table));
  return only_shape(std::move(found), folder, split);
}

bool holds_splits(const fs::path& folder, const TaskSpec& spec, const DataConfig& data) {
  const auto splits = possible_splits(spec);
  return std::any_of(splits.begin(), splits.end(),
                     [&](const auto& split) { return find_in_folder(folder, split, spec, data).has_value(); });
}

// The folder itself, or the task's folder inside it.
fs::path task_folder(const fs::path& folder, const TaskSpec& spec, const DataConfig& data) {
  if (holds_splits(folder, spec, data) || spec.dump.folder.empty()) return folder;
  std::vector<fs::path> inside;
  std::vector<std::string> names = spec.dump.other_folders;
  names.push_back(spec.dump.folder);
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto same = [&](const std::string& name) {
      return lower_case(entry.path().filename().string()) == lower_case(name);
    };
    if (entry.is_directory() && std::any_of(names.begin(), names.end(), same)) inside.push_back(entry.path());
  }
  if (inside.empty()) return folder;
  std::sort(inside.begin(), inside.end());
  return inside.front();
}

// Of a split's files, for messages.
std::vector<std::string> expected_names(const TaskSpec& spec, const std::string& split) {
  if (const auto special = spec.dump.names.find(split); special != spec.dump.names.end())
    return {special->second.front()};
  std::vector<std::string> names;
  if (split == "dev" || split == "test")
    for (const TaskSpec::Part& part : spec.parts) names.push_back(split + "_" + part.name);
  return names.empty() ? std::vector{split} : names;
}

[[noreturn]] void throw_nothing_found(const fs::path& folder, const TaskSpec& spec, const DataConfig& data,
                                      const std::vector<std::string>& asked) {
  std::vector<std::string> endings = extensions(spec, data);
  if (data.format == "auto" || data.format == "hf_parquet") endings.emplace_back(".parquet");
  if (data.format == "hf_arrow") endings.emplace_back("/state.json");
  std::string names;
  for (const auto& split : asked)
    for (const auto& name : expected_names(spec, split))
      for (const auto& ending : endings) names += (names.empty() ? "" : ", ") + name + ending;
  if (!spec.dump.folder.empty()) names += " or a folder " + spec.dump.folder;
  const std::string advice =
      spec.trained_as.empty()
          ? ""
          : fmt::format("; it has a test split alone, for adapters of {}: peft-eval --split test", spec.trained_as);
  throw_error<DataError>("{}: expected {}; found {}{}", folder.string(), names, describe_folder(folder), advice);
}

// Whether a file holds the split or a part of it.
bool holds(const std::map<std::string, SplitFile>& files, const std::string& split) {
  return std::any_of(files.begin(), files.end(),
                     [&](const auto& file) { return file.first == split || file.first.starts_with(split + "_"); });
}

// A split is one file or several parts.
template <class E>
void refuse_whole_and_parts(const std::map<std::string, SplitFile>& files) {
  for (const auto& [split, file] : files) {
    const auto part = files.upper_bound(split + "_");
    if (part != files.end() && part->first.starts_with(split + "_"))
      throw_error<E>("{} and {} both hold the split {}; keep one, or the parts in data.files", file.path.string(),
                     part->second.path.string(), split);
  }
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

std::string canonical_split(const std::string& name, const TaskSpec& spec) {
  for (const auto& [split, accepted] : spellings())
    if (std::find(accepted.begin(), accepted.end(), name) != accepted.end()) return split;
  std::string parts;
  for (const std::string& split : possible_splits(spec)) {
    if (split.find('_') == std::string::npos) continue;
    const auto accepted = names_of(spec, split);
    if (std::find(accepted.begin(), accepted.end(), name) != accepted.end()) return split;
    parts += ", " + split;
  }
  throw_error<ConfigError>("unknown split \"{}\"; expected train, dev (val, valid, validation, eval) or test{}", name,
                           parts);
}

std::string canonical_split(const std::string& name) { return canonical_split(name, TaskSpec{}); }

std::map<std::string, SplitFile> find_split_files(const TaskSpec& spec, const TaskConfig& task, const DataConfig& data,
                                                  const std::vector<std::string>& asked) {
  if (spec.target != TargetKind::tags && data.format == "conll")
    throw_error<ConfigError>("data.format: conll is the format of tagged words; {} reads no such files", task.name);
  if (!spec.dump.tsv() && data.format == "glue_tsv")
    throw_error<ConfigError>("data.format: glue_tsv is the format of the GLUE tasks; expected tsv, csv or jsonl for {}",
                             task.name);
  std::map<std::string, SplitFile> files;
  for (const auto& [name, path] : data.files) {
    const std::string split = canonical_split(name, spec);
    if (!files.emplace(split, named_file(path, split, spec, data)).second)
      throw_error<ConfigError>("data.files: {} is the split {}, which is given twice", name, split);
  }
  refuse_whole_and_parts<ConfigError>(files);
  const fs::path root = task.data;
  if (root.empty() && files.empty())
    throw_error<ConfigError>("task.data: missing; expected a file or folder, or data.files");
  if (!root.empty() && !fs::exists(root)) throw_missing(root, "file or folder");
  const bool wanted = std::any_of(asked.begin(), asked.end(), [&](const auto& split) { return !holds(files, split); });
  if (!root.empty() && fs::is_directory(root) && !is_saved_dataset(root)) {
    const fs::path folder = task_folder(root, spec, data);
    std::map<std::string, SplitFile> inside;
    for (const std::string& split : possible_splits(spec))
      if (!holds(files, split) && !files.contains(split.substr(0, split.find('_'))))
        if (auto found = find_in_folder(folder, split, spec, data)) inside.emplace(split, std::move(*found));
    refuse_whole_and_parts<DataError>(inside);
    files.merge(inside);
    const bool any = std::any_of(asked.begin(), asked.end(), [&](const auto& split) { return holds(files, split); });
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
