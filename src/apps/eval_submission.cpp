#include "src/apps/eval_submission.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "peft/base/error.h"
#include "peft/base/hash.h"
#include "peft/base/log.h"
#include "peft/data/task.h"
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
  const fs::path place = (given / ".").lexically_normal().parent_path();  // without a slash at the end
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

SubmissionRow row_of(const Target& prediction, const EncodedSplit& split, int64_t example) {
  SubmissionRow row;
  const auto outer = split.example_outer_idx(example);
  *std::copy(outer.begin(), outer.end(), row.idx.begin()) = split.idx[example];
  const auto* id = std::get_if<int64_t>(&prediction);
  if (id != nullptr && !split.candidates.empty())
    row.prediction = split.candidates[split.first_sequence(example) + *id];
  if (id != nullptr && split.candidates.empty()) row.prediction = *id;
  if (const auto* score = std::get_if<double>(&prediction)) row.prediction = *score;
  return row;
}

/// Whether the example belongs to the file: all of them, or those of one part.
bool belongs(const SubmissionFile& file, const EncodedSplit& split, int64_t example) {
  return split.part_names.empty() || file.split == split.name + "_" + split.part_names[split.parts[example]];
}

std::vector<SubmissionRow> rows_of(const SubmissionFile& file, const Evaluation& evaluation,
                                   const EncodedSplit& split) {
  std::vector<SubmissionRow> rows;
  for (int64_t e = 0; e < split.size(); ++e)
    if (belongs(file, split, e)) rows.push_back(row_of(evaluation.predictions[e], split, e));
  return rows;
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
  std::vector<std::pair<const SubmissionFile*, std::string>> texts;
  std::vector<ManifestEntry> entries;
  for (const SubmissionFile* file : files_of(task.name)) {
    const std::vector<SubmissionRow> rows = rows_of(*file, evaluation, split);
    if (rows.empty()) continue;  // the dump lacks that part
    texts.emplace_back(file, submission_text(*file, rows, split.statistics.files.front()));
    entries.push_back({.run = run_of(target.folder).string(),
                       .adapter_hash = adapter_hash(target.folder),
                       .rows = static_cast<int64_t>(rows.size())});
  }
  std::vector<std::string> written;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    folder_->write(*texts[i].first, texts[i].second, entries[i]);
    written.push_back((fs::path(path_) / texts[i].first->name).string());
  }
  return written;
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
