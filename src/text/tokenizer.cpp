#include "peft/text/tokenizer.h"

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
  const fs::path path = model_folder / (json ? kTokenizerJson : kVocabTxt);
  const MappedFile file(path);
  const text::SourceText source{file.text(), path.string()};
  Hasher hasher;
  hasher.add(json ? kTokenizerJson : kVocabTxt).add(file.text());

  std::optional<MappedFile> config_file;
  std::optional<text::SourceText> config;
  if (const fs::path config_path = model_folder / kConfig; fs::exists(config_path, ignored)) {
    config_file.emplace(config_path);
    config = text::SourceText{config_file->text(), config_path.string()};
    hasher.add(kConfig).add(config_file->text());
  }
  text::TokenizerParts parts = json ? text::read_tokenizer_json(source, config) : text::read_vocab_txt(source, config);
  parts.fingerprint = hasher.hex();
  return text::make_pipeline(std::move(parts));
}

}  // namespace peft
