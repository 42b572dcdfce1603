#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// AX: sentence pairs written to diagnose what a model of MNLI knows; the leaderboard has the labels. [Wang et al. 2019,
// arXiv:1804.07461]
[[maybe_unused]] const bool registered =
    task_registry().add("ax", {
                                  .dump = {.folder = "AX",
                                           .other_folders = {"diagnostic"},
                                           .test_columns = {"index", "sentence1", "sentence2"},
                                           .texts = {"sentence1", "sentence2"},
                                           .label = "label",
                                           .rows = {{"test", 1104}},
                                           .names = {{"test", {"diagnostic", "AX"}}}},
                                  .sequences = {{"{premise}", "{hypothesis}"}},
                                  .labels = {"entailment", "neutral", "contradiction"},
                                  .metrics = {"mcc", "accuracy"},
                                  .trained_as = "mnli",
                              });

[[maybe_unused]] const bool described =
    summaries("task").add("ax", {"diagnostic pairs of GLUE, for an adapter of mnli"});

}  // namespace
}  // namespace peft
