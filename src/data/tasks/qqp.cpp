#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// QQP: do two questions ask the same? Some rows of its train file are torn by line breaks. [Iyer et al. 2017, as recast
// by GLUE]
[[maybe_unused]] const bool registered = task_registry().add(
    "qqp", {
               .dump = {.folder = "QQP",
                        .train_columns = {"id", "qid1", "qid2", "question1", "question2", "is_duplicate"},
                        .test_columns = {"id", "question1", "question2"},
                        .texts = {"question1", "question2"},
                        .label = "is_duplicate",
                        .idx = "id",
                        .spellings = {"0", "1"},
                        .rows = {{"train", 363846}, {"dev", 40430}, {"test", 390965}}},
               .sequences = {{"{question1}", "{question2}"}},
               .labels = {"not_duplicate", "duplicate"},
               .torn_rows = true,
               .metrics = {"accuracy", "f1"},
               .dept = {.rule = TaskSpec::DeptRule::thousand_of_train},
           });

[[maybe_unused]] const bool described = summaries("task").add("qqp", {"do two questions ask the same?"});

}  // namespace
}  // namespace peft
