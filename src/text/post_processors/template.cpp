#include <algorithm>
#include <limits>
#include <utility>

#include "src/text/post_processor.h"

namespace peft::text {
namespace {

using Kind = TemplatePiece::Kind;

Template read_template(const JsonSection& section, const JsonSection& special_tokens, int64_t size) {
  Template pieces;
  for (const JsonSection& item : section.items()) {
    const bool special = item.has("SpecialToken");
    const JsonSection body = item.at(special ? "SpecialToken" : "Sequence");
    const std::string& name = body.at("id").string();
    TemplatePiece piece{Kind::special, 0, {}};
    piece.type = static_cast<int32_t>(body.at("type_id").integer(0, std::numeric_limits<int32_t>::max()));
    if (special) {
      for (const JsonSection& id : special_tokens.at(name).at("ids").items())
        piece.ids.push_back(static_cast<int32_t>(id.integer(0, size - 1)));
    } else if (name == "A" || name == "B") {
      piece.kind = name == "A" ? Kind::first_text : Kind::second_text;
    } else {
      body.fail("id \"" + name + "\", expected A or B");
    }
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

int64_t uses(const Template& pieces, Kind kind) {
  return std::count_if(pieces.begin(), pieces.end(), [&](const TemplatePiece& piece) { return piece.kind == kind; });
}

void read_templates(const JsonSection& section, int64_t size, PostProcessor& result) {
  const JsonSection special_tokens = section.at("special_tokens");
  Template single = read_template(section.at("single"), special_tokens, size);
  Template pair = read_template(section.at("pair"), special_tokens, size);
  if (uses(single, Kind::first_text) != 1 || uses(single, Kind::second_text) != 0)
    section.at("single").fail("expected sequence A once and no B");
  if (uses(pair, Kind::first_text) != 1 || uses(pair, Kind::second_text) != 1)
    section.at("pair").fail("expected sequences A and B once each");
  set_templates(std::move(single), std::move(pair), section, result);
}

const bool registered = post_processors().add("TemplateProcessing", read_templates);

}  // namespace
}  // namespace peft::text
