#include "peft/text/tokenizer.h"

#include <algorithm>
#include <array>
#include <deque>

#include "peft/base/error.h"
#include "peft/base/files.h"
#include "peft/base/hash.h"
#include "src/text/tokenizer_files.h"

namespace fs = std::filesystem;

namespace peft {
namespace {

constexpr const char* kTokenizerJson = "tokenizer.json";
constexpr const char* kVocabTxt = "vocab.txt";
constexpr const char* kConfig = "tokenizer_config.json";
constexpr const char* kSpecialTokensMap = "special_tokens_map.json";
constexpr const char* kModelConfig = "config.json";

/// special_tokens_map.json mostly repeats tokenizer_config.json.
bool repeats(const std::optional<text::SourceText>& map, const std::optional<text::SourceText>& config) {
  if (!map || !config) return false;
  const Json said = text::parse_data_json(config->text, config->origin),
             again = text::parse_data_json(map->text, map->origin);
  const auto items = again.items();
  return std::all_of(items.begin(), items.end(), [&](const auto& item) {
    return said.is_object() && said.value(item.key(), Json()) == item.value();
  });
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::load(const fs::path& model_folder) {
  std::error_code ignored;
  if (!fs::is_directory(model_folder, ignored))
    throw_error<DataError>("{}: no such folder, expected a model folder with {} or {}", model_folder.string(),
                           kTokenizerJson, kVocabTxt);
  const bool json = fs::exists(model_folder / kTokenizerJson, ignored);
  if (!json && !fs::exists(model_folder / kVocabTxt, ignored)) {
    throw_error<DataError>("{}: neither {} nor {}; the folder holds {}", model_folder.string(), kTokenizerJson,
                           kVocabTxt, describe_folder(model_folder));
  }
  text::TokenizerFiles files;
  const std::array<std::pair<const char*, std::optional<text::SourceText>*>, 5> read = {
      {{json ? kTokenizerJson : kVocabTxt, json ? &files.tokenizer_json : &files.vocab_txt},
       {kConfig, &files.tokenizer_config},
       {kSpecialTokensMap, &files.special_tokens_map},
       {"added_tokens.json", &files.added_tokens},
       {kModelConfig, &files.model_config}}};
  std::deque<MappedFile> mapped;
  Hasher hasher;
  for (const auto& [name, file] : read) {
    const fs::path path = model_folder / name;
    if (!fs::exists(path, ignored)) continue;
    *file = text::SourceText{mapped.emplace_back(path).text(), path.string()};
    // The model's own file has its own fingerprint. A file that says nothing new leaves the fingerprint of older runs
    // as it was.
    if (name == kModelConfig || (name == kSpecialTokensMap && repeats(*file, files.tokenizer_config))) continue;
    hasher.add(name).add((*file)->text);
  }
  text::TokenizerParts parts = text::read_tokenizer(files);
  parts.fingerprint = hasher.hex();
  return text::make_pipeline(std::move(parts));
}

std::string Tokenizer::decode(std::span<const int32_t> ids, const DecodeOptions& /*options*/) const {
  std::string text;
  for (const int32_t id : ids) {
    if (id < 0 || id >= size()) continue;
    if (!text.empty()) text += ' ';
    text += id_to_token(id);
  }
  return text;
}

}  // namespace peft
