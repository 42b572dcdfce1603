#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// Choices of the user's own, any number an example: text, choices and label as data.columns names them.
[[maybe_unused]] const bool registered =
    task_registry().add("multiple_choice", {
                                               .sequences = {{"{text}", "{choices*}"}},
                                               .target = TargetKind::choice,
                                               .objective = "choice",
                                               .own_files = true,
                                               .metrics = {"accuracy"},
                                           });

[[maybe_unused]] const bool described =
    summaries("task").add("multiple_choice", {"the right one of the choices of your own questions"});

}  // namespace
}  // namespace peft
