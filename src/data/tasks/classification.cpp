#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// Classes of the user's own: text, text_pair and label as data.columns names them.
[[maybe_unused]] const bool registered =
    task_registry().add("classification", {
                                              .sequences = {{"{text}", "{text_pair?}"}},
                                              .own_files = true,
                                              .metrics = {"accuracy", "macro_f1"},
                                          });

[[maybe_unused]] const bool described = summaries("task").add("classification", {"classes of your own texts or pairs"});

}  // namespace
}  // namespace peft
