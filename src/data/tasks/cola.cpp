#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// CoLA: is the sentence acceptable English? [Warstadt et al. 2019, arXiv:1805.12471]
[[maybe_unused]] const bool registered =
    task_registry().add("cola", {
                                    .dump = {.folder = "CoLA",
                                             .train_columns = {"source", "label", "mark", "sentence"},
                                             .test_columns = {"index", "sentence"},
                                             .headerless = true,
                                             .texts = {"sentence"},
                                             .label = "label",
                                             .spellings = {"0", "1"},
                                             .rows = {{"train", 8551}, {"dev", 1043}, {"test", 1063}}},
                                    .sequences = {{"{sentence}"}},
                                    .labels = {"unacceptable", "acceptable"},
                                    .metrics = {"mcc", "accuracy"},
                                    .dept = {.rule = TaskSpec::DeptRule::half_of_dev},
                                });

[[maybe_unused]] const bool described = summaries("task").add("cola", {"is the sentence acceptable English?"});

}  // namespace
}  // namespace peft
