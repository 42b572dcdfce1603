#include "src/apps/tool_score_rows.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>

namespace peft {
namespace {

constexpr double unreadable = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t invalid_class = -1;

enum class Side { prediction, reference };

// Class ids of both files: integers as they are, label strings numbered as `names` has them, the others behind in byte
// order.
class ClassReader {
 public:
  ClassReader(const Values& predictions, const Values& references, const std::vector<std::string>& names,
              int64_t num_classes)
      : num_classes_(num_classes) {
    for (const Values* values : {&references, &predictions}) {
      for (const Json& line : values->rows) {
        if (line.is_string()) labels_.emplace(line.get<std::string>(), 0.0);
        for (const Json& member : line.is_array() ? line : Json::array())
          if (member.is_string()) labels_.emplace(member.get<std::string>(), 0.0);
      }
    }
    double id = 0;
    if (strings()) {
      for (const auto& name : names) labels_[name] = id++;
    }
    for (auto& [label, number] : labels_)
      if (std::find(names.begin(), names.end(), label) == names.end()) number = id++;
    if (num_classes > 0 && static_cast<int64_t>(labels_.size()) > num_classes)
      throw_error<DataError>("{}: {} different labels, expected at most {}", references.file, labels_.size(),
                             num_classes);
  }

  bool strings() const { return !labels_.empty(); }

  double operator()(const Values& values, std::size_t row, Side side) const {
    return id_of(values.rows[row], values, row, side);
  }

  /// A list of classes; an invalid prediction is {-1}.
  std::vector<int64_t> set(const Values& values, std::size_t row, Side side) const {
    const Json& value = values.rows[row];
    if (side == Side::prediction && (value.is_null() || value == -1)) return {-1};
    if (!value.is_array()) values.fail(row, "{}; expected a list of classes", value.dump());
    std::vector<int64_t> ids;
    for (const Json& member : value)
      ids.push_back(static_cast<int64_t>(id_of(member, values, row, Side::reference)));  // none is invalid alone
    std::sort(ids.begin(), ids.end());
    if (std::adjacent_find(ids.begin(), ids.end()) != ids.end())
      values.fail(row, "{}; a class occurs twice", value.dump());
    return ids;
  }

 private:
  double id_of(const Json& value, const Values& values, std::size_t row, Side side) const {
    if (value.is_string()) return labels_.at(value.get_ref<const std::string&>());
    if (value.is_null() || value == -1) {
      if (side == Side::reference) values.fail(row, "{}; a reference needs a class", value.dump());
      return invalid_class;
    }
    const double id = value.is_number() ? value.get<double>() : unreadable;
    if (!(id >= 0) || id != std::floor(id) || id >= 0x1p53)
      values.fail(row, "{}; expected a class id or a label", value.dump());
    if (strings()) values.fail(row, "{}; other lines hold label strings", value.dump());
    if (num_classes_ > 0 && id >= double(num_classes_))
      values.fail(row, "{}; expected a class id from 0 to {}", value.dump(), num_classes_ - 1);
    return id;
  }

  std::map<std::string, double> labels_;
  int64_t num_classes_;
};

double read_number(const Values& values, std::size_t row, Side side) {
  const Json& value = values.rows[row];
  if (value.is_number()) return value.get<double>();
  if (value.is_null() && side == Side::prediction) return unreadable;
  values.fail(row, "{}; expected a number{}", value.dump(), side == Side::prediction ? " or null" : "");
}

// One text, or several of which each is right.
std::vector<std::string> reference_texts(const Values& values, std::size_t row) {
  const Json& value = values.rows[row];
  if (value.is_string()) return {value.get<std::string>()};
  if (!value.is_array() || value.empty() || !std::all_of(value.begin(), value.end(), std::mem_fn(&Json::is_string)))
    values.fail(row, "{}; expected a text or a list of texts", value.dump());
  return value.get<std::vector<std::string>>();
}

Scored read_numbers(const Values& predictions, const Values& references) {
  Scored scored;
  for (std::size_t row = 0; row < references.rows.size(); ++row) {
    scored.predictions.push_back(read_number(predictions, row, Side::prediction));
    scored.references.push_back(read_number(references, row, Side::reference));
  }
  return scored;
}

Scored read_texts(const Values& predictions, const Values& references) {
  Scored scored;
  for (std::size_t row = 0; row < references.rows.size(); ++row) {
    const Json& value = predictions.rows[row];
    if (!value.is_string() && !value.is_null()) predictions.fail(row, "{}; expected a text or null", value.dump());
    scored.predicted_texts.push_back(value.is_null() ? "" : value.get<std::string>());
    scored.reference_texts.push_back(reference_texts(references, row));
  }
  return scored;
}

// Of each row as many tags on both sides; a missing prediction has none of them right.
Scored read_tags(const Values& predictions, const Values& references) {
  const auto tags_of = [](const Values& values, std::size_t row) {
    const Json& value = values.rows[row];
    const auto is_tag = [](const Json& tag) { return tag.is_string() || tag.is_number_integer() || tag.is_null(); };
    if (!value.is_array() || !std::all_of(value.begin(), value.end(), is_tag))
      values.fail(row, "{}; expected a list of tags", value.dump());
    std::vector<std::string> tags;
    for (const Json& tag : value)
      tags.push_back(tag.is_string() ? tag.get<std::string>() : tag.is_null() ? "O" : tag.dump());
    return tags;
  };
  Scored scored;
  for (std::size_t row = 0; row < references.rows.size(); ++row) {
    scored.reference_tags.push_back(tags_of(references, row));
    const std::size_t words = scored.reference_tags.back().size();
    scored.predicted_tags.push_back(predictions.rows[row].is_null() ? std::vector<std::string>(words, "O")
                                                                    : tags_of(predictions, row));
    if (scored.predicted_tags.back().size() != words)
      predictions.fail(row, "{} tags, expected {} as in {}:{}", scored.predicted_tags.back().size(), words,
                       references.file, references.lines[row]);
  }
  return scored;
}

Scored read_classes(const PredictedValues& predicted, const Values& references, int64_t num_classes,
                    const std::string& ordered) {
  const Values& predictions = predicted.predictions;
  Scored scored;
  scored.num_classes = num_classes;
  const std::size_t n = references.rows.size();
  const ClassReader read(predictions, references, predicted.names, num_classes);
  if (references.rows.front().is_array()) {
    for (std::size_t row = 0; row < n; ++row) {
      scored.reference_sets.push_back(read.set(references, row, Side::reference));
      scored.predicted_sets.push_back(read.set(predictions, row, Side::prediction));
    }
    return scored;
  }
  if (!ordered.empty() && read.strings() && predicted.names.empty())
    throw_error<DataError>("{}: label strings; {} needs class ids, with 1 the positive class", references.file,
                           ordered);
  for (std::size_t row = 0; row < n; ++row) {
    scored.references.push_back(read(references, row, Side::reference));
    scored.predictions.push_back(read(predictions, row, Side::prediction));
  }
  return scored;
}

// A number -1 is a good prediction.
int64_t count_invalid(const Scored& scored, Metric::Input input) {
  const auto& sets = scored.predicted_sets;
  if (scored.sets()) return std::count(sets.begin(), sets.end(), std::vector<int64_t>{invalid_class});
  return std::count_if(scored.predictions.begin(), scored.predictions.end(), [&](double p) {
    return std::isnan(p) || (input == Metric::Input::classes && p == invalid_class);
  });
}

}  // namespace

ScoredRows read_scored(Metric::Input input, const PredictedValues& predicted, Values references, int64_t num_classes,
                       const std::string& ordered) {
  match_references(predicted, input, references);
  const Values& predictions = predicted.predictions;
  if (input == Metric::Input::texts || input == Metric::Input::tags) {
    const auto& rows = predictions.rows;
    Scored scored =
        input == Metric::Input::texts ? read_texts(predictions, references) : read_tags(predictions, references);
    return {std::move(scored), std::count_if(rows.begin(), rows.end(), std::mem_fn(&Json::is_null))};
  }
  Scored scored = input == Metric::Input::numbers ? read_numbers(predictions, references)
                                                  : read_classes(predicted, references, num_classes, ordered);
  const int64_t invalid = count_invalid(scored, input);
  return {std::move(scored), invalid};
}

void check_texts(const Metric& metric, const Values& references) {
  if (metric.problem == nullptr) return;
  for (std::size_t row = 0; row < references.rows.size(); ++row)
    for (const std::string& text : reference_texts(references, row))
      if (const char* problem = metric.problem(text)) references.fail(row, "{}; {}", Json(text).dump(), problem);
}

std::vector<int64_t> read_groups(const Values& values) {
  std::map<Json, int64_t> numbers;
  std::vector<int64_t> groups;
  for (std::size_t row = 0; row < values.rows.size(); ++row) {
    const Json& value = values.rows[row];
    if (!value.is_number_integer() && !value.is_string())
      values.fail(row, "{}; expected an integer or a string", value.dump());
    groups.push_back(numbers.emplace(value, static_cast<int64_t>(numbers.size())).first->second);
  }
  return groups;
}

}  // namespace peft
