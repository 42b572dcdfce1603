#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// QNLI: does the sentence answer the question? [Rajpurkar et al. 2016, as recast by GLUE]
[[maybe_unused]] const bool registered =
    task_registry().add("qnli", {
                                    .dump = {.folder = "QNLI",
                                             .train_columns = {"index", "question", "sentence", "label"},
                                             .test_columns = {"index", "question", "sentence"},
                                             .texts = {"question", "sentence"},
                                             .label = "label",
                                             .rows = {{"train", 104743}, {"dev", 5463}, {"test", 5463}}},
                                    .sequences = {{"{question}", "{sentence}"}},
                                    .labels = {"entailment", "not_entailment"},
                                    .metrics = {"accuracy"},
                                    .dept = {.rule = TaskSpec::DeptRule::thousand_of_train},
                                });

[[maybe_unused]] const bool described = summaries("task").add("qnli", {"does the sentence answer the question?"});

}  // namespace
}  // namespace peft
