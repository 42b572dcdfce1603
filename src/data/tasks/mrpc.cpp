#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// MRPC: do two sentences say the same? [Dolan and Brockett 2005]
[[maybe_unused]] const bool registered =
    task_registry().add("mrpc", {
                                    .dump = {.folder = "MRPC",
                                             .train_columns = {"Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"},
                                             .test_columns = {"index", "#1 ID", "#2 ID", "#1 String", "#2 String"},
                                             .texts = {"#1 String", "#2 String"},
                                             .label = "Quality",
                                             .spellings = {"0", "1"},
                                             .rows = {{"train", 3668}, {"dev", 408}, {"test", 1725}}},
                                    .sequences = {{"{sentence1}", "{sentence2}"}},
                                    .labels = {"not_equivalent", "equivalent"},
                                    .metrics = {"accuracy", "f1"},
                                    .dept = {.rule = TaskSpec::DeptRule::half_of_dev},
                                });

[[maybe_unused]] const bool described = summaries("task").add("mrpc", {"do two sentences say the same?"});

}  // namespace
}  // namespace peft
