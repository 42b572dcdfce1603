#pragma once
/// `peft-tool schema [SECTION] [--markdown]`: the run config described, for editors and for people.

namespace peft {

/// argv[0] is the name of the subcommand. JSON Schema of a run config or of one of its sections on stdout; with --markdown the reference
/// page (docs/configuration.md is that output). Throws ConfigError for a bad command line.
int tool_schema(int argc, char** argv);

}  // namespace peft
