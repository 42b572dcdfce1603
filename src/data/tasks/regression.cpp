#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// Scores of the user's own: text, text_pair and label as data.columns names them.
[[maybe_unused]] const bool registered =
    task_registry().add("regression", {
                                          .sequences = {{"{text}", "{text_pair?}"}},
                                          .target = TargetKind::score,
                                          .objective = "regression",
                                          .own_files = true,
                                          .metrics = {"pearson", "spearman"},
                                      });

[[maybe_unused]] const bool described = summaries("task").add("regression", {"scores of your own texts or pairs"});

}  // namespace
}  // namespace peft
