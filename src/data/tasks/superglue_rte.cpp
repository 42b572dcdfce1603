#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// RTE as SuperGLUE gives it: some rows lost quotes that GLUE's copy has.
[[maybe_unused]] const bool registered = task_registry().add(
    "superglue/rte", {
                         .dump = {.folder = "RTE", .rows = {{"train", 2490}, {"dev", 277}, {"test", 3000}}},
                         .sequences = {{"{premise}", "{hypothesis}"}},
                         .labels = {"entailment", "not_entailment"},
                         .metrics = {"accuracy"},
                         .dept = {.rule = TaskSpec::DeptRule::half_of_dev},
                     });

[[maybe_unused]] const bool described =
    summaries("task").add("superglue/rte", {"does the premise entail the hypothesis?"});

}  // namespace
}  // namespace peft
