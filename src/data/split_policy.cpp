#include "peft/data/split_policy.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "example_classes.h"
#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/data/permutation.h"
#include "row_readers.h"

namespace peft {
namespace {

using Rule = TaskSpec::DeptRule;
using Rows = SplitOrigin::Rows;

constexpr int64_t thousand = 1000;        // rows of dev that dept takes from train
constexpr double most_held_out = 1000;    // by default, of holdout
constexpr double default_held_out = 0.1;  // of train

bool passages_are_permuted(const TaskSpec& spec) {
  return spec.dept.rule == Rule::half_of_dev && !spec.outer_idx.empty();
}

[[noreturn]] void throw_without_dept(const std::string& task) {
  std::vector<std::string> known;
  for (const std::string& name : task_registry().names())
    if (task_registry().at(name).dept.rule != Rule::none) known.push_back(name);
  throw_error<ConfigError>("data.split_policy: dept says nothing of {}; it splits {}", task, join_names(known));
}

// Keys that have no meaning without another one.
void check_companions(const SplitConfig& split) {
  const auto need = [](bool given, bool fits, const char* key, const char* with) {
    if (given && !fits) throw_error<ConfigError>("data.{}: only with {}", key, with);
  };
  const bool dept = split.policy == "dept", holdout = split.policy == "holdout";
  const bool k_shot = split.k_shot || split.k_shot_total;
  need(split.dev_size.has_value(), holdout, "dev_size", "data.split_policy \"holdout\"");
  need(split.stratify, holdout, "stratify", "data.split_policy \"holdout\"");
  need(split.seed != SplitConfig().seed, dept || holdout, "split_seed", "data.split_policy \"dept\" or \"holdout\"");
  need(split.dept_group_multirc, dept, "dept_group_multirc", "data.split_policy \"dept\"");
  need(split.k_shot_seed.has_value(), k_shot, "k_shot_seed", "data.k_shot or data.k_shot_total");
  need(split.k_shot_dev, k_shot, "k_shot_dev", "data.k_shot or data.k_shot_total");
  if (split.k_shot && split.k_shot_total)
    throw ConfigError("data.k_shot_total: stands in place of data.k_shot, found both");
  if (split.dev_size && *split.dev_size >= 1 && *split.dev_size != std::floor(*split.dev_size))
    throw_error<ConfigError>("data.dev_size: {}; expected a whole number of rows, or a share below 1", *split.dev_size);
}

// Rows of train that holdout takes.
int64_t held_out_rows(int64_t rows, const SplitConfig& split, const std::string& file) {
  constexpr double rounding = 1e-9;  // 0.29 of 100 rows are 29, though their product lies below
  const auto share = [&](double part) { return std::max(1.0, std::floor(double(rows) * part + rounding)); };
  const double wanted = !split.dev_size        ? std::min(most_held_out, share(default_held_out))
                        : *split.dev_size >= 1 ? *split.dev_size
                                               : share(*split.dev_size);
  if (wanted >= double(rows))
    throw_error<DataError>("{}: {} examples, data.dev_size holds {} of them out: none is left to train on", file, rows,
                           wanted);
  return static_cast<int64_t>(wanted);
}

// How many of `wanted` examples come from each class: its share, rounded by the largest remainders.
std::vector<int64_t> quotas(const std::vector<int64_t>& counts, int64_t wanted) {
  const int64_t all = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  std::vector<int64_t> quotas;
  std::vector<std::size_t> ids(counts.size());
  std::iota(ids.begin(), ids.end(), std::size_t{0});
  for (const int64_t count : counts) quotas.push_back(wanted * count / all);
  std::stable_sort(ids.begin(), ids.end(),
                   [&](std::size_t a, std::size_t b) { return wanted * counts[a] % all > wanted * counts[b] % all; });
  const int64_t missing = wanted - std::accumulate(quotas.begin(), quotas.end(), int64_t{0});
  for (int64_t i = 0; i < missing; ++i) ++quotas[ids[static_cast<std::size_t>(i)]];
  return quotas;
}

// The first rows of the permutation, of each class as many as its share where the classes are given.
RowCut hold_out(const std::vector<int64_t>& order, int64_t wanted, const ExampleClasses& classes) {
  std::vector<int64_t> left;
  if (!classes.of.empty()) {
    std::vector<int64_t> counts(classes.names.size(), 0);
    for (const int64_t id : classes.of) ++counts[static_cast<std::size_t>(id)];
    left = quotas(counts, wanted);
  }
  RowCut cut;
  for (const int64_t row : order) {
    const bool room = left.empty() ? static_cast<int64_t>(cut.held_out.size()) < wanted
                                   : left[static_cast<std::size_t>(classes.of[static_cast<std::size_t>(row)])]-- > 0;
    (room ? cut.held_out : cut.rest).push_back(row);
  }
  std::sort(cut.rest.begin(), cut.rest.end());  // train keeps the order of its file
  return cut;
}

// Examples of each passage, passages in the order of the file.
std::vector<std::vector<int64_t>> passages(const EncodedSplit& files, const std::string& file) {
  std::vector<std::vector<int64_t>> passages;
  std::map<int64_t, std::size_t> places;
  for (int64_t e = 0; e < files.size(); ++e) {
    const auto outer = files.example_outer_idx(e);
    if (outer.empty())
      throw_error<DataError>("{}: data.dept_group_multirc needs the number of each row's passage, which the file lacks",
                             file);
    const auto [place, fresh] = places.emplace(outer[0], passages.size());
    if (fresh) passages.emplace_back();
    passages[place->second].push_back(e);
  }
  return passages;
}

RowCut cut_passages(const EncodedSplit& files, const std::string& file, uint64_t seed) {
  const auto of = passages(files, file);
  const auto order = permutation(static_cast<int64_t>(of.size()), seed);
  RowCut cut;
  for (std::size_t i = 0; i < order.size(); ++i) {
    auto& rows = i < order.size() / 2 ? cut.held_out : cut.rest;
    const auto& passage = of[static_cast<std::size_t>(order[i])];
    rows.insert(rows.end(), passage.begin(), passage.end());
  }
  return cut;
}

void warn_of_other_rows(int64_t rows, const std::string& split, const std::string& file, const TaskSpec& spec) {
  const auto official = spec.dump.rows.find(split);
  if (official != spec.dump.rows.end() && official->second != rows)
    log_warning("{}: {} examples, the papers split {}: the splits of data.split_policy dept are not theirs", file, rows,
                official->second);
}

RowCut cut_as_papers(const EncodedSplit& files, const std::string& split, const std::string& file, const TaskSpec& spec,
                     const SplitConfig& config) {
  const auto seed = static_cast<uint64_t>(config.seed);
  const int64_t rows = files.size();
  warn_of_other_rows(rows, split, file, spec);
  RowCut cut;
  if (config.dept_group_multirc) {
    cut = cut_passages(files, file, seed);
  } else {
    const auto order = permutation(rows, seed);
    const int64_t first = spec.dept.rule == Rule::half_of_dev ? rows / 2 : std::min(rows, thousand);
    cut.held_out.assign(order.begin(), order.begin() + first);
    cut.rest.assign(order.begin() + first, order.end());
  }
  if (cut.held_out.empty() || cut.rest.empty())
    throw_error<DataError>("{}: {} examples are too few for data.split_policy dept, which makes two splits of them",
                           file, rows);
  if (const int64_t most = spec.dept.train_rows; most > 0 && static_cast<int64_t>(cut.rest.size()) > most)
    cut.rest.resize(static_cast<std::size_t>(most));
  return cut;
}

// Whether rows of one group, such as the answers to a question, may come into different splits.
bool tears_groups(const TaskSpec& spec, const DataConfig& data) {
  return data.split.policy == "dept" && spec.dept.rule == Rule::half_of_dev && !spec.group.empty() &&
         !data.split.dept_group_multirc;
}

bool has_reference_metrics(const TaskSpec& spec, const DataConfig& data) {
  return !spec.dept.reference_metrics.empty() && (spec.dept.torn_metrics.empty() || tears_groups(spec, data));
}

}  // namespace

std::vector<std::string> run_splits(const SplitConfig& config) {
  if (config.policy == "official") return {"train", "dev"};
  return {"train", "dev", "test"};
}

bool uses_reference_metrics(const TaskSpec& spec, const DataConfig& data) {
  return data.split.dept_metrics.value_or(data.split.compat == "dept") && has_reference_metrics(spec, data);
}

void check_split_config(const TaskSpec& spec, const std::string& task, const DataConfig& data) {
  const SplitConfig& split = data.split;
  check_companions(split);
  if (split.policy == "dept" && spec.dept.rule == Rule::none) throw_without_dept(task);
  if (split.policy == "files" && data.files.empty())
    throw ConfigError("data.split_policy: files takes the splits from data.files, which names none");
  if (split.dept_group_multirc && !passages_are_permuted(spec))
    throw_error<ConfigError>("data.dept_group_multirc: {} has no passages with several rows; only multirc has", task);
  if (split.dept_metrics.value_or(false) && !has_reference_metrics(spec, data))
    throw_error<ConfigError>(
        "data.dept_metrics: {} has the same metrics there; others have cb, and multirc where data.split_policy dept "
        "tears its questions apart",
        task);
  const auto clash = [&](const char* name, const std::optional<int64_t>& limit, bool k_shot) {
    if (limit && k_shot && (split.k_shot || split.k_shot_total))
      throw_error<ConfigError>("data.limit.{}: {} is made by {}; expected one of them", name, name,
                               split.k_shot ? "data.k_shot" : "data.k_shot_total");
  };
  clash("train", data.limit.train, true);
  clash("dev", data.limit.dev, split.k_shot_dev);
}

SplitOrigin origin_of(const std::string& split, const TaskSpec& spec, const DataConfig& data) {
  const std::string& policy = data.split.policy;
  if (policy == "official" || policy == "files") return {split};
  if (split.find('_') != std::string::npos)
    throw_error<ConfigError>("unknown split \"{}\"; data.split_policy {} makes train, dev and test", split, policy);
  if (policy == "holdout") {
    if (split == "test") return {"dev"};
    return {"train", split == "dev" ? Rows::held_out : Rows::rest};
  }
  const TaskSpec::Dept& dept = spec.dept;
  if (dept.rule == Rule::half_of_dev)
    return split == "train" ? SplitOrigin{"train"} : SplitOrigin{"dev", split == "dev" ? Rows::held_out : Rows::rest};
  if (split == "test") return {dept.test};
  if (dept.rule == Rule::as_given) return {split == "dev" ? dept.dev : split};
  return {"train", split == "dev" ? Rows::held_out : Rows::rest};
}

RowCut cut_rows(const EncodedSplit& files, const std::string& files_split, const TaskSpec& spec,
                const std::string& task, const DataConfig& data, const std::vector<std::string>& labels) {
  const std::string& file = files.statistics.files.front();
  const SplitConfig& split = data.split;
  if (split.policy == "dept") return cut_as_papers(files, files_split, file, spec, split);
  const ExampleClasses classes =
      split.stratify ? example_classes(files, spec, task, labels, "data.stratify") : ExampleClasses();
  return hold_out(permutation(files.size(), static_cast<uint64_t>(split.seed)),
                  held_out_rows(files.size(), split, file), classes);
}

std::vector<std::string> metrics_under_policy(const TaskSpec& spec, const DataConfig& data) {
  if (uses_reference_metrics(spec, data)) return spec.dept.reference_metrics;
  std::vector<std::string> metrics = spec.metrics;
  const auto& torn = spec.dept.torn_metrics;
  if (tears_groups(spec, data))
    std::erase_if(metrics, [&](const auto& name) { return std::find(torn.begin(), torn.end(), name) != torn.end(); });
  return metrics;
}

}  // namespace peft
