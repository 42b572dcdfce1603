#include "src/apps/predict_arguments.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "peft/base/error.h"
#include "peft/data/lines.h"
#include "src/apps/main.h"

namespace peft {
namespace {

constexpr const char* kHelp =
    "Predicts texts without labels: one JSON object for each row of the input, in its order\n\n"
    "Example:\n"
    "  echo \"a piece of furniture\" | peft-predict --adapter runs/quickstart/lora --input - --format lines\n";

/// By --format, else by the file's name.
FileFormat format_of(const std::string& file, const std::optional<std::string>& format) {
  static const std::map<std::string, FileFormat> names{{".csv", FileFormat::csv},     {".json", FileFormat::json},
                                                       {".jsonl", FileFormat::jsonl}, {".ndjson", FileFormat::jsonl},
                                                       {".arrow", FileFormat::arrow}, {".parquet", FileFormat::parquet},
                                                       {".tsv", FileFormat::tsv},     {".txt", FileFormat::lines}};
  static const std::map<std::string, FileFormat> choices{
      {"csv", FileFormat::csv}, {"jsonl", FileFormat::jsonl}, {"lines", FileFormat::lines}, {"tsv", FileFormat::tsv}};
  std::string extension = std::filesystem::path(file).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto named = names.find(extension);
  if (format) {
    check_choice("format", *format, {"jsonl", "csv", "tsv", "lines"});
    const FileFormat chosen = choices.at(*format);
    const bool array = chosen == FileFormat::jsonl && named != names.end() && named->second == FileFormat::json;
    return array ? FileFormat::json : chosen;
  }
  if (file == kStandardInput)
    throw ConfigError("--format NAME is missing: the standard input has no name to tell it (jsonl, csv, tsv, lines)");
  if (named == names.end())
    throw_error<ConfigError>(
        "--input {}: the name does not tell the format (.jsonl, .json, .csv, .tsv, .txt, .parquet, .arrow); use "
        "--format",
        file);
  return named->second;
}

}  // namespace

std::optional<PredictArguments> parse_predict_arguments(int argc, char** argv) {
  PredictArguments arguments;
  cxxopts::Options options("peft-predict", kHelp);
  options.add_options()("adapter", "adapter, run or whole model folder; may be repeated",
                        cxxopts::value<std::vector<std::string>>(), "DIR")(
      "model", "model folder; else the one that the adapter was trained on", cxxopts::value<std::string>(), "DIR")(
      "input", "rows to predict; - is the standard input", cxxopts::value(arguments.input), "FILE")(
      "output", "JSON Lines file to write, else the standard output", cxxopts::value<std::string>(), "FILE")(
      "format", "jsonl, csv or tsv with a header, lines (a text each); else by the name of the input",
      cxxopts::value<std::string>(),
      "NAME")("task", "name of the task, where the adapter does not tell it", cxxopts::value<std::string>(), "NAME")(
      "max-length", "tokens of a text, special tokens included", cxxopts::value<int64_t>(), "N")(
      "dtype", "float32, bfloat16, auto", cxxopts::value<std::string>(), "TYPE")(
      "device", "auto, cpu, cuda", cxxopts::value(arguments.device)->default_value("auto"), "NAME");
  const auto parsed = parse_command_line(options, argc, argv);
  if (!parsed) return std::nullopt;
  if (parsed->count("adapter") == 0) throw ConfigError("--adapter DIR is missing");
  if (parsed->count("input") == 0) throw ConfigError("--input FILE is missing (- is the standard input)");
  for (const cxxopts::KeyValue& argument : parsed->arguments()) {  // as given: cxxopts would split a path at its commas
    if (argument.key() != "adapter") continue;
    if (std::count(arguments.adapters.begin(), arguments.adapters.end(), argument.value()) > 0)
      throw_error<ConfigError>("--adapter {}: given twice", argument.value());
    arguments.adapters.push_back(argument.value());
  }
  arguments.model = given<std::string>(*parsed, "model");
  arguments.task = given<std::string>(*parsed, "task");
  arguments.dtype = given<std::string>(*parsed, "dtype");
  arguments.output = given<std::string>(*parsed, "output");
  arguments.max_length = given<int64_t>(*parsed, "max-length");
  if (arguments.input == "-") arguments.input = kStandardInput;
  arguments.format = format_of(arguments.input, given<std::string>(*parsed, "format"));
  check_choice("device", arguments.device, {"auto", "cpu", "cuda"});
  if (arguments.dtype) check_choice("dtype", *arguments.dtype, {"float32", "bfloat16", "auto"});
  if (arguments.max_length && *arguments.max_length < 1)
    throw_error<ConfigError>("--max-length {}: expected at least 1", *arguments.max_length);
  return arguments;
}

}  // namespace peft
