// Driver of tests/oracle/tokenizer_test.py: test-encode MODEL_FOLDER reads one request a line,
//   {"text": "...", "pair": "...", "special": true, "max_length": 16, "truncation": "longest_first", "offsets": false}
// with all but text optional, or
//   {"decode": [1, 2], "skip": false, "clean": true}
// with clean optional, and answers {"ids": [...], "types": [...], "lost": 0, "offsets": [[0, 1], ...]}, {"text": "..."}
// or
// {"error": "..."} a line.

#include <iostream>
#include <string>
#include <vector>

#include "peft/base/error.h"
#include "peft/base/json.h"
#include "peft/text/tokenizer.h"

namespace {

peft::Truncation truncation_of(const std::string& name) {
  if (name == "only_first") return peft::Truncation::only_first;
  if (name == "only_second") return peft::Truncation::only_second;
  return peft::Truncation::longest_first;
}

peft::Json answer(const peft::Tokenizer& tokenizer, const peft::Json& request) {
  if (request.contains("decode")) {
    peft::DecodeOptions options{.skip_special_tokens = request.value("skip", false)};
    if (request.contains("clean")) options.clean_up_tokenization_spaces = request.at("clean").get<bool>();
    return {{"text", tokenizer.decode(request.at("decode").get<std::vector<int32_t>>(), options)}};
  }
  peft::EncodeOptions options;
  options.add_special_tokens = request.value("special", true);
  options.max_length = request.value("max_length", int64_t{0});
  options.offsets = request.value("offsets", false);
  options.truncation = truncation_of(request.value("truncation", std::string()));
  const std::string text = request.at("text"), pair = request.value("pair", std::string());
  try {
    const auto encoding = tokenizer.encode(
        text, request.contains("pair") ? std::optional<std::string_view>(pair) : std::nullopt, options);
    peft::Json offsets = peft::Json::array();
    for (const peft::Span span : encoding.offsets) offsets.push_back({span.start, span.end});
    return {{"ids", encoding.ids}, {"types", encoding.types}, {"lost", encoding.lost_tokens}, {"offsets", offsets}};
  } catch (const peft::DataError& error) {
    return {{"error", error.what()}};
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: test-encode MODEL_FOLDER\n";
    return 2;
  }
  try {
    const auto tokenizer = peft::Tokenizer::load(argv[1]);
    std::string line;
    while (std::getline(std::cin, line)) std::cout << answer(*tokenizer, peft::Json::parse(line)).dump() << '\n';
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 3;
  }
}
