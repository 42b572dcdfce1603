#include "peft/data/task.h"

#include <fmt/format.h>

#include "peft/base/summaries.h"

namespace peft {
namespace {

using Kind = RecordInput::Kind;

// Code points [start, end) of the word in a sentence; a file may leave them out.
void check_span(const std::vector<RecordValue>& inputs, std::size_t sentence, std::size_t start, int number) {
  const auto &begin = inputs[start].number, &end = inputs[start + 1].number;
  if (!begin || !end || code_points(inputs[sentence].text, *begin, *end)) return;
  throw BadRecord{"span",
                  fmt::format("start{0} {1} and end{0} {2} are no characters of sentence{0}", number, *begin, *end)};
}

void check_spans(const std::vector<RecordValue>& inputs, DerivedTexts& out) {
  check_span(inputs, 1, 3, 1);
  check_span(inputs, 2, 5, 2);
  for (std::size_t i = 0; i < 3; ++i) out.texts.emplace_back(inputs[i].text);
}

// WiC: has the word the same meaning in both sentences? [Pilehvar and Camacho-Collados 2019, arXiv:1808.09121]
[[maybe_unused]] const bool registered = task_registry().add(
    "superglue/wic", {
                         .dump = {.folder = "WiC", .rows = {{"train", 5428}, {"dev", 638}, {"test", 1400}}},
                         .inputs = {{"word"},
                                    {"sentence1"},
                                    {"sentence2"},
                                    {"start1", Kind::optional_number},
                                    {"end1", Kind::optional_number},
                                    {"start2", Kind::optional_number},
                                    {"end2", Kind::optional_number}},
                         .derive = check_spans,
                         .sequences = {{"{word}: {sentence1}", "{word}: {sentence2}"}},
                         .labels = {"False", "True"},
                         .booleans = true,
                         .metrics = {"accuracy"},
                         .dept = {.rule = TaskSpec::DeptRule::half_of_dev},
                     });

[[maybe_unused]] const bool described =
    summaries("task").add("superglue/wic", {"has the word the same meaning in both sentences?"});

}  // namespace
}  // namespace peft
