/// peft-eval: scores, predictions and logits of adapter folders, ours or peft's. One JSON object per adapter on stdout.

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/train/evaluate.h"
#include "src/apps/eval_target.h"
#include "src/apps/main.h"
#include "src/apps/model_session.h"
#include "src/apps/write_logits.h"

namespace peft {
namespace {

constexpr int64_t kResamples = 1000;  // tasks.md's default for an interval of one score

struct Arguments {
  std::vector<std::string> adapters;
  EvalOptions options;
  std::string split = "dev", device = "auto";
  std::optional<std::string> predictions, logits;
  int64_t resamples = kResamples;
  uint64_t seed = 0;
};

std::optional<Arguments> parse_arguments(int argc, char** argv) {
  Arguments arguments;
  cxxopts::Options options("peft-eval",
                           "Evaluates adapter folders; what is left out is taken from the run's config beside them");
  options.add_options()("adapter", "adapter or run folder; may be repeated", cxxopts::value<std::vector<std::string>>(),
                        "DIR")("model", "model folder", cxxopts::value<std::string>(), "DIR")(
      "task", "name of the task", cxxopts::value<std::string>(), "NAME")("data", "folder or file of the task",
                                                                         cxxopts::value<std::string>(), "PATH")(
      "split", "train, dev or test", cxxopts::value(arguments.split)->default_value("dev"), "NAME")(
      "predictions", "JSON Lines file to write", cxxopts::value<std::string>(), "FILE")(
      "logits", "safetensors file to write", cxxopts::value<std::string>(), "FILE")(
      "max-length", "tokens of a text, special tokens included", cxxopts::value<int64_t>(), "N")(
      "dtype", "float32, bfloat16, auto", cxxopts::value<std::string>(), "TYPE")(
      "device", "auto, cpu, cuda", cxxopts::value(arguments.device)->default_value("auto"), "NAME")(
      "bootstrap", "resamples behind ci95; 0: none",
      cxxopts::value(arguments.resamples)->default_value(std::to_string(kResamples)),
      "B")("bootstrap-seed", "seed of the resamples", cxxopts::value(arguments.seed)->default_value("0"), "S");
  const auto parsed = parse_command_line(options, argc, argv);
  if (!parsed) return std::nullopt;
  if (parsed->count("adapter") == 0) throw ConfigError("--adapter DIR is missing");
  for (const cxxopts::KeyValue& argument : parsed->arguments()) {  // as given: cxxopts would split a path at its commas
    if (argument.key() == "adapter") arguments.adapters.push_back(argument.value());
  }
  arguments.options = {.model = given<std::string>(*parsed, "model"),
                       .task = given<std::string>(*parsed, "task"),
                       .data = given<std::string>(*parsed, "data"),
                       .dtype = given<std::string>(*parsed, "dtype"),
                       .max_length = given<int64_t>(*parsed, "max-length")};
  arguments.predictions = given<std::string>(*parsed, "predictions");
  arguments.logits = given<std::string>(*parsed, "logits");
  arguments.split = canonical_split(arguments.split);
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

/// Model and rows must fit together: outputs of the head, positions, token types.
void check_fit(const ModelSession& session, const EvalTarget& target, const TaskInfo& task, const EncodedSplit& split) {
  if (session.outputs() != task.outputs()) {
    throw_error<DataError>("{}: the head has {} outputs, {} needs {}",
                           (target.adapter ? *target.adapter : target.model).string(), session.outputs(), task.name,
                           task.outputs());
  }
  if (split.longest() > session.longest_text()) {
    throw_error<ConfigError>(
        "task.max_length: a row of {} has {} tokens, the model has positions for {}; use --max-length {}", split.name,
        split.longest(), session.longest_text(), session.longest_text());
  }
  session.check_rows(split);
}

void add_scores(const Evaluation& evaluation, const EncodedSplit& split, const TaskInfo& task,
                const Arguments& arguments, nlohmann::ordered_json& report) {
  const Json metrics = evaluation_metrics(evaluation, split, task);
  nlohmann::ordered_json intervals;
  const Scored values = scored(evaluation, split, task);
  for (const std::string& name : task.metrics) {
    report[name] = metrics.at("eval_" + name);
    if (arguments.resamples == 0) continue;
    const Interval interval = bootstrap_interval(name, values, arguments.resamples, arguments.seed);
    intervals[name] = {interval.low, interval.high};
  }
  if (arguments.resamples > 0) report["ci95"] = intervals;
  report["loss"] = metrics.at("eval_loss");
  report["undefined"] = metrics.at("eval_undefined");
}

nlohmann::ordered_json evaluate_adapter(const std::string& folder, const Arguments& arguments) {
  EvalTarget target = find_target(folder, arguments.options);
  ModelSession session(target.model, target.adapter, target.dtype, arguments.device);
  if (arguments.options.max_length && target.task.max_length > session.longest_text()) {
    throw_error<ConfigError>("--max-length {}: expected 1 to {}, the positions left for text", target.task.max_length,
                             session.longest_text());
  }
  if (!target.length_chosen) target.task.max_length = std::min(target.task.max_length, session.longest_text());
  const Dataset dataset = load_dataset(target.task, target.data, session.tokenizer(), {arguments.split});
  const EncodedSplit* split = dataset.find(arguments.split);
  if (split == nullptr) throw_error<DataError>("{}: no {} split", target.task.data, arguments.split);
  check_fit(session, target, dataset.task, *split);

  const Evaluation evaluation = evaluate(session.model(), session.method(), 0, *split, dataset.task);
  if (evaluation.nonfinite > 0)
    log_warning("{}: {} rows have logits that are no finite numbers", folder, evaluation.nonfinite);
  if (evaluation.collapsed) log_warning("{}: one class is predicted for all {} rows", folder, split->size());
  if (arguments.predictions) write_predictions(*arguments.predictions, evaluation, *split, dataset.task);
  if (arguments.logits) write_logits(*arguments.logits, evaluation.logits);

  nlohmann::ordered_json report{{"adapter", folder},
                                {"model", target.model.string()},
                                {"task", dataset.task.name},
                                {"split", split->name},
                                {"n", split->size()}};
  if (split->hidden) {
    log_warning("{}: the labels of {} are hidden: predictions only", folder, split->name);
  } else {
    add_scores(evaluation, *split, dataset.task, arguments, report);
  }
  report["invalid"] = report["nonfinite"] = evaluation.nonfinite;
  report["samples_per_second"] = static_cast<double>(split->size()) / std::max(evaluation.seconds, 1e-9);
  return report;
}

int eval(int argc, char** argv) {
  const auto arguments = parse_arguments(argc, argv);
  if (!arguments) return static_cast<int>(ExitCode::done);
  for (const std::string& adapter : arguments->adapters)
    fmt::print("{}\n", evaluate_adapter(adapter, *arguments).dump());
  return static_cast<int>(ExitCode::done);
}

}  // namespace
}  // namespace peft

int main(int argc, char** argv) { return peft::run_program("peft-eval", argc, argv, peft::eval); }
