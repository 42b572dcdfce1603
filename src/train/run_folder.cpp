#include "src/train/run_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/data/task.h"
#include "peft/interop/adapter_folder.h"
#include "peft/train/schedule.h"

namespace peft {

namespace fs = std::filesystem;

RunFolder::Descriptor::~Descriptor() {
  if (number >= 0) ::close(number);
}

namespace {

/// What a run makes besides config.json, which is there first and goes last.
constexpr std::array kResults{"log.jsonl", "best", "last", "predictions", "checkpoint"};

/// Removes what a killed process left of files and folders it was writing. An adapter folder that replace_folder had moved aside goes
/// back where the new one did not arrive.
void clear_leftovers(const fs::path& run) {
  std::vector<fs::path> leftovers{run / "best.new", run / "last.new", run / "checkpoint" / "next.safetensors"};
  for (const fs::path& folder : {run, run / "best", run / "last", run / "checkpoint", run / "predictions"}) {
    if (!fs::is_directory(folder)) continue;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with(".") && (name.ends_with(".tmp") || name.ends_with(".old")))
        leftovers.push_back(entry.path());
    }
  }
  for (const fs::path& path : leftovers) {
    const std::string name = path.filename().string();
    const fs::path target = run / (name.starts_with(".best.") ? "best" : name.starts_with(".last.") ? "last" : "");
    if (name.ends_with(".old") && !fs::exists(target)) {
      fs::rename(path, target);
    } else {
      fs::remove_all(path);
    }
  }
}

/// More steps, or more epochs where those decide.
bool asks_for_more(const TrainConfig& now, const TrainConfig& before) {
  if (now.max_steps > 0 && before.max_steps > 0) return now.max_steps > before.max_steps;
  return now.max_steps <= 0 && before.max_steps <= 0 && now.num_train_epochs > before.num_train_epochs;
}

}  // namespace

RunFolder::Found RunFolder::look() const {
  if (fs::exists(folder_ / "metrics.json")) return Found::finished;
  if (fs::exists(stopped())) return Found::stopped;
  return fs::exists(checkpoint()) || fs::exists(previous_checkpoint()) ? Found::checkpoint : Found::nothing;
}

RunFolder::RunFolder(fs::path folder, bool resume) : folder_(std::move(folder)) {
  if (fs::exists(folder_) && !fs::is_directory(folder_))
    throw_error<ConfigError>("output: {} is not a folder", folder_.string());
  found_ = look();
  for (const char* name : kResults) {  // not ours to clear away
    if (found_ == Found::nothing && fs::exists(folder_ / name) && !fs::exists(folder_ / "config.json")) {
      throw_error<ConfigError>("output: {} holds {} but no config.json of a run; choose another folder",
                               folder_.string(), name);
    }
  }
  const fs::path config = folder_ / "config.json";
  if (found_ == Found::nothing && !fs::exists(config)) return;
  if (resume) {
    if (!fs::exists(config))
      throw_error<ConfigError>(
          "{}: missing: nothing tells what this run was started with; put it back, or choose "
          "another folder for output",
          config.string());
    const Json stored = read_json_file<ConfigError>(config);
    if (found_ == Found::nothing && fs::exists(runtime())) {
      throw_error<DataError>(
          "{}: missing, and {} tells that this run was saved; put it back, or choose another folder "
          "for output",
          checkpoint().string(), runtime().filename().string());
    }
    if (found_ == Found::nothing && !(stored.is_object() && stored.contains("method") && stored.contains("task"))) {
      throw_error<ConfigError>("output: {} holds a config.json that is not of a run; choose another folder",
                               folder_.string());
    }
    return;
  }
  if (fs::exists(folder_ / ".lock")) const FolderLock unused(folder_);  // "in use" tells more than the advice to resume
  throw_error<ConfigError>("output: {} already holds a run; run again with --resume, or choose another folder",
                           folder_.string());
}

void RunFolder::open() {
  std::error_code failed;
  fs::create_directories(folder_, failed);
  if (failed) throw_error("{}: {}", folder_.string(), failed.message());
  lock_ = std::make_unique<FolderLock>(folder_);
  if (look() != (prolonged_ ? Found::finished : found_))
    throw_error("{}: another process changed the run while this one was loading", folder_.string());
  clear_leftovers(folder_);
  if (found_ != Found::nothing) return;
  if (fs::exists(folder_ / "config.json"))
    log_warning("{}: no checkpoint: the run starts from the beginning", folder_.string());
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) fs::remove(entry.path());
  }
  for (const char* name : kResults) fs::remove_all(folder_ / name);
  fs::remove(folder_ / "config.json");
}

void RunFolder::prolong() {
  found_ = fs::exists(checkpoint()) || fs::exists(previous_checkpoint()) ? Found::checkpoint : Found::nothing;
  if (found_ == Found::nothing)
    throw_error<DataError>("{}: missing: without it a finished run cannot be prolonged", checkpoint().string());
  prolonged_ = true;
}

void RunFolder::warn_of_losses() const {
  for (const char* name : {"best", "last"}) {
    const fs::path folder = folder_ / name;
    try {
      if (fs::exists(folder / "model.safetensors")) {
        read_model_folder(folder);
      } else {
        read_adapter(find_adapter(folder));
      }
    } catch (const Error& error) {
      log_warning("{}: finished before, but not all of it is there: {}", folder_.string(), error.what());
    }
  }
}

Json RunFolder::read_end(const char* name) const {
  const fs::path file = folder_ / name;
  const char* cure = "remove it, and --resume writes it again from the checkpoint";
  try {
    Json json = read_json_file<DataError>(file);
    if (json.is_object()) return json;
  } catch (const DataError& error) {
    throw_error<DataError>("{}; {}", error.what(), cure);
  }
  throw_error<DataError>("{}: not an object; {}", file.string(), cure);
}

bool RunFolder::check_config(RunConfig config) const {
  const fs::path file = folder_ / "config.json";
  // Keys that are newer than the file have their defaults.
  const RunConfig before = RunConfig::from_json(read_json_file<ConfigError>(file), file.string());
  const bool same_task = names_task(config.task.name, before.task.name);  // "rte" was resolved by its files
  config.task.name = same_task ? before.task.name : resolve_task_name(config.task.name);
  if (!config.data.on_bad_row) config.data.on_bad_row = before.data.on_bad_row;  // older versions wrote the default
  if (config.data.labels.empty()) config.data.labels = before.data.labels;
  if (!config.train.metric_for_best_model) config.train.metric_for_best_model = before.train.metric_for_best_model;
  const Json stored = before.to_json(changes_numbers), found = config.to_json(changes_numbers);
  const std::string key = first_difference(stored, found);
  if (key.empty()) return false;
  if (asks_for_more(config.train, before.train)) {
    RunConfig as_long = config;
    as_long.train.max_steps = before.train.max_steps;
    as_long.train.num_train_epochs = before.train.num_train_epochs;
    if (first_difference(stored, as_long.to_json(changes_numbers)).empty()) {
      if (Schedule::ignores_length(config.train)) return true;
      const fs::path last = folder_ / "last";
      throw_error<ConfigError>(
          "{}: {}: a run with train.lr_scheduler_type \"{}\"{} cannot be prolonged, because all its rates depend on "
          "its length; start a new run with method.init_from = \"{}\"",
          file.string(), key, config.train.lr_scheduler_type,
          config.train.lr_scheduler_type == "constant_with_warmup" ? " and train.warmup_ratio" : "",
          (fs::exists(last) ? last : folder_).string());
    }
  }
  const Json::json_pointer pointer("/" + [&] {
    std::string path = key;
    for (char& c : path) c = c == '.' ? '/' : c;
    return path;
  }());
  const auto shown = [&](const Json& json) { return json.contains(pointer) ? json[pointer].dump() : "nothing"; };
  throw_error<ConfigError>("{}: {}: the run was started with {}, found {}; it cannot go on with another value",
                           file.string(), key, shown(stored), shown(found));
}

void RunFolder::check_provenance(const RunConfig& config, const Json& provenance) const {
  if (found_ != Found::checkpoint) return;
  check_config(config);
  const fs::path file = folder_ / "config.json";
  const Json stored = read_json_file<ConfigError>(file).value("provenance", Json());
  for (const char* what : {"model", "tokenizer", "data"}) {
    if (stored.is_object() && stored.contains(what) && stored[what] != provenance.value(what, Json())) {
      throw_error<DataError>("{}: the {} files changed since the run was started; it cannot go on with others",
                             file.string(), what);
    }
  }
}

void RunFolder::write_config(const RunConfig& config, const Json& provenance) {
  Json complete = config.to_json();
  complete["provenance"] = provenance;
  if (prolonged_) fs::remove(folder_ / "metrics.json");
  write_atomic(folder_ / "config.json", to_pretty_string(complete));
}

void RunFolder::keep_best() const {
  if (!fs::exists(folder_ / "best")) return;
  fs::create_directories(kept_best().parent_path());
  fs::rename(folder_ / "best", kept_best());
}

void RunFolder::restore_best(bool wanted) const {
  if (!wanted) {
    fs::remove_all(folder_ / "best");
    fs::remove_all(kept_best());
  } else if (fs::exists(kept_best())) {
    replace_folder(kept_best(), folder_ / "best");
  }
}

void RunFolder::start_log(int64_t bytes, int64_t step) {
  const fs::path file = folder_ / "log.jsonl";
  std::error_code missing;
  const std::uintmax_t size = fs::file_size(file, missing), there = missing ? 0 : size;
  if (there < static_cast<std::uintmax_t>(bytes)) {
    log_warning("{}: found {} bytes, expected {}: not all lines up to step {} are there; the run goes on without them",
                file.string(), there, bytes, step);
    bytes = there == 0 ? 0 : static_cast<int64_t>(MappedFile(file).text().rfind('\n') + 1);
  }
  log_ = std::make_unique<Descriptor>(::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
  if (log_->number < 0 || ::ftruncate(log_->number, bytes) != 0 || ::lseek(log_->number, bytes, SEEK_SET) != bytes) {
    throw_error("{}: {}", file.string(), std::strerror(errno));
  }
  log_bytes_ = bytes;
  events_ = std::make_unique<EventWriter>(folder_, step + 1);
}

void RunFolder::log(const Json& line) {
  const std::string text = line.dump() + "\n";
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t n = ::write(log_->number, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_error("{}: {}", (folder_ / "log.jsonl").string(), std::strerror(errno));
    done += static_cast<std::size_t>(n);
  }
  log_bytes_ += static_cast<int64_t>(text.size());
  if (!line.contains("step")) return;
  for (const auto& [key, value] : line.items()) {
    if (!value.is_number() || key == "step") continue;
    const std::string tag =
        key.starts_with("eval_") ? "eval/" + key.substr(5) : "train/" + key;  // as transformers names them
    events_->add_scalar(tag, value.get<double>(), line["step"].get<int64_t>());
  }
}

void RunFolder::flush() { events_->flush(); }

}  // namespace peft
