#pragma once

namespace peft {

/// `peft-tool compare A B [C...] [--split S] [--metric M] [--bootstrap N] [--bootstrap-seed S]` (docs/tasks.md#comparing-runs): one JSON object
/// for each pair with A on stdout. argv[0] is the command's name. Returns the exit code; throws ConfigError and DataError.
int tool_compare(int argc, char** argv);

}  // namespace peft
