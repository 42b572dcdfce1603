#include "peft/data/task.h"

#include <algorithm>

#include "peft/base/summaries.h"

namespace peft {
namespace {

constexpr std::size_t most_digits = 18;  // that an int64_t surely holds

// The dump writes idx as a string of digits.
void read_idx(const Json& record, FlatRows& out) {
  Json& row = out.rows.emplace_back(record);
  const auto idx = row.find("idx");
  if (idx == row.end() || !idx->is_string()) return;
  const auto& digits = idx->get_ref<const std::string&>();
  const bool number = !digits.empty() && digits.size() <= most_digits &&
                      std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (number) *idx = std::stoll(digits);
}

// AX-b: GLUE's diagnostic pairs with two classes and with labels. [Wang et al. 2019, arXiv:1905.00537]
[[maybe_unused]] const bool registered = task_registry().add(
    "superglue/axb",
    {
        .dump = {.folder = "AX-b", .rows = {{"test", 1104}}, .names = {{"test", {"AX-b"}}}, .flatten = read_idx},
        .sequences = {{"{sentence1}", "{sentence2}"}},
        .labels = {"entailment", "not_entailment"},
        .metrics = {"mcc", "accuracy"},
        .trained_as = "rte",
        .merged_classes = {{"neutral", "not_entailment"}, {"contradiction", "not_entailment"}},
    });

[[maybe_unused]] const bool described =
    summaries("task").add("superglue/axb", {"diagnostic pairs of SuperGLUE, for an adapter of rte or mnli"});

}  // namespace
}  // namespace peft
