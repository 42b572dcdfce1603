#pragma once
/// A tokenizer whose texts are lists of ids.

#include <sstream>
#include <string>
#include <vector>

#include "peft/text/tokenizer.h"

namespace peft {

/// Words "1", "2", ... are the ids 1, 2, ...; special tokens 21 in front and 22 behind.
class NumberTokenizer : public Tokenizer {
 public:
  void encode_content(std::string_view text, std::vector<int32_t>& ids) const override {
    std::istringstream words{std::string(text)};
    for (int32_t id; words >> id;) ids.push_back(id);
  }
  Encoding encode(std::string_view text, std::optional<std::string_view>, const EncodeOptions&) const override {
    Encoding encoding{.ids = {21}, .types = {}, .lost_tokens = 0};
    encode_content(text, encoding.ids);
    encoding.ids.push_back(22);
    encoding.types.assign(encoding.ids.size(), 0);
    return encoding;
  }
  int64_t size() const override { return 23; }
  std::optional<int32_t> token_to_id(std::string_view) const override { return std::nullopt; }
  std::string_view id_to_token(int32_t) const override { return ""; }
  std::optional<int32_t> pad_id() const override { return 0; }
  const std::string& fingerprint() const override { return fingerprint_; }

 private:
  std::string fingerprint_ = "numbers";
};

}  // namespace peft
