#include <algorithm>
#include <limits>

#include "src/text/added_token_list.h"
#include "src/text/tokenizer_files.h"
#include "src/text/wordpiece.h"

namespace peft::text {
namespace {

/// Files of old libraries leave the type out; WordPiece is known by the key that it alone has.
std::string model_type(const JsonSection& model) {
  if (model.has("type")) return model.at("type").string();
  if (model.has("max_input_chars_per_word")) return "WordPiece";
  model.fail("key \"type\" is missing (supported: WordPiece)");
}

std::optional<int32_t> find_pad(const JsonSection& top, const std::optional<SourceText>& config,
                                const std::vector<AddedToken>& added, const Vocabulary& vocabulary) {
  std::string name;
  if (config) {
    const Json json = parse_data_json(config->text, config->origin);
    name = special_token_name(JsonSection(json, config->origin), "pad_token");
  }
  if (name.empty() && top.has("padding") && top.at("padding").has("pad_token"))
    name = top.at("padding").at("pad_token").string();
  if (name.empty()) name = "[PAD]";
  for (const AddedToken& token : added)
    if (token.content == name) return token.id;
  return vocabulary.find(name);
}

}  // namespace

std::string special_token_name(const JsonSection& config, const std::string& name) {
  if (!config.has(name)) return {};
  const JsonSection token = config.at(name);
  return token.value().is_object() ? token.at("content").string() : token.string();
}

TokenizerParts read_tokenizer_json(const SourceText& file, const std::optional<SourceText>& config) {
  const Json json = parse_data_json(file.text, file.origin);
  const JsonSection top(json, file.origin);
  const JsonSection model = top.at("model");
  const std::string type = model_type(model);
  if (type != "WordPiece") model.fail("type \"" + type + "\" is not supported (supported: WordPiece)");

  TokenizerParts parts;
  if (top.has("normalizer")) parts.normalizer = make_normalizer(top.at("normalizer"));
  parts.pre_tokenizer =
      top.has("pre_tokenizer") ? make_pre_tokenizer(top.at("pre_tokenizer")) : make_no_pre_tokenizer();
  parts.model = make_wordpiece(model, file.origin);
  const Vocabulary& vocabulary = parts.model->vocabulary();

  AddedTokenList list(vocabulary);
  if (top.has("added_tokens")) {
    for (const JsonSection& item : top.at("added_tokens").items()) {
      const int64_t id = item.at("id").integer(0, std::numeric_limits<int32_t>::max());
      list.add(read_added_token(item), id, item);
    }
  }
  std::vector<AddedToken> added = list.take();
  const int64_t size =
      vocabulary.size() + static_cast<int64_t>(std::count_if(added.begin(), added.end(), [&](const AddedToken& token) {
        return token.id >= vocabulary.size();
      }));
  if (top.has("post_processor")) parts.post_processor = make_post_processor(top.at("post_processor"), size);
  parts.pad_id = find_pad(top, config, added, vocabulary);
  parts.added = std::make_unique<AddedTokens>(std::move(added), parts.normalizer.get(), file.origin);
  return parts;
}

}  // namespace peft::text
