#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// PAWS: do two sentences of the same words say the same? [Zhang et al. 2019, arXiv:1904.01130]
[[maybe_unused]] const bool registered =
    task_registry().add("paws", {
                                    .dump = {.folder = "PAWS",
                                             .other_folders = {"final"},
                                             .train_columns = {"id", "sentence1", "sentence2", "label"},
                                             .test_columns = {"id", "sentence1", "sentence2", "label"},
                                             .texts = {"sentence1", "sentence2"},
                                             .label = "label",
                                             .idx = "id"},
                                    .sequences = {{"{sentence1}", "{sentence2}"}},
                                    .idx = "id",
                                    .labels = {"0", "1"},
                                    .python_bytes = true,
                                    .metrics = {"accuracy"},
                                    .dept = {.rule = TaskSpec::DeptRule::as_given, .test = "test"},
                                });

[[maybe_unused]] const bool described =
    summaries("task").add("paws", {"do two sentences of nearly the same words say the same?"});

}  // namespace
}  // namespace peft
