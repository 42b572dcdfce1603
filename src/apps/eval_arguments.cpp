#include "src/apps/eval_arguments.h"

#include "peft/base/error.h"
#include "src/apps/main.h"

namespace peft {

std::optional<EvalArguments> parse_eval_arguments(int argc, char** argv) {
  EvalArguments arguments;
  cxxopts::Options options("peft-eval",
                           "Evaluates adapter folders; what is left out is taken from the run's config beside them");
  options.add_options()("adapter", "adapter or run folder; may be repeated", cxxopts::value<std::vector<std::string>>(),
                        "DIR")("model", "model folder", cxxopts::value<std::string>(), "DIR")(
      "task", "name of the task", cxxopts::value<std::string>(), "NAME")("data", "folder or file of the task",
                                                                         cxxopts::value<std::string>(), "PATH")(
      "split", "train, dev, test, or a part of one: dev_matched", cxxopts::value(arguments.split)->default_value("dev"),
      "NAME")("predictions", "JSON Lines file to write", cxxopts::value<std::string>(), "FILE")(
      "logits", "safetensors file to write", cxxopts::value<std::string>(), "FILE")(
      "max-length", "tokens of a text, special tokens included", cxxopts::value<int64_t>(), "N")(
      "set", "set a key of the sections task and data: VALUE is JSON, else a string; repeatable",
      cxxopts::value<std::vector<std::string>>(),
      "KEY.PATH=VALUE")("dtype", "float32, bfloat16, auto", cxxopts::value<std::string>(), "TYPE")(
      "device", "auto, cpu, cuda", cxxopts::value(arguments.device)->default_value("auto"), "NAME")(
      "bootstrap", "resamples behind ci95; 0: none", cxxopts::value(arguments.resamples)->default_value("1000"), "B")(
      "bootstrap-seed", "seed of the resamples", cxxopts::value(arguments.seed)->default_value("0"), "S");
  const auto parsed = parse_command_line(
      options, argc, argv,
      {"peft-eval --adapter runs/quickstart/lora --split test",
       "peft-eval --adapter runs/quickstart/lora/best --data examples/wordnet_gloss --predictions predictions.jsonl"});
  if (!parsed) return std::nullopt;
  if (parsed->count("adapter") == 0) throw ConfigError("--adapter DIR is missing");
  arguments.adapters = given_values(*parsed, "adapter");
  arguments.options = {.model = given<std::string>(*parsed, "model"),
                       .task = given<std::string>(*parsed, "task"),
                       .data = given<std::string>(*parsed, "data"),
                       .dtype = given<std::string>(*parsed, "dtype"),
                       .max_length = given<int64_t>(*parsed, "max-length"),
                       .sets = given_values(*parsed, "set")};
  arguments.predictions = given<std::string>(*parsed, "predictions");
  arguments.logits = given<std::string>(*parsed, "logits");
  check_choice("device", arguments.device, {"auto", "cpu", "cuda"});
  if (arguments.options.dtype) check_choice("dtype", *arguments.options.dtype, {"float32", "bfloat16", "auto"});
  if (arguments.options.max_length && *arguments.options.max_length < 1) {
    throw_error<ConfigError>("--max-length {}: expected at least 1", *arguments.options.max_length);
  }
  if (arguments.resamples < 0) throw_error<ConfigError>("--bootstrap {}: expected 0 or more", arguments.resamples);
  if (arguments.adapters.size() > 1 && (arguments.predictions || arguments.logits)) {
    throw_error<ConfigError>("--{}: one file for {} adapters; call peft-eval once for each",
                             arguments.predictions ? "predictions" : "logits", arguments.adapters.size());
  }
  return arguments;
}

}  // namespace peft
