#pragma once
/// Second step of a tokenizer: normalised text to words (section `pre_tokenizer` of tokenizer.json).

#include <memory>
#include <string_view>
#include <vector>

#include "src/text/section_registry.h"
#include "src/text/storage.h"

namespace peft::text {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Replaces `words` by the words of `text`, none of them empty: views into `text` or into a buffer that it adds to `storage`.
  /// `text` is valid UTF-8 and known to `storage`.
  virtual void split(std::string_view text, Storage& storage, std::vector<std::string_view>& words) const = 0;
};

/// Each type registers a function that reads its section.
using ReadPreTokenizer = std::unique_ptr<PreTokenizer> (*)(const JsonSection& section);
Registry<ReadPreTokenizer>& pre_tokenizers();

/// Throws DataError for an unknown type, and for a broken section.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonSection& section);

/// Splits at white space, which goes, and around every punctuation character, which stays as a word of its own.
std::unique_ptr<PreTokenizer> make_bert_pre_tokenizer();

/// The whole text as one word: a file without a pre-tokenizer.
std::unique_ptr<PreTokenizer> make_no_pre_tokenizer();

}  // namespace peft::text
