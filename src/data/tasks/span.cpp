#include "peft/base/summaries.h"
#include "src/data/questions.h"

namespace peft {
namespace {

// The part of a text that answers a question. [Rajpurkar et al. 2016, arXiv:1606.05250]
[[maybe_unused]] const bool registered =
    task_registry().add("span", question_task(false, {"squad", "nq", "hotpotqa", "searchqa", "newsqa", "triviaqa"}));

[[maybe_unused]] const bool described =
    summaries("task").add("span", {"the part of a text that answers a question: SQuAD, MRQA", "1606.05250"});

}  // namespace
}  // namespace peft
