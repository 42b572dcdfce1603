#pragma once
/// Text to token ids and back, exactly as Hugging Face's libraries do it, from the files of a model folder.

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace peft {

/// What a tokenizer is read from, beside config.json.
inline constexpr std::array kTokenizerFiles{"tokenizer.json", "vocab.txt", "tokenizer_config.json",
                                            "special_tokens_map.json", "added_tokens.json"};

enum class Truncation { longest_first, only_first, only_second };

struct EncodeOptions {
  bool add_special_tokens = true;
  int64_t max_length = 0;  ///< special tokens counted; 0 = no limit
  Truncation truncation = Truncation::longest_first;
  bool offsets = false;  ///< fill Encoding::offsets
};

/// Part of a text, counted in code points, end excluded.
struct Span {
  int32_t start, end;
  bool operator==(const Span&) const = default;
};

struct Encoding {
  std::vector<int32_t> ids;
  std::vector<int32_t> types;  ///< token type (segment) of each id
  int64_t lost_tokens = 0;     ///< content tokens cut by max_length
  /// For each id the part of its text that it stands for; {0, 0} for special tokens. Those of a pair count in text_pair.
  std::vector<Span> offsets = {};
};

struct DecodeOptions {
  bool skip_special_tokens = false;
  std::optional<bool> clean_up_tokenization_spaces =
      {};  ///< absent = as tokenizer_config.json says, false where it says nothing
};

/// One loaded tokenizer. encode() is const and safe to call from several threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Reads what transformers' AutoTokenizer reads: tokenizer.json or vocab.txt, tokenizer_config.json, special_tokens_map.json,
  /// added_tokens.json, and the model type of config.json (docs/formats.md#tokenizer-files). Throws DataError naming the file, and the key that
  /// cannot be honoured.
  static std::unique_ptr<Tokenizer> load(const std::filesystem::path& model_folder);

  /// Content ids of one text, without special tokens and without a limit (special tokens written out in the text become their ids,
  /// as in the reference). Appends to `ids`.
  virtual void encode_content(std::string_view text, std::vector<int32_t>& ids) const = 0;

  /// One text or a pair with the tokenizer's template, types and truncation (docs/tasks.md#encoding: as the fast tokenizers do). Throws
  /// DataError when only_first/only_second cannot make room.
  virtual Encoding encode(std::string_view text, std::optional<std::string_view> text_pair = std::nullopt,
                          const EncodeOptions& options = {}) const = 0;

  /// The text of `ids`. Ids that are no token say nothing, as in the reference. This default puts a blank between the tokens, as a
  /// tokenizer without a decoder does, and knows no special tokens.
  virtual std::string decode(std::span<const int32_t> ids, const DecodeOptions& options = {}) const;

  virtual int64_t size() const = 0;  ///< highest id + 1, added tokens included
  virtual std::optional<int32_t> token_to_id(std::string_view token) const = 0;
  virtual std::string_view id_to_token(int32_t id) const = 0;  ///< throws DataError when out of range
  virtual std::optional<int32_t> pad_id() const = 0;

  /// Hash of the files it was read from.
  virtual const std::string& fingerprint() const = 0;
};

}  // namespace peft
