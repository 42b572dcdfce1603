/// peft-eval: scores, predictions and logits of adapter folders, ours or peft's. One JSON object per adapter on stdout.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/data/report.h"
#include "peft/data/task.h"
#include "peft/objectives/objective.h"
#include "peft/train/evaluate.h"
#include "src/apps/eval_arguments.h"
#include "src/apps/eval_submission.h"
#include "src/apps/main.h"
#include "src/apps/merged_classes.h"
#include "src/apps/model_session.h"
#include "src/apps/waiting.h"
#include "src/apps/write_logits.h"

namespace peft {
namespace {

/// Model and rows must fit together: outputs of the head, positions, token types.
void check_fit(const ModelSession& session, TaskInfo task, const EncodedSplit& split, bool merged) {
  if (merged) task.labels = session.labels();
  const Objective& objective = objective_of(task);
  if (session.outputs() != objective.outputs(task)) {
    throw_error<DataError>("{}: the head has {} outputs, {} needs {}", session.origin(), session.outputs(), task.name,
                           objective.outputs(task));
  }
  if (session.outputs() > 0 && session.head() != objective.head())
    throw_error<DataError>("{}: the head is for {}, {} needs one for {}", session.origin(),
                           task_type_of(session.head()), task.name, task_type_of(objective.head()));
  check_targets(objective, split, session.model().spec(), session.virtual_tokens());
  if (split.longest_sequence() > session.longest_text()) {
    throw_error<ConfigError>(
        "task.max_length: a row of {} has {} tokens, the model has positions for {}; use --max-length {}", split.name,
        split.longest_sequence(), session.longest_text(), session.longest_text());
  }
  session.check_rows(split);
}

/// Rows of the head and classes of the data stand in one order: that of the task or of data.labels, else the head's own. A head without
/// names is left to evaluate_adapter(), which first looks whether it fits. Gives class of the head -> class of the task where the task joins
/// some of them.
std::optional<std::vector<int64_t>> choose_labels(ModelSession& session, EvalTarget& target) {
  if (session.labels().empty()) return std::nullopt;
  if (!outputs_from_file(target.task)) {
    const TaskSpec& spec = task_registry().at(target.task.name);
    auto merged = merged_classes(session.labels(), spec);
    if (!merged) session.order_labels(spec.labels);
    return merged;
  }
  if (target.data.labels.empty()) {
    target.data.labels = session.labels();
  } else {
    session.order_labels(target.data.labels);
  }
  return std::nullopt;
}

void add_scores(const Evaluation& evaluation, const EncodedSplit& split, const TaskInfo& task,
                const EvalArguments& arguments, nlohmann::ordered_json& report) {
  const Json metrics = evaluation_metrics(evaluation, split, task);
  for (const std::string& name : score_names(split, task)) report[name] = metrics.at("eval_" + name);
  if (arguments.resamples > 0)
    report["ci95"] = score_intervals(evaluation, split, task, arguments.resamples, arguments.seed);
  if (const Json majority = majority_scores(split, task); !majority.is_null()) report["majority"] = majority;
  report["loss"] = metrics.at("eval_loss");
  report["undefined"] = metrics.at("eval_undefined");
}

nlohmann::ordered_json evaluate_adapter(const std::string& folder, const EvalArguments& arguments,
                                        EvalSubmission* submission) {
  EvalTarget target = find_target(folder, arguments.options);
  if (submission != nullptr) take_official_rows(target.data);  // a submission answers them all
  target.task.name = resolve_task(target.task, target.data, {arguments.split});
  const std::string split_name = canonical_split(arguments.split, task_registry().at(target.task.name));
  ModelSession session(target.folder.model, target.folder.adapter, target.folder.dtype, arguments.device);
  warn_of_another_model(target.folder, session.model());
  if (arguments.options.max_length && target.task.max_length > session.longest_text()) {
    throw_error<ConfigError>("--max-length {}: expected 1 to {}, the positions left for text", target.task.max_length,
                             session.longest_text());
  }
  if (!target.length_chosen) target.task.max_length = std::min(target.task.max_length, session.longest_text());
  const auto merged = choose_labels(session, target);
  const Dataset dataset = load_dataset(target.task, target.data, session.tokenizer(), {split_name});
  const EncodedSplit* split = dataset.find(split_name);
  if (split == nullptr) throw_error<DataError>("{}: no {} split", target.task.data, split_name);
  check_fit(session, dataset.task, *split, merged.has_value());
  if (session.labels().empty()) session.order_labels(dataset.task.labels);  // with a warning

  const Evaluation evaluation =
      merged ? evaluate_merged(session.model(), session.method(), *split, dataset.task, session.labels(), *merged)
             : evaluate(session.model(), session.method(), 0, *split, dataset.task);
  if (evaluation.nonfinite > 0)
    log_warning("{}: {} examples have logits that are not finite", folder, evaluation.nonfinite);
  if (evaluation.collapsed) log_warning("{}: all {} examples are predicted alike", folder, split->size());
  if (arguments.predictions) write_predictions(*arguments.predictions, evaluation, *split, dataset.task);
  if (arguments.logits && !evaluation.logits.defined())
    throw_error<ConfigError>("--logits: {} has no logits of sequences", dataset.task.name);
  if (arguments.logits) write_logits(*arguments.logits, evaluation.logits);
  std::vector<std::string> written;
  if (submission != nullptr) written = submission->write(target, evaluation, *split, dataset.task);

  nlohmann::ordered_json report{{"adapter", folder},
                                {"model", target.folder.model.string()},
                                {"task", dataset.task.name},
                                {"split", split->name},
                                {"n", split->size()}};
  const Json policy = describe_policy(dataset);
  for (const auto& [key, value] : policy.items()) report[key] = value;
  if (split->hidden) {
    log_warning("{}: the labels of {} are hidden: predictions only", folder, split->name);
  } else {
    add_scores(evaluation, *split, dataset.task, arguments, report);
  }
  if (submission != nullptr) report["submission"] = written;
  report["invalid"] = report["nonfinite"] = evaluation.nonfinite;
  report["samples_per_second"] = static_cast<double>(split->size()) / std::max(evaluation.seconds, 1e-9);
  return report;
}

int eval(int argc, char** argv) {
  const auto arguments = parse_eval_arguments(argc, argv);
  if (!arguments) return static_cast<int>(ExitCode::done);
  if (arguments->validate) return validate_place(*arguments);
  choose_waiting();
  std::optional<EvalSubmission> submission;
  if (arguments->submission) submission.emplace(*arguments);
  for (const std::string& adapter : arguments->adapters)
    print_result(evaluate_adapter(adapter, *arguments, submission ? &*submission : nullptr).dump() + "\n");
  return submission ? submission->finish() : static_cast<int>(ExitCode::done);
}

}  // namespace
}  // namespace peft

int main(int argc, char** argv) { return peft::run_program("peft-eval", argc, argv, peft::eval); }
