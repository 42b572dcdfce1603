#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// RTE as GLUE gives it; the copy of SuperGLUE lost quotes in some rows and is another task.
[[maybe_unused]] const bool registered =
    task_registry().add("glue/rte", {
                                        .dump = {.folder = "RTE",
                                                 .train_columns = {"index", "sentence1", "sentence2", "label"},
                                                 .test_columns = {"index", "sentence1", "sentence2"},
                                                 .texts = {"sentence1", "sentence2"},
                                                 .label = "label",
                                                 .rows = {{"train", 2490}, {"dev", 277}, {"test", 3000}}},
                                        .sequences = {{"{sentence1}", "{sentence2}"}},
                                        .labels = {"entailment", "not_entailment"},
                                        .metrics = {"accuracy"},
                                        .dept = {.rule = TaskSpec::DeptRule::half_of_dev},
                                    });

[[maybe_unused]] const bool described =
    summaries("task").add("glue/rte", {"does the first sentence entail the second?"});

}  // namespace
}  // namespace peft
