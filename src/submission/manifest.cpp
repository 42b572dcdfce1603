#include "peft/submission/manifest.h"

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/base/json.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

std::string text_of(const Json& entry, const char* key) {
  return entry.contains(key) && entry[key].is_string() ? entry[key].get<std::string>() : "";
}

}  // namespace

Manifest read_manifest(const fs::path& folder) {
  const fs::path path = folder / manifest_name;
  if (!path_exists(path)) return {};
  const Json json = read_json_file<DataError>(path);
  Manifest manifest;
  if (!json.is_object()) throw_error<DataError>("{}: no object; expected one entry for each file", path.string());
  for (const auto& [name, entry] : json.items()) {
    const std::string source = entry.is_object() ? text_of(entry, "source") : "";
    if (source != "filled" && source != "predicted")
      throw_error<DataError>("{}: {}: found {}; expected an object whose source is predicted or filled", path.string(),
                             name, entry.dump());
    ManifestEntry& known = manifest[name];
    known.filled = source == "filled";
    known.run = text_of(entry, "run");
    known.adapter_hash = text_of(entry, "adapter_hash");
    if (entry.contains("rows") && entry["rows"].is_number_integer()) known.rows = entry["rows"].get<int64_t>();
  }
  return manifest;
}

void write_manifest(const fs::path& folder, const Manifest& manifest) {
  Json json = Json::object();
  for (const auto& [name, entry] : manifest) {
    Json& out = json[name];
    out["source"] = entry.filled ? "filled" : "predicted";
    out["rows"] = entry.rows;
    if (entry.filled) continue;
    out["run"] = entry.run;
    out["adapter_hash"] = entry.adapter_hash;
  }
  write_atomic(folder / manifest_name, to_pretty_string(json));
}

}  // namespace peft
