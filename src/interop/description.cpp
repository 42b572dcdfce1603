#include "peft/interop/description.h"

#include "peft/base/error.h"
#include "peft/data/task.h"

namespace peft {
namespace {

namespace fs = std::filesystem;
constexpr const char* kFile = "task.json";
constexpr int64_t kTaskVersion = 1;
constexpr std::string_view kCachePrefix =
    "models--";  // of a folder of the Hugging Face cache: models--ORG--NAME/snapshots/COMMIT

}  // namespace

void Description::visit(Fields& fields) {
  fields.section("task", {}, [&](Fields& section) {
    section.field("name", task.name, {});
    section.field("max_length", task.max_length, {.min = 1});
    section.field("doc_stride", task.doc_stride, {.min = 0});
  });
  fields.section("data", {}, [&](Fields& section) {
    section.field("columns", data.columns, {});
    section.field("format", data.format, {});
    section.field("delimiter", data.delimiter, {});
    section.field("quoting", data.quoting, {});
  });
  fields.section("method", {}, [&](Fields& section) {
    section.field("type", method, {});
    section.field("pooling", pooling, {});
    section.field("trainable_parameters", trainable_parameters, {});
  });
  fields.section("base_model", {}, [&](Fields& section) {
    section.field("name", base_model, {});
    section.field("fingerprint", fingerprint, {});
    section.field("dtype", dtype, {});
  });
  fields.field("scores", scores, {});
}

std::optional<Description> read_description(const fs::path& folder) {
  const fs::path file = folder / kFile;
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return std::nullopt;
  const Json json = read_json_file<DataError>(file);
  const Json version = json.is_object() ? json.value("format_version", Json()) : Json();
  if (!version.is_number_integer())
    throw_error<DataError>("{}: format_version: {}, expected {}", file.string(),
                           version.is_null() ? "missing" : version.dump(), kTaskVersion);
  if (version > kTaskVersion) {
    throw_error<DataError>("{}: format_version {} is newer than {}, the newest known to this program", file.string(),
                           version.dump(), kTaskVersion);
  }
  Description description;
  try {
    parse_fields([&](Fields& fields) { description.visit(fields); }, json, file.string(), {"format_version"});
    description.task.name = resolve_task_name(description.task.name);
  } catch (const ConfigError& error) {  // the file is not the user's config
    throw_error<DataError>("{}{}", std::string(error.what()).starts_with(file.string()) ? "" : file.string() + ": ",
                           error.what());
  }
  if (description.data.delimiter.size() != 1)
    throw_error<DataError>("{}: data.delimiter: found \"{}\", expected one character", file.string(),
                           description.data.delimiter);
  if (!description.scores.is_null() && !description.scores.is_object())
    throw_error<DataError>("{}: scores: found {}, expected an object", file.string(), description.scores.type_name());
  return description;
}

std::string to_text(Description description) {
  Json json = print_fields([&](Fields& fields) { description.visit(fields); });
  json["format_version"] = kTaskVersion;
  return to_pretty_string(json);
}

std::string model_name(const fs::path& folder) {
  const fs::path whole = fs::absolute(folder / ".").lexically_normal().parent_path();
  for (const fs::path& part : whole) {
    std::string name = part.string();
    if (!name.starts_with(kCachePrefix)) continue;
    name.erase(0, kCachePrefix.size());
    if (const auto bar = name.find("--"); bar != std::string::npos) name.replace(bar, 2, "/");
    return name;
  }
  const Json config = read_json_file<DataError>(folder / "config.json");
  const Json told = config.value("_name_or_path", Json());
  if (!told.is_string()) return {};
  const auto name = told.get<std::string>();
  return name.find('/') != std::string::npos && !fs::path(name).is_absolute() &&
                 fs::path(name).filename() == whole.filename()
             ? name
             : "";
}

}  // namespace peft
