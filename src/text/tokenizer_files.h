#pragma once
/// The files a tokenizer comes in. They are given as text, so that tests and fuzzers need no folder.

#include <optional>
#include <string>
#include <string_view>

#include "src/text/pipeline.h"

namespace peft::text {

/// Text of a file and its name for messages.
struct SourceText {
  std::string_view text;
  std::string origin;
};

/// Those of a model folder; absent ones have no value.
struct TokenizerFiles {
  std::optional<SourceText> tokenizer_json = {}, vocab_txt = {};  ///< one of them at least
  std::optional<SourceText> tokenizer_config = {}, special_tokens_map = {}, added_tokens = {};  ///< .json
  std::optional<SourceText> model_config = {};                                                  ///< config.json
};

/// What transformers' AutoTokenizer makes of the files. The fingerprint stays empty.
///
/// The class is named by tokenizer_config.json or config.json, or follows from the model type there. BertTokenizer, MPNetTokenizer
/// and their kin take the vocabulary and the added tokens of tokenizer.json and make every other section anew from
/// tokenizer_config.json. PreTrainedTokenizerFast, and a folder that names no class, take tokenizer.json as it is.
///
/// AutoTokenizer cannot open a vocab.txt whose class nothing names. Here it is BERT's: cased if it says nothing about case and a token
/// outside [...] holds an ASCII capital; a usual special token that the vocabulary lacks is unknown.
TokenizerParts read_tokenizer(const TokenizerFiles& files);

}  // namespace peft::text
