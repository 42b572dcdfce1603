#pragma once
/// The files of `peft-tool score`: predictions and the right values, row by row.

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <vector>

#include "peft/base/error.h"
#include "peft/base/json.h"
#include "peft/metrics/metric.h"

namespace peft {

/// One value a row.
struct Values {
  std::string file;
  std::vector<Json> rows;
  std::vector<int64_t> lines = {};  ///< of the rows in the file
  std::vector<Json> ids = {};       ///< of the rows; null: none
  bool cells = false;               ///< of csv or tsv: strings that may spell numbers and lists

  template <class... Args>
  [[noreturn]] void fail(std::size_t row, fmt::format_string<Args...> format, Args&&... args) const {
    throw_error<DataError>("{}:{}: {}", file, lines[row], fmt::format(format, std::forward<Args>(args)...));
  }
};

/// What a file of predictions tells.
struct PredictedValues {
  Values predictions;
  std::vector<std::string> names;    ///< class id -> name; empty: not told
  Values references, groups, parts;  ///< of a predictions file (docs/tasks.md#predictions-files); empty: not told
};

/// Plain JSON values, a predictions file of ours, or what peft-predict wrote, one a line. `adapter`: whose answers, where rows hold those
/// of several; else empty. Throws DataError, and ConfigError where an adapter must be chosen.
PredictedValues read_predictions(const std::string& file, const std::string& adapter);

/// Plain JSON values, one a line, or a labelled file: JSON Lines, or csv and tsv with a header, whose right values stand in `column`.
Values read_references(const std::string& file, const std::string& column);

/// Plain JSON values, one a line.
Values read_values(const std::string& file);

/// Brings the references into the form of the predictions: cells of csv and tsv become numbers, lists or names, and class ids beside
/// predicted names become names. Texts stay as they are. Throws DataError where rows do not belong together: their number, or their ids.
void match_references(const PredictedValues& predicted, Metric::Input input, Values& references);

/// 7 of a JSON file and 7 of a csv file are one id.
std::string id_text(const Json& id);

}  // namespace peft
