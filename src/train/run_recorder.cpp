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

RunRecorder::Start FolderRecorder::open(const RunConfig& config, const Json& provenance, Bank& bank, int64_t k,
                                        int64_t step) {
  folder_.open();
  folder_.write_config(config, provenance);
  Start start;
  const fs::path checkpoint = folder_.found() == RunFolder::Found::checkpoint ? checkpoint_of(step) : fs::path();
  if (!checkpoint.empty()) {
    start.state = load_checkpoint(checkpoint, *bank.method, *bank.optimizer, k);
    if (fs::exists(folder_.runtime()))
      start.seconds = read_json_file<DataError>(folder_.runtime()).value("train_seconds", 0.0);
    log_info("{}: going on from step {}", config.output, start.state.step);
  }
  folder_.start_log(start.state.log_bytes, start.state.step);
  return start;
}

void FolderRecorder::save(JobState state, const Bank& bank, int64_t k, double seconds) {
  state.log_bytes = folder_.log_bytes();
  folder_.flush();
  const fs::path next = folder_.checkpoint().parent_path() / "next.safetensors";
  save_checkpoint(next, state, *bank.method, *bank.optimizer, k);
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
