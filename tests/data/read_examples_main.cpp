// test-read-examples TASK [LABEL...]: reads paths from stdin, a line each: SPLIT, a tab, and a file or folder of the
// task. Prints one JSON object for each: {"labels": [...], "examples": [{"texts": [...], "label": ..., "idx": n}, ...],
// "hash": "..."} or {"error": "..."}. With labels these are data.labels.
#include <fmt/format.h>

#include <iostream>
#include <string>

#include "peft/base/error.h"
#include "peft/base/json.h"
#include "peft/data/dataset.h"
#include "peft/data/examples.h"

namespace peft {
namespace {

Json json_of(const Target& target) {
  return std::visit(
      [](const auto& value) -> Json {
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::monostate>)
          return nullptr;
        else
          return value;
      },
      target);
}

Json read_split(const TaskConfig& task, const DataConfig& data, const std::string& split) {
  const TaskSpec& spec = task_registry().at(resolve_task_name(task.name));
  const auto files = find_split_files(spec, task, data, {split});
  ExampleSource source{spec, data, split, files.at(split), spec.labels_from_files() ? data.labels : spec.labels};
  if (spec.labels_from_files() && data.labels.empty()) source.labels = infer_labels(source);
  Json examples = Json::array();
  ExampleReader reader(source);
  Example example;
  while (reader.next(example))
    examples.push_back({{"texts", example.texts}, {"label", json_of(example.target)}, {"idx", example.idx}});
  return {{"labels", source.labels}, {"examples", examples}, {"hash", reader.content_hash()}};
}

}  // namespace
}  // namespace peft

int main(int argc, char** argv) {
  peft::DataConfig data;
  for (int i = 2; i < argc; ++i) data.labels.emplace_back(argv[i]);
  for (std::string line; std::getline(std::cin, line);) {
    const std::size_t tab = line.find('\t');
    try {
      const peft::TaskConfig task{argv[1], line.substr(tab + 1), 128};
      fmt::print("{}\n", peft::read_split(task, data, peft::canonical_split(line.substr(0, tab))).dump());
    } catch (const peft::Error& error) {
      fmt::print("{}\n", peft::Json{{"error", error.what()}, {"code", static_cast<int>(error.code())}}.dump());
    }
    std::fflush(stdout);
  }
  return 0;
}
