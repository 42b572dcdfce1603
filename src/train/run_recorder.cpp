#include "src/train/run_recorder.h"

#include "peft/base/log.h"

namespace peft {

namespace fs = std::filesystem;

int64_t FolderRecorder::saved_step() const {
  const auto file = fs::exists(folder_.checkpoint()) ? folder_.checkpoint() : folder_.previous_checkpoint();
  return fs::exists(file) ? checkpoint_step(file) : 0;
}

/// The checkpoint of that step; empty: the start.
fs::path FolderRecorder::checkpoint_of(int64_t step) const {
  const auto newest = folder_.checkpoint();
  auto previous = folder_.previous_checkpoint();
  if (!fs::exists(newest)) return previous;
  if (step == checkpoint_step(newest) || !fs::exists(previous)) return step == 0 ? "" : newest;
  return step == checkpoint_step(previous) ? previous : step == 0 ? "" : newest;
}

/// The counters to go on with. Throws before a step is made or a file changed where something of the run is missing.
JobState FolderRecorder::going_on(const SavedState& saved, const RunConfig& config, const Bank& bank,
                                  const Place& place) const {
  const bool ended = saved.state.step >= place.total_steps;
  const auto& patience = config.train.early_stopping_patience;
  const bool ended_early = patience && saved.state.evaluations_without_better >= *patience;
  if (folder_.is_prolonged() && !saved.of_longer_run && !ended_early) {
    throw_error<ConfigError>(
        "{}: an older version wrote this checkpoint, from which a finished run cannot be prolonged; start a new run "
        "with method.init_from = \"{}\"",
        folder_.checkpoint().string(), (folder_.path() / "last").string());
  }
  JobState state = !ended && saved.of_longer_run ? *saved.of_longer_run : saved.state;
  if (state.best_step < 0) return state;
  const fs::path best = !ended && fs::exists(folder_.kept_best()) ? folder_.kept_best() : folder_.path() / "best";
  try {
    AdapterStore::check(best, *bank.method);
  } catch (const Error& error) {
    throw_error<DataError>("{}; the run cannot go on without the best adapter so far, that of step {}", error.what(),
                           state.best_step);
  }
  return state;
}

/// What went before the checkpoint; 0 with a warning where nobody knows.
double read_seconds(const fs::path& file) {
  try {
    const Json runtime = read_json_file<DataError>(file);
    if (runtime.is_object() && runtime.contains("train_seconds") && runtime["train_seconds"].is_number())
      return runtime["train_seconds"].get<double>();
    log_warning("{}: no train_seconds: train_runtime counts from here", file.string());
  } catch (const DataError& error) {
    log_warning("{}: train_runtime counts from here", error.what());
  }
  return 0.0;
}

RunRecorder::Start FolderRecorder::open(const RunConfig& config, const Json& provenance, Bank& bank, int64_t k,
                                        const Place& place) {
  folder_.open();
  folder_.check_provenance(config, provenance);
  Start start;
  const fs::path checkpoint = folder_.found() == RunFolder::Found::checkpoint ? checkpoint_of(place.step) : fs::path();
  if (!checkpoint.empty()) {
    start.state = going_on(load_checkpoint(checkpoint, *bank.method, *bank.optimizer, k), config, bank, place);
    start.seconds = read_seconds(folder_.runtime());
    log_info("{}: going on from step {}", config.output, start.state.step);
  }
  folder_.write_config(config, provenance);
  if (start.state.step < place.total_steps) folder_.restore_best(start.state.best_step >= 0);
  folder_.start_log(start.state.log_bytes, start.state.step);
  return start;
}

void FolderRecorder::save(const SavedState& state, const Bank& bank, int64_t k, double seconds) {
  SavedState saved = state;
  saved.state.log_bytes = folder_.log_bytes();
  folder_.flush();
  const fs::path next = folder_.checkpoint().parent_path() / "next.safetensors";
  save_checkpoint(next, saved, *bank.method, *bank.optimizer, k);
  if (bank.method->adapters() > 1 && fs::exists(folder_.checkpoint()))
    fs::rename(folder_.checkpoint(), folder_.previous_checkpoint());
  fs::rename(next, folder_.checkpoint());
  write_atomic(folder_.runtime(), to_pretty_string({{"train_seconds", seconds}}));
}

void FolderRecorder::save_stop(int64_t step, const std::string& message) {
  write_atomic(folder_.stopped(), to_pretty_string({{"step", step}, {"message", message}}));
}

void FolderRecorder::save_metrics(const Json& metrics) {
  folder_.flush();
  fs::remove(folder_.previous_checkpoint());
  write_atomic(folder_.path() / "metrics.json", to_pretty_string(metrics));
}

}  // namespace peft
