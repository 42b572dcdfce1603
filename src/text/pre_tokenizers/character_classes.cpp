// Pre-tokenizers that look at one character at a time: WhitespaceSplit, Punctuation, Digits, CharDelimiterSplit.

#include "src/text/pre_tokenizer.h"
#include "src/text/pre_tokenizers/behavior.h"

namespace peft::text {
namespace {

template <class Matches>
class CharacterSplit : public PreTokenizer {
 public:
  CharacterSplit(Matches matches, Behavior behavior) : matches_(matches), behavior_(behavior) {}

  void split(std::string_view text, Storage& /*storage*/, std::vector<std::string_view>& words) const override {
    split_at(text, match_characters(text, matches_), behavior_, words);
  }

 private:
  Matches matches_;
  Behavior behavior_;
};

template <class Matches>
std::unique_ptr<PreTokenizer> split_where(Matches matches, Behavior behavior) {
  return std::make_unique<CharacterSplit<Matches>>(matches, behavior);
}

std::unique_ptr<PreTokenizer> read_char_delimiter(const JsonSection& section) {
  const JsonSection key = section.at("delimiter");
  std::size_t length = 0;
  const char32_t delimiter = key.string().empty() ? 0 : next_code_point(key.string(), length);
  if (length == 0 || length != key.string().size()) key.fail("found \"" + key.string() + "\", expected one character");
  return split_where([delimiter](char32_t point) { return point == delimiter; }, Behavior::removed);
}

const bool registered = pre_tokenizers().add("WhitespaceSplit", [](const JsonSection&) {
  return split_where(is_white_space, Behavior::removed);
}) && pre_tokenizers().add("Punctuation", [](const JsonSection& section) {
  return split_where(is_punctuation,
                     section.has("behavior") ? read_behavior(section.at("behavior")) : Behavior::isolated);
}) && pre_tokenizers().add("Digits", [](const JsonSection& section) {
  return split_where(is_numeric, section.at("individual_digits").boolean() ? Behavior::isolated : Behavior::contiguous);
}) && pre_tokenizers().add("CharDelimiterSplit", read_char_delimiter);

}  // namespace
}  // namespace peft::text
