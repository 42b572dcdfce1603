#include <algorithm>
#include <array>
#include <limits>

#include "peft/base/error.h"
#include "src/text/added_token_list.h"
#include "src/text/tokenizer_files.h"
#include "src/text/wordpiece.h"

namespace peft::text {
namespace {

/// Special tokens in the order in which the reference adds them, with BERT's names.
struct SpecialName {
  const char* key;
  const char* usual;
  bool needed;  ///< by the model or the template; the others can be switched off with null
};
constexpr std::array<SpecialName, 5> kSpecialNames = {{{"unk_token", "[UNK]", true},
                                                       {"sep_token", "[SEP]", true},
                                                       {"pad_token", "[PAD]", false},
                                                       {"cls_token", "[CLS]", true},
                                                       {"mask_token", "[MASK]", false}}};

/// The rule for a vocabulary that says nothing about case: cased if a token outside [...] holds an ASCII capital.
bool looks_cased(const Vocabulary& vocabulary) {
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string& token = vocabulary.token(id);
    if (token.starts_with('[') && token.ends_with(']')) continue;
    if (std::any_of(token.begin(), token.end(), [](char c) { return c >= 'A' && c <= 'Z'; })) return true;
  }
  return false;
}

/// A string, or an object with `content` and flags.
AddedToken read_special_token(const JsonSection& section) {
  const auto flag = [&](const char* key) { return section.has(key) && section.at(key).boolean(); };
  if (!section.value().is_object()) return {.content = section.string(), .special = true};
  return {.content = section.at("content").string(),
          .single_word = flag("single_word"),
          .lstrip = flag("lstrip"),
          .rstrip = flag("rstrip"),
          .normalized = flag("normalized"),
          .special = true};
}

/// {"103": {"content": "[MASK]", ...}, ...}, in the order of the ids.
void add_decoder_tokens(const JsonSection& section, AddedTokenList& list) {
  std::vector<std::pair<int64_t, JsonSection>> items;
  if (!section.value().is_object()) section.fail("expected an object {\"id\": token}");
  for (const auto& [key, value] : section.value().get_ref<const Json::object_t&>()) {
    constexpr std::size_t max_digits = 9;
    if (key.empty() || key.size() > max_digits || key.find_first_not_of("0123456789") != std::string::npos)
      section.fail("\"" + key + "\", expected a token id");
    items.emplace_back(std::stoll(key), section.at(key));
  }
  std::stable_sort(items.begin(), items.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [id, item] : items) list.add(read_added_token(item), id, item);
}

/// The tokens that `config` names beside the five: a list, or an object {"name": token}.
void add_more_special_tokens(const JsonSection& section, AddedTokenList& list) {
  std::vector<JsonSection> items;
  if (section.value().is_object()) {
    for (const auto& [key, value] : section.value().get_ref<const Json::object_t&>()) items.push_back(section.at(key));
  } else {
    items = section.items();
  }
  for (const JsonSection& item : items) {
    AddedToken token = read_special_token(item);
    if (!list.contains(token.content)) list.add(std::move(token), std::nullopt, item);
  }
}

}  // namespace

TokenizerParts read_vocab_txt(const SourceText& file, const std::optional<SourceText>& config) {
  const Json json = config ? parse_data_json(config->text, config->origin) : Json::object();
  const JsonSection options(json, config ? config->origin : file.origin);

  const auto name_of = [&](const SpecialName& special) {
    const std::string name = special_token_name(options, special.key);
    return name.empty() ? std::string(special.usual) : name;
  };
  TokenizerParts parts;
  parts.model = make_wordpiece(Vocabulary::from_lines(file.text, file.origin), {.unk_token = name_of(kSpecialNames[0])},
                               file.origin);
  const Vocabulary& vocabulary = parts.model->vocabulary();

  BertNormalizerOptions bert;
  bert.lowercase = options.has("do_lower_case") ? options.at("do_lower_case").boolean() : !looks_cased(vocabulary);
  if (options.has("strip_accents")) bert.strip_accents = options.at("strip_accents").boolean();
  if (options.has("tokenize_chinese_chars")) bert.handle_chinese_chars = options.at("tokenize_chinese_chars").boolean();
  parts.normalizer = make_bert_normalizer(bert);
  parts.pre_tokenizer = make_bert_pre_tokenizer();

  AddedTokenList list(vocabulary);
  if (options.has("added_tokens_decoder")) add_decoder_tokens(options.at("added_tokens_decoder"), list);
  for (const SpecialName& special : kSpecialNames) {
    if (list.contains(name_of(special))) continue;
    if (options.has(special.key)) {
      const JsonSection section = options.at(special.key);
      list.add(read_special_token(section), std::nullopt, section);
    } else if ((special.needed || !json.contains(special.key)) && vocabulary.find(special.usual)) {
      list.add({.content = special.usual, .special = true}, std::nullopt, options);
    }
  }
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"})
    if (options.has(key)) add_more_special_tokens(options.at(key), list);

  const std::vector<AddedToken> added = list.take();
  const auto id_of = [&](const SpecialName& special) -> std::optional<int32_t> {
    for (const AddedToken& token : added)
      if (token.content == name_of(special)) return token.id;
    return std::nullopt;
  };
  const auto needed = [&](const SpecialName& special) {
    if (const auto id = id_of(special)) return *id;
    throw_error<DataError>("{}: {} \"{}\" is not in the vocabulary", file.origin, special.key, name_of(special));
  };
  parts.post_processor = bert_post_processor(needed(kSpecialNames[3]), needed(kSpecialNames[1]));
  parts.pad_id = id_of(kSpecialNames[2]);
  parts.added = std::make_unique<AddedTokens>(added, parts.normalizer.get(), file.origin);
  return parts;
}

}  // namespace peft::text
