#include "src/apps/sweep_progress.h"

#include <fmt/format.h>

#include <filesystem>
#include <limits>

#include "peft/data/task.h"
#include "peft/metrics/metrics.h"

namespace peft {

SweepProgress::SweepProgress(const std::vector<SweepRun>& runs)
    : line_("sweep", static_cast<int64_t>(runs.size()), "runs") {
  for (const SweepRun& run : runs) {
    const std::string task = resolve_task_name(run.config.task.name);
    const std::filesystem::path folder = run.config.output;
    Run made;
    made.metric = run.config.train.metric_for_best_model.value_or(task_registry().at(task).metrics.front());
    made.same_scale = task + " " + made.metric;
    made.finished_before =
        std::filesystem::exists(folder / "metrics.json") || std::filesystem::exists(folder / "stopped.json");
    done_ += made.finished_before ? 1 : 0;
    runs_.push_back(std::move(made));
  }
}

void SweepProgress::begin_bank(const std::vector<std::size_t>& bank) {
  bank_ = bank;
  training_ = 0;
  for (const std::size_t i : bank) training_ += runs_[i].finished_before ? 0 : 1;
}

void SweepProgress::update(double share) { line_.update(done_, note(), share * static_cast<double>(training_)); }

void SweepProgress::note_score(std::size_t run, double score) {
  Run& noted = runs_[run];
  if (score >= std::numeric_limits<double>::max()) return;  // undefined
  const bool better = !noted.best || (lower_is_better(noted.metric) ? score < *noted.best : score > *noted.best);
  if (better) noted.best = score;
}

void SweepProgress::end_bank() {
  done_ += training_;
  training_ = 0;
}

std::string SweepProgress::note() const {
  const Run& current = runs_[bank_.front()];
  std::optional<double> best;
  for (const Run& run : runs_) {
    if (!run.best || run.same_scale != current.same_scale) continue;
    if (!best || (lower_is_better(run.metric) ? *run.best < *best : *run.best > *best)) best = run.best;
  }
  return best ? fmt::format("best {} {:.4f}", current.metric, *best) : "no score yet";
}

}  // namespace peft
