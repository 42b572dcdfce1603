#include <array>

#include "src/text/pre_tokenizer.h"
#include "src/text/unicode.h"

namespace peft::text {
namespace {

class BertPreTokenizer : public PreTokenizer {
 public:
  BertPreTokenizer() {
    for (char32_t c = 0; c < 128; ++c) ascii_[c] = kind_of(c);
  }

  void split(std::string_view text, Storage& /*storage*/, std::vector<std::string_view>& words) const override {
    words.clear();
    std::size_t word = 0;  // start of the word being read
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t start = i;
      const auto byte = static_cast<unsigned char>(text[i]);
      const Kind kind = byte < 0x80 ? (++i, ascii_[byte]) : kind_of(next_code_point(text, i));
      if (kind == Kind::inside) continue;
      if (word < start) words.push_back(text.substr(word, start - word));
      if (kind == Kind::punctuation) words.push_back(text.substr(start, i - start));
      word = i;
    }
    if (word < text.size()) words.push_back(text.substr(word));
  }

 private:
  enum class Kind : uint8_t { inside, space, punctuation };

  static Kind kind_of(char32_t point) {
    if (is_white_space(point)) return Kind::space;
    return is_punctuation(point) ? Kind::punctuation : Kind::inside;
  }

  std::array<Kind, 128> ascii_{};
};

const bool registered =
    pre_tokenizers().add("BertPreTokenizer", [](const JsonSection&) { return make_bert_pre_tokenizer(); });

}  // namespace

std::unique_ptr<PreTokenizer> make_bert_pre_tokenizer() { return std::make_unique<BertPreTokenizer>(); }

}  // namespace peft::text
