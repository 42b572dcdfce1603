#include "src/submission/content.h"

#include <fmt/format.h>

#include <algorithm>

#include "peft/data/lines.h"
#include "peft/submission/validate.h"
#include "src/submission/text.h"

namespace peft {
namespace {

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

/// The lines without their ends. Empty ones and bytes that no line may have are reported.
std::vector<ContentLine> lines_of(std::string_view content, int64_t& last_line, Findings& findings) {
  std::vector<ContentLine> lines;
  int64_t number = 0;
  while (!content.empty()) {
    ++number;
    const std::size_t end = content.find('\n');
    std::string_view text = content.substr(0, end);
    if (end == std::string_view::npos) findings.add("last", number, "no line feed at the end; expected one");
    content.remove_prefix(end == std::string_view::npos ? content.size() : end + 1);
    if (text.starts_with(byte_order_mark)) {  // the JSON parser would pass over it in any line
      findings.add("bom", number, "byte order mark; expected none");
      text.remove_prefix(byte_order_mark.size());
    }
    if (text.find('\r') != std::string_view::npos) {
      findings.add("return", number, "carriage return; expected lines that end in a line feed alone");
      if (text.ends_with('\r')) text.remove_suffix(1);
    }
    const auto problem = encoding_problem(text);
    if (problem) findings.add("encoding", number, *problem + "; expected UTF-8");
    if (text.empty()) {
      findings.add("empty", number, "empty line; expected none");
    } else {
      lines.push_back({number, text, !problem});
    }
  }
  last_line = number;
  return lines;
}

}  // namespace

void PredictionTally::add(std::string_view prediction) {
  if (count_++ == 0) {
    first_ = prediction;
  } else {
    alike_ = alike_ && prediction == first_;
  }
}

std::string source_of(const TestRows& rows) { return rows.source.empty() ? "the leaderboard" : rows.source.string(); }

void validate_content(const SubmissionFile& file, std::string_view content, const std::string& shown_as,
                      const TestRows& rows, Validation& validation) {
  Findings findings(shown_as), warnings(shown_as);
  PredictionTally tally;
  int64_t last_line = 0;
  const std::vector<ContentLine> lines = lines_of(content, last_line, findings);
  if (file.tsv()) {
    check_tsv(file, lines, last_line, rows, findings, tally);
  } else {
    check_json(file, lines, last_line, rows, findings, warnings, tally);
  }
  if (tally.constant()) {
    const std::string first = file.tsv() ? in_quotes(tally.first()) : shown(parse_json(tally.first(), shown_as));
    warnings.add("constant", 0, fmt::format("all {} predictions are {}", tally.count(), first));
  }
  const auto append = [](const Findings& from, std::vector<std::string>& to) {
    for (std::string& line : from.lines()) to.push_back(std::move(line));
  };
  append(findings, validation.failures);
  append(warnings, validation.warnings);
}

}  // namespace peft
