#include "peft/data/dataset.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "distribute.h"
#include "encode_split.h"
#include "layout.h"
#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/data/split_files.h"
#include "peft/data/split_policy.h"
#include "row_readers.h"

namespace peft {
namespace {

constexpr std::string_view cache_format = "encoded split 1";  // to be changed when encodings of the same input change

std::vector<std::string> canonical_splits(const std::vector<std::string>& names, const TaskSpec& spec) {
  std::set<std::string> splits;
  for (const auto& name : names) splits.insert(canonical_split(name, spec));
  // train first: the others are compared with it.
  std::vector<std::string> ordered;
  for (const std::string base : {"train", "dev", "test"})
    for (const std::string& split : splits)
      if (split.starts_with(base)) ordered.push_back(split);
  return ordered;
}

std::string base_of(const std::string& split) { return split.substr(0, split.find('_')); }

// The splits of the files that the splits asked for come from, each once.
std::vector<std::string> splits_of_files(const std::vector<std::string>& asked, const TaskSpec& spec,
                                         const DataConfig& data) {
  std::vector<std::string> splits;
  for (const std::string& split : asked) {
    const std::string files = origin_of(split, spec, data).files;
    if (std::find(splits.begin(), splits.end(), files) == splits.end()) splits.push_back(files);
  }
  return splits;
}

void check_columns(const TaskSpec& spec, const TaskConfig& task, const ColumnsConfig& columns) {
  const bool any =
      columns.text || columns.text_pair || columns.choices || columns.tokens || columns.label || columns.idx;
  if (!spec.own_files && any) {
    std::vector<std::string> others;
    for (const std::string& name : task_registry().names())
      if (task_registry().at(name).own_files) others.push_back(name);
    throw_error<ConfigError>("data.columns: the columns of {} are known; files of your own are read by the tasks {}",
                             task.name, join_names(others));
  }
  if (!spec.own_files) return;
  const TaskFields fields(spec);
  std::vector<std::string> known;
  for (const RecordInput& input : fields.inputs()) known.push_back(input.name);
  for (const char* name : {"text", "text_pair", "choices", "tokens"})
    if (*column_setting(columns, name) && std::find(known.begin(), known.end(), name) == known.end())
      throw_error<ConfigError>("data.columns.{}: {} reads the columns {}", name, task.name, join_names(known));
}

void check_config(const TaskSpec& spec, const TaskConfig& task, const DataConfig& data) {
  if (data.delimiter.size() != 1 || data.delimiter == "\"" || data.delimiter == "\n" || data.delimiter == "\r")
    throw_error<ConfigError>("data.delimiter: \"{}\"; expected one character that is neither quote nor line end",
                             data.delimiter);
  const std::set<std::string> distinct(data.labels.begin(), data.labels.end());
  if (distinct.size() != data.labels.size()) throw ConfigError("data.labels: a name occurs twice");
  if (!spec.has_classes() && !data.labels.empty())
    throw_error<ConfigError>("data.labels: {} has {}, not classes", task.name,
                             spec.target == TargetKind::score    ? "scores"
                             : spec.target == TargetKind::choice ? "numbers of choices"
                                                                 : "texts");
  if (!spec.own_files && !data.labels.empty() && data.labels != spec.labels)
    throw_error<ConfigError>("data.labels: {}; {} has the classes {}", join_names(data.labels), task.name,
                             join_names(spec.labels));
  if (data.paws_bytes && !spec.python_bytes)
    throw_error<ConfigError>("data.paws_bytes: {} has no texts in b'...'; only paws has", task.name);
  check_columns(spec, task, data.columns);
  check_split_config(spec, task.name, data);
}

// A folder that may not be looked into is bad data, as an unreadable file is.
std::map<std::string, SplitFile> readable_split_files(const TaskSpec& spec, TaskConfig task, const DataConfig& data,
                                                      std::vector<std::string> asked) {
  if (data.split.policy == "files") task.data.clear();  // data.files names them all
  std::error_code ignored;
  const bool one_file = std::filesystem::is_regular_file(task.data, ignored);
  if (data.split.policy == "holdout" && one_file) asked = {"train"};  // of which dev is held out, and no test is there
  try {
    return find_split_files(spec, task, data, asked);
  } catch (const std::filesystem::filesystem_error& error) {
    throw_error<DataError>("{}: {}", error.path1().string(), error.code().message());
  }
}

// Where the examples of a split come from, in order: its file, or those of its parts.
std::vector<ExampleSource> sources_of(const std::string& split, const TaskSpec& spec, const DataConfig& data,
                                      const std::map<std::string, SplitFile>& files,
                                      const std::vector<std::string>& labels) {
  const std::string base = base_of(split);
  std::vector<ExampleSource> sources;
  if (const auto file = files.find(split); file != files.end())
    return {{spec, data, base, file->second, labels, split == base ? "" : split.substr(base.size() + 1)}};
  if (split != base) return sources;
  std::vector<std::string> absent;
  for (const TaskSpec::Part& part : spec.parts) {
    const auto file = files.find(base + "_" + part.name);
    if (file != files.end())
      sources.push_back({spec, data, base, file->second, labels, part.name});
    else
      absent.push_back(base + "_" + part.name);
  }
  if (!sources.empty() && !absent.empty())
    log_warning("{}: the split {} is {} alone: there is no {}", sources.front().file.path.string(), base,
                sources.front().part, join_names(absent));
  return sources;
}

// Whether the rows of a file have the texts of a task.
bool fits_columns(const ExampleSource& source) {
  const TaskFields fields(source.spec);
  const Layout layout = layout_of(source, fields);
  std::vector<Column> columns;
  for (const Column& text : layout.texts)
    if (text.required) columns.push_back({text.name, false});
  BadRows bad(source.file.path.string(), {.skip = true, .max_bad_fraction = 1, .quiet = true});
  const auto rows = open_rows(source.file.path, layout.format, columns, bad);
  Row row;
  return rows->next(row) && std::none_of(row.cells.begin(), row.cells.end(),
                                         [](const Cell& cell) { return cell.kind == Cell::Kind::missing; });
}

// Class names in id order: the task's, the config's, or those of the train split.
std::vector<std::string> find_labels(const TaskSpec& spec, const TaskConfig& task, const DataConfig& data,
                                     const std::map<std::string, SplitFile>& files, bool train_asked) {
  if (!spec.labels_from_files()) return spec.labels;
  if (!data.labels.empty()) return data.labels;
  const auto train = files.find("train");
  if (train == files.end()) {
    if (train_asked) throw_error<DataError>("{}: no train split", task.data);
    throw_error<ConfigError>("data.labels: missing, and {} has no train split to take them from", task.name);
  }
  std::vector<std::string> labels = infer_labels({spec, data, "train", train->second, {}});
  if (labels.empty()) throw_error<DataError>("{}: no labels", train->second.path.string());
  return labels;
}

/// One class alone is a warning; it is an error where skipped rows may have held the others of a user's file.
void check_classes(const TaskSpec& spec, const EncodedSplit& train, const std::vector<std::string>& labels) {
  const auto& counts = train.statistics.label_counts;
  const auto used = std::find_if(counts.begin(), counts.end(), [](int64_t n) { return n > 0; });
  const bool lists = train.target_kind == TargetKind::classes || train.target_kind == TargetKind::tags;
  if (lists || used == counts.end() || *used != train.size()) return;
  const auto id = static_cast<std::size_t>(used - counts.begin());
  const auto& skipped = train.statistics.skipped;
  const int64_t lost = std::accumulate(skipped.begin(), skipped.end(), int64_t{0},
                                       [](int64_t sum, const auto& kind) { return sum + kind.second; });
  if (lost > 0 && spec.labels_from_files() && labels.size() > 1)
    throw_error<DataError>(
        "{}: data.on_bad_row \"skip\" left out {} rows, and all other examples have the label {}: no row of another of "
        "the classes {} is left",
        train.statistics.files.front(), lost, labels[id], join_names(labels));
  log_warning("{}: all {} examples have the label {}", train.statistics.files.front(), train.size(),
              labels.empty() ? std::to_string(id) : labels[id]);
}

// Examples of the other splits whose texts also occur in train.
void count_overlaps(std::map<std::string, std::vector<uint64_t>>& texts, std::map<std::string, EncodedSplit>& splits) {
  const auto train = texts.find("train");
  if (train == texts.end()) return;
  std::sort(train->second.begin(), train->second.end());
  for (const auto& [name, hashes] : texts) {
    if (name == "train") continue;
    splits.at(name).statistics.overlap_with_train = std::count_if(hashes.begin(), hashes.end(), [&](uint64_t hash) {
      return std::binary_search(train->second.begin(), train->second.end(), hash);
    });
  }
}

// What a run reads decides. Beside train, a test split that no run reads is left out: whoever reads it too has the same
// fingerprint.
bool counts_in_fingerprint(const std::string& files_split, bool train_asked, const DataConfig& data) {
  const auto read = run_splits(data.split);
  return !train_asked || base_of(files_split) != "test" || std::find(read.begin(), read.end(), "test") != read.end();
}

// What decides the numbers besides the files: never a path. Labels that came from a file are part of it.
std::string rules(const TaskConfig& task, DataConfig data, const TaskSpec& spec, const TaskInfo& resolved) {
  data.files.clear();
  if (!data.on_bad_row)
    data.on_bad_row = "error";  // as runs of older versions have it; which rows that lets in is the task's
  if (spec.labels_from_files()) data.labels = resolved.labels;
  Json rules = print_fields([&](Fields& fields) { data.visit(fields); });
  if (!data.paws_bytes) rules.erase("paws_bytes");  // newer keys
  if (!data.columns.tokens) rules["columns"].erase("tokens");
  const Json defaults = print_fields([](Fields& fields) { SplitConfig().visit(fields); });
  for (const auto& [key, value] : defaults.items())
    if (rules[key] == value) rules.erase(key);
  rules["task"] = resolved.name;
  rules["max_length"] = task.max_length;
  if (spec.target == TargetKind::span) rules["doc_stride"] = task.doc_stride;
  return rules.dump();
}

}  // namespace

const EncodedSplit* Dataset::find(const std::string& split) const {
  const auto found = splits.find(split);
  return found == splits.end() ? nullptr : &found->second;
}

TaskInfo task_info(const std::string& full_name) {
  const TaskSpec& spec = task_registry().at(full_name);
  TaskInfo info{.name = full_name, .objective = spec.objective, .labels = spec.labels, .metrics = spec.metrics};
  if (spec.outer_idx.empty()) return info;
  for (const std::string& column : spec.outer_idx) info.idx_names.push_back(column.substr(column.rfind('.') + 1));
  info.idx_names.push_back(spec.idx.substr(spec.idx.rfind('.') + 1));
  return info;
}

std::string resolve_task(const TaskConfig& task, const DataConfig& data, const std::vector<std::string>& splits) {
  const auto candidates = task_candidates(task.name);
  if (candidates.size() < 2) return resolve_task_name(task.name);
  for (const std::string& name : candidates) {
    const TaskSpec& spec = task_registry().at(name);
    try {
      const auto asked = splits_of_files(canonical_splits(splits, spec), spec, data);
      const auto files = find_split_files(spec, task, data, asked);
      const auto found =
          std::find_if(asked.begin(), asked.end(), [&](const auto& split) { return files.contains(split); });
      if (found != asked.end() && fits_columns({spec, data, base_of(*found), files.at(*found), spec.labels}))
        return name;
    } catch (const Error&) {  // whoever reads the files as the first of the tasks says what is wrong
    } catch (const std::filesystem::filesystem_error&) {
    }
  }
  return candidates.front();
}

Dataset load_dataset(const TaskConfig& task, const DataConfig& data, const Tokenizer& tokenizer,
                     const std::vector<std::string>& splits) {
  Dataset dataset;
  dataset.task = task_info(resolve_task(task, data, splits));
  const TaskSpec& spec = task_registry().at(dataset.task.name);
  check_config(spec, task, data);
  dataset.task.metrics = metrics_under_policy(spec, data);
  const std::vector<std::string> asked = canonical_splits(splits, spec);
  const std::vector<std::string> read = splits_of_files(asked, spec, data);
  const auto files = readable_split_files(spec, task, data, read);

  const bool train_asked = std::find(asked.begin(), asked.end(), "train") != asked.end();
  dataset.task.labels = find_labels(spec, task, data, files, train_asked);
  dataset.data = data;
  const Distribution distribution{spec, dataset.task.name, data, dataset.task.labels};
  Hasher hasher;
  hasher.add(cache_format).add(rules(task, data, spec, dataset.task)).add(tokenizer.fingerprint());
  std::map<std::string, std::vector<uint64_t>> texts;  // of each split
  for (const std::string& files_split : read) {
    const auto sources = sources_of(files_split, spec, data, files, dataset.task.labels);
    if (sources.empty()) continue;
    std::vector<std::string> names;
    for (const std::string& split : asked)
      if (origin_of(split, spec, data).files == files_split) names.push_back(split);
    const bool whole = names.size() == 1 && is_whole(names.front(), distribution);
    EncodedFile encoded =
        encode_split(sources, tokenizer, task, whole ? limit_of(data.limit, names.front()) : std::nullopt);
    if (counts_in_fingerprint(files_split, train_asked, data)) {
      for (std::size_t i = 0; i < sources.size(); ++i)
        hasher.add(sources.size() == 1 ? files_split : files_split + "_" + sources[i].part)
            .add(encoded.content_hashes[i]);
    }
    std::vector<EncodedFile> made;
    if (whole)
      made.push_back(std::move(encoded));
    else
      made = distribute(encoded, files_split, names, distribution);
    for (std::size_t i = 0; i < names.size(); ++i) {
      made[i].split.name = names[i];
      if (names[i] == "train") check_classes(spec, made[i].split, dataset.task.labels);
      texts[names[i]] = std::move(made[i].text_hashes);
      dataset.splits.emplace(names[i], std::move(made[i].split));
    }
  }
  count_overlaps(texts, dataset.splits);
  dataset.fingerprint = hasher.hex();
  return dataset;
}

}  // namespace peft
