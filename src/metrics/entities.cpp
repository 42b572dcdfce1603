#include "peft/metrics/entities.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "peft/base/summaries.h"
#include "peft/metrics/metric.h"

namespace peft {
namespace {

struct Tag {
  char mark = 'O';
  std::string_view type = "_";
};

// As seqeval takes a tag apart: its first byte, and what follows the first hyphen behind it.
Tag read_tag(std::string_view tag) {
  if (tag.empty()) return {};
  const std::string_view rest = tag.substr(1);
  const std::size_t hyphen = rest.find('-');
  const std::string_view type = hyphen == std::string_view::npos ? rest : rest.substr(hyphen + 1);
  return {tag.front(), type.empty() ? "_" : type};
}

bool is_one_of(char mark, std::string_view marks) { return marks.find(mark) != std::string_view::npos; }

bool ends_behind(const Tag& tag, const Tag& next) {
  if (is_one_of(tag.mark, "ES")) return true;
  if (is_one_of(tag.mark, "BI") && is_one_of(next.mark, "BSO")) return true;
  return !is_one_of(tag.mark, "O.") && tag.type != next.type;
}

bool begins_at(const Tag& before, const Tag& tag) {
  if (is_one_of(tag.mark, "BS")) return true;
  if (is_one_of(before.mark, "ESO") && is_one_of(tag.mark, "EI")) return true;
  return !is_one_of(tag.mark, "O.") && before.type != tag.type;
}

struct Counts {
  uint64_t both = 0, predicted = 0, wanted = 0;
};

Counts counts_of_row(const std::vector<std::string>& predicted, const std::vector<std::string>& wanted) {
  const auto found = find_entities(predicted), right = find_entities(wanted);
  const std::set<Entity> a(found.begin(), found.end()), b(right.begin(), right.end());
  return {static_cast<uint64_t>(std::count_if(a.begin(), a.end(), [&](const Entity& e) { return b.contains(e); })),
          a.size(), b.size()};
}

// A ratio of the counts of a resample's entities.
template <class Ratio>
Evaluate of_counts(const Scored& scored, Ratio ratio) {
  std::vector<Counts> rows;
  for (std::size_t i = 0; i < scored.rows(); ++i)
    rows.push_back(counts_of_row(scored.predicted_tags[i], scored.reference_tags[i]));
  return [rows = std::move(rows), ratio](std::span<const uint32_t> times) -> MetricValue {
    Counts all;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      all.both += times[i] * rows[i].both;
      all.predicted += times[i] * rows[i].predicted;
      all.wanted += times[i] * rows[i].wanted;
    }
    return ratio(all);
  };
}

Evaluate entity_f1(const Scored& scored) {
  return of_counts(scored, [](const Counts& all) -> MetricValue {
    if (all.predicted + all.wanted == 0) return {0.0, "no entity in references and predictions"};
    return {2.0 * double(all.both) / double(all.predicted + all.wanted), {}};
  });
}

Evaluate entity_precision(const Scored& scored) {
  return of_counts(scored, [](const Counts& all) -> MetricValue {
    if (all.predicted == 0) return {0.0, "no entity in predictions"};
    return {double(all.both) / double(all.predicted), {}};
  });
}

Evaluate entity_recall(const Scored& scored) {
  return of_counts(scored, [](const Counts& all) -> MetricValue {
    if (all.wanted == 0) return {0.0, "no entity in references"};
    return {double(all.both) / double(all.wanted), {}};
  });
}

Evaluate tag_accuracy(const Scored& scored) {
  std::vector<Counts> rows;
  for (std::size_t i = 0; i < scored.rows(); ++i) {
    const auto &predicted = scored.predicted_tags[i], &wanted = scored.reference_tags[i];
    Counts& row = rows.emplace_back();
    row.wanted = wanted.size();
    for (std::size_t w = 0; w < wanted.size(); ++w) row.both += predicted[w] == wanted[w] ? 1 : 0;
  }
  return [rows = std::move(rows)](std::span<const uint32_t> times) -> MetricValue {
    uint64_t right = 0, all = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      right += times[i] * rows[i].both;
      all += times[i] * rows[i].wanted;
    }
    if (all == 0) return {0.0, "no words"};
    return {double(right) / double(all), {}};
  };
}

std::vector<bool> all_tags_right(const Scored& scored) {
  std::vector<bool> right;
  for (std::size_t i = 0; i < scored.rows(); ++i) right.push_back(scored.predicted_tags[i] == scored.reference_tags[i]);
  return right;
}

bool add(const char* name, Evaluate (*prepare)(const Scored&), const char* summary) {
  return metric_registry().add(name, {.input = Metric::Input::tags, .prepare = prepare, .right = all_tags_right}) &&
         summaries("metric").add(name, {summary});
}

[[maybe_unused]] const bool registered =
    add("entity_f1", entity_f1, "F1 of the entities that tags of words make") &&
    add("entity_precision", entity_precision, "share of predicted entities that are right") &&
    add("entity_recall", entity_recall, "share of entities that were found") &&
    add("tag_accuracy", tag_accuracy, "share of words with the right tag");

}  // namespace

std::vector<Entity> find_entities(const std::vector<std::string>& tags) {
  std::vector<Entity> entities;
  Tag before;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= tags.size(); ++i) {
    const Tag tag = i < tags.size() ? read_tag(tags[i]) : Tag{};
    if (ends_behind(before, tag)) entities.push_back({std::string(before.type), begin, i});
    if (begins_at(before, tag)) begin = i;
    before = tag;
  }
  return entities;
}

bool marks_entities(const std::vector<std::string>& tags) {
  return std::all_of(tags.begin(), tags.end(), [](std::string_view tag) {
    return tag == "O" || (tag.size() > 2 && tag[1] == '-' && is_one_of(tag.front(), "BIES"));
  });
}

}  // namespace peft
