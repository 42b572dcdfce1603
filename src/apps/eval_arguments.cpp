#include "src/apps/eval_arguments.h"

#include "peft/base/error.h"
#include "src/apps/main.h"

namespace peft {
namespace {

void check_validate(const cxxopts::ParseResult& parsed) {
  for (const cxxopts::KeyValue& argument : parsed.arguments())
    if (argument.key() != "validate" && argument.key() != "data")
      throw_error<ConfigError>("--validate: found --{} beside it; expected --data alone", argument.key());
}

void check_submission(const cxxopts::ParseResult& parsed, EvalArguments& arguments) {
  if (arguments.fill_missing && !arguments.submission)
    throw ConfigError("--fill-missing: --submission DIR is missing: it names the folder to fill");
  if (!arguments.submission) return;
  if (parsed.count("split") == 0) arguments.split = "test";
  if (!arguments.split.starts_with("test"))  // or a part of it
    throw_error<ConfigError>("--split {}: expected test, whose rows a submission answers", arguments.split);
}

}  // namespace

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
      "submission", "folder for the task's file as the leaderboard of GLUE or SuperGLUE takes it",
      cxxopts::value<std::string>(),
      "DIR")("fill-missing", "with --submission: one constant prediction in the files that are missing",
             cxxopts::value(arguments.fill_missing))(
      "validate", "folder or submission.zip to check; --data ROOT: against the dumps in it",
      cxxopts::value<std::string>(),
      "PLACE")("max-length", "tokens of a text, special tokens included", cxxopts::value<int64_t>(), "N")(
      "set", "set a key of the sections task and data: VALUE is JSON, else a string; repeatable",
      cxxopts::value<std::vector<std::string>>(),
      "KEY.PATH=VALUE")("dtype", "float32, bfloat16, auto", cxxopts::value<std::string>(), "TYPE")(
      "device", "auto, cpu, cuda", cxxopts::value(arguments.device)->default_value("auto"), "NAME")(
      "bootstrap", "resamples behind ci95; 0: none", cxxopts::value(arguments.resamples)->default_value("1000"), "B")(
      "bootstrap-seed", "seed of the resamples", cxxopts::value(arguments.seed)->default_value("0"), "S");
  const auto parsed = parse_command_line(
      options, argc, argv,
      {"peft-eval --adapter runs/quickstart/lora --split test",
       "peft-eval --adapter runs/quickstart/lora/best --data examples/wordnet_gloss --predictions predictions.jsonl",
       "peft-eval --adapter runs/rte/best --adapter runs/cola/best --split test --submission glue-submission",
       "peft-eval --submission glue-submission --fill-missing --data glue_data",
       "peft-eval --validate glue-submission/submission.zip --data glue_data"});
  if (!parsed) return std::nullopt;
  arguments.validate = given<std::string>(*parsed, "validate");
  arguments.submission = given<std::string>(*parsed, "submission");
  if (arguments.validate) check_validate(*parsed);
  if (parsed->count("adapter") == 0 && !arguments.validate && !arguments.fill_missing)
    throw ConfigError("--adapter DIR is missing");
  arguments.adapters = given_values(*parsed, "adapter");
  arguments.options = {.model = given<std::string>(*parsed, "model"),
                       .task = given<std::string>(*parsed, "task"),
                       .data = given<std::string>(*parsed, "data"),
                       .dtype = given<std::string>(*parsed, "dtype"),
                       .max_length = given<int64_t>(*parsed, "max-length"),
                       .sets = given_values(*parsed, "set")};
  arguments.predictions = given<std::string>(*parsed, "predictions");
  arguments.logits = given<std::string>(*parsed, "logits");
  check_submission(*parsed, arguments);
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
