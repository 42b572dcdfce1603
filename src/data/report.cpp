#include "peft/data/report.h"

#include <fmt/format.h>

namespace peft {
namespace {

Json describe_split(const EncodedSplit& split, const TaskInfo& task) {
  const SplitStatistics& statistics = split.statistics;
  Json out{{"files", statistics.files},
           {"examples", split.size()},
           {"skipped", Json::object()},
           {"hidden_labels", split.hidden},
           {"all_tokens", split.offsets.back()},
           {"truncated", statistics.truncated_examples},
           {"lost_tokens", statistics.lost_tokens},
           {"empty_texts", statistics.empty_texts}};
  for (const auto& [kind, count] : statistics.skipped) out["skipped"][kind] = count;
  for (const auto& [percent, tokens] : statistics.length_percentiles) out["tokens"][std::to_string(percent)] = tokens;
  for (std::size_t id = 0; id < statistics.label_counts.size(); ++id)
    out["labels"][task.labels.empty() ? std::to_string(id) : task.labels[id]] = statistics.label_counts[id];
  for (const auto& [kind, count] : statistics.odd) out["odd"][kind] = count;
  for (std::size_t part = 0; part < split.part_names.size(); ++part)
    out["parts"][split.part_names[part]] = split.examples_of(part).size();
  if (statistics.overlap_with_train) out["overlap_with_train"] = *statistics.overlap_with_train;
  return out;
}

std::string list(const Json& object) {
  std::string text;
  for (const auto& [key, value] : object.items())
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", key, value.dump());
  return text.empty() ? "none" : text;
}

std::string split_text(const EncodedSplit& split, const TaskInfo& task) {
  const Json facts = describe_split(split, task);
  std::string text = fmt::format("{}: {} examples", split.name, split.size());
  const auto& files = split.statistics.files;
  if (!files.empty()) text += fmt::format(" from {}", files.front());
  if (files.size() > 1) text += fmt::format(" and {} more", files.size() - 1);
  text += "\n";
  const auto line = [&](std::string_view name, const std::string& value) {
    text += fmt::format("  {:<19}{}\n", name, value);
  };
  line("skipped", list(facts["skipped"]));
  if (facts.contains("odd")) line("odd", list(facts["odd"]));
  if (facts.contains("parts")) line("parts", list(facts["parts"]));
  line("labels", split.hidden                               ? "hidden"
                 : split.target_kind == TargetKind::score   ? "scores"
                 : split.target_kind == TargetKind::text    ? "texts"
                 : split.target_kind == TargetKind::choices ? "the right ones of an example's candidates"
                                                            : list(facts["labels"]));
  std::string percentiles;
  for (const auto& [percent, tokens] : split.statistics.length_percentiles)
    percentiles += fmt::format("{}{} ({} %)", percentiles.empty() ? "" : ", ", tokens, percent);
  line("tokens of a row", percentiles);
  line("tokens", fmt::format("{}", split.offsets.back()));
  line("truncated",
       fmt::format("{} examples, {} tokens lost", split.statistics.truncated_examples, split.statistics.lost_tokens));
  line("empty texts", fmt::format("{}", split.statistics.empty_texts));
  if (split.statistics.overlap_with_train)
    line("also in train", fmt::format("{}", *split.statistics.overlap_with_train));
  return text;
}

}  // namespace

Json describe_dataset(const Dataset& dataset) {
  Json out = Json::object();
  for (const auto& [name, split] : dataset.splits) out[name] = describe_split(split, dataset.task);
  return out;
}

std::string describe_dataset_text(const Dataset& dataset) {
  std::string text;
  for (const char* name : {"train", "dev", "test"})
    if (const EncodedSplit* split = dataset.find(name)) text += split_text(*split, dataset.task);
  return text;
}

}  // namespace peft
