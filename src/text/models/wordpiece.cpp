#include "src/text/models/wordpiece.h"

#include <limits>
#include <utility>

#include "peft/base/error.h"
#include "src/text/unicode.h"

namespace peft::text {
namespace {

class WordPiece : public Model {
 public:
  WordPiece(Vocabulary vocabulary, const WordPieceOptions& options, int32_t unknown)
      : vocabulary_(std::move(vocabulary)),
        continuation_(options.continuing_subword_prefix),
        max_characters_(static_cast<std::size_t>(options.max_input_chars_per_word)),
        unknown_(unknown) {}

  void tokenize(std::string_view word, std::vector<int32_t>& ids, std::vector<std::size_t>* ends) const override {
    const std::size_t before = ids.size(), ends_before = ends != nullptr ? ends->size() : 0;
    const auto make_unknown = [&] {
      ids.resize(before);
      ids.push_back(unknown_);
      if (ends == nullptr) return;
      ends->resize(ends_before);
      ends->push_back(word.size());
    };
    if (word.size() > max_characters_ && count_code_points(word) > max_characters_) return make_unknown();
    TokenTable::Match piece = vocabulary_.table().longest_prefix(word);
    for (std::string_view rest = word;; piece = vocabulary_.table().longest_prefix(rest, continuation_)) {
      if (piece.length == 0) return make_unknown();  // one unknown piece makes the whole word unknown
      ids.push_back(piece.value);
      rest.remove_prefix(piece.length);
      if (ends != nullptr) ends->push_back(word.size() - rest.size());
      if (rest.empty()) return;
    }
  }

  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  Vocabulary vocabulary_;
  TokenTable::Head continuation_;
  std::size_t max_characters_;
  int32_t unknown_;
};

const bool registered = models().add("WordPiece", [](const JsonSection& section) {
  const WordPieceOptions options{
      .unk_token = section.at("unk_token").string(),
      .continuing_subword_prefix = section.at("continuing_subword_prefix").string(),
      .max_input_chars_per_word =
          section.at("max_input_chars_per_word").integer(0, std::numeric_limits<int64_t>::max())};
  return make_wordpiece(Vocabulary::from_json(section.at("vocab")), options, section.place());
});

}  // namespace

std::unique_ptr<Model> make_wordpiece(Vocabulary vocabulary, const WordPieceOptions& options,
                                      const std::string& origin) {
  const auto unknown = vocabulary.find(options.unk_token);
  if (!unknown) throw_error<DataError>("{}: unk_token \"{}\" is not in the vocabulary", origin, options.unk_token);
  return std::make_unique<WordPiece>(std::move(vocabulary), options, *unknown);
}

}  // namespace peft::text
