#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// SST-2: sentiment of film reviews. [Socher et al. 2013]
[[maybe_unused]] const bool registered =
    task_registry().add("sst2", {
                                    .dump = {.folder = "SST-2",
                                             .train_columns = {"sentence", "label"},
                                             .test_columns = {"index", "sentence"},
                                             .texts = {"sentence"},
                                             .label = "label",
                                             .spellings = {"0", "1"},
                                             .rows = {{"train", 67349}, {"dev", 872}, {"test", 1821}}},
                                    .sequences = {{"{sentence}"}},
                                    .labels = {"negative", "positive"},
                                    .metrics = {"accuracy"},
                                    .dept = {.rule = TaskSpec::DeptRule::thousand_of_train},
                                });

[[maybe_unused]] const bool described = summaries("task").add("sst2", {"sentiment of film reviews"});

}  // namespace
}  // namespace peft
