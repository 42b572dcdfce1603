#include "bleu_tokens.h"

#include "characters.h"

namespace peft {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

// An ASCII symbol other than ' , - .
bool is_symbol(char c) {
  return (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') || c == '/' || (c >= ':' && c <= '@') ||
         (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

bool is_mark(char c) { return c == '.' || c == ','; }
bool is_no_digit(char c) { return !is_ascii_digit(c); }
bool is_hyphen(char c) { return c == '-'; }

std::string symbols_apart(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (is_symbol(c)) {
      out.append({' ', c, ' '});
    } else {
      out += c;
    }
  }
  return out;
}

// One pass of a substitution of two characters, from left to right: a space goes between them, and one in front or
// behind. Characters of a found pair are not looked at again. Bytes stand for characters: no part of a longer one is a
// mark, a digit or a hyphen.
enum class Space { in_front, behind };
std::string pairs_apart(std::string_view text, bool (*first)(char), bool (*second)(char), Space space) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i + 1 == text.size() || !first(text[i]) || !second(text[i + 1])) {
      out += text[i];
      continue;
    }
    if (space == Space::in_front) out += ' ';
    out.append({text[i], ' ', text[i + 1]});
    if (space == Space::behind) out += ' ';
    ++i;
  }
  return out;
}

}  // namespace

std::vector<std::string> bleu_tokens(std::string_view text) {
  std::string line(without_trailing_space(text));
  replace_all(line, "<skipped>", "");
  replace_all(line, "-\n", "");
  replace_all(line, "\n", " ");
  replace_all(line, "&quot;", "\"");
  replace_all(line, "&amp;", "&");
  replace_all(line, "&lt;", "<");
  replace_all(line, "&gt;", ">");
  line = symbols_apart(" " + line + " ");
  line = pairs_apart(line, is_no_digit, is_mark, Space::behind);
  line = pairs_apart(line, is_mark, is_no_digit, Space::in_front);
  line = pairs_apart(line, is_ascii_digit, is_hyphen, Space::behind);
  return split_at_white_space(line);
}

}  // namespace peft
