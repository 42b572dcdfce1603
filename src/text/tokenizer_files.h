#pragma once
/// Readers of the files a tokenizer comes in. They take the text of a file, so that tests and fuzzers need no folder.

#include <string>
#include <string_view>

#include "src/text/pipeline.h"

namespace peft::text {

/// Text of a file and its name for messages. Absent files have no value in the optionals below.
struct SourceText {
  std::string_view text;
  std::string origin;
};

/// tokenizer.json. `config` (tokenizer_config.json) only names the padding token here. The fingerprint stays empty.
TokenizerParts read_tokenizer_json(const SourceText& file, const std::optional<SourceText>& config);

/// vocab.txt: BERT's WordPiece, its options from `config` as transformers' BertTokenizer reads them. Tokens of `config` that the
/// vocabulary lacks are an error when the template needs them ([UNK], [CLS], [SEP]) and unknown otherwise ([PAD], [MASK]).
TokenizerParts read_vocab_txt(const SourceText& file, const std::optional<SourceText>& config);

/// `name` of tokenizer_config.json: a string or an object with `content`; empty when absent or null.
std::string special_token_name(const JsonSection& config, const std::string& name);

}  // namespace peft::text
