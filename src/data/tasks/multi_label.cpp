#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// Sets of classes of the user's own: text, text_pair and label as data.columns names them.
[[maybe_unused]] const bool registered =
    task_registry().add("multi_label", {
                                           .sequences = {{"{text}", "{text_pair?}"}},
                                           .target = TargetKind::classes,
                                           .objective = "multi_label",
                                           .own_files = true,
                                           .metrics = {"micro_f1", "macro_f1", "subset_accuracy"},
                                       });

[[maybe_unused]] const bool described =
    summaries("task").add("multi_label", {"sets of classes of your own texts or pairs"});

}  // namespace
}  // namespace peft
