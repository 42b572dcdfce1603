#pragma once
/// Second step of a tokenizer: normalised text to words (section `pre_tokenizer` of tokenizer.json).

#include <memory>
#include <string_view>
#include <vector>

#include "src/text/json_section.h"

namespace peft::text {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Replaces `words` by views into `text`, none of them empty. `text` is valid UTF-8.
  virtual void split(std::string_view text, std::vector<std::string_view>& words) const = 0;
};

/// Splits at white space, which goes, and around every punctuation character, which stays as a word of its own.
std::unique_ptr<PreTokenizer> make_bert_pre_tokenizer();

/// The whole text as one word: a file without a pre-tokenizer.
std::unique_ptr<PreTokenizer> make_no_pre_tokenizer();

/// BertPreTokenizer. Throws DataError for any other.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonSection& section);

}  // namespace peft::text
