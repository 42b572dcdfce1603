#include "src/train/config_file.h"

#include <algorithm>

#include "peft/base/error.h"
#include "peft/base/fields.h"
#include "peft/base/files.h"

namespace peft {
namespace {

/// `key:` or `key: value` in a line of its own, before anything that JSON could begin with.
bool looks_like_yaml(std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line == "\r" || line.starts_with('#') || line.starts_with("---")) continue;
    const std::size_t name = line.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    if (name == 0 || name == std::string_view::npos || line[name] != ':') return false;
    return name + 1 == line.size() || line[name + 1] == ' ' || line[name + 1] == '\r';
  }
  return false;
}

bool is_yaml(const std::filesystem::path& file) {
  const std::string extension = file.extension().string();
  if (extension == ".yaml" || extension == ".yml") return true;
  try {
    return looks_like_yaml(MappedFile(file).text());
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

Json read_config_file(const std::filesystem::path& file, const std::vector<std::string>& sets) {
  Json json;
  try {
    json = read_json_file<ConfigError>(file, JsonComments::allow);
  } catch (const ConfigError& error) {
    if (!std::filesystem::is_regular_file(file) || !is_yaml(file)) throw;
    throw_error<ConfigError>(
        "{} (this looks like YAML, a config is JSON; python -c \"import json, yaml; "
        "print(json.dumps(yaml.safe_load(open('{}')), indent=2))\" converts it)",
        error.what(), file.string());
  }
  for (const std::string& assignment : sets) apply_set(json, assignment);
  return json;
}

}  // namespace peft
