/// peft-sweep: trains the runs that one sweep config stands for, many at a time on one backbone, and sums them up.

#include <algorithm>
#include <filesystem>

#include "peft/base/files.h"
#include "peft/base/log.h"
#include "peft/train/find_rate.h"
#include "peft/train/interrupt.h"
#include "peft/train/sweep.h"
#include "src/apps/main.h"
#include "src/apps/sweep_progress.h"
#include "src/apps/waiting.h"

namespace peft {
namespace {

namespace fs = std::filesystem;

struct SweepArguments {
  std::string config;
  std::vector<std::string> sets;
  bool resume = false, dry_run = false, find_rate = false;
  int64_t bank_size = 0;
};

std::optional<SweepArguments> parse(int argc, char** argv) {
  cxxopts::Options options("peft-sweep", "Trains every run of a sweep config, in banks on one backbone.");
  SweepArguments found;
  options.add_options()("config", "a run config with a section \"sweep\": key path -> list of values",
                        cxxopts::value<std::string>(),
                        "FILE")("set", "set a key of the config: VALUE is JSON, else a string; repeatable",
                                cxxopts::value<std::vector<std::string>>(), "KEY.PATH=VALUE")(
      "resume",
      "go on with the sweep in output: finished runs stay, others go on from their checkpoints, new ones start")(
      "bank-size",
      "runs that train together at most; default: as many as fill a step with 256 examples or 16,384 tokens",
      cxxopts::value<int64_t>(), "N")(
      "find-rate",
      "of a run config without \"sweep\": train it for 100 steps at ten learning rates from 1e-5 to 0.3, in one bank, "
      "print losses and scores and suggest one; in the folder OUTPUT-find-rate")(
      "dry-run",
      "print the runs and their banks, and how much memory and time they take (by a few steps on the real data); write "
      "nothing");
  const auto arguments =
      parse_command_line(options, argc, argv,
                         {"peft-sweep --config configs/quickstart/sweep.json --dry-run",
                          "peft-sweep --config configs/quickstart/sweep.json --set train.max_steps=100 --resume"});
  if (!arguments) return std::nullopt;
  if (arguments->count("config") != 1) throw ConfigError("--config FILE is required, once (see --help)");
  found.config = (*arguments)["config"].as<std::string>();
  for (const cxxopts::KeyValue& argument : arguments->arguments()) {
    if (argument.key() == "set") found.sets.push_back(argument.value());  // as given: cxxopts would split lists
  }
  found.resume = arguments->count("resume") > 0;
  found.find_rate = arguments->count("find-rate") > 0;
  found.dry_run = arguments->count("dry-run") > 0;
  if (const auto size = given<int64_t>(*arguments, "bank-size")) {
    if (*size < 1) throw_error<ConfigError>("--bank-size {}; expected at least 1", *size);
    found.bank_size = *size;
  }
  return found;
}

/// The sweep's folder is new, or --resume was given and it holds a sweep; no run folder is in the way of another sweep.
void check_folder(const SweepConfig& sweep, bool resume) {
  const fs::path folder = sweep.output;
  if (fs::exists(folder) && !fs::is_directory(folder))
    throw_error<ConfigError>("output: {} is not a folder", sweep.output);
  if (fs::exists(folder / "config.json")) throw_error<ConfigError>("output: {} is the folder of a run", sweep.output);
  if (resume && !fs::exists(folder / "sweep.json"))
    throw_error<ConfigError>("output: {} holds no sweep to go on with; start it without --resume", sweep.output);
  if (!resume && fs::exists(folder / "sweep.json"))
    throw_error<ConfigError>("output: {} already holds a sweep; run again with --resume, or choose another folder",
                             sweep.output);
}

/// As choose_waiting wants them: 0 where a run leaves the number open, else the largest.
int64_t most_threads(const SweepConfig& sweep) {
  int64_t most = 1;
  for (const SweepRun& run : sweep.runs) {
    if (run.config.train.num_threads == 0) return 0;
    most = std::max(most, run.config.train.num_threads);
  }
  return most;
}

void write_summary(const fs::path& folder, const SweepSummary& summary) {
  write_atomic(folder / "summary.md", summary.markdown());
  write_atomic(folder / "summary.csv", summary.csv());
}

/// Fills `outcomes`. Returns the error of the last bank that could not begin. The progress line is gone when it returns or throws.
std::optional<Error> train_banks(const SweepConfig& sweep, const std::vector<std::vector<std::size_t>>& banks,
                                 bool says_findings, std::vector<SweepOutcome>& outcomes) {
  SweepProgress progress(sweep.runs);
  std::optional<Error> refused;
  for (const auto& bank : banks) {
    std::vector<RunConfig> configs;
    for (const std::size_t i : bank) configs.push_back(sweep.runs[i].config);
    progress.begin_bank(bank);
    const auto on_progress = [&](double share, const std::string& /*note*/) { progress.update(share); };
    const auto on_evaluation = [&](std::size_t job, int64_t /*step*/, double score) {
      progress.note_score(bank[job], score);
      return Verdict::keep;
    };
    std::vector<JobResult> results;
    try {
      results = train_bank(
          configs,
          {.resume = true, .says_findings = says_findings, .progress = on_progress, .on_evaluation = on_evaluation});
    } catch (const Error& error) {
      // The model or the data refuse these runs; the others need not wait.
      if (error.code() != ExitCode::config && error.code() != ExitCode::data) throw;
      for (const std::size_t i : bank) outcomes[i].failure = error.what();
      if (refused) log_warning("{}", refused->what());
      refused = error;
      progress.end_bank();
      continue;
    }
    for (std::size_t j = 0; j < bank.size(); ++j) {
      if (results[j].code == ExitCode::interrupted)
        throw Error(fmt::format("{}: {} of {} runs finished; run again with --resume", sweep.output, progress.done(),
                                sweep.runs.size()),
                    ExitCode::interrupted);
      outcomes[bank[j]] = {results[j].metrics, results[j].message};
      if (results[j].code == ExitCode::guard) log_warning("{}", results[j].message);
      const Json& metrics = results[j].metrics;
      if (!metrics.is_object()) continue;
      const auto score = metrics.find("eval_" + metrics.value("best_metric", ""));
      if (score != metrics.end() && score->is_number()) progress.note_score(bank[j], score->get<double>());
    }
    progress.end_bank();
    write_summary(sweep.output, summarise(sweep.runs, outcomes));
  }
  return refused;
}

int sweep_main(int argc, char** argv) {
  const auto arguments = parse(argc, argv);
  if (!arguments) return 0;
  const bool find_rate = arguments->find_rate;
  const SweepConfig sweep = find_rate ? find_rate_sweep(arguments->config, arguments->sets)
                                      : SweepConfig::read(arguments->config, arguments->sets);
  const bool one_bank = find_rate && arguments->bank_size == 0;
  const auto banks = plan_banks(sweep.runs, one_bank ? static_cast<int64_t>(sweep.runs.size()) : arguments->bank_size);
  check_folder(sweep, arguments->resume);
  if (arguments->dry_run) {
    print_result(dry_run(sweep, banks));
    return 0;
  }
  choose_waiting(most_threads(sweep));
  static const auto& interrupts =
      *new InterruptGuard;  // never destroyed: signals are caught while the process exits, too
  static_cast<void>(interrupts);
  const fs::path folder = sweep.output;
  fs::create_directories(folder);
  const FolderLock lock(folder);
  check_runs(sweep.runs);
  write_atomic(folder / "sweep.json", to_pretty_string(sweep.json));

  std::vector<SweepOutcome> outcomes(sweep.runs.size());
  const std::optional<Error> refused = train_banks(sweep, banks, !find_rate, outcomes);
  const SweepSummary summary = summarise(sweep.runs, outcomes);
  if (refused) {
    write_summary(folder, summary);
    throw *refused;
  }
  std::string table = summary.markdown();
  if (find_rate) {
    table = find_rate_report(sweep, outcomes);
    write_atomic(folder / "summary.md", table);
  }
  print_result(table);
  const auto failed = [](const SweepOutcome& outcome) { return !outcome.failure.empty(); };
  if (std::all_of(outcomes.begin(), outcomes.end(), failed))
    throw Error(fmt::format("{}: every run was stopped by a guard", sweep.output), ExitCode::guard);
  return 0;
}

}  // namespace
}  // namespace peft

int main(int argc, char** argv) { return peft::run_program("peft-sweep", argc, argv, peft::sweep_main); }
