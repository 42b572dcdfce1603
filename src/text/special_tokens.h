#pragma once
/// Special and added tokens of a folder, put together from its files as transformers does.

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "src/text/added_tokens.h"
#include "src/text/tokenizer_class.h"

namespace peft::text {

struct SpecialTokens {
  struct Listed {
    AddedToken token;
    JsonSection section;  ///< where it was read
  };
  struct Named {
    std::string key;  ///< "cls_token"; no value = switched off with null
    std::optional<AddedToken> token;
    bool usual = false;  ///< no file names it: the class does
  };

  std::map<int64_t, Listed> listed;  ///< by the id written beside it
  std::vector<Named> named;          ///< in the order in which they are added
  std::vector<AddedToken> extra;

  /// Null where the key is absent.
  const Named* find(const std::string& key) const;
};

/// The files; absent ones are {}. `tokenizer` is tokenizer.json.
struct SpecialTokenFiles {
  const JsonSection &config, &special_tokens_map, &added_tokens, &tokenizer;
};

/// `type` may be null.
///
/// tokenizer_config.json with `added_tokens_decoder` speaks alone. Else special_tokens_map.json overrides it, and added_tokens.json
/// and the section `added_tokens` of tokenizer.json list the tokens.
SpecialTokens read_special_tokens(const SpecialTokenFiles& files, const TokenizerClass* type);

}  // namespace peft::text
