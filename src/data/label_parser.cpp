#include "label_parser.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "peft/base/error.h"
#include "row_readers.h"

namespace peft {
namespace {

constexpr double hidden = std::numeric_limits<double>::quiet_NaN();
constexpr double lowest_bounded = 0, highest_bounded = 5;  // STS-B
constexpr std::size_t longest_quote = 60;

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
  if (cell.kind == Cell::Kind::field) return parse_whole<int64_t>(cell.text);
  return std::nullopt;
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

LabelParser::LabelParser(const TaskSpec& spec, const std::vector<std::string>& labels, bool dump)
    : regression_(spec.regression), bounded_(spec.bounded) {
  const auto& spellings = dump && !spec.dump.spellings.empty() ? spec.dump.spellings : labels;
  bool numbers = false;
  for (std::size_t id = 0; id < spellings.size(); ++id) {
    ids_.emplace(spellings[id], double(id));
    numbers = numbers || parse_whole<int64_t>(spellings[id]).has_value();
  }
  // Numbers index the names, unless a name is a number itself: "2" of the classes "1" to "5" is that class, not the
  // third one.
  if (!numbers && !dump) by_number_ = static_cast<int64_t>(labels.size());
  expected_ = join_names(spellings);
}

ParsedLabel LabelParser::class_id(const Cell& cell) const {
  if (cell.kind == Cell::Kind::missing || empty_field(cell)) return {hidden, {}, {}};
  ParsedLabel parsed;
  const std::string name = label_name(cell, parsed.problem);
  if (!parsed.problem.empty()) {
    parsed.kind = "type";
    return parsed;
  }
  if (const auto known = ids_.find(name); known != ids_.end()) return {known->second, {}, {}};
  if (const auto number = integer_of(cell)) {
    if (*number == -1) return {hidden, {}, {}};
    if (*number >= 0 && *number < by_number_) return {double(*number), {}, {}};
  }
  return {0, "label", fmt::format("label {}; expected one of {}", in_quotes(name), expected_)};
}

ParsedLabel LabelParser::score(const Cell& cell) const {
  if (cell.kind == Cell::Kind::missing || empty_field(cell)) return {hidden, {}, {}};
  std::optional<double> value;
  if (cell.kind == Cell::Kind::field) {
    value = parse_whole<double>(cell.text);
  } else if (cell.kind == Cell::Kind::integer || cell.kind == Cell::Kind::real) {
    value = cell.number;
  } else {
    return {0, "type", fmt::format("label is {}, expected a number", kind_name(cell.kind))};
  }
  if (bounded_ && value == -1.0) return {hidden, {}, {}};
  const bool good =
      value && std::isfinite(*value) && (!bounded_ || (*value >= lowest_bounded && *value <= highest_bounded));
  if (!good) {
    const std::string found = cell.kind == Cell::Kind::field ? in_quotes(cell.text) : fmt::format("{}", cell.number);
    return {0, "score",
            fmt::format("score {}; expected a {}", found, bounded_ ? "number from 0 to 5" : "finite number")};
  }
  // The reference pipelines store scores of STS-B as float32.
  return {bounded_ ? double(float(*value)) : *value, {}, {}};
}

}  // namespace peft
