#include "questions.h"

#include <optional>

#include "peft/data/record.h"

namespace peft {
namespace {

// {"text": [...], "answer_start": [...]} of the answers of one question, in whatever shape the file has them: that one,
// a list of texts (MRQA), or a list of objects (SQuAD).
Json answers_of(const Nested& answers, const std::optional<Nested>& detected) {
  if (answers.json().is_object()) return answers.json();
  Json texts = Json::array(), starts = Json::array();
  for (const Nested& answer : answers.items()) {
    if (answer.json().is_string()) {
      texts.push_back(answer.text());
      continue;
    }
    texts.push_back(answer.at("text").text());
    starts.push_back(answer.at("answer_start").integer());
  }
  if (detected) {  // MRQA: where the answers stand in the text, the first place of each
    texts.clear();
    for (const Nested& answer : detected->items()) {
      texts.push_back(answer.at("text").text());
      const auto places = answer.at("char_spans").items();
      if (places.empty()) answer.at("char_spans").expected("a list with members");
      const auto ends = places.front().items();
      if (ends.size() != 2) places.front().expected("first and last character");
      starts.push_back(ends.front().integer());
    }
  }
  Json row{{"text", texts}};
  if (starts.size() == texts.size()) row["answer_start"] = starts;
  return row;
}

void add_question(const Nested& question, const std::string& context, FlatRows& out) {
  Json row{{"context", context}, {"question", question.at("question").text()}};
  for (const char* key : {"id", "qid"})
    if (const auto id = question.find(key)) row["id"] = id->text();
  if (const auto answers = question.find("answers"))
    row["answers"] = answers_of(*answers, question.find("detected_answers"));
  out.rows.push_back(std::move(row));
}

void add_questions(const Nested& paragraph, FlatRows& out) {
  const auto questions = paragraph.at("qas").items();
  if (questions.empty()) ++out.counts["no_questions"];
  for (const Nested& question : questions) add_question(question, paragraph.at("context").text(), out);
}

// An article of SQuAD, a paragraph of MRQA, or one question; MRQA's first line may be a header.
void take_questions(const Json& record, FlatRows& out) {
  const Nested root(record);
  if (const auto paragraphs = root.find("paragraphs")) {
    for (const Nested& paragraph : paragraphs->items()) add_questions(paragraph, out);
  } else if (record.contains("qas")) {
    add_questions(root, out);
  } else if (record.contains("answers") && !record["answers"].is_object()) {
    add_question(root, root.at("context").text(), out);
    if (record.contains("idx")) out.rows.back()["idx"] = record["idx"];
  } else if (!(record.contains("header") && record.size() == 1)) {
    out.rows.push_back(record);
  }
}

void take_texts(const std::vector<RecordValue>& inputs, DerivedTexts& out) {
  out.texts = {std::string(inputs[0].text), std::string(inputs[1].text)};
  out.answer_starts = inputs[2].numbers;
  out.id = inputs[3].text;
}

}  // namespace

TaskSpec question_task(bool may_lack_answer, const std::vector<std::string>& other_names) {
  return {
      .dump = {.flatten = take_questions},
      .inputs = {{"question"},
                 {"context"},
                 {"answers.answer_start", RecordInput::Kind::optional_numbers},
                 {"id", RecordInput::Kind::optional_text}},
      .derive = take_texts,
      .sequences = {{"{question}", "{context}"}},
      .truncation = Truncation::only_second,
      .label = "answers.text",
      .target = TargetKind::span,
      .objective = "span",
      .may_lack_answer = may_lack_answer,
      .metrics = {may_lack_answer ? "squad_v2_f1" : "squad_f1", "squad_em"},
      .other_names = other_names,
      .dept = {.rule = TaskSpec::DeptRule::thousand_of_train},
  };
}

}  // namespace peft
