#include "peft/base/summaries.h"
#include "peft/data/task.h"
#include "peft/text/words.h"
#include "src/data/tagged_words.h"

namespace peft {
namespace {

// The words as the file has them, inside their text where that is given; else those of the text.
void find_words(const std::vector<RecordValue>& inputs, DerivedTexts& out) {
  const auto &tokens = inputs[0], &text = inputs[1];
  if (!tokens.given && !text.given) throw BadRecord{"missing", "no tokens and no text"};
  out.texts.emplace_back(text.text);
  if (!text.given) {
    out.words = join_words(tokens.texts, out.texts.front());
  } else {
    out.words = tokens.given ? locate_words(text.text, tokens.texts) : split_words(text.text);
  }
}

// A tag for each word of the user's own texts: CoNLL columns, lists of words and tags, or texts with spans.
[[maybe_unused]] const bool registered = task_registry().add(
    "token_classification",
    {
        .dump = {.flatten = tag_spans},
        .inputs = {{"tokens", RecordInput::Kind::optional_texts}, {"text", RecordInput::Kind::optional_text}},
        .derive = find_words,
        .sequences = {{"{text}"}},
        .label = "tags",
        .target = TargetKind::tags,
        .objective = "token_classification",
        .own_files = true,
        .metrics = {"entity_f1", "entity_precision", "entity_recall", "tag_accuracy"},
    });

[[maybe_unused]] const bool described = summaries("task").add(
    "token_classification", {"a tag for each word of your own texts: named entities, parts of speech"});

}  // namespace
}  // namespace peft
