#include "src/apps/tool_data.h"

#include <filesystem>
#include <string>
#include <vector>

#include "peft/base/error.h"
#include "peft/base/model_folder.h"
#include "peft/data/report.h"
#include "src/apps/data_sets.h"
#include "src/apps/main.h"

namespace peft {
namespace {

/// All splits that are there; one file is train, of which a holdout takes dev.
std::vector<std::string> splits_in(const TaskConfig& task, const DataConfig& data) {
  std::error_code ignored;
  if (data.files.empty() && data.split.policy != "holdout" && std::filesystem::is_regular_file(task.data, ignored))
    return {"train"};
  return {"train", "dev", "test"};
}

}  // namespace

int tool_data(int argc, char** argv) {
  cxxopts::Options options("peft-tool data", "What reading and splitting the files of a task gives, as JSON");
  options.add_options()("task", "peft-tool list tasks", cxxopts::value<std::string>(), "NAME")(
      "data", "folder or file of the task", cxxopts::value<std::string>(), "PATH")(
      "model", "model folder, whose tokenizer counts", cxxopts::value<std::string>(), "DIR")(
      "max-length", "tokens of an example, special tokens included (default: 128)", cxxopts::value<int64_t>(), "N")(
      "set", "set a key of the sections task and data: VALUE is JSON, else a string; repeatable",
      cxxopts::value<std::vector<std::string>>(), "KEY.PATH=VALUE");
  const auto parsed = parse_command_line(
      options, argc, argv,
      {"peft-tool data --task classification --data examples/wordnet_gloss --model models/minilm",
       "peft-tool data --task rte --data data/RTE --model models/minilm --set data.split_policy=dept"});
  if (!parsed) return static_cast<int>(ExitCode::done);
  for (const char* required : {"task", "model"})
    if (parsed->count(required) == 0)
      throw_error<ConfigError>("peft-tool data: --{} is missing (see --help)", required);
  TaskConfig task;
  DataConfig data;
  task.name = (*parsed)["task"].as<std::string>();
  task.data = given<std::string>(*parsed, "data").value_or("");
  task.max_length = given<int64_t>(*parsed, "max-length").value_or(task.max_length);
  if (task.max_length < 1) throw_error<ConfigError>("--max-length {}: expected at least 1", task.max_length);
  apply_data_sets(task, data, given_values(*parsed, "set"));
  if (task.data.empty() && data.files.empty())
    throw ConfigError("peft-tool data: --data PATH is missing, and no --set data.files.SPLIT=FILE stands for it");
  const auto tokenizer = Tokenizer::load(find_model_folder((*parsed)["model"].as<std::string>()));
  print_result(to_pretty_string(describe_dataset(load_dataset(task, data, *tokenizer, splits_in(task, data)))));
  return static_cast<int>(ExitCode::done);
}

}  // namespace peft
