#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// CB: does the text entail or contradict what is embedded in it, or neither? Its order of classes is not MNLI's. [de
// Marneffe et al. 2019]
[[maybe_unused]] const bool registered = task_registry().add(
    "superglue/cb", {
                        .dump = {.folder = "CB", .rows = {{"train", 250}, {"dev", 56}, {"test", 250}}},
                        .sequences = {{"{premise}", "{hypothesis}"}},
                        .labels = {"entailment", "contradiction", "neutral"},
                        .metrics = {"macro_f1", "accuracy"},
                        .dept = {.rule = TaskSpec::DeptRule::half_of_dev,
                                 .reference_metrics = {"macro_f1_all", "macro_f1", "accuracy"}},
                    });

[[maybe_unused]] const bool described =
    summaries("task").add("superglue/cb", {"does the text commit its author to the hypothesis?"});

}  // namespace
}  // namespace peft
