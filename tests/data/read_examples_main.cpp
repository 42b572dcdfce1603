// test-read-examples [--count | --encode MODEL] TASK [COLUMN=NAME...] [LABEL...]: reads paths from stdin, a line each:
// SPLIT, a tab, and a file or folder of the task. Prints one JSON object for each: {"labels": [...], "examples":
// [{"texts": [...], "label": ..., "idx": n}, ...], "hash": "..."} or {"error": "...", "code": n}. With labels these are
// data.labels; COLUMN is text or label.
// --count prints {"examples": n, "bytes": n} of texts and --encode
// {"examples": n, "tokens": n}, each with the "seconds" it took.
#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <string>
#include <vector>

#include "peft/base/error.h"
#include "peft/base/json.h"
#include "peft/data/dataset.h"
#include "peft/data/examples.h"

namespace peft {
namespace {

struct Request {
  TaskConfig task;
  DataConfig data;
  std::string split;
};

ExampleSource source_of(const Request& request) {
  const TaskSpec& spec = task_registry().at(resolve_task_name(request.task.name));
  const auto files = find_split_files(spec, request.task, request.data, {request.split});
  ExampleSource source{spec, request.data, request.split, files.at(request.split), spec.labels};
  if (spec.labels_from_files())
    source.labels = request.data.labels.empty() ? infer_labels(source) : request.data.labels;
  return source;
}

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

Json show(const Request& request) {
  const ExampleSource source = source_of(request);
  Json examples = Json::array();
  ExampleReader reader(source);
  Example example;
  while (reader.next(example))
    examples.push_back({{"texts", example.texts}, {"label", json_of(example.target)}, {"idx", example.idx}});
  return {{"labels", source.labels}, {"examples", examples}, {"hash", reader.content_hash()}};
}

Json count(const Request& request) {
  const ExampleSource source = source_of(request);
  ExampleReader reader(source);
  Example example;
  std::size_t bytes = 0;
  while (reader.next(example))
    for (const auto text : example.texts) bytes += text.size();
  return {{"examples", reader.good()}, {"bytes", bytes}};
}

Json encode(const Request& request, const Tokenizer& tokenizer) {
  const Dataset dataset = load_dataset(request.task, request.data, tokenizer, {request.split});
  const EncodedSplit& split = dataset.splits.at(request.split);
  return {{"examples", split.size()}, {"tokens", split.ids.size()}};
}

int run(std::vector<std::string> arguments) {
  const auto take = [&] {
    std::string first = arguments.empty() ? "" : arguments.front();
    if (!arguments.empty()) arguments.erase(arguments.begin());
    return first;
  };
  std::string task = take(), mode;
  std::unique_ptr<Tokenizer> tokenizer;
  if (task.starts_with("--")) {
    mode = task;
    if (mode == "--encode") tokenizer = Tokenizer::load(take());
    task = take();
  }
  Request request;
  for (const std::string& argument : arguments) {
    const std::size_t equals = argument.find('=');
    ColumnsConfig& columns = request.data.columns;
    if (equals == std::string::npos)
      request.data.labels.push_back(argument);
    else
      (argument.starts_with("text=") ? columns.text : columns.label) = argument.substr(equals + 1);
  }
  for (std::string line; std::getline(std::cin, line);) {
    const std::size_t tab = line.find('\t');
    const auto start = std::chrono::steady_clock::now();
    Json answer;
    try {
      request.task = {task, line.substr(tab + 1), 128};
      request.split = canonical_split(line.substr(0, tab));
      answer = tokenizer ? encode(request, *tokenizer) : mode == "--count" ? count(request) : show(request);
      if (!mode.empty())
        answer["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    } catch (const Error& error) {
      answer = {{"error", error.what()}, {"code", static_cast<int>(error.code())}};
    }
    fmt::print("{}\n", answer.dump());
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace peft

int main(int argc, char** argv) { return peft::run({argv + 1, argv + argc}); }
