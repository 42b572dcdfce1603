#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// COPA: which of two choices is the cause or the effect of the premise? [Roemmele et al. 2011, as recast by SuperGLUE]
[[maybe_unused]] const bool registered = task_registry().add(
    "superglue/copa", {
                          .dump = {.folder = "COPA", .rows = {{"train", 400}, {"dev", 100}, {"test", 500}}},
                          .sequences = {{"{premise}{question}", "{choice1}"}, {"{premise}{question}", "{choice2}"}},
                          .wordings = {{"question", {{"cause", " because"}, {"effect", " so"}}}},
                          .target = TargetKind::choice,
                          .objective = "choice",
                          .metrics = {"accuracy"},
                          .dept = {.rule = TaskSpec::DeptRule::half_of_dev},
                      });

[[maybe_unused]] const bool described =
    summaries("task").add("superglue/copa", {"which of two choices is the cause or the effect of the premise?"});

}  // namespace
}  // namespace peft
