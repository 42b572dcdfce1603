/// peft-train: trains one run config.

#include <iostream>

#include "peft/base/error.h"
#include "peft/base/log.h"
#include "peft/train/interrupt.h"
#include "peft/train/trainer.h"
#include "src/apps/main.h"
#include "src/apps/waiting.h"

namespace peft {
namespace {

int train(int argc, char** argv) {
  cxxopts::Options options("peft-train",
                           "Trains a small module on a frozen pretrained transformer, as a JSON config says.");
  options.add_options()("config", "run config (keys: peft-tool schema, docs/configuration.md)",
                        cxxopts::value<std::string>(),
                        "FILE")("set", "set a key of the config: VALUE is JSON, else a string; repeatable",
                                cxxopts::value<std::vector<std::string>>(), "KEY.PATH=VALUE")(
      "resume",
      "go on with the run in output: from its checkpoint, from the start where it has none; a finished run ends at "
      "once, or goes on where --set train.max_steps or train.num_train_epochs is larger and the rate is constant")(
      "dry-run",
      "print what would be trained, how much memory and time it takes (by a few steps on the real data), and the whole "
      "config; write nothing");
  const auto arguments = parse_command_line(
      options, argc, argv,
      {"peft-train --config configs/quickstart/lora.json --dry-run",
       "peft-train --config configs/quickstart/lora.json --set train.max_steps=50 --set output=runs/lora-short"});
  if (!arguments) return 0;
  if (arguments->count("config") != 1) throw ConfigError("--config FILE is required, once (see --help)");
  std::vector<std::string> sets;  // as given: cxxopts would split a list at its commas
  for (const cxxopts::KeyValue& argument : arguments->arguments()) {
    if (argument.key() == "set") sets.push_back(argument.value());
  }
  const RunConfig config = RunConfig::read((*arguments)["config"].as<std::string>(), sets);
  choose_waiting(config.train.num_threads);
  if (arguments->count("dry-run") > 0) {
    std::cout << dry_run(config);
    return 0;
  }
  // Never destroyed: a run that has finished ends with 0, whatever comes while the process exits.
  static const auto& interrupts = *new InterruptGuard;
  static_cast<void>(interrupts);
  const bool resume = arguments->count("resume") > 0;
  if (resume && !holds_run(config))
    throw_error<ConfigError>("output: {} holds no run to go on with; start it without --resume", config.output);
  const JobResult result = train_bank({config}, {.resume = resume}).front();
  if (result.code != ExitCode::done) throw Error(result.message, result.code);
  std::cout << to_pretty_string(result.metrics);
  std::cout.flush();
  for (const Json& finding : result.metrics.value("findings", Json::array()))  // again, where the end is read
    log_warning("{}: {}: {}", config.output, finding.value("name", ""), finding.value("message", ""));
  return 0;
}

}  // namespace
}  // namespace peft

int main(int argc, char** argv) { return peft::run_program("peft-train", argc, argv, peft::train); }
