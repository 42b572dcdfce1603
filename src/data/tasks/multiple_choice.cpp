#include "peft/data/task.h"

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

}  // namespace
}  // namespace peft
