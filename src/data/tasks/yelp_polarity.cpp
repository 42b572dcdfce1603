#include "peft/data/task.h"

#include "peft/base/summaries.h"

namespace peft {
namespace {

// Yelp polarity: is the review good or bad? Its csv files have no header, and 1 and 2 for the classes. [Zhang et al.
// 2015, arXiv:1509.01626]
[[maybe_unused]] const bool registered =
    task_registry().add("yelp_polarity", {
                                             .dump = {.folder = "yelp_review_polarity_csv",
                                                      .other_folders = {"yelp_polarity", "Yelp"},
                                                      .train_columns = {"label", "text"},
                                                      .csv = true,
                                                      .headerless = true,
                                                      .labelled_lines = true,
                                                      .spellings = {"1", "2"},
                                                      .rows = {{"train", 560000}, {"test", 38000}}},
                                             .sequences = {{"{text}"}},
                                             .labels = {"negative", "positive"},
                                             .metrics = {"accuracy"},
                                             .other_names = {"yelp"},
                                             .dept = {TaskSpec::DeptRule::thousand_of_train, "dev", "test", 100000},
                                         });

[[maybe_unused]] const bool described = summaries("task").add("yelp_polarity", {"is the review good or bad?"});

}  // namespace
}  // namespace peft
