#pragma once
/// `peft-tool inspect PATH [--json] [--tensors]`: what a safetensors file, a model, adapter or run folder holds.

namespace peft {

/// argv[0] is the name of the subcommand. A table, or with --json one JSON object, on stdout. Throws ConfigError for a bad command line,
/// DataError for a damaged file or a folder of no known kind.
int tool_inspect(int argc, char** argv);

}  // namespace peft
