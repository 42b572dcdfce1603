#include "peft/submission/rows.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "peft/base/error.h"
#include "peft/base/json.h"

namespace peft {
namespace {

constexpr double largest_score = 5.0;

// The indices of a row that its file names, outermost first, then zeros.
std::array<int64_t, 3> key_of(const SubmissionFile& file, const SubmissionRow& row) {
  if (file.kind == LineKind::json_answers) return row.idx;
  return {row.idx[file.kind == LineKind::json_text ? 1 : 0], 0, 0};
}

std::string describe(const SubmissionFile& file, const std::array<int64_t, 3>& key) {
  if (file.kind != LineKind::json_answers) return fmt::format("idx {}", key[0]);
  return fmt::format("passage {}, question {}, answer {}", key[0], key[1], key[2]);
}

std::string label_of(const SubmissionFile& file, const SubmissionRow& row, const std::string& where) {
  if (file.kind == LineKind::tsv_score) {
    const auto* score = std::get_if<double>(&row.prediction);
    if (score == nullptr || !std::isfinite(*score))
      throw_error<DataError>("{}: the prediction is not finite; expected a score", where);
    return fmt::format("{:.3f}", *score > 0.0 ? std::min(*score, largest_score) : 0.0);
  }
  if (file.kind == LineKind::json_text) {
    const auto* text = std::get_if<std::string>(&row.prediction);
    if (text == nullptr) throw_error<DataError>("{}: the prediction is not finite; expected a text", where);
    return Json(*text).dump();
  }
  const auto* id = std::get_if<int64_t>(&row.prediction);
  if (id == nullptr) throw_error<DataError>("{}: the prediction is not finite; expected a class", where);
  if (*id < 0 || *id >= static_cast<int64_t>(file.classes.size()))
    throw_error<DataError>("{}: class {}; expected 0 to {}", where, *id, file.classes.size() - 1);
  const std::string& spelled = file.classes[static_cast<std::size_t>(*id)];
  return file.kind == LineKind::json_class ? "\"" + spelled + "\"" : spelled;
}

// The lines of MultiRC: rows of a passage, then of a question, stand together.
std::string answers_text(const std::vector<SubmissionRow>& rows, const std::vector<std::string>& labels) {
  std::string text;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto [passage, question, answer] = rows[i].idx;
    const bool new_passage = i == 0 || rows[i - 1].idx[0] != passage;
    const bool new_question = new_passage || rows[i - 1].idx[1] != question;
    if (new_passage) text += fmt::format("{{\"idx\": {}, \"passage\": {{\"questions\": [", passage);
    if (new_question) text += fmt::format("{}{{\"idx\": {}, \"answers\": [", new_passage ? "" : ", ", question);
    text += fmt::format("{}{{\"idx\": {}, \"label\": {}}}", new_question ? "" : ", ", answer, labels[i]);
    const bool passage_ends = i + 1 == rows.size() || rows[i + 1].idx[0] != passage;
    if (passage_ends || rows[i + 1].idx[1] != question) text += "]}";
    if (passage_ends) text += "]}}\n";
  }
  return text;
}

}  // namespace

std::string submission_text(const SubmissionFile& file, std::vector<SubmissionRow> rows, const std::string& origin) {
  std::sort(rows.begin(), rows.end(),
            [&](const SubmissionRow& a, const SubmissionRow& b) { return key_of(file, a) < key_of(file, b); });
  std::vector<std::string> labels;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto key = key_of(file, rows[i]);
    const std::string where = fmt::format("{}: {}", origin, describe(file, key));
    if (i > 0 && key == key_of(file, rows[i - 1])) throw_error<DataError>("{}: occurs twice", where);
    labels.push_back(label_of(file, rows[i], where));
  }
  if (file.kind == LineKind::json_answers) return answers_text(rows, labels);
  std::string text = file.tsv() ? "index\tprediction\n" : "";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const int64_t idx = key_of(file, rows[i])[0];
    text += file.tsv() ? fmt::format("{}\t{}\n", idx, labels[i])
                       : fmt::format("{{\"idx\": {}, \"label\": {}}}\n", idx, labels[i]);
  }
  return text;
}

TestRows official_rows(const SubmissionFile& file) {
  TestRows rows;
  rows.idx.resize(static_cast<std::size_t>(file.lines));
  std::iota(rows.idx.begin(), rows.idx.end(), int64_t{0});
  return rows;
}

std::vector<SubmissionRow> constant_rows(const SubmissionFile& file, const TestRows& rows) {
  SubmissionRow row;
  if (file.kind == LineKind::tsv_score) {
    row.prediction = 0.0;
  } else if (file.kind == LineKind::json_text) {
    row.prediction = std::string();
  } else {
    row.prediction = int64_t{0};
  }
  std::vector<SubmissionRow> all;
  if (file.kind == LineKind::json_answers) {
    if (rows.passages.empty())
      throw_error<DataError>(
          "{}: cannot be filled without the dump, which tells the questions of each passage; "
          "expected {}/{} in --data ROOT",
          file.name, file.folders.front(), file.dump_files.front());
    for (const auto& [passage, questions] : rows.passages)
      for (const auto& [question, answers] : questions)
        for (const int64_t answer : answers) {
          row.idx = {passage, question, answer};
          all.push_back(row);
        }
    return all;
  }
  for (const int64_t idx : rows.idx) {
    row.idx = file.kind == LineKind::json_text ? std::array<int64_t, 3>{0, idx, 0} : std::array<int64_t, 3>{idx, 0, 0};
    all.push_back(row);
  }
  return all;
}

}  // namespace peft
