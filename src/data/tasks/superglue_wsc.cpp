#include "peft/data/task.h"

#include <fmt/format.h>

#include "peft/base/summaries.h"
#include "src/data/wsc_spans.h"

namespace peft {
namespace {

using Kind = RecordInput::Kind;

// The dump has the spans in an object of their own.
void read_target(const Json& record, FlatRows& out) {
  Json& row = out.rows.emplace_back(record);
  const auto target = Nested(record).find("target");
  if (!target) return;
  row.erase("target");
  for (const char* key : {"span1_text", "span2_text"}) row[key] = target->at(key).text();
  for (const char* key : {"span1_index", "span2_index"}) row[key] = target->at(key).integer();
}

TextSpan find_span(const std::vector<RecordValue>& inputs, std::size_t span, int number, DerivedTexts& out) {
  const int64_t index = *inputs[span + 1].number;
  const auto found = find_wsc_span(inputs[0].text, inputs[span].text, index);
  if (!found) throw BadRecord{"span", fmt::format("span{}_index {}: the text has no such word", number, index)};
  if (!found->matched) out.odd.emplace_back("span_mismatch");
  return *found;
}

// Stars around the pronoun, which is span 2.
void mark_pronoun(const std::vector<RecordValue>& inputs, DerivedTexts& out) {
  find_span(inputs, 1, 1, out);
  const TextSpan pronoun = find_span(inputs, 3, 2, out);
  std::string marked(inputs[0].text);
  marked.insert(pronoun.end, "*");
  marked.insert(pronoun.begin, "*");
  out.texts = {std::move(marked), std::string(inputs[1].text)};
}

// WSC: does the pronoun mean the noun? [Levesque et al. 2012, as recast by SuperGLUE]
[[maybe_unused]] const bool registered = task_registry().add(
    "superglue/wsc",
    {
        .dump = {.folder = "WSC", .rows = {{"train", 554}, {"dev", 104}, {"test", 146}}, .flatten = read_target},
        .inputs =
            {{"text"}, {"span1_text"}, {"span1_index", Kind::number}, {"span2_text"}, {"span2_index", Kind::number}},
        .derive = mark_pronoun,
        .sequences = {{"{text}", "{span1_text}"}},
        .truncation = Truncation::only_first,
        .labels = {"False", "True"},
        .booleans = true,
        .metrics = {"accuracy"},
        .other_names = {"wsc.fixed"},
        .dept = {.rule = TaskSpec::DeptRule::half_of_dev},
    });

[[maybe_unused]] const bool described = summaries("task").add("superglue/wsc", {"does the pronoun mean the noun?"});

}  // namespace
}  // namespace peft
