#pragma once
/// Start values of virtual rows: what `prompt_tuning_init` means. Private to src/methods.

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "peft/base/rng.h"
#include "peft/models/transformer.h"
#include "peft/text/tokenizer.h"

namespace peft {

struct PromptInit {
  std::string kind = "RANDOM";
  std::optional<std::string> text;  ///< of TEXT
  int64_t rows = 0;                 ///< P
};

/// Fills `values` with rows of the model's width (a multiple of P of them; TEXT starts anew every P rows):
///   RANDOM        N(0,1), peft's meaning
///   UNIFORM       U(-v, v), v = sqrt(6 / (3 p^2 + C)), p the patch size, 0 where the model has no patches
///   SAMPLE_VOCAB  word embeddings of ids drawn uniformly with replacement
///   TEXT          word embeddings of the text's ids, special tokens included as in peft, repeated and cut to P
/// Throws ConfigError when TEXT has no tokenizer or no tokens.
void fill_prompt_rows(std::span<float> values, const PromptInit& init, const Transformer& model,
                      const Tokenizer* tokenizer, const RngStream& stream);

/// Ids of a text with its special tokens, repeated and cut to `rows`. `choice` (`init_weights: "text"`) and `key` name the config keys in
/// messages.
std::vector<int64_t> initial_text_ids(const Tokenizer* tokenizer, const std::string& text, int64_t rows,
                                      const std::string& choice, const std::string& key);

}  // namespace peft
