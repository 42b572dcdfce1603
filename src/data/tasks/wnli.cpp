#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// WNLI: Winograd schemas as sentence pairs. [Levesque et al. 2012, as recast by GLUE]
[[maybe_unused]] const bool registered =
    task_registry().add("wnli", {
                                    .dump = {.folder = "WNLI",
                                             .train_columns = {"index", "sentence1", "sentence2", "label"},
                                             .test_columns = {"index", "sentence1", "sentence2"},
                                             .texts = {"sentence1", "sentence2"},
                                             .label = "label",
                                             .spellings = {"0", "1"},
                                             .rows = {{"train", 635}, {"dev", 71}, {"test", 146}}},
                                    .sequences = {{"{sentence1}", "{sentence2}"}},
                                    .labels = {"not_entailment", "entailment"},
                                    .metrics = {"accuracy"},
                                    .dept = {.rule = TaskSpec::DeptRule::half_of_dev},
                                });

[[maybe_unused]] const bool described = summaries("task").add("wnli", {"Winograd schemas as sentence pairs"});

}  // namespace
}  // namespace peft
