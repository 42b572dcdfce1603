#include "src/apps/tool_logits.h"

#include <fmt/format.h>

#include "peft/base/error.h"
#include "peft/data/rows.h"
#include "peft/train/evaluate.h"
#include "src/apps/main.h"
#include "src/apps/model_session.h"
#include "src/apps/waiting.h"
#include "src/apps/write_logits.h"

namespace peft {
namespace {

/// A text of the row, or nothing where `optional` and absent or null.
std::optional<std::string_view> text_of(const Cell& cell, const char* key, bool optional, const std::string& where) {
  if (cell.kind == Cell::Kind::text) return cell.text;
  if (optional && (cell.kind == Cell::Kind::missing || cell.kind == Cell::Kind::null)) return std::nullopt;
  throw_error<DataError>("{}: {}: found {}, expected a string", where, key,
                         cell.kind == Cell::Kind::missing ? "nothing" : kind_name(cell.kind));
}

/// `max_length` 0: texts are not cut, and one longer than the model's positions is an error.
EncodedSplit read_texts(const std::string& file, const ModelSession& session, int64_t max_length) {
  BadRows bad(file, {});
  RowFormat format;
  format.file = FileFormat::jsonl;
  const auto rows = open_rows(file, format, {{"text", false}, {"text_pair", false}}, bad);
  EncodedSplit split;
  split.name = "input";
  split.hidden = true;
  split.statistics.files = {file};
  for (Row row; rows->next(row);) {
    const std::string where = fmt::format("{}:{}", file, row.line);
    const auto text = text_of(row.cells[0], "text", false, where);
    const Encoding encoding =
        session.tokenizer().encode(*text, text_of(row.cells[1], "text_pair", true, where), {.max_length = max_length});
    const auto length = static_cast<int64_t>(encoding.ids.size());
    if (length > session.longest_text()) {
      throw_error<DataError>("{}: {} tokens, the model has positions for {}; --max-length {} cuts longer texts", where,
                             length, session.longest_text(), session.longest_text());
    }
    split.add_sequence(encoding.ids, encoding.types);
    split.end_example({}, row.number);
  }
  bad.finish(rows->rows());
  if (split.size() == 0) throw_error<DataError>("{}: no examples", file);
  session.check_rows(split);
  return split;
}

}  // namespace

int tool_logits(int argc, char** argv) {
  cxxopts::Options options("peft-tool logits", "Raw logits of the texts of a JSON Lines file");
  std::string dtype, device;
  options.add_options()("model", "model folder", cxxopts::value<std::string>(), "DIR")(
      "adapter", "adapter or run folder on it", cxxopts::value<std::string>(), "DIR")(
      "dtype", "of weights and activations: float32, bfloat16, auto", cxxopts::value(dtype)->default_value("float32"),
      "TYPE")("device", "auto, cpu, cuda", cxxopts::value(device)->default_value("cpu"), "NAME")(
      "input", "JSON Lines with text and, optionally, text_pair", cxxopts::value<std::string>(), "FILE")(
      "output", "safetensors file for logits and cu_seqlens", cxxopts::value<std::string>(), "FILE")(
      "max-length", "cut longer texts to N tokens, special tokens included", cxxopts::value<int64_t>(), "N");
  const auto parsed = parse_command_line(
      options, argc, argv,
      {"peft-tool logits --model models/minilm --adapter runs/quickstart/lora --input texts.jsonl --output "
       "logits.safetensors"});
  if (!parsed) return static_cast<int>(ExitCode::done);
  for (const char* required : {"model", "input", "output"}) {
    if (parsed->count(required) == 0) throw_error<ConfigError>("peft-tool logits: --{} is missing", required);
  }
  check_choice("dtype", dtype, {"float32", "bfloat16", "auto"});
  check_choice("device", device, {"auto", "cpu", "cuda"});

  choose_waiting();
  const auto adapter = given<std::string>(*parsed, "adapter");
  ModelSession session((*parsed)["model"].as<std::string>(), adapter, dtype, device);
  const auto max_length = given<int64_t>(*parsed, "max-length");
  if (max_length && (*max_length < 1 || *max_length > session.longest_text())) {
    throw_error<ConfigError>("--max-length {}: expected 1 to {}, the positions left for text", *max_length,
                             session.longest_text());
  }
  if (session.head() != HeadKind::sequence)
    throw_error<ConfigError>("peft-tool logits: {}: the head gives outputs of tokens; peft-eval --logits writes them",
                             session.origin());
  const EncodedSplit split = read_texts((*parsed)["input"].as<std::string>(), session, max_length.value_or(0));
  const at::Tensor logits = split_logits(session.model(), session.method(), 0, split);
  session.method().end_evaluation();  // warns where it has to
  write_logits((*parsed)["output"].as<std::string>(), logits);
  return static_cast<int>(ExitCode::done);
}

}  // namespace peft
