#pragma once
/// The steps of a tokenizer put together.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "peft/text/tokenizer.h"
#include "src/text/added_tokens.h"
#include "src/text/decoder.h"
#include "src/text/model.h"
#include "src/text/normalizer.h"
#include "src/text/post_processor.h"
#include "src/text/pre_tokenizer.h"

namespace peft::text {

struct TokenizerParts {
  std::unique_ptr<Normalizer> normalizer;  ///< may be null
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  std::unique_ptr<Model> model;
  std::unique_ptr<AddedTokens> added;
  PostProcessor post_processor;
  std::unique_ptr<Decoder> decoder;  ///< may be null: a blank between tokens
  bool clean_up_spaces = false;      ///< behind the decoder, unless decode() is told otherwise
  bool truncate_left = false;        ///< truncation cuts the start of a text, not its end
  std::optional<int32_t> pad_id;
  std::string fingerprint;
};

std::unique_ptr<Tokenizer> make_pipeline(TokenizerParts parts);

}  // namespace peft::text
