#include "peft/base/summaries.h"
#include "src/data/questions.h"

namespace peft {
namespace {

// The same where a text may hold no answer. [Rajpurkar et al. 2018, arXiv:1806.03822]
[[maybe_unused]] const bool registered = task_registry().add("squad_v2", question_task(true, {}));

[[maybe_unused]] const bool described =
    summaries("task").add("squad_v2", {"span, where a text may hold no answer", "1806.03822"});

}  // namespace
}  // namespace peft
