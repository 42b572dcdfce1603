#include "src/apps/predict_adapters.h"

#include <algorithm>
#include <set>

#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/objectives/objective.h"
#include "src/apps/model_session.h"

namespace peft {
namespace {

/// Where the tensors of a network lie: what replaces one moves it.
std::set<const void*> places(const Transformer& model) {
  std::set<const void*> all;
  for (const auto& [name, tensor] : model.named_tensors()) all.insert(tensor.const_data_ptr());
  return all;
}

/// The task where nobody tells it, as transformers takes it: one output is a score, others are classes, and a model's problem_type may
/// say that they make a set.
std::string task_of_head(const Predictor& predictor) {
  if (!predictor.folder.adapter) {
    const Json config = read_json_file<DataError>(predictor.folder.model / "config.json");
    const Json type = config.value("problem_type", Json());
    if (type == "multi_label_classification") return "multi_label";
    if (type == "regression") return "regression";
  }
  if (predictor.loaded.head == HeadKind::token) return "token_classification";
  if (predictor.loaded.head == HeadKind::span) return "span";
  return predictor.loaded.outputs == 1 ? "regression" : "classification";
}

/// Names of the classes: those beside the head's own values, else those of the run, else those of the task.
std::vector<std::string> labels_of(const Predictor& predictor, const TaskSpec& spec) {
  const std::string& name = predictor.folder.name;
  const auto outputs = static_cast<std::size_t>(predictor.loaded.outputs);
  for (const auto& labels : {predictor.loaded.labels, predictor.folder.data.labels, spec.labels}) {
    if (labels.empty()) continue;
    if (labels.size() == outputs) return labels;
    throw_error<DataError>("{}: {} labels for a head of {} outputs", name, labels.size(), outputs);
  }
  log_warning("{}: the names of its {} classes are not known: LABEL_0, LABEL_1, ... stand for them", name, outputs);
  std::vector<std::string> made_up;
  for (std::size_t i = 0; i < outputs; ++i) made_up.push_back(fmt::format("LABEL_{}", i));
  return made_up;
}

TaskInfo task_of(Predictor& predictor, const std::optional<std::string>& given) {
  TrainedFolder& trained = predictor.folder;
  std::string name = trained.task ? trained.task->name : task_of_head(predictor);
  if (given) static_cast<void>(resolve_task_name(*given));
  if (given && !names_task(*given, name)) {
    name = resolve_task_name(*given);
    trained.data = {};  // columns and labels were those of the other task
  }
  const TaskSpec& spec = task_registry().at(name);
  TaskInfo task{.name = name, .objective = spec.objective, .labels = {}, .metrics = {}};
  if (spec.has_classes()) task.labels = labels_of(predictor, spec);
  const Objective& objective = objective_of(task);
  if (objective.logit_rows() == LogitRows::target_tokens)
    throw_error<DataError>("{}: task {} gives texts, which peft-predict does not write", trained.name, task.name);
  if (objective.outputs(task) != predictor.loaded.outputs || objective.head() != predictor.loaded.head)
    throw_error<DataError>("{}: the head has {} outputs for {}, {} needs {} for {}; --task NAME chooses another task",
                           trained.name, predictor.loaded.outputs, task_type_of(predictor.loaded.head), task.name,
                           objective.outputs(task), task_type_of(objective.head()));
  return task;
}

}  // namespace

PredictAdapters::PredictAdapters(const std::vector<std::string>& folders, const PredictOptions& options) {
  for (const std::string& folder : folders) add(folder, options);
}

PredictAdapters::Network& PredictAdapters::network_of(const TrainedFolder& trained, const PredictOptions& options) {
  const std::string dtype = options.dtype.value_or(trained.dtype);
  std::error_code failed;  // a folder that is not there: the loader says so
  const std::string key = std::filesystem::weakly_canonical(trained.model, failed).string() + "\n" + dtype;
  const auto known =
      std::find_if(networks_.begin(), networks_.end(), [&](const Network& network) { return network.key == key; });
  if (known != networks_.end()) return *known;
  const at::Device device = choose_device(options.device, "--device");
  networks_.push_back({key, open_model({.path = trained.model.string(), .dtype = dtype}, device)});
  return networks_.back();
}

void PredictAdapters::add(const std::string& folder, const PredictOptions& options) {
  Predictor predictor{.folder = find_trained(folder, options.model)};
  const TrainedFolder& trained = predictor.folder;
  const std::size_t before = networks_.size();
  Network& network = network_of(trained, options);
  const bool shared = networks_.size() == before;
  Transformer& model = network.open.model;
  predictor.network = &network.open;
  const auto untouched = places(model);
  predictor.loaded =
      trained.adapter ? load_adapter(model, *trained.adapter, network.open.tokenizer.get()) : bare_model(model);
  if (places(model) != untouched) network.changed_by = folder;
  if (shared && !network.changed_by.empty())
    throw_error<ConfigError>("--adapter {}: it replaces tensors of {}; predict with it alone", network.changed_by,
                             trained.model.string());
  warn_of_another_model(trained, model);
  check_room(model, *predictor.loaded.method, folder);
  predictor.task = task_of(predictor, options.task);
  predictor.reading = reading_of(predictor, options);
  predictors_.push_back(std::move(predictor));
}

std::size_t PredictAdapters::reading_of(const Predictor& predictor, const PredictOptions& options) {
  const TrainedFolder& trained = predictor.folder;
  const int64_t longest = longest_text(predictor.network->model, *predictor.loaded.method);
  const std::optional<int64_t> chosen = options.max_length ? options.max_length
                                        : trained.task     ? std::optional(trained.task->max_length)
                                                           : std::nullopt;
  if (chosen.value_or(1) > longest)
    throw_error<ConfigError>("{}: max_length {}, the model has {} positions left for text; use --max-length {}",
                             trained.name, *chosen, longest, longest);
  const int64_t max_length = chosen.value_or(std::min(TaskConfig{}.max_length, longest));

  const Tokenizer* tokenizer = predictor.network->tokenizer.get();
  TaskTexts texts(task_registry().at(predictor.task.name), trained.data.columns);
  std::string key = fmt::format("{}\n{}\n{}\n{}", tokenizer->fingerprint(), predictor.task.name, max_length,
                                trained.task.value_or(TaskConfig{}).doc_stride);
  for (const std::string& column : texts.columns()) key += "\n" + column;
  const auto known =
      std::find_if(readings_.begin(), readings_.end(), [&](const Reading& reading) { return reading.key == key; });
  if (known != readings_.end()) return static_cast<std::size_t>(known - readings_.begin());
  TaskConfig lengths = trained.task.value_or(TaskConfig{});
  lengths.max_length = max_length;
  readings_.push_back({key, std::move(texts), tokenizer, lengths});
  return readings_.size() - 1;
}

}  // namespace peft
