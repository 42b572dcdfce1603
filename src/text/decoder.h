#pragma once
/// Tokens back to text (section `decoder` of tokenizer.json).

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "src/text/section_registry.h"

namespace peft::text {

class Decoder {
 public:
  virtual ~Decoder() = default;
  /// Turns tokens into pieces of text: the text is the pieces one after another.
  virtual void decode(std::vector<std::string>& pieces) const = 0;
};

/// Each type registers a function that reads its section.
using ReadDecoder = std::unique_ptr<Decoder> (*)(const JsonSection& section);
Registry<ReadDecoder>& decoders();

/// Throws DataError for an unknown type, and for a broken section.
std::unique_ptr<Decoder> make_decoder(const JsonSection& section);

/// Joins pieces that start with `prefix` to the piece before and puts a blank before the others. `cleanup`: no blanks before
/// punctuation and English contractions.
std::unique_ptr<Decoder> make_wordpiece_decoder(std::string prefix = "##", bool cleanup = true);

/// Replaces every occurrence, from left to right. An empty pattern occurs nowhere.
void replace_all(std::string& text, std::string_view pattern, std::string_view content);

/// The cleanup that transformers does behind any decoder.
void clean_up_tokenization_spaces(std::string& text);

}  // namespace peft::text
