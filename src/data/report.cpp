#include "peft/data/report.h"

#include <fmt/format.h>

#include <algorithm>

#include "k_shot.h"
#include "peft/data/split_policy.h"

namespace peft {
namespace {

std::string label_name(const TaskInfo& task, std::size_t id) {
  return task.labels.empty() ? std::to_string(id) : task.labels[id];
}

// The class that a guess would name, and how often the guess is right; nothing where examples have no single class.
Json majority(const EncodedSplit& split, const TaskInfo& task) {
  const auto& counts = split.statistics.label_counts;
  const bool lists = split.target_kind == TargetKind::classes || split.target_kind == TargetKind::tags;
  if (counts.empty() || lists || split.size() == 0) return {};
  const auto most = std::max_element(counts.begin(), counts.end());
  return {{"label", label_name(task, static_cast<std::size_t>(most - counts.begin()))},
          {"share", static_cast<double>(*most) / static_cast<double>(split.size())}};
}

Json lengths(const SplitStatistics& statistics) {
  Json bins = Json::array();
  for (const auto& [bound, rows] : statistics.length_histogram) bins.push_back({{"up_to", bound}, {"rows", rows}});
  return bins;
}

Json describe_split(const EncodedSplit& split, const TaskInfo& task) {
  const SplitStatistics& statistics = split.statistics;
  Json out{{"files", statistics.files},
           {"rows", split.size()},
           {"skipped", Json::object()},
           {"hidden_labels", split.hidden},
           {"lengths", lengths(statistics)},
           {"all_tokens", split.offsets.back()},
           {"truncated", statistics.truncated_examples},
           {"lost_tokens", statistics.lost_tokens},
           {"empty_texts", statistics.empty_texts}};
  for (const auto& [kind, count] : statistics.skipped) out["skipped"][kind] = count;
  for (const auto& [percent, tokens] : statistics.length_percentiles) out["tokens"][std::to_string(percent)] = tokens;
  for (std::size_t id = 0; id < statistics.label_counts.size(); ++id)
    out["labels"][label_name(task, id)] = statistics.label_counts[id];
  if (const Json guess = majority(split, task); !guess.is_null()) out["majority"] = guess;
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

// "1 to 8: 12, to 16: 300"
std::string lengths_text(const SplitStatistics& statistics) {
  std::string text;
  for (const auto& [bound, rows] : statistics.length_histogram)
    text += fmt::format("{} {}: {}", text.empty() ? "1 to" : ", to", bound, rows);
  return text;
}

// "dept, seed 42; k-shot: 16 of each class, seed 1"
std::string policy_text(const Dataset& dataset) {
  const SplitConfig& split = dataset.data.split;
  std::string text = split.policy;
  if (split.policy == "official") text += ": dev chooses and is reported";
  const Json facts = describe_policy(dataset);
  if (facts.contains("split_seed")) text += fmt::format(", seed {}", split.seed);
  if (split.stratify) text += ", stratified";
  if (split.dept_group_multirc) text += ", passages whole";
  if (split.k_shot) text += fmt::format("; k-shot: {} of each class", *split.k_shot);
  if (split.k_shot_total) text += fmt::format("; k-shot: {} in all", *split.k_shot_total);
  if (facts.contains("k_shot_seed"))
    text += fmt::format(", seed {}{}", k_shot_seed(split), split.k_shot_dev ? ", also of dev" : "");
  if (facts.contains("compat")) text += "; metrics of the DePT code";
  return text;
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
                 : split.target_kind == TargetKind::span    ? "parts of the text"
                                                            : list(facts["labels"]));
  if (const Json guess = majority(split, task); !guess.is_null())
    line("majority", fmt::format("{}: {:.1f} % would be right", guess["label"].get<std::string>(),
                                 100 * guess["share"].get<double>()));
  std::string percentiles;
  for (const auto& [percent, tokens] : split.statistics.length_percentiles)
    percentiles += fmt::format("{}{} ({} %)", percentiles.empty() ? "" : ", ", tokens, percent);
  line("tokens of a row", percentiles);
  line("lengths", lengths_text(split.statistics));
  line("tokens", fmt::format("{}", split.offsets.back()));
  line("truncated",
       fmt::format("{} examples, {} tokens lost", split.statistics.truncated_examples, split.statistics.lost_tokens));
  line("empty texts", fmt::format("{}", split.statistics.empty_texts));
  if (split.statistics.overlap_with_train)
    line("also in train", fmt::format("{}", *split.statistics.overlap_with_train));
  return text;
}

}  // namespace

Json describe_policy(const Dataset& dataset) {
  const SplitConfig& split = dataset.data.split;
  const bool holdout = split.policy == "holdout", dept = split.policy == "dept";
  Json facts{{"split_policy", split.policy}};
  if (holdout || dept) facts["split_seed"] = split.seed;
  if (split.dev_size) facts["dev_size"] = *split.dev_size;
  if (split.stratify) facts["stratify"] = true;
  if (split.dept_group_multirc) facts["dept_group_multirc"] = true;
  if (split.k_shot) facts["k_shot"] = *split.k_shot;
  if (split.k_shot_total) facts["k_shot_total"] = *split.k_shot_total;
  if (split.k_shot || split.k_shot_total) facts["k_shot_seed"] = k_shot_seed(split);
  if (split.k_shot_dev) facts["k_shot_dev"] = true;
  if (uses_reference_metrics(task_registry().at(dataset.task.name), dataset.data)) facts["compat"] = {"dept_metrics"};
  return facts;
}

Json describe_splits(const Dataset& dataset) {
  Json out = Json::object();
  for (const auto& [name, split] : dataset.splits) out[name] = describe_split(split, dataset.task);
  return out;
}

Json describe_dataset(const Dataset& dataset) {
  Json out = describe_policy(dataset);
  out["policy"] = out["split_policy"];
  out.erase("split_policy");
  out["task"] = dataset.task.name;
  out["splits"] = describe_splits(dataset);
  out["fingerprint"] = dataset.fingerprint;
  return out;
}

std::string describe_dataset_text(const Dataset& dataset) {
  std::string text = fmt::format("splits: {}\n", policy_text(dataset));
  for (const char* name : {"train", "dev", "test"})
    if (const EncodedSplit* split = dataset.find(name)) text += split_text(*split, dataset.task);
  return text;
}

}  // namespace peft
