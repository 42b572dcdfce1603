#pragma once
/// `peft-tool logits --model DIR [--adapter DIR] [--dtype ...] [--max-length N] --input FILE --output FILE.safetensors`: the raw logits
/// of texts, for comparisons with other programs.

namespace peft {

/// argv[0] is the name of the subcommand. FILE is JSON Lines with `text` and, optionally, `text_pair`. The output holds float32 `logits`
/// [rows, N] in the order of the file and int64 `cu_seqlens` [rows + 1] (one row per example). Throws ConfigError for a bad command
/// line, DataError for bad folders and lines, as for a text longer than the model's positions where --max-length does not cut it.
int tool_logits(int argc, char** argv);

}  // namespace peft
