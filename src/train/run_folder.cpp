#include "src/train/run_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "peft/base/error.h"
#include "peft/data/task.h"

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
  for (const fs::path& folder : {run, run / "checkpoint", run / "predictions"}) {
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
    const Json stored = fs::exists(config) ? read_json_file<ConfigError>(config) : Json::object();
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
  if (look() != found_) throw_error("{}: another process changed the run while this one was loading", folder_.string());
  clear_leftovers(folder_);
  if (found_ != Found::nothing) return;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) fs::remove(entry.path());
  }
  for (const char* name : kResults) fs::remove_all(folder_ / name);
  fs::remove(folder_ / "config.json");
}

void RunFolder::check_config(RunConfig config) const {
  const fs::path file = folder_ / "config.json";
  // Keys that are newer than the file have their defaults.
  const RunConfig before = RunConfig::from_json(read_json_file<ConfigError>(file), file.string());
  config.task.name = resolve_task_name(config.task.name);
  if (config.data.labels.empty()) config.data.labels = before.data.labels;
  if (!config.train.metric_for_best_model) config.train.metric_for_best_model = before.train.metric_for_best_model;
  const Json stored = before.to_json(changes_numbers), found = config.to_json(changes_numbers);
  const std::string key = first_difference(stored, found);
  if (key.empty()) return;
  const Json::json_pointer pointer("/" + [&] {
    std::string path = key;
    for (char& c : path) c = c == '.' ? '/' : c;
    return path;
  }());
  const auto shown = [&](const Json& json) { return json.contains(pointer) ? json[pointer].dump() : "nothing"; };
  throw_error<ConfigError>("{}: {}: the run was started with {}, found {}; it cannot go on with another value",
                           file.string(), key, shown(stored), shown(found));
}

void RunFolder::write_config(const RunConfig& config, const Json& provenance) {
  Json complete = config.to_json();
  complete["provenance"] = provenance;
  const fs::path file = folder_ / "config.json";
  if (found_ == Found::checkpoint && fs::exists(file)) {
    check_config(config);
    const Json stored = read_json_file<ConfigError>(file);
    for (const char* what : {"model", "tokenizer", "data"}) {
      const Json before = stored.value("provenance", Json::object()).value(what, Json());
      if (!before.is_null() && before != provenance.value(what, Json())) {
        throw_error<DataError>("{}: the {} files changed since the run was started; it cannot go on with others",
                               file.string(), what);
      }
    }
  }
  write_atomic(file, to_pretty_string(complete));
}

void RunFolder::start_log(int64_t bytes, int64_t step) {
  const fs::path file = folder_ / "log.jsonl";
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
