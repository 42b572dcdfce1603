#include "label_parser.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "peft/base/error.h"
#include "row_readers.h"

namespace peft {
namespace {

constexpr double lowest_bounded = 0, highest_bounded = 5;  // STS-B
constexpr char list_separator = '|';                       // of csv and tsv fields

template <class Number>
std::optional<Number> parse_whole(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string in_quotes(std::string_view text) { return fmt::format("\"{}\"", shortened(text, longest_quote)); }

bool empty_field(const Cell& cell) { return cell.kind == Cell::Kind::field && cell.text.empty(); }

}  // namespace

std::optional<int64_t> integer_of(const Cell& cell) {
  if (cell.kind == Cell::Kind::integer) return cell.integer;
  if (cell.kind == Cell::Kind::real && cell.number == std::floor(cell.number) && std::abs(cell.number) < 0x1p53)
    return static_cast<int64_t>(cell.number);
  if (cell.kind != Cell::Kind::field) return std::nullopt;
  const auto plain = parse_whole<int64_t>(cell.text);
  return plain ? plain : whole_number(cell.text);
}

std::optional<int64_t> whole_number(std::string_view label) {
  const std::size_t dot = label.find('.');
  if (dot != std::string_view::npos) {
    if (dot + 1 == label.size() || label.find_first_not_of('0', dot + 1) != std::string_view::npos) return std::nullopt;
    label = label.substr(0, dot);
  }
  std::string_view digits = label;
  if (digits.starts_with('-') || digits.starts_with('+')) digits.remove_prefix(1);
  if (digits.size() > 1 && digits.front() == '0') return std::nullopt;  // 007 is a code, not the number 7
  return parse_whole<int64_t>(label.starts_with('+') ? digits : label);
}

std::string label_name(const Cell& cell, std::string& problem) {
  switch (cell.kind) {
    case Cell::Kind::missing:
      return {};
    case Cell::Kind::text:
    case Cell::Kind::field:
      return std::string(cell.text);
    case Cell::Kind::boolean:
      return cell.number != 0 ? "true" : "false";
    case Cell::Kind::integer:
    case Cell::Kind::real:
      if (const auto id = integer_of(cell)) return std::to_string(*id);
      [[fallthrough]];
    default:
      problem = fmt::format("label is {}, expected a string, an integer or a boolean", kind_name(cell.kind));
      return {};
  }
}

std::optional<std::vector<Cell>> list_members(const Cell& cell) {
  if (cell.kind == Cell::Kind::array) return cell.items;
  if (cell.kind != Cell::Kind::field) return std::nullopt;
  std::vector<Cell> members;
  std::string_view rest = cell.text;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(list_separator), rest.size());
    members.push_back({Cell::Kind::field, rest.substr(0, end)});
    if (end + 1 == rest.size()) members.push_back({Cell::Kind::field, {}});  // nothing behind the last separator
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return members;
}

LabelParser::LabelParser(const TaskSpec& spec, const std::vector<std::string>& labels, bool dump)
    : target_(spec.target), bounded_(spec.bounded), booleans_(spec.booleans), spelled_choices_(spec.choices) {
  const auto& spellings = dump && !spec.dump.spellings.empty() ? spec.dump.spellings : labels;
  bool numbers = false, twice = false;
  for (std::size_t id = 0; id < spellings.size(); ++id) {
    ids_.emplace(spellings[id], static_cast<int64_t>(id));
    const auto value = whole_number(spellings[id]);
    numbers = numbers || value.has_value();
    if (value && !dump) twice = !ids_by_value_.emplace(*value, static_cast<int64_t>(id)).second || twice;
  }
  if (twice) ids_by_value_.clear();
  if (booleans_) ids_.insert({{"false", 0}, {"true", 1}});
  for (const auto& [spelling, name] : spec.synonyms)
    if (const auto known = ids_.find(name); known != ids_.end()) ids_.emplace(spelling, known->second);
  // Numbers index the names, unless a name is a number itself: "2" of the classes "1" to "5" is that class, not the
  // third one.
  if (!numbers && !dump) by_number_ = static_cast<int64_t>(labels.size());
  expected_ = join_names(spellings);
}

ParsedLabel LabelParser::operator()(const Cell& cell, int64_t parts) const {
  switch (target_) {
    case TargetKind::class_id:
      return class_id(cell);
    case TargetKind::classes:
      return classes(cell);
    case TargetKind::score:
      return score(cell);
    case TargetKind::choice:
      return choice(cell, parts);
    case TargetKind::tags:
      return tags(cell, parts);
    case TargetKind::choices:
    case TargetKind::span:
      throw Error("labels of choices are read beside their candidates");
    case TargetKind::text:
      return text(cell);
  }
  return {};
}

ParsedLabel LabelParser::class_id(const Cell& cell) const {
  if (cell.kind == Cell::Kind::missing || empty_field(cell)) return {};
  if (booleans_ && cell.kind == Cell::Kind::text) return {{}, "type", "label is a string, expected true or false"};
  ParsedLabel parsed;
  const std::string name = label_name(cell, parsed.problem);
  if (!parsed.problem.empty()) {
    parsed.kind = "type";
    return parsed;
  }
  if (const auto known = ids_.find(name); known != ids_.end()) return {known->second, {}, {}};
  if (const auto value = whole_number(name)) {  // 1.0 where the class is spelled 1, or the other way round
    if (const auto known = ids_by_value_.find(*value); known != ids_by_value_.end()) return {known->second, {}, {}};
  }
  if (const auto number = integer_of(cell)) {
    if (*number == -1) return {};
    if (*number >= 0 && *number < by_number_) return {*number, {}, {}};
  }
  return {{}, "label", fmt::format("label {}; expected one of {}", in_quotes(name), expected_)};
}

// Class ids of a list, in its order.
ParsedLabel LabelParser::members(const Cell& cell) const {
  if (cell.kind == Cell::Kind::missing || integer_of(cell) == -1) return {};
  const auto members = list_members(cell);
  if (!members) return {{}, "type", fmt::format("label is {}, expected a list of strings", kind_name(cell.kind))};
  std::vector<int64_t> ids;
  for (const Cell& member : *members) {
    ParsedLabel parsed = class_id(member);
    if (!parsed.kind.empty()) return parsed;
    const auto* id = std::get_if<int64_t>(&parsed.value);
    if (id == nullptr)
      return {{}, "label", fmt::format("an empty label or -1 in a list; expected some of {}", expected_)};
    ids.push_back(*id);
  }
  return {std::move(ids), {}, {}};
}

ParsedLabel LabelParser::classes(const Cell& cell) const {
  ParsedLabel parsed = members(cell);
  auto* ids = std::get_if<std::vector<int64_t>>(&parsed.value);
  if (ids == nullptr) return parsed;
  std::sort(ids->begin(), ids->end());
  if (std::adjacent_find(ids->begin(), ids->end()) != ids->end())
    return {{}, "label", "a label occurs twice in the list"};
  return parsed;
}

ParsedLabel LabelParser::tags(const Cell& cell, int64_t words) const {
  ParsedLabel parsed = members(cell);
  const auto* ids = std::get_if<std::vector<int64_t>>(&parsed.value);
  if (ids != nullptr && static_cast<int64_t>(ids->size()) != words)
    return {{}, "label", fmt::format("{} tags for {} words", ids->size(), words)};
  return parsed;
}

ParsedLabel LabelParser::spelled_choice(const Cell& cell) const {
  if (cell.kind == Cell::Kind::text && cell.text.empty()) return {};
  ParsedLabel parsed;
  const std::string name = label_name(cell, parsed.problem);
  const auto known = std::find(spelled_choices_.begin(), spelled_choices_.end(), name);
  if (!parsed.problem.empty()) parsed.kind = "type";
  if (!parsed.problem.empty() || integer_of(cell) == -1) return parsed;
  if (known != spelled_choices_.end()) return {known - spelled_choices_.begin(), {}, {}};
  return {{}, "label", fmt::format("label {}; expected one of {}", in_quotes(name), join_names(spelled_choices_))};
}

ParsedLabel LabelParser::choices(const Cell& cell, const std::vector<std::string_view>& candidates,
                                 std::vector<std::string_view>& references) const {
  references.clear();
  if (cell.kind == Cell::Kind::missing) return {};
  const auto members = list_members(cell);
  if (!members) return {{}, "type", fmt::format("answers is {}, expected a list of strings", kind_name(cell.kind))};
  std::vector<int64_t> right;
  for (std::size_t i = 0; i < members->size(); ++i) {
    const Cell& member = (*members)[i];
    if (member.kind != Cell::Kind::text && member.kind != Cell::Kind::field)
      return {{}, "type", fmt::format("answers[{}] is {}, expected a string", i, kind_name(member.kind))};
    references.push_back(member.text);
  }
  for (std::size_t i = 0; i < candidates.size(); ++i)
    if (std::find(references.begin(), references.end(), candidates[i]) != references.end())
      right.push_back(static_cast<int64_t>(i));
  return {std::move(right), {}, {}};
}

ParsedLabel LabelParser::choice(const Cell& cell, int64_t sequences) const {
  if (cell.kind == Cell::Kind::missing || empty_field(cell)) return {};
  if (!spelled_choices_.empty()) return spelled_choice(cell);
  const auto number = integer_of(cell);
  if (!number) {
    const std::string found = cell.kind == Cell::Kind::field ? in_quotes(cell.text) : std::string(kind_name(cell.kind));
    return {{}, "type", fmt::format("label is {}, expected the number of a choice", found)};
  }
  if (*number == -1) return {};
  if (*number >= 0 && *number < sequences) return {*number, {}, {}};
  return {{}, "label", fmt::format("label {}; expected the number of a choice, 0 to {}", *number, sequences - 1)};
}

ParsedLabel LabelParser::text(const Cell& cell) const {
  if (cell.kind == Cell::Kind::missing) return {};
  if (cell.kind == Cell::Kind::text || cell.kind == Cell::Kind::field) return {cell.text, {}, {}};
  return {{}, "type", fmt::format("label is {}, expected a string", kind_name(cell.kind))};
}

ParsedLabel LabelParser::score(const Cell& cell) const {
  if (cell.kind == Cell::Kind::missing || empty_field(cell)) return {};
  std::optional<double> value;
  if (cell.kind == Cell::Kind::field) {
    value = parse_whole<double>(cell.text);
  } else if (cell.kind == Cell::Kind::integer || cell.kind == Cell::Kind::real) {
    value = cell.number;
  } else {
    return {{}, "type", fmt::format("label is {}, expected a number", kind_name(cell.kind))};
  }
  if (bounded_ && value == -1.0) return {};
  const bool good =
      value && std::isfinite(*value) && (!bounded_ || (*value >= lowest_bounded && *value <= highest_bounded));
  if (!good) {
    const std::string found = cell.kind == Cell::Kind::field ? in_quotes(cell.text) : fmt::format("{}", cell.number);
    return {
        {}, "score", fmt::format("score {}; expected a {}", found, bounded_ ? "number from 0 to 5" : "finite number")};
  }
  // The reference pipelines store scores of STS-B as float32.
  return {bounded_ ? double(float(*value)) : *value, {}, {}};
}

}  // namespace peft
