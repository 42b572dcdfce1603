#include "src/apps/tool_aggregate_runs.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/base/json.h"
#include "peft/base/log.h"
#include "peft/data/task.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

Json object_in(const fs::path& file) {
  Json object = read_json_file<DataError>(file);
  if (!object.is_object()) throw_error<DataError>("{}: not an object", file.string());
  return object;
}

std::string text_at(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

/// What makes the run's numbers, without its seeds and places.
Json recipe(Json config) {
  config.erase("output");
  config.erase("provenance");
  if (config.contains("train") && config["train"].is_object())
    for (const char* key : {"seed", "data_seed", "device"}) config["train"].erase(key);
  return config;
}

/// "train.learning_rate": the first key in which two configs differ.
std::string different_key(const Json& a, const Json& b) {
  const Json changes = Json::diff(a, b);
  if (changes.empty()) return "";
  std::string key = changes.front().at("path").get<std::string>().substr(1);
  std::replace(key.begin(), key.end(), '/', '.');
  return key;
}

/// The numbers of the reported split: test_NAME -> NAME, or eval_NAME -> NAME of dev.
std::map<std::string, double> scores_in(const Json& metrics, const std::string& split) {
  const std::string prefix = split == "test" ? "test_" : "eval_";
  std::map<std::string, double> scores;
  for (const auto& [key, value] : metrics.items())
    if (key.starts_with(prefix) && value.is_number()) scores[key.substr(prefix.size())] = value.get<double>();
  return scores;
}

}  // namespace

BenchmarkRuns read_runs(const std::vector<std::string>& folders) {
  BenchmarkRuns runs;
  std::set<fs::path> seen;
  std::map<std::string, std::pair<std::string, Json>> recipes;  // task -> its first run
  for (const std::string& name : folders) {
    const fs::path folder = name;
    std::error_code ignored;
    if (!seen.insert(fs::weakly_canonical(folder, ignored)).second)
      throw_error<ConfigError>("{}: given twice; it would count as two seeds", name);
    if (!path_exists(folder / "config.json"))
      throw_error<DataError>("{}: no run (config.json that names a task); it holds {}", name, describe_folder(folder));
    const Json config = object_in(folder / "config.json");
    const std::string task = text_at(config.value("task", Json::object()), "name");
    if (task.empty()) throw_error<DataError>("{}: config.json names no task.name", name);
    const std::string full = resolve_task_name(task);
    if (!path_exists(folder / "metrics.json")) {
      const fs::path stopped = folder / "stopped.json";
      const bool guard = path_exists(stopped);
      runs.failed.push_back(
          {name, full, guard ? text_at(object_in(stopped), "message") : "not finished: no metrics.json"});
      continue;
    }
    const auto [first, fresh] = recipes.emplace(full, std::pair(name, recipe(config)));
    if (const std::string key = fresh ? "" : different_key(first->second.second, recipe(config)); !key.empty())
      log_warning("{} and {}: runs of {} count as seeds, but these differ in {}", first->second.first, name, full, key);
    const Json metrics = object_in(folder / "metrics.json");
    const std::string split = text_at(metrics, "reported_split") == "test" ? "test" : "dev";
    auto scores = scores_in(metrics, split);
    if (full == "mnli" && split == "test" && text_at(metrics, "split_policy") == "dept" && scores.contains("accuracy"))
      scores["accuracy_matched"] = scores["accuracy"];  // the file that this policy tests with
    runs.finished.push_back({name, full, std::move(scores), split});
  }
  return runs;
}

}  // namespace peft
