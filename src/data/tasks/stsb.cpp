#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// STS-B: how similar are two sentences, 0..5? [Cer et al. 2017]
[[maybe_unused]] const bool registered =
    task_registry().add("stsb", {
                                    .dump = {.folder = "STS-B",
                                             .train_columns = {"index", "genre", "filename", "year", "old_index",
                                                               "source1", "source2", "sentence1", "sentence2", "score"},
                                             .test_columns = {"index", "genre", "filename", "year", "old_index",
                                                              "source1", "source2", "sentence1", "sentence2"},
                                             .texts = {"sentence1", "sentence2"},
                                             .label = "score",
                                             .rows = {{"train", 5749}, {"dev", 1500}, {"test", 1379}}},
                                    .sequences = {{"{sentence1}", "{sentence2}"}},
                                    .target = TargetKind::score,
                                    .objective = "regression",
                                    .bounded = true,
                                    .metrics = {"pearson", "spearman"},
                                    .dept = {.rule = TaskSpec::DeptRule::half_of_dev},
                                });

[[maybe_unused]] const bool described = summaries("task").add("stsb", {"how similar are two sentences, 0 to 5?"});

}  // namespace
}  // namespace peft
