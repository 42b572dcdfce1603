#pragma once
/// `peft-tool merge ADAPTER_OR_RUN --output DIR [--model DIR]`: a whole model folder with the adapter folded into its weights.

namespace peft {

/// argv[0] is the name of the subcommand. Throws ConfigError for a bad command line, an output folder that already exists, and a method
/// that does not change weights; DataError for damaged files.
int tool_merge(int argc, char** argv);

}  // namespace peft
