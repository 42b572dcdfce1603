#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// BoolQ: yes or no, by the passage? The question stays whole, the passage is cut. [Clark et al. 2019, arXiv:1905.10044]
[[maybe_unused]] const bool registered = task_registry().add(
    "superglue/boolq", {
                           .dump = {.folder = "BoolQ", .rows = {{"train", 9427}, {"dev", 3270}, {"test", 3245}}},
                           .sequences = {{"{question}", "{passage}"}},
                           .truncation = Truncation::only_second,
                           .labels = {"False", "True"},
                           .booleans = true,
                           .metrics = {"accuracy"},
                           .dept = {.rule = TaskSpec::DeptRule::half_of_dev},
                       });

[[maybe_unused]] const bool described =
    summaries("task").add("superglue/boolq", {"is the answer to the question yes, by the passage?"});

}  // namespace
}  // namespace peft
