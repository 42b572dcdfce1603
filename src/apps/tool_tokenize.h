#pragma once
/// `peft-tool tokenize --model DIR [--no-special-tokens]`: lines of stdin to token ids on stdout.

namespace peft {

/// argv[0] is the name of the subcommand. Lines are `text` or `text<TAB>text_pair`; they end at LF, a CR before it is dropped. Every
/// line gives one line of ids separated by blanks. Throws ConfigError for a bad command line, DataError for bad files and lines.
int tool_tokenize(int argc, char** argv);

}  // namespace peft
