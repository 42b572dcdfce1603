// BertProcessing and RobertaProcessing: two special tokens around each text.

#include "src/text/post_processor.h"

namespace peft::text {
namespace {

int32_t token_id(const JsonSection& pair, int64_t size) {  // ["[SEP]", 102]
  const auto items = pair.items();
  if (items.size() != 2) pair.fail("expected [\"token\", id]");
  return static_cast<int32_t>(items[1].integer(0, size - 1));
}

void read_bert(const JsonSection& section, int64_t size, PostProcessor& result) {
  PostProcessor bert = bert_post_processor(token_id(section.at("cls"), size), token_id(section.at("sep"), size));
  set_templates(bert.single, bert.pair, section, result);
}

void read_roberta(const JsonSection& section, int64_t size, PostProcessor& result) {
  PostProcessor roberta = roberta_post_processor(token_id(section.at("cls"), size), token_id(section.at("sep"), size));
  set_templates(roberta.single, roberta.pair, section, result);
  result.trim_offsets = section.at("trim_offsets").boolean();
  result.add_prefix_space = section.at("add_prefix_space").boolean();
}

const bool registered =
    post_processors().add("BertProcessing", read_bert) && post_processors().add("RobertaProcessing", read_roberta);

}  // namespace

PostProcessor bert_post_processor(int32_t cls, int32_t sep) {
  using Kind = TemplatePiece::Kind;
  const TemplatePiece start{Kind::special, 0, {cls}}, first{Kind::first_text, 0, {}}, middle{Kind::special, 0, {sep}};
  const TemplatePiece second{Kind::second_text, 1, {}}, end{Kind::special, 1, {sep}};
  return {.single = {start, first, middle}, .pair = {start, first, middle, second, end}, .has_template = true};
}

PostProcessor roberta_post_processor(int32_t cls, int32_t sep) {
  using Kind = TemplatePiece::Kind;
  const TemplatePiece start{Kind::special, 0, {cls}}, first{Kind::first_text, 0, {}}, end{Kind::special, 0, {sep}};
  const TemplatePiece second{Kind::second_text, 0, {}};
  return {.single = {start, first, end},
          .pair = {start, first, end, end, second, end},
          .has_template = true,
          .trim_offsets = true};
}

}  // namespace peft::text
