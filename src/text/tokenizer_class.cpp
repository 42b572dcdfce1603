#include "src/text/tokenizer_class.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace peft::text {
namespace {

constexpr TokenizerClass kBert = {.usual = {nullptr, nullptr, "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"},
                                  .cls_id = 2,
                                  .sep_id = 3,
                                  .post_processor = bert_post_processor};
// Its mask token swallows the white space before it, which shows nowhere: blanks are no words and spans are trimmed.
constexpr TokenizerClass kMpnet = {.usual = {"<s>", "</s>", "[UNK]", "</s>", "<pad>", "<s>", "<mask>"},
                                   .cls_id = 0,
                                   .sep_id = 2,
                                   .post_processor = roberta_post_processor};

/// Classes that add nothing.
constexpr std::array<std::string_view, 3> kPlain = {"PreTrainedTokenizer", "PreTrainedTokenizerFast",
                                                    "TokenizersBackend"};

/// Class of a model type whose folder names none.
constexpr std::array<std::pair<std::string_view, const char*>, 11> kOfModel = {{{"bert", "BertTokenizer"},
                                                                                {"convbert", "BertTokenizer"},
                                                                                {"distilbert", "BertTokenizer"},
                                                                                {"electra", "BertTokenizer"},
                                                                                {"ernie", "BertTokenizer"},
                                                                                {"layoutlm", "BertTokenizer"},
                                                                                {"megatron-bert", "BertTokenizer"},
                                                                                {"mpnet", "MPNetTokenizer"},
                                                                                {"nezha", "BertTokenizer"},
                                                                                {"nomic_bert", "BertTokenizer"},
                                                                                {"squeezebert", "BertTokenizer"}}};

}  // namespace

Registry<TokenizerClass>& tokenizer_classes() {
  static Registry<TokenizerClass> registry = [] {
    Registry<TokenizerClass> all("tokenizer class");
    for (const char* name : {"BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "LayoutLMTokenizer",
                             "LxmertTokenizer", "MobileBertTokenizer", "SqueezeBertTokenizer"})
      all.add(name, kBert);
    all.add("MPNetTokenizer", kMpnet);
    return all;
  }();
  return registry;
}

ClassChoice choose_class(const JsonSection& config, const JsonSection& model) {
  for (const JsonSection& file : {config, model}) {
    if (!file.has("tokenizer_class")) continue;
    const JsonSection key = file.at("tokenizer_class");
    const std::string& name = key.string();
    if (name.empty()) continue;
    if (std::find(kPlain.begin(), kPlain.end(), name) != kPlain.end()) return {nullptr, name};
    const std::string slow = name.ends_with("Fast") ? name.substr(0, name.size() - 4) : name;
    if (const TokenizerClass* found = tokenizer_classes().find(slow)) return {found, name};
    key.fail(fmt::format("class \"{}\" is not supported (supported: {}, {})", name,
                         fmt::join(tokenizer_classes().names(), ", "), fmt::join(kPlain, ", ")));
  }
  if (model.has("model_type")) {
    const std::string& type = model.at("model_type").string();
    for (const auto& [known, name] : kOfModel)
      if (type == known) return {tokenizer_classes().find(name), name};
  }
  return {};
}

}  // namespace peft::text
