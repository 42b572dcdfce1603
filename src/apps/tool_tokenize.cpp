#include "src/apps/tool_tokenize.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "peft/base/error.h"
#include "peft/base/model_folder.h"
#include "peft/text/tokenizer.h"
#include "peft/text/utf8.h"
#include "src/apps/main.h"

namespace peft {
namespace {

/// What is wrong with the bytes of a line, or nothing.
std::optional<std::string> find_bad_byte(std::string_view line) {
  const auto invalid = find_invalid_utf8(line);
  const std::size_t nul = line.substr(0, invalid.value_or(line.size())).find('\0');
  if (nul != std::string_view::npos) return fmt::format("byte {}: NUL", nul + 1);
  return invalid ? std::optional(describe_invalid_utf8(line, *invalid)) : std::nullopt;
}

Encoding encode_line(const Tokenizer& tokenizer, std::string_view line, int64_t number, const EncodeOptions& options) {
  if (const auto bad = find_bad_byte(line)) throw_error<DataError>("stdin:{}: {}", number, *bad);
  const std::size_t tab = line.find('\t');
  if (tab == std::string_view::npos) return tokenizer.encode(line, std::nullopt, options);
  const std::string_view pair = line.substr(tab + 1);
  if (pair.find('\t') != std::string_view::npos)
    throw_error<DataError>("stdin:{}: more than one TAB, expected text or text<TAB>text_pair", number);
  return tokenizer.encode(line.substr(0, tab), pair, options);
}

void write_out(fmt::memory_buffer& buffer) {
  if (std::fwrite(buffer.data(), 1, buffer.size(), stdout) != buffer.size() || std::fflush(stdout) != 0)
    throw_error<Error>("stdout: {}", std::generic_category().message(errno));
  buffer.clear();
}

void tokenize_lines(const Tokenizer& tokenizer, const EncodeOptions& options) {
  constexpr std::size_t flush_at = 1 << 16;
  std::ios::sync_with_stdio(false);  // lets in_avail() tell whether a caller waits for answers to what it has sent
  fmt::memory_buffer buffer;
  std::string line;
  for (int64_t number = 1; std::getline(std::cin, line); ++number) {
    if (line.ends_with('\r') && !std::cin.eof()) line.pop_back();
    const Encoding encoding = encode_line(tokenizer, line, number, options);
    fmt::format_to(std::back_inserter(buffer), "{}\n", fmt::join(encoding.ids, " "));
    if (buffer.size() >= flush_at || std::cin.rdbuf()->in_avail() <= 0) write_out(buffer);
  }
  if (std::cin.bad()) throw Error("stdin: read error");
  write_out(buffer);
}

}  // namespace

int tool_tokenize(int argc, char** argv) {
  cxxopts::Options options("peft-tool tokenize", "Token ids of the lines of stdin: text, or text<TAB>text_pair");
  options.add_options()("model", "folder with tokenizer.json or vocab.txt", cxxopts::value<std::string>(), "DIR")(
      "no-special-tokens", "content only, without [CLS], [SEP] and their like");
  const auto parsed = parse_command_line(options, argc, argv,
                                         {"peft-tool tokenize --model models/minilm < texts.txt",
                                          "echo 'a text' | peft-tool tokenize --model models/minilm"});
  if (!parsed) return static_cast<int>(ExitCode::done);
  if (parsed->count("model") == 0) throw ConfigError("peft-tool tokenize: --model DIR is missing");
  const EncodeOptions encode_options{.add_special_tokens = parsed->count("no-special-tokens") == 0};
  const auto model = find_model_folder((*parsed)["model"].as<std::string>());
  tokenize_lines(*Tokenizer::load(model), encode_options);
  return static_cast<int>(ExitCode::done);
}

}  // namespace peft
