#pragma once
/// A task's rows, encoded once: ids of all examples end to end, ready for packing.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "peft/data/config.h"
#include "peft/text/tokenizer.h"

namespace peft {

/// What a classifier must know of a task.
struct TaskInfo {
  std::string name;                  ///< resolved: "glue/rte", never plain "rte"
  bool regression = false;           ///< one output, mean squared error
  std::vector<std::string> labels;   ///< class id -> name; empty for regression
  std::vector<std::string> metrics;  ///< the first selects the best checkpoint
  int64_t outputs() const { return regression ? 1 : static_cast<int64_t>(labels.size()); }
};

/// What reading a split saw (docs/tasks.md#reports-and-fingerprints).
struct SplitStatistics {
  std::vector<std::string> files;
  std::map<std::string, int64_t> skipped;  ///< kind -> rows
  std::vector<int64_t> label_counts;       ///< per class; empty for regression or hidden labels
  int64_t truncated_examples = 0, lost_tokens = 0, empty_texts = 0;
  std::map<int, int64_t> length_percentiles;  ///< 50, 90, 99, 100 -> tokens
  std::optional<int64_t> overlap_with_train;  ///< rows whose text fields also occur in train; absent for train
};

/// One split. Row r owns ids [offsets[r], offsets[r+1]).
class EncodedSplit {
 public:
  std::string name;  ///< canonical: train, dev, test
  std::vector<int32_t> ids;
  std::vector<uint8_t> types;
  std::vector<int64_t> offsets{0};
  std::vector<double> labels;  ///< class id or score; NaN = hidden
  std::vector<int64_t> idx;    ///< the dump's index column, else the row number
  bool hidden = false;         ///< no row has a label: predict only
  SplitStatistics statistics;

  int64_t size() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int64_t length(int64_t row) const { return offsets[row + 1] - offsets[row]; }
  int64_t longest() const;
  std::span<const int32_t> row_ids(int64_t row) const {
    return {ids.data() + offsets[row], static_cast<std::size_t>(length(row))};
  }
  std::span<const uint8_t> row_types(int64_t row) const {
    return {types.data() + offsets[row], static_cast<std::size_t>(length(row))};
  }
};

struct Dataset {
  TaskInfo task;
  std::map<std::string, EncodedSplit> splits;  ///< those found among the ones asked for
  std::string fingerprint;                     ///< of content and rules (docs/tasks.md#reports-and-fingerprints)
  const EncodedSplit* find(const std::string& split) const;
};

/// Reads and encodes the splits asked for ("train", "dev", "test"; accepted spellings: docs/tasks.md#finding-files). A split that is not
/// there is left out; the caller decides whether it needs it. `task.name` becomes the full name ("glue/rte"), and where the labels of a
/// classification task come from its train split `data.labels` is filled with them, so that the run's config holds both. Throws ConfigError
/// (unknown task or key) and DataError (files; docs/tasks.md#bad-input).
Dataset load_dataset(TaskConfig& task, DataConfig& data, const Tokenizer& tokenizer,
                     const std::vector<std::string>& splits);

/// Canonical spelling of a split: dev = val = valid = validation = eval. Throws ConfigError on an unknown one.
std::string canonical_split(const std::string& name);

}  // namespace peft
