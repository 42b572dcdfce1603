#pragma once
/// `peft-tool data --task NAME --data PATH --model DIR`: what reading a task's files gives, as JSON.

namespace peft {

/// argv[0] is the name of the subcommand. Prints {task, policy, splits, fingerprint} (docs/tasks.md#reports-and-fingerprints). Throws
/// ConfigError for a bad command line, DataError for bad files.
int tool_data(int argc, char** argv);

}  // namespace peft
