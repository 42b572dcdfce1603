#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// AX-g: pairs of examples that differ in the gender of a pronoun: rows 2i and 2i+1. The dump's pair_id does not tell
// them. [Rudinger et al. 2018, arXiv:1804.09301, as recast by SuperGLUE]
[[maybe_unused]] const bool registered = task_registry().add(
    "superglue/axg", {
                         .dump = {.folder = "AX-g", .rows = {{"test", 356}}, .names = {{"test", {"AX-g"}}}},
                         .sequences = {{"{premise}", "{hypothesis}"}},
                         .group = "idx",
                         .group_size = 2,
                         .labels = {"entailment", "not_entailment"},
                         .metrics = {"gender_parity", "accuracy"},
                         .trained_as = "rte",
                         .merged_classes = {{"neutral", "not_entailment"}, {"contradiction", "not_entailment"}},
                     });

[[maybe_unused]] const bool described =
    summaries("task").add("superglue/axg", {"is entailment the same for either gender? For an adapter of rte or mnli"});

}  // namespace
}  // namespace peft
