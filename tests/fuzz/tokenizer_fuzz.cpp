// Any bytes as a tokenizer's files and as text: the outcome is ids in range, with spans inside the text, that decode,
// or a DataError, never anything else. An input has parts divided by byte 0xFE, which no UTF-8 holds: tokenizer.json or
// vocab.txt, tokenizer_config.json, text, and where there are more special_tokens_map.json and added_tokens.json.
// Inputs to start from are in tokenizer_seeds.

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

void check_encoding(const peft::Encoding& encoding, const peft::Tokenizer& tokenizer, std::size_t longest) {
  check(encoding.ids.size() == encoding.types.size() && encoding.lost_tokens >= 0);
  for (const int32_t id : encoding.ids) check(id >= 0 && id < tokenizer.size());
  check(encoding.offsets.size() == encoding.ids.size());
  for (const peft::Span span : encoding.offsets)
    check(span.start >= 0 && span.start <= span.end && static_cast<std::size_t>(span.end) <= longest);
  for (const bool skip : {false, true}) {
    const peft::DecodeOptions options{.skip_special_tokens = skip, .clean_up_tokenization_spaces = skip};
    check(!peft::find_invalid_utf8(tokenizer.decode(encoding.ids, options)));
  }
}

void encode_all_ways(const peft::Tokenizer& tokenizer, std::string_view text) {
  const std::string_view half = text.substr(0, text.size() / 2);
  for (const auto truncation :
       {peft::Truncation::longest_first, peft::Truncation::only_first, peft::Truncation::only_second}) {
    for (const int64_t max_length : {0, 4, 7}) {
      for (const auto pair : {std::optional<std::string_view>(), std::optional(half)}) {
        try {
          peft::EncodeOptions options{.max_length = max_length, .truncation = truncation, .offsets = true};
          const auto encoding = tokenizer.encode(text, pair, options);
          check_encoding(encoding, tokenizer, text.size());
          options.offsets = false;
          check(tokenizer.encode(text, pair, options).ids == encoding.ids);
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
  const std::string_view text = take_part(rest);
  const std::string_view map = take_part(rest);
  const auto some = [](std::string_view part, const char* name) {
    return part.empty() ? std::nullopt : std::optional(peft::text::SourceText{part, name});
  };
  for (const bool json : {true, false}) {
    peft::text::TokenizerFiles files{.tokenizer_config = some(config, "config"),
                                     .special_tokens_map = some(map, "map"),
                                     .added_tokens = some(rest, "added")};
    (json ? files.tokenizer_json : files.vocab_txt) = peft::text::SourceText{file, "file"};
    try {
      const auto tokenizer = peft::text::make_pipeline(peft::text::read_tokenizer(files));
      for (int32_t id = 0; id < tokenizer->size(); ++id)
        check(tokenizer->token_to_id(tokenizer->id_to_token(id)) == id);
      encode_all_ways(*tokenizer, text);
    } catch (const peft::DataError&) {
      // the file was refused
    }
  }
  return 0;
}
