#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <stdexcept>

#include "peft/base/json.h"
#include "src/submission/content.h"
#include "src/submission/index_check.h"
#include "src/submission/text.h"

namespace peft {
namespace {

using Keys = std::vector<std::string>;

class JsonCheck {
 public:
  JsonCheck(const SubmissionFile& file, const TestRows& rows, Findings& findings, Findings& warnings,
            PredictionTally& tally)
      : file_(file),
        rows_(rows),
        findings_(findings),
        warnings_(warnings),
        tally_(tally),
        indices_("idx", rows.idx, source_of(rows), findings) {}

  void check(const ContentLine& line) {
    line_ = line.number;
    if (!line.utf8) {  // reported, and no JSON either
      indices_.add_unreadable();
      return;
    }
    Json record;
    try {
      record = parse_json(line.text, "");
    } catch (const std::invalid_argument& error) {
      std::string_view why = error.what();  // ": column 31: ..."
      while (why.starts_with(':') || why.starts_with(' ')) why.remove_prefix(1);
      findings_.add("json", line_, fmt::format("{}; expected a JSON object", why));
      indices_.add_unreadable();
      return;
    }
    const bool answers = file_.kind == LineKind::json_answers;
    if (!has_keys(record, "", {"idx", answers ? "passage" : "label"})) {
      indices_.add_unreadable();
      return;
    }
    const std::optional<int64_t> idx = integer(record.at("idx"), "idx");
    if (idx) {
      indices_.add(*idx, line_);
    } else {
      indices_.add_unreadable();
    }
    if (answers) {
      check_passage(record.at("passage"), idx);
    } else {
      check_label(record.at("label"), "label", idx);
    }
  }

  void finish(int64_t last_line) {
    indices_.finish(last_line);
    if (file_.kind == LineKind::json_answers && rows_.passages.empty()) {
      check_numbers("question", questions_, file_.questions, last_line);
      check_numbers("answer", answers_, file_.answers, last_line);
    }
  }

 private:
  /// Whether these keys are there. Others beside them are against the rules and do no harm here.
  bool has_keys(const Json& value, const std::string& path, const Keys& expected) {
    const std::string where = path.empty() ? "" : path + ": ";
    if (!value.is_object()) {
      findings_.add("object", line_, fmt::format("{}{}; expected an object", where, shown(value)));
      return false;
    }
    Keys found;
    for (const auto& item : value.items()) found.push_back(item.key());
    if (found == expected) return true;  // both sorted
    findings_.add("keys", line_,
                  fmt::format("{}{}; expected the keys {}", where,
                              found.empty() ? "no keys" : "the keys " + in_quotes(join(found)), join(expected)));
    return std::includes(found.begin(), found.end(), expected.begin(), expected.end());
  }

  static std::string join(const Keys& keys) { return fmt::format("{}", fmt::join(keys, ", ")); }

  std::optional<int64_t> integer(const Json& value, const std::string& path) {
    if (value.is_number_integer()) return value.get<int64_t>();
    findings_.add("idx", line_, fmt::format("{} is {}; expected an integer", path, shown(value)));
    return std::nullopt;
  }

  void check_label(const Json& value, const std::string& path, const std::optional<int64_t>& idx) {
    tally_.add(value.dump());
    if (file_.kind == LineKind::json_text) {
      check_text(value, path, idx);
      return;
    }
    const bool number = file_.kind != LineKind::json_class;
    const std::string spelled = number ? value.dump() : value.is_string() ? value.get<std::string>() : "";
    const bool type = number ? value.is_number_integer() : value.is_string();
    if (type && std::find(file_.classes.begin(), file_.classes.end(), spelled) != file_.classes.end()) return;
    findings_.add("label", line_,
                  fmt::format("{} is {}; expected {} {}", path, shown(value),
                              number ? "one of the integers" : "one of the strings", join(file_.classes)));
  }

  void check_text(const Json& value, const std::string& path, const std::optional<int64_t>& idx) {
    if (!value.is_string()) {
      findings_.add("label", line_, fmt::format("{} is {}; expected a string", path, shown(value)));
      return;
    }
    const auto entities = idx ? rows_.entities.find(*idx) : rows_.entities.end();
    if (entities == rows_.entities.end()) return;
    const auto& known = entities->second;
    if (std::find(known.begin(), known.end(), value.get_ref<const std::string&>()) == known.end())
      warnings_.add("entity", line_, fmt::format("{} {} is none of the passage's entities", path, shown(value)));
  }

  const Json* list(const Json& value, const std::string& path) {
    if (value.is_array()) return &value;
    findings_.add("list", line_, fmt::format("{} is {}; expected a list", path, shown(value)));
    return nullptr;
  }

  void check_passage(const Json& passage, const std::optional<int64_t>& idx) {
    if (!has_keys(passage, "passage", {"questions"})) return;
    const Json* questions = list(passage.at("questions"), "passage.questions");
    if (questions == nullptr) return;
    TestRows::Questions found;
    bool whole = true;
    for (std::size_t i = 0; i < questions->size(); ++i) {
      const std::string path = fmt::format("passage.questions[{}]", i);
      whole = check_question((*questions)[i], path, found) && whole;
    }
    const auto expected = idx ? rows_.passages.find(*idx) : rows_.passages.end();
    if (whole && expected != rows_.passages.end()) compare(found, expected->second, *idx);
  }

  bool check_question(const Json& question, const std::string& path, TestRows::Questions& found) {
    if (!has_keys(question, path, {"answers", "idx"})) return false;
    const auto idx = integer(question.at("idx"), path + ".idx");
    const Json* answers = list(question.at("answers"), path + ".answers");
    if (!idx || answers == nullptr) return false;
    questions_.emplace_back(*idx, line_);
    if (found.contains(*idx)) {
      findings_.add("question twice", line_, fmt::format("{}.idx {} occurs twice; expected it once", path, *idx));
      return false;
    }
    std::set<int64_t>& seen = found[*idx];
    bool whole = true;
    for (std::size_t i = 0; i < answers->size(); ++i) {
      const std::string answer = fmt::format("{}.answers[{}]", path, i);
      whole = check_answer((*answers)[i], answer, seen) && whole;
    }
    return whole;
  }

  bool check_answer(const Json& answer, const std::string& path, std::set<int64_t>& seen) {
    if (!has_keys(answer, path, {"idx", "label"})) return false;
    check_label(answer.at("label"), path + ".label", std::nullopt);
    const auto idx = integer(answer.at("idx"), path + ".idx");
    if (!idx) return false;
    answers_.emplace_back(*idx, line_);
    if (seen.insert(*idx).second) return true;
    findings_.add("answer twice", line_, fmt::format("{}.idx {} occurs twice; expected it once", path, *idx));
    return false;
  }

  void compare(const TestRows::Questions& found, const TestRows::Questions& expected, int64_t passage) {
    const auto numbers = [](const TestRows::Questions& questions) {
      std::vector<int64_t> all;
      for (const auto& question : questions) all.push_back(question.first);
      return all;
    };
    if (numbers(found) != numbers(expected)) {
      findings_.add("questions", line_,
                    fmt::format("passage {}: the questions {}; expected {} as in {}", passage,
                                first_numbers(numbers(found)), first_numbers(numbers(expected)), source_of(rows_)));
      return;
    }
    for (const auto& [question, answers] : expected)
      if (found.at(question) != answers)
        findings_.add("answers", line_,
                      fmt::format("question {}: the answers {}; expected {} as in {}", question,
                                  first_numbers(found.at(question)), first_numbers(answers), source_of(rows_)));
  }

  /// Questions and answers count on through the whole file. Their numbers stand in no order that counts.
  void check_numbers(const std::string& noun, std::vector<std::pair<int64_t, int64_t>>& found, int64_t expected,
                     int64_t last_line) {
    std::sort(found.begin(), found.end());
    for (std::size_t i = 0; i < found.size(); ++i) {
      const auto& [idx, line] = found[i];
      if (i > 0 && idx == found[i - 1].first)
        findings_.add(noun + " again", line,
                      fmt::format("{} {} already stands in line {}; expected it once", noun, idx, found[i - 1].second));
      if (idx < 0 || idx >= expected)
        findings_.add(noun + " unknown", line, fmt::format("{} {}; expected 0 to {}", noun, idx, expected - 1));
    }
    if (static_cast<int64_t>(found.size()) != expected)
      findings_.add(noun + "s", last_line,
                    fmt::format("{} {}s; expected the {} of {}", found.size(), noun, expected, source_of(rows_)));
  }

  const SubmissionFile& file_;
  const TestRows& rows_;
  Findings& findings_;
  Findings& warnings_;
  PredictionTally& tally_;
  IndexCheck indices_;
  std::vector<std::pair<int64_t, int64_t>> questions_, answers_;  // idx, line
  int64_t line_ = 0;
};

}  // namespace

void check_json(const SubmissionFile& file, const std::vector<ContentLine>& lines, int64_t last_line,
                const TestRows& rows, Findings& findings, Findings& warnings, PredictionTally& tally) {
  JsonCheck check(file, rows, findings, warnings, tally);
  for (const ContentLine& line : lines) check.check(line);
  check.finish(last_line);
}

}  // namespace peft
