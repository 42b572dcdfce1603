#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "src/submission/content.h"
#include "src/submission/index_check.h"
#include "src/submission/text.h"

namespace peft {
namespace {

constexpr std::string_view header = "index\tprediction";

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> fields;
  for (std::size_t tab; (tab = text.find('\t')) != std::string_view::npos; text.remove_prefix(tab + 1))
    fields.push_back(text.substr(0, tab));
  fields.push_back(text);
  return fields;
}

std::string_view without_quotes(std::string_view field, int64_t line, Findings& findings) {
  if (field.empty() || (field.front() != '"' && field.back() != '"')) return field;
  findings.add("quotes", line, fmt::format("{} has quotes around it; expected none", in_quotes(field)));
  if (field.front() == '"') field.remove_prefix(1);
  if (field.ends_with('"')) field.remove_suffix(1);
  return field;
}

/// 0.000 to 5.000: a digit, a point, three digits.
bool is_score(std::string_view text) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (text.size() != 5 || text[1] != '.' || !digit(text[0]) || !std::all_of(text.begin() + 2, text.end(), digit))
    return false;
  return text[0] < '5' || text == "5.000";
}

void check_prediction(const SubmissionFile& file, std::string_view text, int64_t line, Findings& findings) {
  if (file.kind == LineKind::tsv_score) {
    if (!is_score(text))
      findings.add("score", line,
                   fmt::format("prediction {}; expected 0.000 to 5.000 with three decimals", in_quotes(text)));
  } else if (std::find(file.classes.begin(), file.classes.end(), text) == file.classes.end()) {
    findings.add("label", line,
                 fmt::format("prediction {}; expected one of {}", in_quotes(text), fmt::join(file.classes, ", ")));
  }
}

}  // namespace

void check_tsv(const SubmissionFile& file, const std::vector<ContentLine>& lines, int64_t last_line,
               const TestRows& rows, Findings& findings, PredictionTally& tally) {
  IndexCheck indices("index", rows.idx, source_of(rows), findings);
  for (const ContentLine& line : lines) {
    std::vector<std::string_view> fields = split(line.text);
    if (line.number == 1 && line.text != header) {
      findings.add("header", 1, fmt::format("header {}; expected index<TAB>prediction", in_quotes(line.text)));
      if (fields.size() != 2 || !parse_index(fields[0])) continue;  // else a file without header: this is a row
    } else if (line.number == 1) {
      continue;
    }
    if (fields.size() != 2) {
      findings.add("columns", line.number, fmt::format("{} columns; expected 2 (index, prediction)", fields.size()));
      indices.add_unreadable();
      continue;
    }
    for (std::string_view& field : fields) field = without_quotes(field, line.number, findings);
    if (const auto idx = parse_index(fields[0])) {
      indices.add(*idx, line.number);
    } else {
      findings.add("index", line.number, fmt::format("index {}; expected a whole number", in_quotes(fields[0])));
      indices.add_unreadable();
    }
    check_prediction(file, fields[1], line.number, findings);
    tally.add(fields[1]);
  }
  if (lines.empty() || lines.front().number != 1) findings.add("header", 1, "no header; expected index<TAB>prediction");
  indices.finish(last_line);
}

}  // namespace peft
