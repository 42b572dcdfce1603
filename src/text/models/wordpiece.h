#pragma once
/// WordPiece: the longest known start of the word, then the longest known continuation, and so on.   [Schuster & Nakajima 2012]

#include <cstdint>
#include <memory>
#include <string>

#include "src/text/model.h"
#include "src/text/vocabulary.h"

namespace peft::text {

struct WordPieceOptions {
  std::string unk_token = "[UNK]";
  std::string continuing_subword_prefix = "##";
  int64_t max_input_chars_per_word = 100;  ///< a longer word is unknown as a whole
};

/// Throws DataError "ORIGIN: ..." when the vocabulary lacks the unknown token.
std::unique_ptr<Model> make_wordpiece(Vocabulary vocabulary, const WordPieceOptions& options,
                                      const std::string& origin);

}  // namespace peft::text
