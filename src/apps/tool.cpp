/// peft-tool: small jobs around models, adapters and predictions. Every subcommand is a function of its own file.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <vector>

#include "peft/base/error.h"
#include "peft/base/json.h"
#include "src/apps/main.h"
#include "src/apps/tool_aggregate.h"
#include "src/apps/tool_compare.h"
#include "src/apps/tool_data.h"
#include "src/apps/tool_import.h"
#include "src/apps/tool_init.h"
#include "src/apps/tool_inspect.h"
#include "src/apps/tool_list.h"
#include "src/apps/tool_logits.h"
#include "src/apps/tool_merge.h"
#include "src/apps/tool_schema.h"
#include "src/apps/tool_score.h"
#include "src/apps/tool_tokenize.h"
#include "src/apps/version.h"

namespace peft {
namespace {

struct Subcommand {
  std::string name, help;
  int (*run)(int argc, char** argv);
};

const std::vector<Subcommand>& subcommands() {
  static const std::vector<Subcommand> all{
      {"aggregate", "the score of a benchmark from the runs of its tasks", tool_aggregate},
      {"compare", "paired tests between runs on the same rows", tool_compare},
      {"data", "what reading and splitting the files of a task gives", tool_data},
      {"import", "an adapter folder from files that a method's authors released", tool_import},
      {"init", "a commented run config for one method and task", tool_init},
      {"inspect", "what a safetensors file, a model, adapter or run folder holds", tool_inspect},
      {"list", "methods, tasks, metrics, architectures or configs, a line each", tool_list},
      {"logits", "raw logits of the texts of a JSON Lines file", tool_logits},
      {"merge", "a whole model folder with an adapter folded into its weights", tool_merge},
      {"schema", "JSON Schema of a run config, or its reference page", tool_schema},
      {"score", "metrics of a predictions file against a references file", tool_score},
      {"tokenize", "token ids of the lines of stdin", tool_tokenize},
  };
  return all;
}

int help() {
  std::string text = "Usage: peft-tool NAME [OPTION...]\n\n";
  for (const Subcommand& each : subcommands()) text += fmt::format("  {:<10}{}\n", each.name, each.help);
  text += "\npeft-tool NAME --help tells the options of NAME, peft-tool --version the version.\n";
  print_result(text + examples_text({"peft-tool list methods",
                                     "peft-tool init --method lora --task classification --data examples/wordnet_gloss",
                                     "peft-tool inspect runs/quickstart/lora"}));
  return static_cast<int>(ExitCode::done);
}

std::vector<std::string> names() {
  std::vector<std::string> names;
  for (const Subcommand& each : subcommands()) names.push_back(each.name);
  return names;
}

int tool(int argc, char** argv) {
  if (argc < 2) throw_error<ConfigError>("the name of a subcommand is missing (known: {})", fmt::join(names(), ", "));
  const std::string name = argv[1];
  if (name == "--help" || name == "-h" || name == "help") return help();
  if (name == "--version") {
    print_result(fmt::format("peft-tool {}\n", version()));
    return static_cast<int>(ExitCode::done);
  }
  const auto found = std::find_if(subcommands().begin(), subcommands().end(),
                                  [&](const Subcommand& each) { return each.name == name; });
  if (found != subcommands().end()) return found->run(argc - 1, argv + 1);
  const std::string near = nearest_name(name, names());
  throw_error<ConfigError>("unknown subcommand \"{}\"{} (known: {})", name,
                           near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near), fmt::join(names(), ", "));
}

}  // namespace
}  // namespace peft

int main(int argc, char** argv) { return peft::run_program("peft-tool", argc, argv, peft::tool); }
