#include "src/text/post_processor.h"

#include <algorithm>
#include <limits>

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

int32_t token_id(const JsonSection& pair, int64_t size) {  // ["[SEP]", 102]
  const auto items = pair.items();
  if (items.size() != 2) pair.fail("expected [\"token\", id]");
  return static_cast<int32_t>(items[1].integer(0, size - 1));
}

}  // namespace

PostProcessor bert_post_processor(int32_t cls, int32_t sep) {
  const TemplatePiece start{Kind::special, 0, {cls}}, first{Kind::first_text, 0, {}}, middle{Kind::special, 0, {sep}};
  const TemplatePiece second{Kind::second_text, 1, {}}, end{Kind::special, 1, {sep}};
  return {{start, first, middle}, {start, first, middle, second, end}};
}

PostProcessor make_post_processor(const JsonSection& section, int64_t size) {
  const std::string& type = section.at("type").string();
  if (type == "BertProcessing")
    return bert_post_processor(token_id(section.at("cls"), size), token_id(section.at("sep"), size));
  if (type != "TemplateProcessing")
    section.fail("type \"" + type + "\" is not supported (supported: BertProcessing, TemplateProcessing)");

  const JsonSection special_tokens = section.at("special_tokens");
  PostProcessor result{read_template(section.at("single"), special_tokens, size),
                       read_template(section.at("pair"), special_tokens, size)};
  if (uses(result.single, Kind::first_text) != 1 || uses(result.single, Kind::second_text) != 0)
    section.at("single").fail("expected sequence A once and no B");
  if (uses(result.pair, Kind::first_text) != 1 || uses(result.pair, Kind::second_text) != 1)
    section.at("pair").fail("expected sequences A and B once each");
  return result;
}

int64_t count_special(const Template& pieces) {
  int64_t count = 0;
  for (const TemplatePiece& piece : pieces) count += static_cast<int64_t>(piece.ids.size());
  return count;
}

}  // namespace peft::text
