#include "src/text/special_tokens.h"

#include <algorithm>
#include <limits>

#include "src/text/added_token_list.h"

namespace peft::text {
namespace {

constexpr auto kExtra = "extra_special_tokens", kOldExtra = "additional_special_tokens";

bool flag(const JsonSection& section, const char* key, bool otherwise = false) {
  return section.has(key) ? section.at(key).boolean() : otherwise;
}

/// An object with `content` and flags that may be left out.
AddedToken read_flags(const JsonSection& section, bool special) {
  return {.content = section.at("content").string(),
          .single_word = flag(section, "single_word"),
          .lstrip = flag(section, "lstrip"),
          .rstrip = flag(section, "rstrip"),
          .normalized = flag(section, "normalized", !special),
          .special = special};
}

/// A string, or an object.
AddedToken read_special(const JsonSection& section) {
  if (section.value().is_object()) return read_flags(section, true);
  return {.content = section.string(), .special = true};
}

/// The keys of an object, in alphabetical order.
std::vector<std::string> keys_of(const JsonSection& section) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : section.object().items()) keys.push_back(key);
  return keys;
}

bool is_named(const std::string& key) {
  return std::find(kNamedTokens.begin(), kNamedTokens.end(), key) != kNamedTokens.end();
}

/// Collects what the files say about named and extra tokens; a later file overrides.
class NamedTokens {
 public:
  void read(const JsonSection& file) {
    for (const std::string& key : keys_of(file)) {
      const Json& value = file.at(key).value();
      if (is_named(key) || (key.ends_with("_token") && (value.is_string() || value.is_object())))
        sections_.insert_or_assign(key, file.at(key));
    }
  }

  /// Tokens under one key: a list, or an object {"name": token} of further named ones.
  void read_extra(const JsonSection& section) {
    if (section.value().is_object()) {
      for (const std::string& key : keys_of(section)) sections_.insert_or_assign(key, section.at(key));
      return;
    }
    for (const JsonSection& item : section.items()) {
      // transformers writes its type beside a token that may be no special one
      const bool special = !item.value().is_object() || !item.has("__type") || flag(item, "special");
      AddedToken token = special ? read_special(item) : read_flags(item, false);
      const auto same = [&](const AddedToken& other) { return other.content == token.content; };
      if (std::none_of(extra.begin(), extra.end(), same)) extra.push_back(std::move(token));
    }
  }

  /// The token under `key`, unless a file has said something about it.
  void add_usual(const std::string& key, const JsonSection& section) {
    if (section.has(key)) sections_.emplace(key, section.at(key));
  }

  /// The named ones with those of the class.
  std::vector<SpecialTokens::Named> take(const TokenizerClass* type) const {
    std::vector<SpecialTokens::Named> named;
    for (std::size_t i = 0; i < kNamedTokens.size(); ++i) {
      const char* usual = type != nullptr ? type->usual[i] : nullptr;
      if (const auto found = sections_.find(kNamedTokens[i]); found != sections_.end()) {
        named.push_back(read(found->first, found->second));
      } else if (usual != nullptr) {
        named.push_back({kNamedTokens[i], AddedToken{.content = usual, .special = true}, true});
      }
    }
    for (const auto& [key, section] : sections_)
      if (!is_named(key)) named.push_back(read(key, section));
    return named;
  }

  /// Does a file call this token special?
  bool contains(const std::string& content) const {
    const auto says = [&](const auto& entry) {
      return is_named(entry.first) && !entry.second.value().is_null() && read_special(entry.second).content == content;
    };
    return std::any_of(sections_.begin(), sections_.end(), says) ||
           std::any_of(extra.begin(), extra.end(), [&](const AddedToken& token) { return token.content == content; });
  }

  std::vector<AddedToken> extra;

 private:
  static SpecialTokens::Named read(const std::string& key, const JsonSection& section) {
    if (section.value().is_null()) return {key, std::nullopt};
    return {key, read_special(section)};
  }

  std::map<std::string, JsonSection> sections_;
};

/// {"103": {"content": "[MASK]", ...}, ...}
void read_decoder(const JsonSection& section, const std::set<std::string>& named, SpecialTokens& out) {
  for (const std::string& key : keys_of(section)) {
    constexpr std::size_t max_digits = 9;
    if (key.empty() || key.size() > max_digits || key.find_first_not_of("0123456789") != std::string::npos)
      section.fail("\"" + key + "\", expected a token id");
    const JsonSection item = section.at(key);
    const bool special = flag(item, "special") || named.contains(item.at("content").string());
    if (!out.listed.emplace(std::stoll(key), SpecialTokens::Listed{read_flags(item, special), item}).second)
      section.fail("\"" + key + "\" is there twice");
  }
}

int64_t read_id(const JsonSection& section) { return section.integer(0, std::numeric_limits<int32_t>::max()); }

}  // namespace

const SpecialTokens::Named* SpecialTokens::find(const std::string& key) const {
  const auto found = std::find_if(named.begin(), named.end(), [&](const Named& token) { return token.key == key; });
  return found == named.end() ? nullptr : &*found;
}

SpecialTokens read_special_tokens(const SpecialTokenFiles& files, const TokenizerClass* type) {
  const auto& [config, map, added, tokenizer] = files;
  NamedTokens named;
  named.read(config);
  const bool listed_alone = config.contains("added_tokens_decoder");
  // The old key counts where the new one says nothing. An empty new one still keeps the other file's old one out.
  bool old_may_speak = !config.contains(kExtra) && !config.contains(kOldExtra);
  if (config.has(kExtra) && !config.at(kExtra).value().empty()) {
    old_may_speak = config.at(kExtra).value().is_object();
    named.read_extra(config.at(kExtra));
  } else if (config.has(kOldExtra)) {
    old_may_speak = config.at(kOldExtra).value().is_object();
    named.read_extra(config.at(kOldExtra));
  }
  if (!listed_alone) {
    named.read(map);
    if (map.has(kExtra)) {
      old_may_speak = map.at(kExtra).value().is_object();
      named.read_extra(map.at(kExtra));
    }
  }
  SpecialTokens out;
  if (!listed_alone) {
    for (const std::string& content : keys_of(added)) {
      const bool special = named.contains(content);
      const int64_t id = read_id(added.at(content));
      AddedToken token{.content = content, .normalized = !special, .special = special};
      if (!out.listed.emplace(id, SpecialTokens::Listed{std::move(token), added.at(content)}).second)
        added.at(content).fail(fmt::format("id {} is there twice", id));
    }
    if (map.has(kOldExtra) && old_may_speak) named.read_extra(map.at(kOldExtra));
  }
  if (type == nullptr && tokenizer.has("padding")) named.add_usual("pad_token", tokenizer.at("padding"));
  out.named = named.take(type);
  out.extra = named.extra;

  std::set<std::string> contents;
  for (const auto& token : out.named)
    if (token.token) contents.insert(token.token->content);
  if (listed_alone) {
    read_decoder(config.at("added_tokens_decoder"), contents, out);
    return out;
  }
  if (tokenizer.has("added_tokens")) {
    std::map<int64_t, SpecialTokens::Listed> own;  // they count, where added_tokens.json has the same ids
    for (const JsonSection& item : tokenizer.at("added_tokens").items()) {
      const int64_t id = read_id(item.at("id"));
      const auto [place, is_new] = own.emplace(id, SpecialTokens::Listed{read_added_token(item), item});
      if (is_new) continue;
      const std::string &content = item.at("content").string(), &before = place->second.token.content;
      item.fail(content == before ? fmt::format("token \"{}\" is there twice", content)
                                  : fmt::format("token \"{}\" has id {}, as token \"{}\"", content, id, before));
    }
    own.merge(out.listed);
    out.listed = std::move(own);
  }
  for (auto& [id, listed] : out.listed) listed.token.special |= contents.contains(listed.token.content);
  return out;
}

}  // namespace peft::text
