#include "src/apps/predict_output.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "peft/data/record.h"
#include "peft/metrics/entities.h"
#include "peft/objectives/objective.h"
#include "peft/text/words.h"

namespace peft {
namespace {

/// exp(x_n) / sum exp(x)
std::vector<double> softmax(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> probabilities;
  double sum = 0.0;
  for (const float x : logits) sum += probabilities.emplace_back(std::exp(x - largest));
  for (double& p : probabilities) p /= sum;
  return probabilities;
}

/// 1 / (1 + exp(-x_n))
std::vector<double> sigmoid(std::span<const float> logits) {
  std::vector<double> probabilities;
  for (const float x : logits) probabilities.push_back(1.0 / (1.0 + std::exp(-static_cast<double>(x))));
  return probabilities;
}

/// As many digits as float32 has.
std::string number(double value) { return fmt::format("{}", static_cast<float>(value)); }

std::string list(const std::vector<double>& values) {
  std::vector<std::string> numbers;
  for (const double value : values) numbers.push_back(number(value));
  return fmt::format("[{}]", fmt::join(numbers, ", "));
}

}  // namespace

AnswerWriter::AnswerWriter(const TaskInfo& task) : kind_(objective_of(task).target()), labels_(task.labels) {
  for (const std::string& label : task.labels) names_.push_back(Json(label).dump());
}

std::string AnswerWriter::named(const std::vector<double>& probabilities) const {
  std::string members;
  for (std::size_t n = 0; n < probabilities.size(); ++n)
    members += fmt::format("{}{}: {}", n == 0 ? "" : ", ", names_[n], number(probabilities[n]));
  return "{" + members + "}";
}

/// Names of the words' tags, and the entities that they make with their places in the text.
std::string AnswerWriter::tags(const std::vector<int64_t>& ids, const EncodedSplit& split, int64_t example) const {
  Json tags = Json::array();
  std::vector<std::string> names;
  for (const int64_t id : ids) {
    names.push_back(id < 0 ? "O" : labels_[static_cast<std::size_t>(id)]);
    tags.push_back(id < 0 ? Json() : Json(names.back()));
  }
  std::string text = fmt::format(R"("tags": {})", tags.dump());
  if (!marks_entities(names)) return text;
  Json entities = Json::array();
  const Span* spans = split.word_spans.data() + split.word_offsets[static_cast<std::size_t>(example)];
  for (const Entity& entity : find_entities(names)) {
    const int64_t start = spans[entity.begin].start, end = spans[entity.end - 1].end;
    entities.push_back(
        {{"label", entity.type},
         {"start", start},
         {"end", end},
         {"text", code_points(split.texts[static_cast<std::size_t>(example)], start, end).value_or("")}});
  }
  return fmt::format(R"({}, "entities": {})", text, entities.dump());
}

std::string AnswerWriter::answer(std::string_view text, const EncodedSplit& split, int64_t example) {
  if (text.empty()) return R"("answer": "")";
  const std::string_view whole = split.texts[static_cast<std::size_t>(example)];
  const std::size_t start = count_code_points(whole.substr(0, static_cast<std::size_t>(text.data() - whole.data())));
  return fmt::format(R"("answer": {}, "start": {}, "end": {})", Json(text).dump(), start,
                     start + count_code_points(text));
}

std::string AnswerWriter::members(const at::Tensor& logits_SN, const EncodedSplit& split, int64_t example,
                                  const Target& prediction) const {
  const int64_t outputs = logits_SN.size(1);
  const std::span<const float> logits(logits_SN.const_data_ptr<float>() + split.first_row(example) * outputs,
                                      static_cast<std::size_t>(split.rows(example) * outputs));
  const bool valid = !is_hidden(prediction);
  switch (kind_) {
    case TargetKind::class_id:
      return valid ? fmt::format(R"("label": {}, "probabilities": {})", name(std::get<int64_t>(prediction)),
                                 named(softmax(logits)))
                   : R"("label": null, "probabilities": null)";
    case TargetKind::classes: {
      if (!valid) return R"("labels": null, "probabilities": null)";
      std::vector<std::string> classes;
      for (const int64_t id : std::get<std::vector<int64_t>>(prediction)) classes.push_back(name(id));
      return fmt::format(R"("labels": [{}], "probabilities": {})", fmt::join(classes, ", "), named(sigmoid(logits)));
    }
    case TargetKind::choice:
      return valid ? fmt::format(R"("choice": {}, "probabilities": {})", std::get<int64_t>(prediction),
                                 list(softmax(logits)))
                   : R"("choice": null, "probabilities": null)";
    case TargetKind::choices: {
      if (!valid) return R"("prediction": null, "probabilities": null)";
      std::vector<double> right;  // a row of two logits for each candidate
      for (std::size_t s = 0; s + 1 < logits.size(); s += 2) right.push_back(softmax(logits.subspan(s, 2))[1]);
      const int64_t chosen = split.first_sequence(example) + std::get<int64_t>(prediction);
      return fmt::format(R"("prediction": {}, "probabilities": {})", Json(split.candidates.at(chosen)).dump(),
                         list(right));
    }
    case TargetKind::tags:
      return valid ? tags(std::get<std::vector<int64_t>>(prediction), split, example) : R"("tags": null)";
    case TargetKind::span:
      return valid ? answer(std::get<std::string_view>(prediction), split, example) : R"("answer": null)";
    case TargetKind::score:
      return fmt::format(R"("score": {})", valid ? number(std::get<double>(prediction)) : "null");
    case TargetKind::text:
      break;
  }
  return {};
}

}  // namespace peft
