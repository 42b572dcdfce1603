#include "peft/submission/predictions.h"

#include <algorithm>
#include <numeric>

#include "peft/base/error.h"

namespace peft {
namespace {

std::vector<int64_t> examples_for(const SubmissionFile& file, const EncodedSplit& split) {
  if (split.name == file.split) {
    std::vector<int64_t> all(static_cast<std::size_t>(split.size()));
    std::iota(all.begin(), all.end(), int64_t{0});
    return all;
  }
  for (std::size_t part = 0; part < split.part_names.size(); ++part)
    if (split.name + "_" + split.part_names[part] == file.split) return split.examples_of(part);
  return {};
}

/// Numbers of what holds an example.
std::size_t outer_numbers(const SubmissionFile& file) {
  if (file.kind == LineKind::json_answers) return 2;
  return file.kind == LineKind::json_text ? 1 : 0;
}

}  // namespace

std::vector<SubmissionRow> predicted_rows(const SubmissionFile& file, const EncodedSplit& split,
                                          std::span<const Target> predictions) {
  std::vector<SubmissionRow> rows;
  for (const int64_t example : examples_for(file, split)) {
    const auto place = static_cast<std::size_t>(example);
    const auto outer = split.example_outer_idx(example);
    if (outer.size() != outer_numbers(file))
      throw_error<DataError>("{}: idx has {} numbers; expected the {} that {} names",
                             split.statistics.files.empty() ? split.name : split.statistics.files.front(),
                             outer.size() + 1, outer_numbers(file) + 1, file.name);
    SubmissionRow row;
    std::copy(outer.begin(), outer.end(), row.idx.begin());
    row.idx[outer.size()] = split.idx[place];
    const Target& prediction = predictions[place];
    if (const auto* score = std::get_if<double>(&prediction)) row.prediction = *score;
    if (const auto* id = std::get_if<int64_t>(&prediction)) {
      row.prediction = *id;
      if (file.kind == LineKind::json_text)
        row.prediction = split.candidates[static_cast<std::size_t>(split.first_sequence(example) + *id)];
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace peft
