#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// The JSON form has SNLI's keys.
void rename_keys(const Json& record, FlatRows& out) {
  Json& row = out.rows.emplace_back(record);
  if (!row.contains("gold_label")) return;
  for (const auto& [theirs, ours] :
       {std::pair("sentence1", "premise"), {"sentence2", "hypothesis"}, {"gold_label", "label"}}) {
    if (!row.contains(theirs)) continue;
    row[ours] = row[theirs];
    row.erase(theirs);
  }
}

// SciTail: does the premise entail the hypothesis? [Khot et al. 2018]
[[maybe_unused]] const bool registered =
    task_registry().add("scitail", {
                                       .dump = {.folder = "SciTail",
                                                .other_folders = {"SciTailV1.1", "tsv_format"},
                                                .train_columns = {"premise", "hypothesis", "label"},
                                                .test_columns = {"premise", "hypothesis", "label"},
                                                .headerless = true,
                                                .header_optional = true,
                                                .texts = {"premise", "hypothesis"},
                                                .label = "label",
                                                .names = {{"train", {"scitail_1.0_train"}},
                                                          {"dev", {"scitail_1.0_dev"}},
                                                          {"test", {"scitail_1.0_test"}}},
                                                .flatten = rename_keys},
                                       .sequences = {{"{premise}", "{hypothesis}"}},
                                       .labels = {"entailment", "neutral"},
                                       .synonyms = {{"entails", "entailment"}},
                                       .metrics = {"accuracy"},
                                       .dept = {.rule = TaskSpec::DeptRule::half_of_dev},
                                   });

[[maybe_unused]] const bool described =
    summaries("task").add("scitail", {"does the premise entail the hypothesis, a sentence of science?"});

}  // namespace
}  // namespace peft
