#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// The parses between promptID and the sentences are not read.
const std::vector<std::string> kColumns{
    "index",           "promptID",        "pairID",    "genre",    "sentence1_binary_parse", "sentence2_binary_parse",
    "sentence1_parse", "sentence2_parse", "sentence1", "sentence2"};

std::vector<std::string> with_labels(int64_t annotators) {
  std::vector<std::string> columns = kColumns;
  for (int64_t i = 1; i <= annotators; ++i) columns.push_back("label" + std::to_string(i));
  columns.emplace_back("gold_label");
  return columns;
}

// MNLI: does the premise entail, contradict, or neither? Dev and test are from the genres of train, and from others.
// [Williams et al. 2018, arXiv:1704.05426]
[[maybe_unused]] const bool registered =
    task_registry().add("mnli", {
                                    .dump = {.folder = "MNLI",
                                             .train_columns = with_labels(1),
                                             .dev_columns = with_labels(5),
                                             .test_columns = kColumns,
                                             .texts = {"sentence1", "sentence2"},
                                             .label = "gold_label",
                                             .rows = {{"train", 392702},
                                                      {"dev_matched", 9815},
                                                      {"dev_mismatched", 9832},
                                                      {"test_matched", 9796},
                                                      {"test_mismatched", 9847}}},
                                    .parts = {{"matched", {"m"}}, {"mismatched", {"mm"}}},
                                    .sequences = {{"{premise}", "{hypothesis}"}},
                                    .labels = {"entailment", "neutral", "contradiction"},
                                    .no_gold = "-",
                                    .metrics = {"accuracy"},
                                    .dept = {TaskSpec::DeptRule::as_given, "dev_mismatched", "dev_matched"},
                                });

[[maybe_unused]] const bool described =
    summaries("task").add("mnli", {"does the premise entail or contradict the hypothesis, or neither?"});

}  // namespace
}  // namespace peft
