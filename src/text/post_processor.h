#pragma once
/// Last step of a tokenizer: special tokens and token types around one or two texts (section `post_processor` of tokenizer.json).

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/text/json_section.h"

namespace peft::text {

/// One element of a template.
struct TemplatePiece {
  enum class Kind { first_text, second_text, special };
  Kind kind;
  int32_t type = 0;
  std::vector<int32_t> ids;  ///< of special
};
using Template = std::vector<TemplatePiece>;

struct PostProcessor {
  Template single{{TemplatePiece::Kind::first_text, 0, {}}};
  Template pair{{TemplatePiece::Kind::first_text, 0, {}}, {TemplatePiece::Kind::second_text, 1, {}}};
};

/// [CLS] A [SEP] and [CLS] A [SEP] B [SEP], types 0 and 1.
PostProcessor bert_post_processor(int32_t cls, int32_t sep);

/// TemplateProcessing, BertProcessing. `size` bounds the ids. Throws DataError for any other.
PostProcessor make_post_processor(const JsonSection& section, int64_t size);

int64_t count_special(const Template& pieces);

}  // namespace peft::text
