#include "src/text/tokenizer_files.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "peft/base/error.h"
#include "src/text/added_token_list.h"
#include "src/text/models/wordpiece.h"
#include "src/text/special_tokens.h"
#include "src/text/tokenizer_class.h"
#include "src/text/vocabulary.h"

namespace peft::text {
namespace {

/// A JSON file, {} where absent.
class JsonFile {
 public:
  explicit JsonFile(const std::optional<SourceText>& file)
      : json_(file ? parse_data_json(file->text, file->origin) : Json::object()),
        section_(json_, file ? file->origin : std::string()) {}
  JsonFile(const JsonFile&) = delete;
  JsonFile& operator=(const JsonFile&) = delete;

  const JsonSection& top() const { return section_; }

 private:
  Json json_;
  JsonSection section_;
};

/// The rule for a vocabulary that says nothing about case: cased if a token outside [...] holds an ASCII capital.
bool looks_cased(const Vocabulary& vocabulary) {
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string& token = vocabulary.token(id);
    if (token.starts_with('[') && token.ends_with(']')) continue;
    if (std::any_of(token.begin(), token.end(), [](char c) { return c >= 'A' && c <= 'Z'; })) return true;
  }
  return false;
}

bool flag(const JsonSection& section, const char* key, bool otherwise = false) {
  return section.has(key) ? section.at(key).boolean() : otherwise;
}

/// "left" or "right", in small letters or, as tokenizer.json has it, with a capital.
bool is_left(const JsonSection& section) {
  const std::string& side = section.string();
  if (side == "left" || side == "Left") return true;
  if (side != "right" && side != "Right") section.fail("found \"" + side + "\", expected left or right");
  return false;
}

class Reader {
 public:
  explicit Reader(const TokenizerFiles& files)
      : files_(files),
        tokenizer_(files.tokenizer_json),
        config_(files.tokenizer_config),
        map_(files.special_tokens_map),
        added_(files.added_tokens),
        model_(files.model_config),
        choice_(choose_class(config_.top(), model_.top())),
        origin_((files.tokenizer_json ? files.tokenizer_json : files.vocab_txt)->origin) {}

  TokenizerParts read() {
    const JsonSection& config = config_.top();
    const bool as_is = choice_.type == nullptr && files_.tokenizer_json;
    if (choice_.type == nullptr && !choice_.name.empty() && !as_is)
      throw_error<DataError>("{}: class {} reads tokenizer.json, which is missing", origin_, choice_.name);
    const bool nothing_names_a_class = choice_.type == nullptr && !as_is;
    const TokenizerClass* type = nothing_names_a_class ? tokenizer_classes().find("BertTokenizer") : choice_.type;

    special_ = read_special_tokens({config, map_.top(), added_.top(), tokenizer_.top()}, type);
    if (as_is) {
      read_sections();
    } else {
      build_sections(nothing_names_a_class);
    }
    AddedTokenList list = add_tokens(as_is, nothing_names_a_class);
    parts_.pad_id = find_pad(list);
    if (as_is) {
      const JsonSection& top = tokenizer_.top();
      if (top.has("post_processor")) parts_.post_processor = make_post_processor(top.at("post_processor"), list.size());
    } else {
      parts_.post_processor = type->post_processor(template_id("cls_token", type->cls_id, list),
                                                   template_id("sep_token", type->sep_id, list));
    }
    std::vector<AddedToken> added = list.take();
    if (flag(config, "split_special_tokens"))
      for (AddedToken& token : added) token.unsplit = is_special(added, token.content);
    parts_.added = std::make_unique<AddedTokens>(std::move(added), parts_.normalizer.get(), origin_);
    parts_.clean_up_spaces = flag(config, "clean_up_tokenization_spaces");
    const JsonSection& top = tokenizer_.top();
    if (config.has("truncation_side")) {
      parts_.truncate_left = is_left(config.at("truncation_side"));
    } else if (top.has("truncation") && top.at("truncation").has("direction")) {
      parts_.truncate_left = is_left(top.at("truncation").at("direction"));
    }
    return std::move(parts_);
  }

 private:
  /// tokenizer.json as it is.
  void read_sections() {
    const JsonSection& top = tokenizer_.top();
    parts_.model = make_model(top.at("model"));
    if (top.has("normalizer")) parts_.normalizer = make_normalizer(top.at("normalizer"));
    parts_.pre_tokenizer =
        top.has("pre_tokenizer") ? make_pre_tokenizer(top.at("pre_tokenizer")) : make_no_pre_tokenizer();
    if (top.has("decoder")) parts_.decoder = make_decoder(top.at("decoder"));
  }

  /// The sections that a class makes anew.
  void build_sections(bool guess_case) {
    const JsonSection& config = config_.top();
    const SpecialTokens::Named& unknown = *special_.find("unk_token");
    if (!unknown.token) config.at("unk_token").fail("is null, expected a token");
    Vocabulary vocabulary = files_.tokenizer_json ? Vocabulary::from_json(tokenizer_.top().at("model").at("vocab"))
                                                  : Vocabulary::from_lines(files_.vocab_txt->text, origin_);
    parts_.model = make_wordpiece(std::move(vocabulary), {.unk_token = unknown.token->content}, origin_);
    BertNormalizerOptions bert;
    bert.lowercase = flag(config, "do_lower_case", !guess_case || !looks_cased(parts_.model->vocabulary()));
    if (config.has("strip_accents")) bert.strip_accents = config.at("strip_accents").boolean();
    bert.handle_chinese_chars = flag(config, "tokenize_chinese_chars", true);
    parts_.normalizer = make_bert_normalizer(bert);
    parts_.pre_tokenizer = make_bert_pre_tokenizer();
    parts_.decoder = make_wordpiece_decoder();
  }

  AddedTokenList add_tokens(bool as_is, bool usual_may_lack) {
    const Vocabulary& vocabulary = parts_.model->vocabulary();
    AddedTokenList list(vocabulary);
    if (as_is && tokenizer_.top().has("added_tokens")) {
      for (const JsonSection& item : tokenizer_.top().at("added_tokens").items())
        list.add(read_added_token(item), item.at("id").integer(0, std::numeric_limits<int32_t>::max()), item);
    }
    for (const auto& [id, listed] : special_.listed) {
      if (as_is) {
        list.add_or_update(listed.token, id, listed.section);
      } else {
        list.add(listed.token, id, listed.section);
      }
    }
    // As in the reference, a token that the lists lack may be named twice: the flags of the last one count, unless it
    // repeats one.
    const AddedTokenList listed = list;
    std::vector<AddedToken> done;
    const auto add_missing = [&](const AddedToken& token) {
      if (listed.contains(token.content) || std::find(done.begin(), done.end(), token) != done.end()) return;
      list.add_or_update(token, std::nullopt, config_.top());
      done.push_back(token);
    };
    for (const SpecialTokens::Named& named : special_.named) {
      if (!named.token || (usual_may_lack && named.usual && !vocabulary.find(named.token->content))) continue;
      add_missing(*named.token);
    }
    for (const AddedToken& token : special_.extra) add_missing(token);
    return list;
  }

  int32_t template_id(const char* key, int32_t switched_off, const AddedTokenList& list) const {
    const auto& token = special_.find(key)->token;
    if (token) {
      if (const auto id = list.id_of(token->content)) return *id;
      throw_error<DataError>("{}: {} \"{}\" is not in the vocabulary", origin_, key, token->content);
    }
    if (switched_off < list.size()) return switched_off;
    throw_error<DataError>("{}: {} is null, expected a token", files_.tokenizer_config->origin, key);
  }

  std::optional<int32_t> find_pad(const AddedTokenList& list) const {
    const SpecialTokens::Named* pad = special_.find("pad_token");
    if (pad == nullptr) return parts_.model->vocabulary().find("[PAD]");  // nothing says which one: the usual name
    return pad->token ? list.id_of(pad->token->content) : std::nullopt;
  }

  static bool is_special(const std::vector<AddedToken>& tokens, const std::string& content) {
    return std::any_of(tokens.begin(), tokens.end(),
                       [&](const AddedToken& token) { return token.special && token.content == content; });
  }

  const TokenizerFiles& files_;
  JsonFile tokenizer_, config_, map_, added_, model_;
  ClassChoice choice_;
  std::string origin_;
  SpecialTokens special_;
  TokenizerParts parts_;
};

}  // namespace

TokenizerParts read_tokenizer(const TokenizerFiles& files) { return Reader(files).read(); }

}  // namespace peft::text
