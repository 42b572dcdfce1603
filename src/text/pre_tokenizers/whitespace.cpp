#include "src/text/pre_tokenizer.h"
#include "src/text/unicode.h"

namespace peft::text {
namespace {

/// Runs of word characters and runs of other characters that are no white space: \w+|[^\w\s]+
class Whitespace : public PreTokenizer {
 public:
  void split(std::string_view text, Storage& /*storage*/, std::vector<std::string_view>& words) const override {
    words.clear();
    std::size_t word = 0;
    Kind last = Kind::space;
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t start = i;
      const Kind kind = kind_of(next_code_point(text, i));
      if (kind == last) continue;
      if (last != Kind::space) words.push_back(text.substr(word, start - word));
      word = start;
      last = kind;
    }
    if (last != Kind::space) words.push_back(text.substr(word));
  }

 private:
  enum class Kind { space, word, other };

  static Kind kind_of(char32_t point) {
    if (is_word_character(point)) return Kind::word;
    return is_white_space(point) ? Kind::space : Kind::other;
  }
};

const bool registered = pre_tokenizers().add(
    "Whitespace", [](const JsonSection&) -> std::unique_ptr<PreTokenizer> { return std::make_unique<Whitespace>(); });

}  // namespace
}  // namespace peft::text
