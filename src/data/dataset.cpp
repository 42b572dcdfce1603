#include "peft/data/dataset.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "encode_split.h"
#include "layout.h"
#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/data/split_files.h"
#include "row_readers.h"

namespace peft {
namespace {

constexpr std::string_view cache_format = "encoded split 1";  // to be changed when encodings of the same input change

std::vector<std::string> canonical_splits(const std::vector<std::string>& names) {
  std::set<std::string> splits;
  for (const auto& name : names) splits.insert(canonical_split(name));
  // train first: the others are compared with it.
  std::vector<std::string> ordered;
  for (const char* split : {"train", "dev", "test"})
    if (splits.contains(split)) ordered.emplace_back(split);
  return ordered;
}

void check_columns(const TaskSpec& spec, const TaskConfig& task, const ColumnsConfig& columns) {
  const bool any = columns.text || columns.text_pair || columns.choices || columns.label || columns.idx;
  if (!spec.own_files && any) {
    std::vector<std::string> others;
    for (const std::string& name : task_registry().names())
      if (task_registry().at(name).own_files) others.push_back(name);
    throw_error<ConfigError>("data.columns: the columns of {} are known; files of your own are read by the tasks {}",
                             task.name, join_names(others));
  }
  if (!spec.own_files) return;
  const SequencePlan plan(spec);
  std::vector<std::string> known;
  for (const auto& field : plan.fields()) known.push_back(field.name);
  for (const char* name : {"text", "text_pair", "choices"})
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
  check_columns(spec, task, data.columns);
}

// A folder that may not be looked into is bad data, as an unreadable file is.
std::map<std::string, SplitFile> readable_split_files(const TaskSpec& spec, const TaskConfig& task,
                                                      const DataConfig& data, const std::vector<std::string>& asked) {
  try {
    return find_split_files(spec, task, data, asked);
  } catch (const std::filesystem::filesystem_error& error) {
    throw_error<DataError>("{}: {}", error.path1().string(), error.code().message());
  }
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

std::optional<int64_t> limit_of(const LimitConfig& limits, const std::string& split) {
  return split == "train" ? limits.train : split == "dev" ? limits.dev : limits.test;
}

/// One class alone is a warning; it is an error where skipped rows may have held the others of a user's file.
void check_classes(const TaskSpec& spec, const EncodedSplit& train, const std::vector<std::string>& labels) {
  const auto& counts = train.statistics.label_counts;
  const auto used = std::find_if(counts.begin(), counts.end(), [](int64_t n) { return n > 0; });
  if (train.target_kind == TargetKind::classes || used == counts.end() || *used != train.size()) return;
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

int64_t count_overlap(const std::vector<uint64_t>& sorted_train, const std::vector<uint64_t>& hashes) {
  return std::count_if(hashes.begin(), hashes.end(), [&](uint64_t hash) {
    return std::binary_search(sorted_train.begin(), sorted_train.end(), hash);
  });
}

// What decides the numbers besides the files: never a path. Labels that came from a file are part of it.
std::string rules(const TaskConfig& task, DataConfig data, const TaskSpec& spec, const TaskInfo& resolved) {
  data.files.clear();
  if (spec.labels_from_files()) data.labels = resolved.labels;
  Json rules = print_fields([&](Fields& fields) { data.visit(fields); });
  rules["task"] = resolved.name;
  rules["max_length"] = task.max_length;
  return rules.dump();
}

}  // namespace

const EncodedSplit* Dataset::find(const std::string& split) const {
  const auto found = splits.find(split);
  return found == splits.end() ? nullptr : &found->second;
}

Dataset load_dataset(const TaskConfig& task, const DataConfig& data, const Tokenizer& tokenizer,
                     const std::vector<std::string>& splits) {
  Dataset dataset;
  dataset.task.name = resolve_task_name(task.name);
  const TaskSpec& spec = task_registry().at(dataset.task.name);
  check_config(spec, task, data);
  const std::vector<std::string> asked = canonical_splits(splits);
  const auto files = readable_split_files(spec, task, data, asked);

  const bool train_asked = std::find(asked.begin(), asked.end(), "train") != asked.end();
  dataset.task.objective = spec.objective;
  dataset.task.labels = find_labels(spec, task, data, files, train_asked);
  dataset.task.metrics = spec.metrics;
  Hasher hasher;
  hasher.add(cache_format).add(rules(task, data, spec, dataset.task)).add(tokenizer.fingerprint());
  std::vector<uint64_t> train_texts;
  for (const auto& split : asked) {
    const auto file = files.find(split);
    if (file == files.end()) continue;
    const ExampleSource source{spec, data, split, file->second, dataset.task.labels};
    EncodedFile encoded = encode_split(source, tokenizer, task.max_length, limit_of(data.limit, split));
    hasher.add(split).add(encoded.content_hash);
    if (split == "train") {
      check_classes(spec, encoded.split, dataset.task.labels);
      train_texts = std::move(encoded.text_hashes);
      std::sort(train_texts.begin(), train_texts.end());
    } else if (!train_texts.empty()) {
      encoded.split.statistics.overlap_with_train = count_overlap(train_texts, encoded.text_hashes);
    }
    dataset.splits.emplace(split, std::move(encoded.split));
  }
  dataset.fingerprint = hasher.hex();
  return dataset;
}

}  // namespace peft
