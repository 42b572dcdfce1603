#include <array>
#include <utility>

#include "src/text/decoder.h"

namespace peft::text {
namespace {

/// One after another, as the reference has them; tokenizers has " do not" besides, transformers has not.
constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kPunctuation = {
    {{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"}}};
constexpr std::pair<std::string_view, std::string_view> kDoNot = {" do not", " don't"};
constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kContractions = {
    {{" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}}};

void clean_up(std::string& text, bool do_not) {
  for (const auto& [from, to] : kPunctuation) replace_all(text, from, to);
  if (do_not) replace_all(text, kDoNot.first, kDoNot.second);
  for (const auto& [from, to] : kContractions) replace_all(text, from, to);
}

class WordPieceDecoder : public Decoder {
 public:
  WordPieceDecoder(std::string prefix, bool cleanup) : prefix_(std::move(prefix)), cleanup_(cleanup) {}

  void decode(std::vector<std::string>& pieces) const override {
    bool first = true;
    for (std::string& piece : pieces) {
      if (!std::exchange(first, false)) {
        if (piece.starts_with(prefix_)) {
          piece.erase(0, prefix_.size());
        } else {
          piece.insert(0, 1, ' ');
        }
      }
      if (cleanup_) clean_up(piece, true);
    }
  }

 private:
  std::string prefix_;
  bool cleanup_;
};

const bool registered = decoders().add("WordPiece", [](const JsonSection& section) {
  return make_wordpiece_decoder(section.at("prefix").string(), section.at("cleanup").boolean());
});

}  // namespace

std::unique_ptr<Decoder> make_wordpiece_decoder(std::string prefix, bool cleanup) {
  return std::make_unique<WordPieceDecoder>(std::move(prefix), cleanup);
}

void clean_up_tokenization_spaces(std::string& text) { clean_up(text, false); }

}  // namespace peft::text
