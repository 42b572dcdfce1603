#pragma once
/// Text to token ids exactly as Hugging Face's tokenizers library gives them, from the files of a model folder.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace peft {

enum class Truncation { longest_first, only_first, only_second };

struct EncodeOptions {
  bool add_special_tokens = true;
  int64_t max_length = 0;  ///< special tokens counted; 0 = no limit
  Truncation truncation = Truncation::longest_first;
};

struct Encoding {
  std::vector<int32_t> ids;
  std::vector<int32_t> types;  ///< token type (segment) of each id
  int64_t lost_tokens = 0;     ///< content tokens cut by max_length
};

/// One loaded tokenizer. encode() is const and safe to call from several threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Reads tokenizer.json, else vocab.txt with tokenizer_config.json where present (docs/formats.md#tokenizer-files: a bare vocab.txt that
  /// says nothing about case is cased if a token outside [...] holds an ASCII capital). Throws DataError naming the file.
  static std::unique_ptr<Tokenizer> load(const std::filesystem::path& model_folder);

  /// Content ids of one text, without special tokens and without a limit (special tokens written out in the text become their ids,
  /// as in the reference). Appends to `ids`.
  virtual void encode_content(std::string_view text, std::vector<int32_t>& ids) const = 0;

  /// One text or a pair with the tokenizer's template, types and truncation (docs/tasks.md#encoding: as the fast tokenizers do). Throws
  /// DataError when only_first/only_second cannot make room.
  virtual Encoding encode(std::string_view text, std::optional<std::string_view> text_pair = std::nullopt,
                          const EncodeOptions& options = {}) const = 0;

  virtual int64_t size() const = 0;  ///< highest id + 1, added tokens included
  virtual std::optional<int32_t> token_to_id(std::string_view token) const = 0;
  virtual std::string_view id_to_token(int32_t id) const = 0;  ///< throws DataError when out of range
  virtual std::optional<int32_t> pad_id() const = 0;

  /// Hash of the files it was read from.
  virtual const std::string& fingerprint() const = 0;
};

}  // namespace peft
