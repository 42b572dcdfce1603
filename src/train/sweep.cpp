#include "peft/train/sweep.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "peft/base/fields.h"
#include "peft/base/hash.h"
#include "src/train/config_file.h"
#include "src/train/config_paths.h"
#include "src/train/run_folder.h"
#include "src/train/setup.h"

namespace peft {
namespace {

/// "train.learning_rate" -> "/train/learning_rate"
Json::json_pointer pointer_of(const std::string& path) {
  std::string text = "/" + path;
  std::replace(text.begin(), text.end(), '.', '/');
  return Json::json_pointer(text);
}

void check_grid(const Json& grid, const std::string& origin) {
  if (!grid.is_object() || grid.empty())
    throw_error<ConfigError>("{}: sweep: found {}, expected an object of key paths and lists", origin, grid.dump());
  for (const auto& [path, values] : grid.items()) {
    if (path.empty() || path == "output" || path == "sweep" || path.starts_with("sweep."))
      throw_error<ConfigError>("{}: sweep.{}: this key cannot vary", origin, path);
    if (!values.is_array() || values.empty())
      throw_error<ConfigError>("{}: sweep.{}: found {}, expected a list of values", origin, path, values.dump());
  }
}

/// The product of the lists; the last key varies fastest.
std::vector<Json> product(const Json& grid) {
  std::vector<Json> points{Json::object()};
  for (const auto& [path, values] : grid.items()) {
    std::vector<Json> longer;
    for (const Json& point : points) {
      for (const Json& value : values) {
        longer.push_back(point);
        longer.back()[path] = value;
      }
    }
    points = std::move(longer);
  }
  return points;
}

/// A value as part of a folder name: sections by their type or name and their other keys, paths by their last part.
std::string short_text(const Json& value) {
  std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  if (value.is_object()) {
    text.clear();
    for (const char* key : {"type", "name"}) {
      if (value.contains(key) && value[key].is_string()) text = value[key].get<std::string>();
    }
    for (const auto& [key, inner] : value.items()) {
      if (key != "type" && key != "name") text += (text.empty() ? "" : "-") + key + "=" + short_text(inner);
    }
  }
  if (value.is_string() && text.find('/') != std::string::npos) text = std::filesystem::path(text).filename().string();
  for (char& c : text) {
    const bool plain =
        std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '+' || c == '-' || c == '=';
    if (!plain) c = '_';
  }
  return text;
}

std::string short_name(const Json& point) {
  std::string name;
  for (const auto& [path, value] : point.items()) {
    if (!name.empty()) name += '-';
    const std::string last = path.substr(path.rfind('.') + 1), text = short_text(value);
    name += !value.is_object() ? last + "=" + text : text.empty() ? last : text;
  }
  constexpr std::size_t kLongest = 120;  // of a file name's 255 bytes; what is cut off lives on in the hash
  if (name.size() > kLongest) name = name.substr(0, kLongest) + fmt::format("-{:016x}", hash64(name));
  return name;
}

RunConfig config_of(Json json, const Json& point, const std::string& folder, const std::string& origin) {
  for (const auto& [path, value] : point.items()) {
    try {
      json[pointer_of(path)] = value;
    } catch (const Json::exception&) {
      throw_error<ConfigError>("{}: sweep.{}: no such key", origin, path);
    }
  }
  json["output"] = folder;
  return read_run_config(json, origin);
}

}  // namespace

SweepConfig SweepConfig::read(const std::filesystem::path& file, const std::vector<std::string>& sets) {
  return from_json(read_config_file(file, sets), file.string());
}

SweepConfig SweepConfig::from_json(Json json, const std::string& origin) {
  SweepConfig sweep;
  sweep.json = std::move(json);
  if (!sweep.json.is_object() || !sweep.json.contains("sweep"))
    throw_error<ConfigError>("{}: sweep: missing, but required (peft-train runs a config without it)", origin);
  Json base = sweep.json;
  base.erase("sweep");
  if (!base.contains("output") || !base["output"].is_string() || base["output"].get<std::string>().empty())
    throw_error<ConfigError>("{}: output: missing, but required: the folder of the sweep", origin);
  sweep.output = std::filesystem::absolute(base["output"].get<std::string>()).lexically_normal().string();
  sweep.json["output"] = sweep.output;

  const Json grids = sweep.json["sweep"].is_array() ? sweep.json["sweep"] : Json::array({sweep.json["sweep"]});
  if (grids.empty()) throw_error<ConfigError>("{}: sweep: found an empty list", origin);
  std::set<std::string> names;
  for (const Json& grid : grids) {
    check_grid(grid, origin);
    for (const Json& point : product(grid)) {
      SweepRun run;
      run.point = point;
      const std::string name = short_name(point);
      run.name = name;
      for (int n = 2; !names.insert(run.name).second; ++n) run.name = name + "-" + std::to_string(n);
      run.config = config_of(base, point, (std::filesystem::path(sweep.output) / run.name).string(), origin);
      sweep.runs.push_back(std::move(run));
    }
  }
  return sweep;
}

void check_runs(const std::vector<SweepRun>& runs) {
  for (const SweepRun& run : runs) {
    const RunFolder folder(run.config.output, /*resume=*/true);
    if (folder.found() != RunFolder::Found::nothing) folder.check_config(run.config);
  }
}

std::vector<std::vector<std::size_t>> plan_banks(const std::vector<SweepRun>& runs, int64_t largest) {
  std::vector<std::vector<std::size_t>> banks;
  std::map<std::string, std::size_t> open;  // bank key -> the bank that still has room
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const RunConfig& config = runs[i].config;
    const TrainConfig& train = config.train;
    const int64_t fitting = train.batch_tokens ? kBankTokens / *train.batch_tokens
                                               : kBankExamples / train.batch_size.value_or(kBankExamples);
    int64_t room = largest > 0 ? largest : std::max<int64_t>(1, fitting);
    if (!config.method->shares_bank()) room = 1;
    const std::string key = bank_key(config);
    const auto found = open.find(key);
    if (found != open.end() && static_cast<int64_t>(banks[found->second].size()) < room) {
      banks[found->second].push_back(i);
    } else {
      open[key] = banks.size();
      banks.push_back({i});
    }
  }
  return banks;
}

}  // namespace peft
