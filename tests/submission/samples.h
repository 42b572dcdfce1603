#pragma once
/// Predictions of the official size, of several classes.

#include <string>
#include <vector>

#include "peft/base/error.h"
#include "peft/submission/rows.h"

namespace peft {

inline const SubmissionFile& file_named(const std::string& name) {
  for (const SubmissionFile& file : submission_table())
    if (file.name == name) return file;
  throw Error(name + " is not in the table");
}

/// MultiRC's answers spread over its questions, and these over its passages.
inline std::vector<SubmissionRow> sample_rows(const SubmissionFile& file) {
  std::vector<SubmissionRow> rows;
  const bool nested = file.kind == LineKind::json_answers;
  const int64_t examples = nested ? file.answers : file.lines;
  for (int64_t i = 0; i < examples; ++i) {
    SubmissionRow row{.idx = {i, 0, 0}};
    if (nested) {
      const int64_t question = i * file.questions / file.answers;
      row.idx = {question * file.lines / file.questions, question, i};
    }
    if (file.kind == LineKind::json_text) row.idx = {i / 2, i, 0};
    if (file.kind == LineKind::tsv_score) {
      row.prediction = static_cast<double>(i % 50) / 10;
    } else if (file.kind == LineKind::json_text) {
      row.prediction = "entity " + std::to_string(i % 7);
    } else {
      row.prediction = i % static_cast<int64_t>(file.classes.size());
    }
    rows.push_back(row);
  }
  return rows;
}

inline std::string sample_text(const SubmissionFile& file) {
  return submission_text(file, sample_rows(file), file.name);
}

}  // namespace peft
