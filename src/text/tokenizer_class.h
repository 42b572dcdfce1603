#pragma once
/// What transformers' tokenizer classes add to the files of a folder.

#include <array>
#include <cstdint>
#include <string>

#include "peft/base/registry.h"
#include "src/text/json_section.h"
#include "src/text/post_processor.h"

namespace peft::text {

/// Keys of the named special tokens in the order in which they are added.
constexpr std::array<const char*, 7> kNamedTokens = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                     "pad_token", "cls_token", "mask_token"};

struct TokenizerClass {
  std::array<const char*, kNamedTokens.size()> usual;  ///< contents of the named tokens; null = none
  int32_t cls_id, sep_id;                              ///< in the template where the token is switched off
  PostProcessor (*post_processor)(int32_t cls, int32_t sep);
};

/// By name, without "Fast". PreTrainedTokenizerFast and its like have no entry: they take tokenizer.json as it is.
Registry<TokenizerClass>& tokenizer_classes();

struct ClassChoice {
  const TokenizerClass* type = nullptr;  ///< null: tokenizer.json as it is
  std::string name;                      ///< as written; empty where nothing names a class
};

/// From tokenizer_config.json and config.json (`model`), either of them {} where absent. Throws DataError for a class that is not
/// known.
ClassChoice choose_class(const JsonSection& config, const JsonSection& model);

}  // namespace peft::text
