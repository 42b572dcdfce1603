#include "src/apps/eval_submission.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "peft/base/error.h"
#include "peft/base/hash.h"
#include "peft/base/log.h"
#include "peft/submission/predictions.h"
#include "src/apps/main.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

/// The task's files. Throws ConfigError where no leaderboard has any.
std::vector<const SubmissionFile*> files_of(const std::string& task) {
  auto files = submission_files_of_task(task);
  if (!files.empty()) return files;
  std::string known;
  for (const SubmissionFile& file : submission_table())
    if (known.find(file.task) == std::string::npos) known += (known.empty() ? "" : ", ") + file.task;
  throw_error<ConfigError>("--submission: no leaderboard takes the task {}; expected one of {}", task, known);
}

/// The folder of the run, or of the adapter where it has none.
fs::path run_of(const TrainedFolder& folder) {
  const fs::path given = folder.adapter ? *folder.adapter : folder.model;
  fs::path place = (given / ".").lexically_normal().parent_path();  // without a slash at the end
  if (!folder.of_run) return place;
  return place.has_parent_path() ? place.parent_path() : fs::path(".");
}

/// Of the files that decide what it answers.
std::string adapter_hash(const TrainedFolder& folder) {
  std::vector<fs::path> files;
  if (folder.adapter) {
    files = {*folder.adapter / "adapter_config.json", *folder.adapter / "adapter_model.safetensors"};
  } else {
    files = {folder.model / "config.json"};
    for (const auto& entry : fs::directory_iterator(folder.model))
      if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
    std::sort(files.begin(), files.end());
  }
  Hasher hasher;
  for (const fs::path& file : files) hasher.add(file.filename().string()).add(hash_file(file));
  return hasher.hex();
}

/// Which rows are answered is not the user's to say.
void check_sets(const std::vector<std::string>& sets) {
  for (const std::string& set : sets)
    for (const char* key : {"data.split_", "data.limit", "data.k_shot", "data.dev_size", "data.stratify"})
      if (set.starts_with(key))
        throw_error<ConfigError>("--set {}: expected none of its kind: a submission answers the official test split",
                                 set);
}

/// Every failure is a line of its own on stderr.
int print_validation(const Validation& validation, nlohmann::ordered_json result) {
  for (const std::string& warning : validation.warnings) log_warning("{}", warning);
  for (const std::string& failure : validation.failures) fmt::print(stderr, "{}\n", failure);
  result["benchmark"] = validation.benchmark;
  result["files"] = validation.present;
  result["filled"] = validation.filled;
  result["compared_with_dump"] = validation.dumps;
  result["failures"] = validation.failures.size();
  result["warnings"] = validation.warnings.size();
  print_result(result.dump() + "\n");
  return static_cast<int>(validation.passed() ? ExitCode::done : ExitCode::data);
}

}  // namespace

EvalSubmission::EvalSubmission(const EvalArguments& arguments)
    : path_(*arguments.submission), fill_missing_(arguments.fill_missing) {
  check_sets(arguments.options.sets);
  std::string benchmark;
  std::map<std::string, std::string> adapters;  // by task
  for (const std::string& adapter : arguments.adapters) {
    const EvalTarget target = find_target(adapter, arguments.options);
    const std::string task = resolve_task(target.task, target.data, {"test"});
    const std::string of_task = files_of(task).front()->benchmark;
    if (!benchmark.empty() && of_task != benchmark)
      throw_error<ConfigError>("--submission {}: {} is a task of {}, and that of {} one of {}; expected one benchmark",
                               path_, task, benchmark_title(of_task), arguments.adapters.front(),
                               benchmark_title(benchmark));
    benchmark = of_task;
    if (const auto [other, fresh] = adapters.emplace(task, adapter); !fresh)
      throw_error<ConfigError>("--submission {}: {} and {} both answer {}; expected one adapter for each task", path_,
                               other->second, adapter, task);
    if (target.task.data.empty()) continue;  // data.files names the files
    for (fs::path& root : dump_roots(target.task.data)) roots_.push_back(std::move(root));
  }
  if (arguments.adapters.empty() && arguments.options.data) roots_ = dump_roots(*arguments.options.data);
  if (benchmark.empty()) benchmark = benchmark_of(path_);
  if (benchmark.empty())
    throw_error<ConfigError>(
        "{}: holds no file of GLUE or SuperGLUE, which would tell what to fill; expected --adapter", path_);
  folder_.emplace(path_, benchmark);
}

std::vector<std::string> EvalSubmission::write(const EvalTarget& target, const Evaluation& evaluation,
                                               const EncodedSplit& split, const TaskInfo& task) {
  struct Answered {
    const SubmissionFile* file;
    std::string text;
    int64_t rows;
  };
  std::vector<Answered> answered;  // all before the first is written
  for (const SubmissionFile* file : files_of(task.name)) {
    const auto rows = predicted_rows(*file, split, evaluation.predictions);
    if (rows.empty()) continue;
    answered.push_back(
        {file, submission_text(*file, rows, split.statistics.files.front()), static_cast<int64_t>(rows.size())});
  }
  ManifestEntry entry{.run = run_of(target.folder).string(), .adapter_hash = adapter_hash(target.folder)};
  std::vector<std::string> paths;
  for (const Answered& one : answered) {
    entry.rows = one.rows;
    folder_->write(*one.file, one.text, entry);
    paths.push_back((fs::path(path_) / one.file->name).string());
  }
  return paths;
}

int EvalSubmission::finish() {
  if (fill_missing_) folder_->fill_missing(roots_);
  const Validation validation = folder_->finish(roots_);
  const fs::path archive = fs::path(path_) / submission_zip_name;
  nlohmann::ordered_json result{{"submission", path_}, {"missing", folder_->missing()}, {"archive", nullptr}};
  if (path_exists(archive)) result["archive"] = archive.string();
  return print_validation(validation, std::move(result));
}

int validate_place(const EvalArguments& arguments) {
  const std::string& place = *arguments.validate;
  DumpRoots roots;
  if (arguments.options.data) {
    if (!path_exists(*arguments.options.data)) throw_error<DataError>("{}: no such folder", *arguments.options.data);
    roots = dump_roots(*arguments.options.data);
  }
  const Validation validation = validate_submission(place, roots);
  if (!roots.empty() && validation.dumps.empty())
    throw_error<DataError>("{}: no test file of a task of {}; expected folders such as RTE; found {}",
                           *arguments.options.data, benchmark_title(validation.benchmark),
                           describe_folder(roots.front()));
  return print_validation(validation, {{"validated", place}});
}

}  // namespace peft
