#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "peft/base/python_regex.h"

namespace peft {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_octal(char c) { return c >= '0' && c <= '7'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

/// One pass over the expression. Whatever both libraries read alike is copied.
class Translator {
 public:
  explicit Translator(std::string_view in) : in_(in) {}

  std::string run() {
    while (at_ < in_.size()) {
      switch (in_[at_]) {
        case '\\':
          escape(/*in_class=*/false);
          break;
        case '[':
          character_class();
          break;
        case '(':
          group();
          break;
        case ')':
          if (!open_.empty()) open_.pop_back();
          copy(1);
          break;
        case '{':
          repetition();
          break;
        case '#':
          if (verbose_) {
            copy_through('\n');
            break;
          }
          [[fallthrough]];
        default:
          out_ += in_[at_++];
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    throw std::invalid_argument(fmt::format("{} at position {}", why, at_));
  }
  char peek(std::size_t ahead) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  void copy(std::size_t count) {
    out_ += in_.substr(at_, count);
    at_ += count;
  }
  void copy_through(char last) {
    const auto end = in_.find(last, at_);
    copy(end == std::string_view::npos ? in_.size() - at_ : end + 1 - at_);
  }
  void put_character(unsigned long point) { out_ += fmt::format("\\x{{{:x}}}", point); }

  /// `\x`, `\u` and `\U` have a fixed number of digits in Python.
  void hexadecimal(std::size_t digits) {
    const std::string text(in_.substr(at_ + 2, digits));
    for (const char c : text) {
      if (!is_hex(c)) refuse(fmt::format("incomplete escape \\{}", peek(1)));
    }
    if (text.size() < digits) refuse(fmt::format("incomplete escape \\{}", peek(1)));
    put_character(std::stoul(text, nullptr, 16));
    at_ += 2 + digits;
  }

  /// Octal numbers, outside a class also numbers of groups: `\1` to `\99`.
  void number(bool in_class) {
    const bool octal = peek(1) == '0' || (in_class && is_octal(peek(1))) ||
                       (is_octal(peek(1)) && is_octal(peek(2)) && is_octal(peek(3)));
    std::size_t digits = 1;
    if (octal) {
      while (digits < 3 && is_octal(peek(1 + digits))) ++digits;
      const unsigned long point = std::stoul(std::string(in_.substr(at_ + 1, digits)), nullptr, 8);
      if (point > 0377) refuse("octal escape outside of range 0-0o377");
      put_character(point);
    } else if (in_class) {
      refuse(fmt::format("bad escape \\{}", peek(1)));
    } else {
      if (is_digit(peek(2))) digits = 2;
      const std::string group(in_.substr(at_ + 1, digits));
      refuse_open(group);
      out_ += fmt::format("\\g{{{}}}", group);
    }
    at_ += 1 + digits;
  }

  void escape(bool in_class) {
    const char c = peek(1);
    if (at_ + 1 == in_.size()) refuse("bad escape (end of pattern)");
    if (is_digit(c)) return number(in_class);
    if (c == 'x') return hexadecimal(2);
    if (c == 'u') return hexadecimal(4);
    if (c == 'U') return hexadecimal(8);
    if (!is_letter(c)) return copy(2);
    constexpr std::string_view same = "dDsSwWfnrt", only_outside = "AbB";
    if (same.find(c) != same.npos || (!in_class && only_outside.find(c) != only_outside.npos)) return copy(2);
    if (c == 'a') {
      put_character(0x07);
    } else if (c == 'b') {
      put_character(0x08);
    } else if (c == 'v') {
      put_character(0x0B);
    } else if (c == 'Z' && !in_class) {
      out_ += "\\z";  // PCRE2's \Z allows a line break behind it
    } else {
      refuse(fmt::format("bad escape \\{}", c));
    }
    at_ += 2;
  }

  /// A bracket inside a class is an ordinary character: Python has no [:alpha:].
  void character_class() {
    copy(peek(1) == '^' ? 2 : 1);
    for (bool first = true; at_ < in_.size(); first = false) {
      const char c = in_[at_];
      if (c == ']' && !first) return copy(1);
      if (c == '\\') {
        escape(/*in_class=*/true);
      } else {
        if (c == '[' || c == ']') out_ += '\\';
        copy(1);
      }
    }
    refuse("unterminated character set");
  }

  void group() {
    if (peek(1) == '*') refuse("nothing to repeat");  // a verb of PCRE2
    if (peek(1) != '?') {
      open_.push_back({std::to_string(++groups_), {}});
      return copy(1);
    }
    const char kind = peek(2);
    const bool named = kind == 'P' && (peek(3) == '<' || peek(3) == '=');
    const bool behind = kind == '<' && (peek(3) == '=' || peek(3) == '!');
    if (kind == '#') return copy_through(')');
    if (kind == '(') return condition();
    if (named && peek(3) == '=') refuse_open(std::string(name_at(4, ')')));
    const bool captures = named && peek(3) == '<';
    open_.push_back(captures ? Group{std::to_string(++groups_), std::string(name_at(4, '>'))} : Group{});
    if (kind == ':' || kind == '=' || kind == '!' || kind == '>' || named || behind) return copy(3);
    if (kind == '-' || is_letter(kind)) return flags();
    refuse(fmt::format("unknown extension ?{}", kind));
  }

  /// `(?(1)yes|no)`, `(?(name)yes|no)`
  void condition() {
    const auto end = in_.find(')', at_);
    if (end == std::string_view::npos) refuse("missing ), unterminated name");
    const std::string_view name = name_at(3, ')');
    open_.emplace_back();
    const bool is_number = name.find_first_not_of("0123456789") == std::string_view::npos;
    out_ += fmt::format("(?({}{}{})", is_number ? "" : "<", name, is_number ? "" : ">");
    at_ = end + 1;
  }

  void flags() {
    const std::size_t start = at_;
    std::string kept = "(?";
    for (at_ += 2; at_ < in_.size() && in_[at_] != ')' && in_[at_] != ':'; ++at_) {
      const char c = in_[at_];
      if (c == 'u') continue;  // what strings have anyway
      if (std::string_view("imsx-").find(c) == std::string_view::npos) {
        refuse(c == 'a' || c == 'L' ? fmt::format("flag {} is not supported", c) : fmt::format("unknown flag {}", c));
      }
      verbose_ = verbose_ || c == 'x';
      kept += c;
    }
    if (peek(0) == ')' && start != 0) refuse("global flags not at the start of the expression");
    out_ += kept;
  }

  /// A name from `ahead` to the character `end`.
  std::string_view name_at(std::size_t ahead, char end) const {
    const std::string_view rest = in_.substr(std::min(at_ + ahead, in_.size()));
    return rest.substr(0, rest.find(end));
  }

  /// A group cannot repeat itself: PCRE2 would find nothing.
  void refuse_open(const std::string& wanted) const {
    for (const Group& group : open_) {
      if (!wanted.empty() && (group.number == wanted || group.name == wanted)) refuse("cannot refer to an open group");
    }
  }

  /// `{,n}` begins at 0.
  void repetition() {
    std::size_t ahead = 2;
    while (is_digit(peek(ahead))) ++ahead;
    if (peek(1) != ',' || peek(ahead) != '}') return copy(1);
    out_ += "{0";
    ++at_;
  }

  struct Group {
    std::string number = {}, name = {};  // empty: captures nothing, has no name
  };

  std::string_view in_;
  std::size_t at_ = 0;
  std::vector<Group> open_;
  int groups_ = 0;
  std::string out_;
  bool verbose_ = false;
};

}  // namespace

std::string pcre_of_python(std::string_view pattern) { return Translator(pattern).run(); }

}  // namespace peft
