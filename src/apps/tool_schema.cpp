#include "src/apps/tool_schema.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "peft/base/error.h"
#include "peft/methods/method.h"
#include "peft/train/config.h"
#include "src/apps/main.h"

namespace peft {
namespace {

constexpr const char* kIntroduction =
    "# Run config\n"
    "\n"
    "Written by `peft-tool schema --markdown`. A run config is JSON with `//` comments. Unknown and duplicate keys, "
    "wrong types and\n"
    "numbers out of range are errors that name the key. `--set key.path=value` overrides one key.\n"
    "\n"
    "Relative paths are tried from the working directory, then beside the config file; `output` counts from the "
    "working "
    "directory.\n"
    "`model.path` may also be a name such as `sentence-transformers/all-MiniLM-L6-v2`: its snapshot in Hugging Face's "
    "cache.\n"
    "Nothing is downloaded.\n"
    "\n"
    "`peft-tool schema` prints the same as a JSON Schema for editors. A config may name it in a key `$schema`, which "
    "is "
    "ignored.\n";

template <class T>
std::string table(T& part) {
  return document_fields([&](Fields& fields) { part.visit(fields); });
}

/// Every method's table begins with the keys of MethodConfig, which the page prints once.
std::string method_tables() {
  std::string common, own;
  for (const std::string& name : methods().names()) {
    const auto config = methods().at(name).config();
    common = document_fields([&](Fields& fields) { config->MethodConfig::visit(fields); });
    const std::string head = common.substr(0, common.find("| `"));
    own += fmt::format("\n### method.type = \"{}\"\n\nIts own `train.learning_rate`: {}.\n\n{}{}", name,
                       config->learning_rate(), head, table(*config).substr(common.size()));
  }
  return "### Common keys\n\n" + common + own;
}

std::string reference_page() {
  RunConfig config;
  std::string page = kIntroduction;
  const auto add = [&](const std::string& title, const std::string& content) {
    page += fmt::format("\n## {}\n\n{}", title, content);
  };
  add("output",
      "| key | default | range | meaning |\n|---|---|---|---|\n| `output` | required | a string | the run folder |\n");
  add("model", table(config.model));
  add("task", table(config.task));
  add("data", table(config.data));
  add("method",
      "`type` chooses the method. Every method has the common keys and its own. What they compute: "
      "[methods.md](methods.md).\n\n" +
          method_tables());
  add("train", table(config.train));
  return page;
}

Json section_schema(const std::string& section) {
  Json schema = run_config_schema();
  if (section.empty()) return schema;
  std::vector<std::string> known;
  for (const auto& [key, value] : schema["properties"].items()) known.push_back(key);
  if (!schema["properties"].contains(section)) {
    const std::string near = nearest_name(section, known);
    throw_error<ConfigError>("peft-tool schema: unknown section \"{}\"{} (known: {})", section,
                             near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near), fmt::join(known, ", "));
  }
  Json part = schema["properties"][section];
  part["$schema"] = schema["$schema"];
  return part;
}

}  // namespace

int tool_schema(int argc, char** argv) {
  cxxopts::Options options("peft-tool schema", "JSON Schema of a run config, or of one of its sections");
  std::string section;
  options.add_options()("section", "model, task, data, method, train, sweep; all without it", cxxopts::value(section),
                        "SECTION")("markdown", "the reference page instead");
  options.parse_positional("section");
  options.positional_help("[SECTION]");
  const auto parsed =
      parse_command_line(options, argc, argv, {"peft-tool schema > config.schema.json", "peft-tool schema train"});
  if (!parsed) return static_cast<int>(ExitCode::done);
  if (parsed->count("section") > 1) throw ConfigError("peft-tool schema: one SECTION expected");
  const bool markdown = parsed->count("markdown") != 0;
  if (markdown && !section.empty())
    throw ConfigError("peft-tool schema: --markdown prints the whole page; leave SECTION out");
  print_result(markdown ? reference_page() : to_pretty_string(section_schema(section)));
  return static_cast<int>(ExitCode::done);
}

}  // namespace peft
