#include "peft/data/dataset.h"

#include <algorithm>
#include <set>

#include "encode_split.h"
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

void check_config(const TaskSpec& spec, const TaskConfig& task, const DataConfig& data) {
  if (data.delimiter.size() != 1 || data.delimiter == "\"" || data.delimiter == "\n" || data.delimiter == "\r")
    throw_error<ConfigError>("data.delimiter: \"{}\"; expected one character that is neither quote nor line end",
                             data.delimiter);
  const std::set<std::string> distinct(data.labels.begin(), data.labels.end());
  if (distinct.size() != data.labels.size()) throw ConfigError("data.labels: a name occurs twice");
  if (spec.regression && !data.labels.empty())
    throw_error<ConfigError>("data.labels: {} has scores, not classes", task.name);
  if (!spec.own_files && !data.labels.empty() && data.labels != spec.labels)
    throw_error<ConfigError>("data.labels: {}; {} has the classes {}", join_names(data.labels), task.name,
                             join_names(spec.labels));
  const ColumnsConfig& columns = data.columns;
  if (!spec.own_files && (columns.text || columns.text_pair || columns.label || columns.idx))
    throw_error<ConfigError>("data.columns: the columns of {} are known; use task.name classification or regression",
                             task.name);
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
std::vector<std::string> find_labels(const TaskSpec& spec, const TaskConfig& task, DataConfig& data,
                                     const std::map<std::string, SplitFile>& files, bool train_asked) {
  if (!spec.own_files || spec.regression || !data.labels.empty()) return spec.own_files ? data.labels : spec.labels;
  const auto train = files.find("train");
  if (train == files.end()) {
    if (train_asked) throw_error<DataError>("{}: no train split", task.data);
    throw_error<ConfigError>("data.labels: missing, and {} has no train split to take them from", task.name);
  }
  data.labels = infer_labels({spec, data, "train", train->second, {}});
  if (data.labels.empty()) throw_error<DataError>("{}: no labels", train->second.path.string());
  return data.labels;
}

std::optional<int64_t> limit_of(const LimitConfig& limits, const std::string& split) {
  return split == "train" ? limits.train : split == "dev" ? limits.dev : limits.test;
}

void warn_of_one_class(const EncodedSplit& train, const std::vector<std::string>& labels) {
  const auto& counts = train.statistics.label_counts;
  if (!counts.empty() && std::count_if(counts.begin(), counts.end(), [](int64_t n) { return n > 0; }) == 1)
    log_warning("{}: all {} rows have the label {}", train.statistics.files.front(), train.size(),
                labels[static_cast<std::size_t>(train.labels.front())]);
}

int64_t count_overlap(const std::vector<uint64_t>& sorted_train, const std::vector<uint64_t>& hashes) {
  return std::count_if(hashes.begin(), hashes.end(), [&](uint64_t hash) {
    return std::binary_search(sorted_train.begin(), sorted_train.end(), hash);
  });
}

// What decides the numbers besides the files: never a path.
std::string rules(const TaskConfig& task, DataConfig data) {
  data.files.clear();
  Json rules = print_fields([&](Fields& fields) { data.visit(fields); });
  rules["task"] = task.name;
  rules["max_length"] = task.max_length;
  return rules.dump();
}

}  // namespace

int64_t EncodedSplit::longest() const {
  int64_t longest = 0;
  for (int64_t row = 0; row < size(); ++row) longest = std::max(longest, length(row));
  return longest;
}

const EncodedSplit* Dataset::find(const std::string& split) const {
  const auto found = splits.find(split);
  return found == splits.end() ? nullptr : &found->second;
}

Dataset load_dataset(TaskConfig& task, DataConfig& data, const Tokenizer& tokenizer,
                     const std::vector<std::string>& splits) {
  task.name = resolve_task_name(task.name);
  const TaskSpec& spec = task_registry().at(task.name);
  check_config(spec, task, data);
  const std::vector<std::string> asked = canonical_splits(splits);
  const auto files = readable_split_files(spec, task, data, asked);

  Dataset dataset;
  const bool train_asked = std::find(asked.begin(), asked.end(), "train") != asked.end();
  dataset.task = {task.name, spec.regression, find_labels(spec, task, data, files, train_asked), spec.metrics};
  Hasher hasher;
  hasher.add(cache_format).add(rules(task, data)).add(tokenizer.fingerprint());
  std::vector<uint64_t> train_texts;
  for (const auto& split : asked) {
    const auto file = files.find(split);
    if (file == files.end()) continue;
    const ExampleSource source{spec, data, split, file->second, dataset.task.labels};
    EncodedFile encoded = encode_split(source, tokenizer, task.max_length, limit_of(data.limit, split));
    hasher.add(split).add(encoded.content_hash);
    if (split == "train") {
      warn_of_one_class(encoded.split, dataset.task.labels);
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
