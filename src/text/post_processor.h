#pragma once
/// Last step of a tokenizer: special tokens and token types around one or two texts (section `post_processor` of tokenizer.json).

#include <cstdint>
#include <string>
#include <vector>

#include "src/text/section_registry.h"

namespace peft::text {

/// One element of a template.
struct TemplatePiece {
  enum class Kind { first_text, second_text, special };
  Kind kind;
  int32_t type = 0;
  std::vector<int32_t> ids;  ///< of special
};
using Template = std::vector<TemplatePiece>;

/// What all processors come down to.
struct PostProcessor {
  Template single{{TemplatePiece::Kind::first_text, 0, {}}};
  Template pair{{TemplatePiece::Kind::first_text, 0, {}}, {TemplatePiece::Kind::second_text, 1, {}}};
  bool has_template = false;      ///< a processor has set the two
  bool trim_offsets = false;      ///< spans leave out the white space of a token
  bool add_prefix_space = false;  ///< but for one blank at the start of the text
};

/// Each type registers a function that reads its section into `result`. `size` bounds the ids.
using ReadPostProcessor = void (*)(const JsonSection& section, int64_t size, PostProcessor& result);
Registry<ReadPostProcessor>& post_processors();

/// Throws DataError for an unknown type, for a broken section, and for a second template.
PostProcessor make_post_processor(const JsonSection& section, int64_t size);
void read_post_processor(const JsonSection& section, int64_t size, PostProcessor& result);

/// Sets the templates. Throws DataError, with the place of `section`, when they are set already.
void set_templates(Template single, Template pair, const JsonSection& section, PostProcessor& result);

/// [CLS] A [SEP] and [CLS] A [SEP] B [SEP], types 0 and 1.
PostProcessor bert_post_processor(int32_t cls, int32_t sep);

/// <s> A </s> and <s> A </s></s> B </s>, types 0; spans without white space.
PostProcessor roberta_post_processor(int32_t cls, int32_t sep);

int64_t count_special(const Template& pieces);

}  // namespace peft::text
