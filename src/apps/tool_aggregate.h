#pragma once

namespace peft {

/// `peft-tool aggregate --benchmark NAME RUN...` (docs/tasks.md#aggregates): the mean over the tasks of a benchmark from the metrics.json of run
/// folders, as a table or with --json. argv[0] is the command's name. Returns the exit code; throws ConfigError and DataError.
int tool_aggregate(int argc, char** argv);

}  // namespace peft
