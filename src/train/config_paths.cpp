#include "src/train/config_paths.h"

#include <fmt/ranges.h>

#include <filesystem>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/base/model_folder.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

std::string absolute_text(const fs::path& path) { return fs::absolute(path).lexically_normal().string(); }

/// Where a path may lie, in order.
std::vector<std::string> places(const std::string& path, const std::string& origin) {
  std::vector<std::string> places{absolute_text(path)};
  const std::string beside = absolute_text(fs::path(origin).parent_path() / path);
  if (beside != places.front()) places.push_back(beside);
  return places;
}

std::string resolved(const std::string& path, const std::string& origin) {
  if (path.empty()) return path;
  const std::vector<std::string> tried = places(path, origin);
  for (const std::string& place : tried) {
    if (path_exists(place)) return place;
  }
  return tried.front();
}

std::string resolved_model(const std::string& path, const std::string& origin) {
  const std::string place = resolved(path, origin);
  const auto cached = path_exists(place) ? std::nullopt : cached_model(path);
  return cached ? absolute_text(*cached) : place;
}

void check_path(const std::string& key, const std::string& path, const std::string& origin) {
  if (path.empty() || fs::path(path).is_absolute()) return;
  const bool model = key == "model.path";
  if (path_exists(model ? resolved_model(path, origin) : resolved(path, origin))) return;
  const std::string hint = model ? fetching_hint(path) : "";
  throw_error<DataError>("{}: {}: found \"{}\", but nothing lies at {}{}{}", origin, key, path,
                         fmt::join(places(path, origin), " or "), hint.empty() ? "" : "; ", hint);
}

}  // namespace

void resolve_paths(RunConfig& config, const std::string& origin) {
  config.model.path = resolved_model(config.model.path, origin);
  config.task.data = resolved(config.task.data, origin);
  for (auto& [split, file] : config.data.files) file = resolved(file, origin);
  for (std::optional<std::string>* path : config.method.paths()) {
    if (*path) *path = resolved(**path, origin);
  }
  config.output = absolute_text(config.output);
}

void check_paths(const RunConfig& config, const std::string& origin) {
  check_path("model.path", config.model.path, origin);
  check_path("task.data", config.task.data, origin);
  for (const auto& [split, file] : config.data.files) check_path("data.files." + split, file, origin);
  RunConfig copy = config;
  const Json method = config.to_json()["method"];
  for (const std::optional<std::string>* path : copy.method.paths()) {
    if (!*path) continue;
    for (const auto& [key, value] : method.items()) {
      if (value == **path) check_path("method." + key, **path, origin);
    }
  }
}

}  // namespace peft
