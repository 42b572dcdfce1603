#include "src/text/pre_tokenizer.h"

namespace peft::text {
namespace {

class NoPreTokenizer : public PreTokenizer {
 public:
  void split(std::string_view text, Storage& /*storage*/, std::vector<std::string_view>& words) const override {
    words.clear();
    if (!text.empty()) words.push_back(text);
  }
};

}  // namespace

Registry<ReadPreTokenizer>& pre_tokenizers() {
  static Registry<ReadPreTokenizer> registry("pre_tokenizer");
  return registry;
}

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonSection& section) {
  return find_section(pre_tokenizers(), section)(section);
}

std::unique_ptr<PreTokenizer> make_no_pre_tokenizer() { return std::make_unique<NoPreTokenizer>(); }

}  // namespace peft::text
