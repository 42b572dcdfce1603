#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// A record of the dump is a passage with questions, each with answers. A flat row is one answer.
void take_answers(const Json& record, FlatRows& out) {
  const Nested root(record);
  const auto passage = root.find("passage");
  if (!passage) {
    out.rows.push_back(record);
    return;
  }
  const int64_t paragraph = root.at("idx").integer();
  const std::string& text = passage->at("text").text();
  const auto questions = passage->at("questions").items();
  if (questions.empty()) ++out.counts["no_questions"];
  for (const Nested& question : questions) {
    const std::string& asked = question.at("question").text();
    const int64_t number = question.at("idx").integer();
    const auto answers = question.at("answers").items();
    if (answers.empty()) ++out.counts["no_answers"];
    for (const Nested& answer : answers) {
      Json row{{"paragraph", text},
               {"question", asked},
               {"answer", answer.at("text").text()},
               {"idx", {{"paragraph", paragraph}, {"question", number}, {"answer", answer.at("idx").integer()}}}};
      if (const auto label = answer.find("label")) row["label"] = label->zero_or_one();
      out.rows.push_back(std::move(row));
    }
  }
}

// MultiRC: is the answer right? A question may have several right ones, or none. [Khashabi et al. 2018, as recast by
// SuperGLUE]
[[maybe_unused]] const bool registered = task_registry().add(
    "superglue/multirc",
    {
        .dump = {.folder = "MultiRC",
                 .rows = {{"train", 27243}, {"dev", 4848}, {"test", 9693}},
                 .flatten = take_answers},
        .sequences = {{"{paragraph}", "{question} {answer}"}},
        .truncation = Truncation::only_first,
        .idx = "idx.answer",
        .group = "idx.question",
        .outer_idx = {"idx.paragraph", "idx.question"},
        .labels = {"False", "True"},
        .booleans = true,
        .metrics = {"multirc_f1a", "multirc_em", "multirc_f1m"},
        .dept = {.rule = TaskSpec::DeptRule::half_of_dev, .torn_metrics = {"multirc_em"}, .reference_metrics = {"f1"}},
    });

[[maybe_unused]] const bool described =
    summaries("task").add("superglue/multirc", {"is the answer to the question right, by the paragraph?"});

}  // namespace
}  // namespace peft
