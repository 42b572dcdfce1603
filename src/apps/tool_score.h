#pragma once

namespace peft {

/// `peft-tool score --metric NAME[,NAME...] --predictions FILE --references FILE [--groups FILE] [--num-classes N]
/// [--bootstrap B --bootstrap-seed S]` (docs/tasks.md#metrics): one JSON value per line in each file, one JSON object with the scores on
/// stdout. argv[0] is the command's name. Returns the exit code; throws ConfigError and DataError.
int tool_score(int argc, char** argv);

}  // namespace peft
