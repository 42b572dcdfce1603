#include "src/text/model.h"

namespace peft::text {

Registry<ReadModel>& models() {
  static Registry<ReadModel> registry("model");
  return registry;
}

std::unique_ptr<Model> make_model(const JsonSection& section) {
  // Files of old libraries leave the type out; WordPiece is known by the key that it alone has.
  if (!section.has("type")) {
    if (section.has("max_input_chars_per_word")) return models().at("WordPiece")(section);
    section.fail(fmt::format("key \"type\" is missing (supported: {})", fmt::join(models().names(), ", ")));
  }
  return find_section(models(), section)(section);
}

}  // namespace peft::text
