#pragma once
/// Words with tags, from the shapes that files have (docs/tasks.md#tags-of-words).

#include <string>
#include <string_view>
#include <vector>

#include "peft/data/record.h"

namespace peft {

/// The words with one space between each two. `text` gets the whole.
std::vector<Span> join_words(const std::vector<std::string_view>& words, std::string& text);

/// Where the words stand in the text, one after another. Throws BadRecord (span) naming the first one that does not follow.
std::vector<Span> locate_words(std::string_view text, const std::vector<std::string_view>& words);

/// Of each word the token that begins in it; -1 where none does. `tokens`: their parts of the text in order, {0, 0} for special tokens.
std::vector<int32_t> first_tokens(const std::vector<Span>& words, const std::vector<Span>& tokens);

/// A record {"text", "spans": [{"start", "end", "label"}]} as {"text", "tokens", "tags"}; others pass as they are. Places count code points, the
/// end is not part of the span. The first word of a span has the tag B-LABEL, the others I-LABEL, words outside O. Throws BadRecord: a
/// span that is no part of the text, holds no word, or overlaps another.
void tag_spans(const Json& record, FlatRows& out);

}  // namespace peft
