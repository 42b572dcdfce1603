#include "peft/data/task.h"

#include <fmt/format.h>

#include <limits>
#include <set>

#include "peft/base/summaries.h"

namespace peft {
namespace {

constexpr std::string_view kPlaceholder = "@placeholder", kHighlight = "\n@highlight\n";

// Characters start to end, the last one included.
std::string span_text(const Nested& span, const std::string& passage) {
  const int64_t start = span.at("start").integer(), end = span.at("end").integer();
  const auto text = end < std::numeric_limits<int64_t>::max() ? code_points(passage, start, end + 1) : std::nullopt;
  if (!text)
    throw BadRecord{"span",
                    fmt::format("{}: start {} and end {} are no characters of passage.text", span.path(), start, end)};
  return std::string(*text);
}

// A record of the dump is a passage with entities and queries. A flat row is one query, with the distinct entities and
// answers in the order of their bytes.
void take_queries(const Json& record, FlatRows& out) {
  const Nested root(record);
  const Nested passage = root.at("passage");
  if (passage.json().is_string()) {
    out.rows.push_back(record);
    return;
  }
  const int64_t number = root.at("idx").integer();
  const std::string& text = passage.at("text").text();
  std::set<std::string> entities;
  for (const Nested& entity : passage.at("entities").items()) entities.insert(span_text(entity, text));
  const auto queries = root.at("qas").items();
  if (queries.empty()) ++out.counts["no_questions"];
  for (const Nested& query : queries) {
    Json row{{"passage", text},
             {"query", query.at("query").text()},
             {"entities", entities},
             {"idx", {{"passage", number}, {"query", query.at("idx").integer()}}}};
    if (const auto answers = query.find("answers")) {
      std::set<std::string> distinct;
      for (const Nested& answer : answers->items()) {
        static_cast<void>(span_text(answer, text));
        distinct.insert(answer.at("text").text());
      }
      row["answers"] = distinct;
    }
    out.rows.push_back(std::move(row));
  }
}

// The bullet points behind the text become sentences of it.
std::string without_highlights(std::string_view passage) {
  std::string text;
  for (std::size_t at = 0; at < passage.size();) {
    if (!passage.substr(at).starts_with(kHighlight)) {
      text += passage[at++];
      continue;
    }
    const bool ended = at > 0 && std::string_view(".?!\"'").find(passage[at - 1]) != std::string_view::npos;
    text += ended ? " " : ". ";
    at += kHighlight.size();
  }
  return text;
}

std::string filled(std::string_view query, std::string_view entity) {
  std::string text(query);
  for (std::size_t at = 0; (at = text.find(kPlaceholder, at)) != std::string::npos; at += entity.size())
    text.replace(at, kPlaceholder.size(), entity);
  return text;
}

void fill_in_entities(const std::vector<RecordValue>& inputs, DerivedTexts& out) {
  const std::string_view query = inputs[1].text;
  if (query.find(kPlaceholder) == std::string_view::npos) throw BadRecord{"field", "query without @placeholder"};
  out.texts = {without_highlights(inputs[0].text)};
  out.candidates.assign(inputs[2].texts.begin(), inputs[2].texts.end());
  if (out.candidates.empty()) {  // such a query is answered with nothing
    out.candidates.emplace_back();
    out.odd.emplace_back("no_entities");
  }
  for (const std::string& entity : out.candidates) out.texts.push_back(filled(query, entity));
}

// ReCoRD: which entity of the passage stands at the placeholder? [Zhang et al. 2018, arXiv:1810.12885]
[[maybe_unused]] const bool registered = task_registry().add(
    "superglue/record", {
                            .dump = {.folder = "ReCoRD",
                                     .rows = {{"train", 100730}, {"dev", 10000}, {"test", 10000}},
                                     .flatten = take_queries},
                            .inputs = {{"passage"}, {"query"}, {"entities", RecordInput::Kind::any_texts}},
                            .derive = fill_in_entities,
                            .sequences = {{"{passage}", "{query*}"}},
                            .truncation = Truncation::only_first,
                            .label = "answers",
                            .idx = "idx.query",
                            .outer_idx = {"idx.passage"},
                            .target = TargetKind::choices,
                            .objective = "candidates",
                            .metrics = {"squad_f1", "squad_em"},
                            .dept = {.rule = TaskSpec::DeptRule::thousand_of_train},
                        });

[[maybe_unused]] const bool described =
    summaries("task").add("superglue/record", {"which entity of the passage stands at the placeholder?"});

}  // namespace
}  // namespace peft
