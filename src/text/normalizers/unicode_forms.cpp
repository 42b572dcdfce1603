// The four normalisation forms of Unicode: NFD, NFKD (decomposed), NFC, NFKC (composed again).     [Unicode Standard
// Annex 15]

#include <utility>
#include <vector>

#include "src/text/canonical_order.h"
#include "src/text/normalizer.h"

namespace peft::text {
namespace {

struct Character {
  char32_t point;
  int used;  ///< characters of the text that it uses up
};

/// Joins what can be joined, in place: a starter and the marks behind it, or two starters side by side.
void compose_all(std::vector<Character>& characters) {
  std::size_t kept = 0;                     // characters[0, kept) are done
  std::size_t starter = characters.size();  // index of the last starter; none yet
  int last_class = 0;                       // of the last character kept
  for (const Character character : characters) {
    const int order = combining_class(character.point);
    if (starter < kept && (starter + 1 == kept || last_class < order)) {
      if (const auto joined = compose(characters[starter].point, character.point)) {
        characters[starter] = {*joined, characters[starter].used + character.used};
        continue;
      }
    }
    if (order == 0) starter = kept;
    last_class = order;
    characters[kept++] = character;
  }
  characters.resize(kept);
}

class UnicodeForm : public Normalizer {
 public:
  UnicodeForm(Form form, bool composed) : form_(form), composed_(composed) {}

  void normalize(std::string_view text, std::string& out, Sources* sources) const override {
    std::vector<Character> characters;
    CanonicalOrder order([&](char32_t point, uint32_t /*source*/, bool first) {
      characters.push_back({point, first});
    });
    for (std::size_t i = 0; i < text.size();) order.add_decomposed(next_code_point(text, i), 0, form_);
    order.flush();
    if (composed_) compose_all(characters);
    Rewriter rewriter(text, out, sources);
    for (const Character& character : characters) rewriter.put(character.point, character.used);
  }

 private:
  Form form_;
  bool composed_;
};

template <Form form, bool composed>
std::unique_ptr<Normalizer> make(const JsonSection&) {
  return std::make_unique<UnicodeForm>(form, composed);
}

const bool registered =
    normalizers().add("NFD", make<Form::canonical, false>) && normalizers().add("NFC", make<Form::canonical, true>) &&
    normalizers().add("NFKD", make<Form::compatible, false>) && normalizers().add("NFKC", make<Form::compatible, true>);

}  // namespace
}  // namespace peft::text
