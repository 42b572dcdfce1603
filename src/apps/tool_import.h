#pragma once
/// `peft-tool import FILE_OR_FOLDER... --output DIR`: an adapter folder from files that a method's authors released.

namespace peft {

/// argv[0] is the name of the subcommand. Knows the names of DePT's and ADePT's code, and prefix tables whose keys and values alternate
/// column by column (--interleaved). Safetensors only. Throws ConfigError for a bad command line or an output folder that is there
/// already, DataError for files of no known kind.
int tool_import(int argc, char** argv);

}  // namespace peft
