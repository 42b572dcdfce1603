// Any bytes as a tokenizer's files and as text: the outcome is ids in range or a DataError, never anything else.
// An input has three parts, parted by byte 0xFE, which no UTF-8 holds: tokenizer.json or vocab.txt,
// tokenizer_config.json, text. Inputs to start from are in tokenizer_seeds.

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <vector>

#include "peft/base/error.h"
#include "peft/text/utf8.h"
#include "src/text/tokenizer_files.h"

namespace {

std::string_view take_part(std::string_view& rest) {
  const std::size_t end = rest.find('\xFE');
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return part;
}

void check(bool holds) {
  if (!holds) std::abort();
}

void check_encoding(const peft::Encoding& encoding, const peft::Tokenizer& tokenizer) {
  check(encoding.ids.size() == encoding.types.size() && encoding.lost_tokens >= 0);
  for (const int32_t id : encoding.ids) check(id >= 0 && id < tokenizer.size());
}

void encode_all_ways(const peft::Tokenizer& tokenizer, std::string_view text) {
  const std::string_view half = text.substr(0, text.size() / 2);
  for (const auto truncation :
       {peft::Truncation::longest_first, peft::Truncation::only_first, peft::Truncation::only_second}) {
    for (const int64_t max_length : {0, 4, 7}) {
      for (const auto pair : {std::optional<std::string_view>(), std::optional(half)}) {
        try {
          const auto encoding = tokenizer.encode(text, pair, {.max_length = max_length, .truncation = truncation});
          check_encoding(encoding, tokenizer);
          check(max_length == 0 || static_cast<int64_t>(encoding.ids.size()) <= max_length);
        } catch (const peft::DataError&) {
          check(max_length != 0 || peft::find_invalid_utf8(text) || (pair && peft::find_invalid_utf8(*pair)));
        }
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const std::string_view file = take_part(rest);
  const std::string_view config = take_part(rest);
  const peft::text::SourceText source{file, "file"};
  const auto other = config.empty() ? std::nullopt : std::optional(peft::text::SourceText{config, "config"});
  for (const auto read : {peft::text::read_tokenizer_json, peft::text::read_vocab_txt}) {
    try {
      const auto tokenizer = peft::text::make_pipeline(read(source, other));
      for (int32_t id = 0; id < tokenizer->size(); ++id)
        check(tokenizer->token_to_id(tokenizer->id_to_token(id)) == id);
      encode_all_ways(*tokenizer, rest);
    } catch (const peft::DataError&) {
      // the file was refused
    }
  }
  return 0;
}
