#include "record_reader.h"

#include <cstring>

#include "peft/base/error.h"

namespace peft {

void RecordReader::set_problem(std::string_view kind, std::string message) {
  if (!problem_kind_.empty()) return;  // the first one is reported
  problem_kind_ = kind;
  problem_ = std::move(message);
  problem_line_ = lines_.line();
}

bool RecordReader::check_line() {
  if (lines_.too_long()) {
    set_problem("long_line", fmt::format("longer than {} bytes (data.max_line_bytes)", max_bytes_));
    return false;
  }
  if (auto why = encoding_problem(lines_.text())) {
    set_problem("encoding", std::move(*why));
    return false;
  }
  return true;
}

bool RecordReader::next() {
  fields_.clear();
  problem_kind_.clear();
  if (!lines_.next()) return false;
  line_ = lines_.line();
  if (lines_.text().empty() && !lines_.too_long()) {
    if (lines_.at_end()) return false;
    set_problem("empty_line", "empty line");
    return true;
  }
  if (quoting_) {
    read_quoted();
  } else if (check_line()) {
    split_plain(lines_.text());
  }
  return true;
}

void RecordReader::split_plain(std::string_view text) {
  while (fields_.size() + 1 != most_) {
    const auto* stop = static_cast<const char*>(std::memchr(text.data(), delimiter_, text.size()));
    if (stop == nullptr) break;
    const auto size = static_cast<std::size_t>(stop - text.data());
    fields_.push_back(text.substr(0, size));
    text.remove_prefix(size + 1);
  }
  fields_.push_back(text);
}

void RecordReader::limit_unquoted() {
  if (unquoted_.size() <= max_bytes_) return;
  if (problem_kind_.empty()) {
    set_problem("long_line", fmt::format("longer than {} bytes (data.max_line_bytes)", max_bytes_));
    problem_line_ = line_;  // where the record starts
  }
  unquoted_.clear();  // bounded memory; only the closing quote is looked for
}

void RecordReader::read_quoted() {
  bool readable = check_line();
  if (lines_.too_long()) return;  // where its quotes stand is unknown: the next line starts afresh
  if (lines_.text().find('"') == std::string_view::npos) {
    if (readable) split_plain(lines_.text());
    return;
  }
  enum class State { start, plain, quoted, closed };
  State state = State::start;
  unquoted_.clear();
  ends_.clear();
  int64_t opened = 0;
  while (true) {
    const std::string_view text = lines_.text();
    for (std::size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      if (state == State::quoted) {
        if (c != '"') {
          unquoted_ += c;
        } else if (i + 1 < text.size() && text[i + 1] == '"') {
          unquoted_ += '"';
          ++i;
        } else {
          state = State::closed;
        }
      } else if (c == delimiter_) {
        ends_.push_back(unquoted_.size());
        state = State::start;
      } else if (c == '"' && state == State::start) {
        state = State::quoted;
        opened = lines_.line();
      } else {
        if (state == State::closed) set_problem("quote", fmt::format("column {}: text after a closing quote", i + 1));
        unquoted_ += c;
        if (state == State::start) state = State::plain;
      }
    }
    if (state != State::quoted) break;
    unquoted_ += lines_.ending();
    limit_unquoted();
    if (!lines_.next()) throw_error<DataError>("{}:{}: quote is never closed", lines_.file(), opened);
    check_line();
    if (lines_.too_long()) return;
  }
  ends_.push_back(unquoted_.size());
  limit_unquoted();
  if (!problem_kind_.empty()) return;
  std::size_t begin = 0;
  for (const std::size_t end : ends_) {
    fields_.push_back(std::string_view(unquoted_).substr(begin, end - begin));
    begin = end;
  }
}

}  // namespace peft
