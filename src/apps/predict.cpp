/// peft-predict: what adapters say of texts without labels, row by row.

#include <ATen/Parallel.h>
#include <unistd.h>

#include <chrono>
#include <functional>

#include "peft/base/cores.h"
#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/base/log.h"
#include "peft/base/progress.h"
#include "peft/objectives/objective.h"
#include "peft/train/evaluate.h"
#include "peft/train/interrupt.h"
#include "src/apps/main.h"
#include "src/apps/model_session.h"
#include "src/apps/predict_arguments.h"
#include "src/apps/predict_input.h"
#include "src/apps/predict_output.h"
#include "src/apps/waiting.h"

namespace peft {
namespace {

constexpr int64_t kRows =
    2048;  // held at a time: some packed batches, so that the last of them is not much of the work

using Sink = std::function<void(const std::string& text)>;

class Prediction {
 public:
  Prediction(const PredictArguments& arguments, PredictAdapters& adapters)
      : adapters_(adapters),
        input_(arguments.input, row_format(arguments, adapters), adapters.readings()),
        progress_("predict",
                  isatty(STDERR_FILENO) != 0 && is_text(arguments.format) ? count_lines(arguments.input) : 0) {
    for (const Predictor& predictor : adapters.predictors()) writers_.emplace_back(predictor.task);
  }

  void run(const Sink& sink) {
    const auto start = std::chrono::steady_clock::now();
    progress_.update(0);
    std::vector<std::string> ids;
    while (input_.next(kRows, ids)) {
      sink(rows(ids));
      progress_.update(input_.rows());
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    warn();
    log_info("{} texts in {:.1f} s, {:.0f} texts/s", input_.rows(), seconds,
             static_cast<double>(input_.rows()) / std::max(seconds, 1e-9));
  }

 private:
  /// csv and tsv as the run of the first adapter read them.
  static RowFormat row_format(const PredictArguments& arguments, PredictAdapters& adapters) {
    const DataConfig& data = adapters.predictors().front().folder.data;
    RowFormat format;
    format.file = arguments.format;
    if (format.file == FileFormat::csv) format.delimiter = data.delimiter.at(0);
    format.quoting = format.file == FileFormat::csv || (format.file == FileFormat::tsv && data.quoting == "csv");
    return format;
  }

  /// Every adapter answers the chunk in packed passes of its own; then row by row.
  std::string rows(const std::vector<std::string>& ids) {
    std::vector<std::string> lines;
    const bool several = writers_.size() > 1;
    for (const std::string& id : ids) lines.push_back("{\"id\": " + id + (several ? ", \"adapters\": {" : ", "));
    for (std::size_t a = 0; a < writers_.size(); ++a) {
      if (InterruptGuard::requested()) throw Error("stopped by a signal: the output was not written");
      Predictor& predictor = adapters_.predictors()[a];
      const EncodedSplit& split = adapters_.readings()[predictor.reading].split;
      check_types(predictor.network->model, split);
      const Objective& objective = objective_of(predictor.task);
      predictor.network->model.choose_head(predictor.loaded.head);  // the adapters of a network may have several
      const at::Tensor logits =
          split_logits(predictor.network->model, *predictor.loaded.method, 0, split, objective.logit_rows());
      const std::vector<Target> predictions = objective.predict({logits, {}}, split);
      const std::string name = (a == 0 ? "" : ", ") + Json(predictor.folder.name).dump() + ": ";
      for (std::size_t i = 0; i < lines.size(); ++i) {
        const auto example = static_cast<int64_t>(i);
        const std::string members = writers_[a].members(logits, split, example, predictions[i]);
        lines[i] += several ? name + "{" + members + "}" : members;
        predictor.nonfinite += is_hidden(predictions[i]) ? 1 : 0;
      }
    }
    std::string text;
    for (const std::string& line : lines) text += line + (several ? "}}\n" : "}\n");
    return text;
  }

  void warn() {
    for (const Reading& reading : adapters_.readings())
      if (reading.cut > 0)
        log_warning("{} of {} texts are longer than {} tokens and were cut", reading.cut, input_.rows(),
                    reading.lengths.max_length);
    for (Predictor& predictor : adapters_.predictors()) {
      predictor.loaded.method->end_evaluation();
      if (predictor.nonfinite > 0)
        log_warning("{}: {} rows have logits that are not finite", predictor.folder.name, predictor.nonfinite);
    }
  }

  PredictAdapters& adapters_;
  PredictInput input_;
  std::vector<AnswerWriter> writers_;
  Progress progress_;
};

int predict(int argc, char** argv) {
  const auto arguments = parse_predict_arguments(argc, argv);
  if (!arguments) return static_cast<int>(ExitCode::done);
  choose_waiting();
  at::set_num_threads(default_threads());
  PredictAdapters adapters(arguments->adapters, {.model = arguments->model,
                                                 .task = arguments->task,
                                                 .dtype = arguments->dtype,
                                                 .max_length = arguments->max_length,
                                                 .device = arguments->device});
  Prediction prediction(*arguments, adapters);
  if (!arguments->output) {
    prediction.run([](const std::string& text) { print_result(text); });
    return static_cast<int>(ExitCode::done);
  }
  const InterruptGuard guard;  // the temporary file is removed
  write_atomic(*arguments->output, [&](const std::function<void(std::span<const std::byte>)>& sink) {
    prediction.run([&](const std::string& text) { sink(std::as_bytes(std::span(text))); });
  });
  return static_cast<int>(ExitCode::done);
}

}  // namespace
}  // namespace peft

int main(int argc, char** argv) { return peft::run_program("peft-predict", argc, argv, peft::predict); }
