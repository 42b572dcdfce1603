#include "peft/data/task.h"

#include <fmt/format.h>

#include <algorithm>

#include "peft/base/summaries.h"

namespace peft {
namespace {

constexpr char kBlank = '_';

// Another form has the sentence up to the blank twice, each with an option, and the rest of it.
void read_contexts(const Json& record, FlatRows& out) {
  const Nested root(record);
  const auto contexts = root.find("context_options");
  if (!contexts) {
    out.rows.push_back(record);
    return;
  }
  const auto options = contexts->items();
  if (options.size() != 2)
    throw BadRecord{"field", fmt::format("context_options has {} texts, expected 2", options.size())};
  const std::string &one = options[0].text(), &two = options[1].text();
  const auto differ = std::mismatch(one.begin(), one.end(), two.begin(), two.end());
  auto shared = static_cast<std::size_t>(differ.first - one.begin());
  while (shared > 0 && (static_cast<unsigned char>(one[shared - 1]) & 0x80) != 0) --shared;  // between characters
  Json row{{"sentence", one.substr(0, shared) + kBlank + root.at("continuation").text()},
           {"option1", one.substr(shared)},
           {"option2", two.substr(shared)}};
  if (const auto gold = root.find("gold")) {
    const int64_t label = gold->integer();
    row["answer"] = label < 0 ? label : label + 1;
  }
  out.rows.push_back(std::move(row));
}

// Fields in the order of the sequences: before, option1, after, option2.
void cut_at_blank(const std::vector<RecordValue>& inputs, DerivedTexts& out) {
  const std::string_view sentence = inputs[0].text;
  if (const auto blanks = std::count(sentence.begin(), sentence.end(), kBlank); blanks != 1)
    throw BadRecord{"field", fmt::format("sentence has {} blanks, expected one \"_\"", blanks)};
  const std::size_t blank = sentence.find(kBlank);
  out.texts = {std::string(sentence.substr(0, blank)), std::string(inputs[1].text),
               std::string(sentence.substr(blank + 1)), std::string(inputs[2].text)};
}

// WinoGrande: which option fits the blank? [Sakaguchi et al. 2019, arXiv:1907.10641]
[[maybe_unused]] const bool registered = task_registry().add(
    "winogrande", {
                      .dump = {.folder = "WinoGrande",
                               .other_folders = {"winogrande_1.1"},
                               .rows = {{"train", 40398}, {"dev", 1267}, {"test", 1767}},
                               .names = {{"train", {"train_xl"}}},
                               .flatten = read_contexts},
                      .inputs = {{"sentence"}, {"option1"}, {"option2"}},
                      .derive = cut_at_blank,
                      .sequences = {{"{before}{option1}", "{after}"}, {"{before}{option2}", "{after}"}},
                      .truncation = Truncation::only_first,
                      .label = "answer",
                      .target = TargetKind::choice,
                      .objective = "choice",
                      .choices = {"1", "2"},
                      .metrics = {"accuracy"},
                      .dept = {.rule = TaskSpec::DeptRule::thousand_of_train},
                  });

[[maybe_unused]] const bool described =
    summaries("task").add("winogrande", {"which of two options fits the blank of the sentence?"});

}  // namespace
}  // namespace peft
